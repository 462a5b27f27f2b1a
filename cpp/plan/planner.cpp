#include "plan/planner.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "algorithms/cost.h"

namespace linnet {
namespace {

using Clock = std::chrono::steady_clock;

// Only the ratios of estimates matter; this makes them read as plausible times.
constexpr double kCyclesPerSecond = 2.5e9;

// Problems whose answers are remembered: more than a network has, and some kilobytes each.
constexpr size_t kMostRemembered = 256;

constexpr Layout kLayouts[] = {Layout::kNchw, Layout::kNhwc};

// How thoroughly layers are measured.
struct Effort {
  double
      hopeless;  // candidates whose estimate exceeds the best one's by this factor are not measured
  int rounds;    // at least
  double seconds;  // of one layer, when the rounds are done
};
constexpr Effort kFast{2.5, 3, 0.03}, kFull{10, 5, 0.25};
// A candidate this much slower than the best one drops out.
constexpr double kDrop = 1.25;
constexpr int kDropAfter = 2;  // rounds
// Times taken in a round. One run goes before them, since the other candidates' weights drive one's
// own further away than a network would.
constexpr int kTimes = 2;

// The problem with its data in other layouts.
Problem in_layouts(const Problem& problem, Layout in, Layout out) {
  Problem p = problem;
  p.x = p.x.in(in), p.y = p.y.in(out), p.z = p.z.in(out);
  return p;
}

std::string megabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", bytes / (1 << 20));
  return text;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Images full of numbers like those after an activation: about half are zero. Padding lanes are all
// zero, as in a session.
AlignedBuffer made_up(int64_t n, const Operand& operand, int width) {
  AlignedBuffer buffer(bytes_of(n * operand.image(width), operand.dtype), true);
  if (operand.dtype != DType::kF32) return buffer;  // zeros: what numbers are takes no time
  const Dims& d = operand.dims;
  const Strides s(operand, width);
  uint32_t state = 1;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < d.c; ++c) {
      for (int64_t h = 0; h < d.h; ++h) {
        for (int64_t w = 0; w < d.w; ++w) {
          state = state * 1664525 + 1013904223;
          const float value = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
          buffer.floats()[i * s.n + c * s.c + h * s.h + w * s.w] = std::max(value, 0.0f);
        }
      }
    }
  }
  return buffer;
}

}  // namespace

Caches::Caches(ThreadPool& pool)
    : pool_(pool),
      others_(std::max<size_t>(1 << 20, static_cast<size_t>(2 * machine().l2)) *
                  static_cast<size_t>(pool.threads()),
              true) {}

void Caches::settle(std::initializer_list<std::pair<const void*, size_t>> near) const {
  const auto parts = static_cast<size_t>(pool_.threads());
  const auto read = [&](const void* data, size_t size) {
    pool_.parallel_for(pool_.threads(), [&](int64_t part, int) {
      const auto* bytes = static_cast<const volatile char*>(data);
      const size_t end = size * static_cast<size_t>(part + 1) / parts;
      for (size_t i = size * static_cast<size_t>(part) / parts; i < end; i += kAlignment) {
        (void)bytes[i];
      }
    });
  };
  read(others_.data(), others_.size());
  for (const auto& [data, size] : near) read(data, size);
}

bool layouts_coincide(const Dims& d, int width) { return d.h == 1 && d.w == 1 && d.c % width == 0; }

double estimate(const Problem& problem, const Algorithm& algorithm, const Context& context) {
  return algorithm.cost(problem, context) / kCyclesPerSecond;
}

Planner::Planner(PlannerOptions options, const Context& context, ThreadPool& pool)
    : options_(std::move(options)), context_(context), pool_(pool) {
  if (!options_.algorithm.empty()) asked_ = algorithms(options_.algorithm);
}

Wisdom& Planner::wisdom() const {
  if (!wisdom_) {
    wisdom_ =
        Wisdom(options_.wisdom, [this] { return Wisdom::machine(context_); }, options_.foreign);
  }
  return *wisdom_;
}

Choice Planner::reorder(int64_t n, const Operand& from, Layout to) const {
  Problem p;
  p.params = family::Move();
  p.n = n, p.threads = pool_.threads();
  p.x = p.y = {from.dtype, from.dims, from.layout, 0};
  p.y.layout = to;
  return move(p);
}

void Planner::set_price(const Price& price) {
  if ((price.dearer == 0) != (price_.dearer == 0)) answers_.clear();
  price_ = price;
}

bool Planner::moves(const Problem& problem) const { return !ways_to_move(problem).empty(); }

std::vector<Planner::Variant>& Planner::ways_to_move(const Problem& problem) const {
  std::string key = problem.key();
  const auto known = moves_.find(key);
  if (known != moves_.end()) return known->second;
  std::vector<Variant> variants;
  for (const Algorithm* a : algorithms(Kind::kMove)) {
    if (a->refuse(problem, context_).empty() && a->name() != std::string("direct-ref"))
      variants.push_back({a, problem, key, estimate(problem, *a, context_), {}});
  }
  if (moves_.size() == kMostRemembered) moves_.clear();
  return moves_.emplace(std::move(key), std::move(variants)).first->second;
}

Choice Planner::move(const Problem& problem) const {
  std::vector<Variant>& variants = ways_to_move(problem);
  if (variants.empty()) throw std::runtime_error("no algorithm accepts " + problem.key());
  recall(variants);
  if (worth_measuring(variants)) measure(variants, nullptr, nullptr);
  const Variant& v = variants[0];
  const Source source = v.measured ? Source::kMeasured : Source::kEstimated;
  return {
      v.algorithm, problem, v.seconds(), {{v.algorithm, problem, v.seconds(), "", source}}, source};
}

double Planner::reorder_seconds(int64_t n, const Operand& from, Layout to) const {
  if (from.layout == to || layouts_coincide(from.dims, context_.kernels.width)) return 0;
  return reorder(n, from, to).seconds;
}

// Whether the algorithm asked for accepts the layer in any layout; else the layer is planned
// freely.
bool Planner::restricted(const Problem& problem) const {
  if (asked_.empty() || !problem.weighted()) return false;
  for (Layout in : kLayouts) {
    for (Layout out : kLayouts) {
      const Problem p = in_layouts(problem, in, out);
      for (const Algorithm* a : asked_) {
        if (a->refuse(p, context_).empty()) return true;
      }
    }
  }
  return false;
}

std::string Planner::refusal(const Algorithm& a, const Problem& problem, bool restricted,
                             size_t memory_limit) const {
  if (restricted && !std::count(asked_.begin(), asked_.end(), &a))
    return "not the algorithm asked for";
  if (options_.strict && !a.exact()) return "looser than strict allows";
  std::string reason = a.refuse(problem, context_);
  if (!reason.empty() || !memory_limit) return reason;
  const double bytes = a.memory(problem, context_);
  if (bytes <= static_cast<double>(memory_limit)) return "";
  return "needs " + megabytes(bytes) + ", the memory limit is " +
         megabytes(static_cast<double>(memory_limit));
}

bool Planner::allows(const Algorithm& a, const Problem& problem) const {
  // A fused form must not drive out the algorithm asked for, which may take the layer only unfused.
  Problem plain = problem;
  plain.end.pool[0] = plain.end.pool[1] = 1;
  plain.y.dims = problem.unpooled();
  return refusal(a, problem, restricted(plain), options_.memory_limit).empty();
}

Planner::Answers& Planner::ask(const Problem& problem) const {
  // Slices stay where they are; other operands may be brought to any layout.
  // The second operand has the result's layout.
  const bool stays = problem.y.pitch || (problem.binary() && problem.z.pitch);
  const std::string key = in_layouts(problem, problem.x.pitch ? problem.x.layout : Layout::kNchw,
                                     stays ? problem.y.layout : Layout::kNchw)
                              .key();
  const auto known = answers_.find(key);
  if (known != answers_.end()) return known->second;
  Answers answers = ask(problem, options_.memory_limit);
  const auto fast = [](const Variant& v) { return v.algorithm->uses_kernels(); };
  // Where the limit leaves nothing but the reference, plan as if there were none: the session then
  // says what the model needs.
  if (options_.memory_limit &&
      std::none_of(answers.variants.begin(), answers.variants.end(), fast)) {
    answers = ask(problem, 0);
  }
  if (answers.variants.empty()) throw std::runtime_error("no algorithm accepts " + problem.key());
  if (answers_.size() == kMostRemembered) answers_.clear();
  return answers_.emplace(key, std::move(answers)).first->second;
}

// Whether one of linnet's own, its operands brought from these layouts and back, is estimated to
// take less.
bool Planner::beaten(const Algorithm& a, const Problem& problem,
                     const std::vector<Variant>& own) const {
  const double seconds = estimate(problem, a, context_);
  return std::any_of(own.begin(), own.end(), [&](const Variant& v) {
    const Operand x = problem.x.in(v.problem.x.layout), y = problem.y.in(v.problem.y.layout);
    return v.estimate < seconds && v.estimate + reorder_seconds(problem.n, problem.x, x.layout) +
                                           reorder_seconds(problem.n, y, problem.y.layout) <
                                       seconds;
  });
}

Planner::Answers Planner::ask(const Problem& problem, size_t memory_limit) const {
  Answers answers;
  const bool only_asked = restricted(problem);
  // A library costs megabytes and threads of its own: it is loaded where more than estimates of
  // time decides, or it may be the fastest.
  const bool by_estimates = options_.search == Search::kEstimate && !options_.lean && !only_asked &&
                            price_.dearer == 0 && wisdom().empty();
  std::vector<const Algorithm*> all = algorithms(problem.kind());
  std::stable_partition(all.begin(), all.end(),
                        [&](const Algorithm* a) { return !a->loads(context_); });
  for (const Algorithm* a : all) {
    answers.refusals.push_back({a, {}});
    for (Layout in : kLayouts) {
      for (Layout out : kLayouts) {
        const Problem p = in_layouts(problem, in, out);
        std::string reason = by_estimates && a->loads(context_) && beaten(*a, p, answers.variants)
                                 ? "linnet's own are estimated faster, so its library is not loaded"
                                 : refusal(*a, p, only_asked, memory_limit);
        if (reason.empty())
          answers.variants.push_back({a, p, p.key(), estimate(p, *a, context_), {}});
        answers.refusals.back().reasons[static_cast<int>(in)][static_cast<int>(out)] =
            std::move(reason);
      }
    }
  }
  return answers;
}

Choice Planner::choose(const Problem& problem, const Weight* weight, const Weight* bias) const {
  Answers& answers = ask(problem);
  std::vector<Variant>& variants = answers.variants;
  std::optional<double> before[2], after[2];  // by layout
  for (Variant& v : variants) {
    const Layout in = v.problem.x.layout, out = v.problem.y.layout;
    auto &x = before[static_cast<int>(in)], &y = after[static_cast<int>(out)];
    if (!x) x = reorder_seconds(problem.n, problem.x, in);
    if (!y) y = reorder_seconds(problem.n, problem.y.in(out), problem.y.layout);
    v.around = *x + *y;
  }
  if (options_.lean) {
    // An estimate of bytes in place of seconds; the reference, which takes none, only where it is
    // alone.
    for (Variant& v : variants) {
      v.estimate = v.algorithm->uses_kernels() ? v.algorithm->memory(v.problem, context_) : 1e15;
    }
  } else {
    recall(variants);
    if (worth_measuring(variants)) measure(variants, weight, bias);
  }

  const bool measured = std::any_of(variants.begin(), variants.end(),
                                    [](const Variant& v) { return v.measured.has_value(); });
  const double price =
      std::less<const Weight*>()(weight, price_.from) ? price_.seconds : price_.dearer;
  const auto worth = [&](Variant& v) {
    if (price == 0) return v.seconds();
    // The reference takes none, and is for where it is alone.
    if (v.bytes < 0)
      v.bytes = v.algorithm->uses_kernels() ? v.algorithm->memory(v.problem, context_) : 1e15;
    return v.seconds() + price * v.bytes;
  };
  Choice choice;
  double least = std::numeric_limits<double>::infinity();
  for (const Answers::Refusals& refusals : answers.refusals) {
    choice.candidates.push_back({refusals.algorithm, problem, 0, "", Source::kEstimated});
    Candidate& candidate = choice.candidates.back();
    candidate.seconds = std::numeric_limits<double>::infinity();
    double worth_least = candidate.seconds;
    for (Variant& v : variants) {
      if (v.algorithm != candidate.algorithm) continue;
      // Estimates and measured times do not compare: an algorithm's measured variants are
      // preferred, and where any was measured those that were not have been found hopeless.
      const bool better = v.measured.has_value() == (candidate.source == Source::kMeasured)
                              ? worth(v) < worth_least
                              : v.measured.has_value();
      if (better) {
        worth_least = worth(v);
        candidate.seconds = v.seconds(), candidate.problem = v.problem;
        candidate.source = v.measured ? Source::kMeasured : Source::kEstimated;
      }
    }
    if (candidate.seconds == std::numeric_limits<double>::infinity()) {
      // The refusal in the preferred layout says most about the algorithm.
      const int preferred = static_cast<int>(problem.y.layout);
      candidate.seconds = 0, candidate.refusal = refusals.reasons[preferred][preferred];
    } else if (worth_least < least && (candidate.source == Source::kMeasured || !measured)) {
      least = worth_least;
      choice.algorithm = candidate.algorithm, choice.problem = candidate.problem;
      choice.seconds = candidate.seconds, choice.source = candidate.source;
    }
  }
  for (Candidate& c : choice.candidates) {
    if (price == 0 || !c.refusal.empty() || c.seconds >= choice.seconds) continue;
    c.refusal = "faster, but takes " + megabytes(c.algorithm->memory(c.problem, context_)) +
                ": memory is short, or nobody has allowed more by memory_limit";
  }
  // Answers are remembered by key, and this is in none.
  choice.problem.end.between = problem.end.between, choice.problem.end.gate = problem.end.gate;
  choice.problem.scale_as(problem);
  return choice;
}

// Fills in the times wisdom knows.
void Planner::recall(std::vector<Variant>& variants) const {
  if (wisdom().empty()) return;
  for (Variant& v : variants) {
    const Wisdom::Times* times = wisdom().find(v.key);
    if (!times) continue;
    for (const auto& [name, seconds] : *times) {
      if (name == v.algorithm->name()) v.measured = seconds;
    }
  }
}

bool Planner::worth_measuring(const std::vector<Variant>& variants) const {
  if (options_.search == Search::kEstimate || spent_ >= options_.seconds) return false;
  // All of them once more when one is missing, because times compare best when taken in turns.
  const Effort& effort = options_.search == Search::kFull ? kFull : kFast;
  double least = std::numeric_limits<double>::infinity();
  for (const Variant& v : variants) least = std::min(least, v.estimate + v.around);
  for (const Variant& v : variants) {
    if (v.estimate + v.around > effort.hopeless * least) continue;
    if (!v.measured || (!options_.keep && !fresh_.count(v.key))) return true;
  }
  return false;
}

// Runs the promising variants in turns, so that whatever else the machine does hits all of them,
// and each with the caches as other layers would leave them: the input near, the weights far.
void Planner::measure(std::vector<Variant>& variants, const Weight* weight,
                      const Weight* bias) const {
  struct Trial {
    Variant* variant;
    Plan plan;
    std::vector<double> times;
    double least() const { return *std::min_element(times.begin(), times.end()); }
  };
  const auto begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  const Effort& effort = options_.search == Search::kFull ? kFull : kFast;
  double least = std::numeric_limits<double>::infinity();
  for (const Variant& v : variants) least = std::min(least, v.estimate + v.around);

  const Problem& first = variants[0].problem;
  if (options_.progress) options_.progress(first);
  // Apart from the session's, so that the weights of the losers do not stay.
  WeightStore weights;
  const Context context{context_.kernels, weights, context_.backends};
  const int width = context.kernels.width;
  AlignedBuffer x[2], y[2], z[2];
  for (Layout layout : kLayouts) {
    const int i = static_cast<int>(layout);
    x[i] = made_up(first.n, first.x.in(layout), width);
    y[i] = made_up(first.n, first.y.in(layout), width);
    if (first.binary()) z[i] = made_up(first.n, first.z.in(layout), width);
  }
  std::vector<Trial> trials;
  size_t workspace_bytes = 0;
  for (Variant& v : variants) {
    if (v.estimate + v.around > effort.hopeless * least) continue;
    trials.push_back({&v, v.algorithm->prepare(v.problem, weight, bias, context), {}});
    workspace_bytes = std::max(workspace_bytes, trials.back().plan.workspace);
  }
  const AlignedBuffer workspace(workspace_bytes);
  const Caches caches(pool_);
  const auto run = [&](Trial& t) {
    const int in = static_cast<int>(t.variant->problem.x.layout),
              out = static_cast<int>(t.variant->problem.y.layout);
    caches.settle({{y[out].data(), y[out].size()},
                   {workspace.data(), t.plan.workspace},
                   {x[in].data(), x[in].size()}});
    const auto start = Clock::now();
    t.plan.run({x[in].data(), z[out].data(), y[out].data(), workspace.data(), pool_});
    return std::chrono::duration<double>(Clock::now() - start).count();
  };

  const ThreadPool::Region region(pool_);
  std::vector<Trial*> running;
  for (Trial& t : trials) {
    run(t);
    running.push_back(&t);
  }
  const auto start = Clock::now();
  for (int round = 0; round < effort.rounds ||
                      std::chrono::duration<double>(Clock::now() - start).count() < effort.seconds;
       ++round) {
    for (Trial* t : running) {
      run(*t);
      for (int i = 0; i < kTimes; ++i) t->times.push_back(run(*t));
    }
    if (round + 1 < kDropAfter) continue;
    double best = std::numeric_limits<double>::infinity();
    for (const Trial& t : trials) best = std::min(best, t.least());
    running.erase(std::remove_if(running.begin(), running.end(),
                                 [&](const Trial* t) { return t->least() > kDrop * best; }),
                  running.end());
  }
  for (Trial& t : trials) {
    t.variant->measured = median(t.times);
    wisdom().record(t.variant->key, {{t.variant->algorithm->name(), *t.variant->measured}});
    fresh_.insert(t.variant->key);
  }
  spent_ += elapsed();
  // After the first layer, for that may fail, and from time to time, for a long search may be
  // interrupted.
  if (!options_.wisdom.empty() && Clock::now() - saved_ > std::chrono::seconds(2)) {
    wisdom().save();
    saved_ = Clock::now();
  }
}

}  // namespace linnet
