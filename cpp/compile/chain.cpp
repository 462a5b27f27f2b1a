#include "compile/chain.h"

#include <algorithm>
#include <vector>

#include "algorithms/cost.h"

namespace linnet {
namespace {

// Of the cache that all threads have together: a value that takes more comes back from beyond it,
// since weights and what is read and written pass by; rows between steps are to take so much, or
// twice that if even the fewest do.
constexpr double kMostStays = 0.4, kRowsShare = 0.25;
// Weights of a chain, which pass for every few rows, in a core's share of the cache.
constexpr double kWeightsShare = 0.5;

double weight_bytes(const Problem& p, int width) {
  if (!p.weighted()) return 0;
  return static_cast<double>(p.taps() * round_up(p.y.dims.c, width) * size_of(p.weights()));
}

// Whether some rows of a step can be computed alone, and cost no more so: weights are read as they
// are.
bool by_rows(const Step& step) {
  const Problem& p = step.choice.problem;
  if (!step.plan.code->run_rows) return false;
  return p.kind() == Kind::kPool ||
         (p.kind() == Kind::kConv && (p.weights() == DType::kF32 || p.quantized()));
}

// Whether the step behind reads what `step` writes, whole images, and nothing else does.
bool follows(const Program& program, int step) {
  const Step &maker = program.steps[step], &reader = program.steps[step + 1];
  const Block& block = program.blocks[maker.y.block];
  const Problem &made = maker.choice.problem, &read = reader.choice.problem;
  return block.where == Block::kArena && block.first_step == step && block.last_step == step + 1 &&
         reader.x.block == maker.y.block && reader.z.block != maker.y.block &&
         maker.y.offset == 0 && reader.x.offset == 0 && made.n == read.n && !made.y.pitch &&
         !read.x.pitch && made.y.layout == Layout::kNhwc && read.x.layout == Layout::kNhwc &&
         made.y.dims == read.x.dims;
}

ChainLink link_of(const Problem& p, int width) {
  const Window& w = p.kind() == Kind::kConv ? p.conv().window : p.pool().window;
  ChainLink link{};
  link.rows = p.y.dims.h;
  link.stride = w.stride[0] * p.end.pool[0], link.pad = w.pad[0];
  link.extent = (p.end.pool[0] - 1) * w.stride[0] + w.extent(0);
  const auto bytes = [&](const Operand& o) { return o.image(width) * size_of(o.dtype); };
  link.x_image = bytes(p.x), link.y_image = bytes(p.y);
  link.z_image = p.end.residual ? bytes(p.z) : 0;
  link.row_bytes = p.y.dims.w * p.y.pixel(width) * size_of(p.y.dtype);
  return link;
}

// Places rows between the steps, for so many of the last one's at a time; their bytes.
int64_t place_rows(ChainArgs& args, int64_t rows) {
  args.rows = rows;
  int64_t bytes = 0;
  for (int64_t l = args.length - 1; l > 0; --l) {
    const ChainLink& reader = args.links[l];
    ChainLink& link = args.links[l - 1];
    // Those read for `rows` of the reader's; its first window lacks the padding, and it may skip
    // some.
    const int64_t read = (rows - 1) * reader.stride + reader.extent;
    rows = link.held = std::min(std::max(read, rows * reader.stride), link.rows);
    link.offset = bytes;
    bytes += round_up(link.held * link.row_bytes, kAlignment);
  }
  return bytes;
}

// The chains that begin with a step, the shortest first, and the cycles that each saves.
struct Found {
  Chain chain;
  double gain;
};
std::vector<Found> chains_from(const Program& program, int first, int width, int threads) {
  const double share = machine().l2, cache = share * threads;
  std::vector<Found> found;
  Found c{};
  double streamed = 0;  // cycles, of all threads together
  c.chain.first = first;
  ChainArgs& args = c.chain.args;
  double weights = 0;
  for (int step = first; step < static_cast<int>(program.steps.size()); ++step) {
    if (args.length == kMostLinks || !by_rows(program.steps[step])) break;
    const Problem& p = program.steps[step].choice.problem;
    weights += weight_bytes(p, width);
    if (weights > kWeightsShare * share) break;
    if (step > first) {
      const auto value = static_cast<double>(p.n * p.x.image(width) * size_of(p.x.dtype));
      if (!follows(program, step - 1) || value < kMostStays * cache) break;
      streamed += stream_cycles(2 * value, value);
    }
    args.images = p.n;
    args.links[args.length++] = link_of(p, width);
    if (step == first) continue;
    // As many rows as stay, pairs of them, since some kernels compute two at once.
    const auto fits = [&](int64_t rows, double part) {
      return static_cast<double>(place_rows(args, rows)) <= part * cache;
    };
    int64_t rows = 2;
    if (!fits(rows, 2 * kRowsShare)) break;
    while (2 * rows <= p.y.dims.h && fits(2 * rows, kRowsShare)) rows *= 2;
    rows = round_up(ceil_div(p.y.dims.h, ceil_div(p.y.dims.h, rows)), 2);
    c.chain.bytes = static_cast<size_t>(place_rows(args, rows));
    // Threads meet after each step of each band, instead of each step.
    const auto more = static_cast<double>((ceil_div(p.y.dims.h, rows) * p.n - 1) * args.length);
    c.gain = streamed / threads - more * parallel_cycles(0, threads, threads);
    found.push_back(c);
  }
  return found;
}

// Values between the steps of a chain leave the arena; what it reads and writes is in use during
// all of it.
void join(Program& program, const Chain& chain) {
  const int first = chain.first, last = chain.last();
  for (int step = first; step < last; ++step) {
    Block& between = program.blocks[program.steps[step].y.block];
    between.first_step = between.last_step = -1;
  }
  for (Block& block : program.blocks) {
    if (block.first_step > first && block.first_step <= last) block.first_step = first;
    if (block.last_step >= first && block.last_step < last) block.last_step = last;
  }
  program.chains.push_back(chain);
}

}  // namespace

void find_chains(Program& program, const Context& context, int threads) {
  const int count = static_cast<int>(program.steps.size());
  // Of each step and all behind it, the most cycles saved, and by which chain from there.
  std::vector<Found> best(static_cast<size_t>(count) + 1);
  for (int first = count - 1; first >= 0; --first) {
    best[first].gain = best[first + 1].gain;
    for (Found& c : chains_from(program, first, context.kernels.width, threads)) {
      c.gain += best[c.chain.last() + 1].gain;
      if (c.gain > best[first].gain) best[first] = c;
    }
  }
  for (int first = 0; first < count;) {
    const Chain& chain = best[first].chain;
    if (chain.args.length) join(program, chain);
    first = chain.args.length ? chain.last() + 1 : first + 1;
  }
}

}  // namespace linnet
