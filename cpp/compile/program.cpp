#include "compile/program.h"

#include <algorithm>
#include <ostream>

#include "compile/chain.h"
#include "compile/lower.h"
#include "compile/place.h"

namespace linnet {
namespace {

template <typename T>
void pack_constant(const T* from, const Dims& d, const Strides& to, T* out) {
  for (int64_t c = 0; c < d.c; ++c) {
    for (int64_t i = 0; i < d.h; ++i) {
      for (int64_t j = 0; j < d.w; ++j)
        out[c * to.c + i * to.h + j * to.w] = from[(c * d.h + i) * d.w + j];
    }
  }
}

// A constant operand, in the layout of the problem's.
WeightStore::Buffer pack_constant(const Weight& constant, const Problem& problem,
                                  const Context& context) {
  const Dims& d = problem.z.dims;
  const Strides to(problem.z, context.kernels.width);
  const std::string packing =
      std::string("constant ") + to_string(problem.z.layout) + " " + std::to_string(d.c);
  if (constant.integers.empty()) {
    return context.weights.get(&constant, packing, to.n, [&](const Weight& w, float* out) {
      pack_constant(w.data, d, to, out);
    });
  }
  const size_t bytes = float_bytes(2 * to.n);  // int64
  return context.weights.get_bytes(&constant, packing, bytes, [&](const Weight& w, void* out) {
    pack_constant(w.integers.data(), d, to, static_cast<int64_t*>(out));
  });
}

void print(std::ostream& out, const Program& program, const Place& place, const Operand& o) {
  const Block& block = program.blocks[place.block];
  static const char* const kNames[] = {"block ", "input ", "output "};
  out << kNames[block.where] << (block.where == Block::kArena ? place.block : block.index);
  if (place.offset) out << " from " << place.offset;
  out << ' ' << to_string(o.layout) << ' ' << o.dims.c << 'x' << o.dims.h << 'x' << o.dims.w;
}

}  // namespace

const Chain* Program::chain_of(int step) const {
  for (const Chain& chain : chains) {
    if (chain.first <= step && step <= chain.last()) return &chain;
  }
  return nullptr;
}

size_t Program::widest() const {
  size_t most = 0;
  for (int step = 0; step < static_cast<int>(steps.size()); ++step) {
    size_t bytes = 0;
    for (const Block& b : blocks) {
      if (b.where == Block::kArena && b.first_step <= step && step <= b.last_step) bytes += b.bytes;
    }
    if (const Chain* chain = chain_of(step)) bytes += chain->bytes;
    most = std::max(most, bytes);
  }
  return most;
}

double Program::seconds() const {
  double sum = 0;
  for (const Step& step : steps) sum += step.choice.seconds;
  return sum;
}

void Program::dump(std::ostream& out) const {
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const Problem& p = step.choice.problem;
    out << "step " << i << ' ' << step.name << " (" << step.op << ") "
        << step.choice.algorithm->name() << ": " << p.key() << "\n  ";
    print(out, *this, step.x, p.x);
    if (step.z.block >= 0) {
      out << ", ";
      print(out, *this, step.z, p.z);
    }
    out << " -> ";
    print(out, *this, step.y, p.y);
    if (step.plan && step.plan.workspace)
      out << "; workspace " << step.plan.workspace << " bytes at " << step.workspace;
    out << '\n';
  }
  for (const Chain& chain : chains) {
    out << "steps " << chain.first << " to " << chain.last() << " together, " << chain.args.rows
        << " rows at a time; " << chain.bytes << " bytes between them at " << chain.offset << '\n';
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    if (b.where != Block::kArena || b.first_step < 0) continue;
    out << "block " << i << ": " << b.bytes << " bytes at " << b.offset << ", steps "
        << b.first_step << " to " << b.last_step << '\n';
  }
  out << "arena: " << arena << " bytes, " << activations << " of them for values alone\n";
}

void prepare(Program& program, const Context& context) {
  for (Step& step : program.steps) {
    const Problem& p = step.choice.problem;
    step.plan = step.choice.algorithm->prepare(p, step.weight, step.bias, context);
    if (step.constant) step.constant_packed = pack_constant(*step.constant, p, context);
  }
}

Program compile(const Graph& graph, const Wanted& wanted, const Planner& planner,
                const Context& context, int threads) {
  const auto takes = [&](const Problem& p) {
    // Only where a fast algorithm takes it; the reference would accept anything.
    const auto& candidates = algorithms(p.kind());
    return std::any_of(candidates.begin(), candidates.end(), [&](const Algorithm* a) {
      return a->uses_kernels() && planner.allows(*a, p);
    });
  };
  const std::vector<Group> groups = fuse(graph, wanted.batch, wanted.values, threads, takes);
  const int width = context.kernels.width;
  Program program = lower(graph, groups, wanted, Layout::kNchw, planner, width);
  Program channels_last = lower(graph, groups, wanted, Layout::kNhwc, planner, width);
  if (channels_last.seconds() <= program.seconds()) program = std::move(channels_last);
  prepare(program, context);
  find_chains(program, context, threads);
  place(program);
  return program;
}

}  // namespace linnet
