// What the algorithms' cost estimates share: the machine's caches and the rates of its parts. All
// costs are cycles of one core. The few constants are measured or taken from the processors'
// manuals; only ratios between algorithms matter.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cores.h"
#include "kernels/kernels.h"

namespace linnet {

// The machine this runs on: the kind of its cores, and caches as Linux describes them.
const Machine& machine();

// Another machine in its place, for what this thread plans while the object lives.
class OtherMachine {
 public:
  explicit OtherMachine(const Machine& machine);
  ~OtherMachine();
  OtherMachine(const OtherMachine&) = delete;
  OtherMachine& operator=(const OtherMachine&) = delete;

 private:
  const Machine machine_, *const before_;
};

// The kind of core alone, with the caches such cores usually have, by what uname() calls the
// architecture and the text of /proc/cpuinfo. Of cores of several kinds the slowest.
Machine machine_of(const std::string& architecture, const std::string& cpuinfo);

// Vector multiply-adds of a core in a cycle.
double fma_rate(const Kernels& kernels);

// The cheapest of some ways to cut a problem, the first of equal ones, and its cycles.
template <typename Cut, typename Cycles>
std::pair<Cut, double> cheapest(const std::vector<Cut>& cuts, Cycles cycles) {
  std::pair<Cut, double> best{{}, std::numeric_limits<double>::infinity()};
  for (const Cut& cut : cuts) {
    const double each = cycles(cut);
    if (each < best.second) best = {cut, each};
  }
  return best;
}

// Cycles to stream `bytes` of data into the first-level cache, from where a set of `footprint`
// bytes stays that is passed over again and again.
double stream_cycles(double bytes, double footprint);

// Cycles, of all cores together, to stream a layer's `bytes` of weights `passes` times, `others`
// bytes passing between. At first they come from beyond each core's second level, since the rest of
// the network has run meanwhile.
double weight_cycles(double bytes, double passes, double others, int threads);

// How many times the cycles tiles of so many vectors take that they would, were they ordered for
// this core: what a compiler makes of them reaches two thirds of it by bench/arm's model.
double disorder(const Kernels& kernels, int vecs);

// Cycles of one register tile (see DirectTile) over `taps`: bound by multiply-adds, by loads or by
// the weights' way from the cache that holds the `footprint` bytes of them; then the tile's
// beginning and end, of which a tile without bias and epilogue has only the part `ends`.
double tile_cycles(const Kernels& kernels, int vecs, double cols, double taps, double footprint,
                   double ends = 1);

// Cycles, of all cores together, until those that need them have `bytes` that some wrote and any of
// them reads.
double exchange_cycles(double bytes, int threads);

// Cycles until `tasks` equal tasks of `cycles` together are done by `threads`, with the threads'
// start.
double parallel_cycles(double cycles, double tasks, int threads);

}  // namespace linnet
