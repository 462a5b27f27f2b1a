// Planner: picks the algorithm and the layouts of each layer by wisdom (times measured before), by
// measuring, or by estimate.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "plan/wisdom.h"

namespace linnet {

// What is done about layers whose times are not known: nothing but estimating them; or measuring
// what the estimate finds promising (fast) or not hopeless, and for longer (full).
enum class Search : uint8_t { kEstimate, kFast, kFull };

struct PlannerOptions {
  // Convolutions and fully connected layers use only this algorithm, or those of this family, where
  // it accepts; empty: any.
  std::string algorithm;
  bool strict = false;      // only exact algorithms
  bool lean = false;        // the fast algorithm that takes the least memory, not the least time
  size_t memory_limit = 0;  // bytes a layer's packed weights and workspace may take; 0: no limit
  Search search = Search::kEstimate;
  // Of measuring in all; what is left over is estimated.
  double seconds = std::numeric_limits<double>::infinity();
  bool keep = true;                             // do not measure again what wisdom knows
  std::string wisdom = Wisdom::default_path();  // file; empty: none
  // Wisdom of any CPU with this instruction set and build will do, and of any other libraries.
  bool foreign = false;
  // Called before a layer is measured; may throw to stop.
  std::function<void(const Problem&)> progress;
};

// How a layer's time is known.
enum class Source : uint8_t { kEstimated, kMeasured };

// What became of one algorithm for one layer.
struct Candidate {
  const Algorithm* algorithm;
  Problem problem;      // with the layouts it was asked for
  double seconds = 0;   // changes of layout included; only where not refused
  std::string refusal;  // empty where accepted
  Source source = Source::kEstimated;
};

struct Choice {
  const Algorithm* algorithm = nullptr;
  Problem problem;
  double seconds = 0;
  std::vector<Candidate> candidates;  // the best combination of layouts of every algorithm
  Source source = Source::kEstimated;
};

// Owned by a Session, used by one caller at a time.
class Planner {
 public:
  // The context and pool must outlive the planner. Throws std::invalid_argument for an unknown
  // algorithm.
  Planner(PlannerOptions options, const Context& context, ThreadPool& pool);

  // The cheapest way to run `problem`, whose x is there as it says and whose y is wanted so;
  // algorithms may run it in other layouts, with changes of layout around.
  Choice choose(const Problem& problem, const Weight* weight, const Weight* bias) const;

  // The way to copy `n` images to a layout.
  Choice reorder(int64_t n, const Operand& from, Layout to) const;

  // The way to copy as `problem`, a move, says.
  Choice move(const Problem& problem) const;
  // Whether an algorithm other than the reference does.
  bool moves(const Problem& problem) const;

  // Whether `a` may run `problem` as it stands, layouts included.
  bool allows(const Algorithm& a, const Problem& problem) const;

  // Seconds that a byte of packed weights and workspace is worth: the larger, the less memory the
  // choices take. From this weight of a graph on it is `dearer`.
  struct Price {
    double seconds = 0, dearer = 0;
    const Weight* from = nullptr;
  };
  void set_price(const Price& price);

  int threads() const { return pool_.threads(); }

  // Times known from the wisdom file, read when first needed, and those measured since.
  Wisdom& wisdom() const;

 private:
  // An algorithm in one combination of layouts.
  struct Variant {
    const Algorithm* algorithm;
    Problem problem;
    std::string key;  // of the problem
    double estimate;  // seconds
    std::optional<double> measured;
    double around = 0;  // seconds of the changes of layout it needs
    double bytes = -1;  // what it needs, once that is asked
    double seconds() const { return measured.value_or(estimate) + around; }
  };
  // What the algorithms for a problem say about it in all layouts, whatever is around it.
  struct Answers {
    struct Refusals {
      const Algorithm* algorithm;
      std::string reasons[2][2];  // by the layouts of input and output; empty where it accepts
    };
    std::vector<Refusals> refusals;  // of every algorithm
    std::vector<Variant> variants;
  };

  Answers& ask(const Problem& problem) const;
  Answers ask(const Problem& problem, size_t memory_limit) const;
  std::string refusal(const Algorithm& a, const Problem& problem, bool restricted,
                      size_t memory_limit) const;
  bool restricted(const Problem& problem) const;
  bool beaten(const Algorithm& a, const Problem& problem, const std::vector<Variant>& own) const;
  std::vector<Variant>& ways_to_move(const Problem& problem) const;
  double reorder_seconds(int64_t n, const Operand& from, Layout to) const;
  void recall(std::vector<Variant>& variants) const;
  bool worth_measuring(const std::vector<Variant>& variants) const;
  void measure(std::vector<Variant>& variants, const Weight* weight, const Weight* bias) const;

  const PlannerOptions options_;
  Price price_;
  std::vector<const Algorithm*> asked_;
  const Context& context_;
  ThreadPool& pool_;
  // What is learnt while planning; the plans made from it do not change. Layers of a network are
  // often alike, and each is planned for every layout around it.
  mutable std::map<std::string, Answers> answers_;             // by key, where layouts are free
  mutable std::map<std::string, std::vector<Variant>> moves_;  // by key
  mutable std::optional<Wisdom> wisdom_;
  mutable std::set<std::string> fresh_;  // keys measured by this planner
  mutable double spent_ = 0;             // seconds of measuring
  mutable std::chrono::steady_clock::time_point saved_;
};

// Sets the caches as the other layers of a network leave them for the next one: its activations and
// workspace near, its weights far. Owned by whoever times a layer.
class Caches {
 public:
  explicit Caches(ThreadPool& pool);
  // `near`: buffers and their bytes.
  void settle(std::initializer_list<std::pair<const void*, size_t>> near) const;

 private:
  ThreadPool& pool_;
  const AlignedBuffer others_;  // stands for all that the other layers touch
};

// Estimated seconds of one layer, which the algorithm has to accept.
double estimate(const Problem& problem, const Algorithm& algorithm, const Context& context);

// Whether both layouts of an image are the same bytes.
bool layouts_coincide(const Dims& dims, int width);

}  // namespace linnet
