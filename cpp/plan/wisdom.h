// Wisdom: measured times of layers, kept in a text file from one process to the next. None ships
// with linnet: times are of one machine and one build.
//
// The file: a first line with the format's version, then blocks separated by blank lines. A block
// begins with lines that say what was measured (library, version of the problem keys, CPU,
// instruction set, algorithms, OpenBLAS) and goes on with one line per layer:
//   KEY = ALGORITHM SECONDS, ALGORITHM SECONDS, ...
// fastest first; KEY is a Problem's, layouts included. Only the block made for this very machine
// and build is used; the others are left alone. A file is untrusted: lines that do not make sense
// are skipped and counted.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"

namespace linnet {

// Owned by a Planner; not thread-safe.
class Wisdom {
 public:
  using Times =
      std::vector<std::pair<std::string, double>>;  // algorithm and seconds, fastest first

  Wisdom() = default;  // without a file: remembers, does not save
  // Reads the block for `machine` from the file, if there is one; never throws for what the file
  // holds. Where there is none, `foreign` takes the last for another CPU and libraries. The machine
  // is asked for where the file has blocks and when it is saved.
  Wisdom(std::string path, std::function<std::string()> machine, bool foreign = false);

  bool empty() const { return layers_.empty(); }
  // Times of the layer with this key; null if it is not known.
  const Times* find(const std::string& key) const;
  // Adds to what is known of a layer; a new time of an algorithm replaces the old one.
  void record(const std::string& key, const Times& times);
  // Writes what is known into the file, together with what others wrote there since; in one step,
  // so that no reader sees half a file. Throws std::runtime_error naming the file.
  void save() const;

  const std::string& path() const { return path_; }
  // One sentence on what was found in the file, or why it is not used.
  const std::string& note() const { return note_; }

  // $LINNET_WISDOM, else wisdom.txt in linnet's folder of the user's cache; empty (no file) where
  // $LINNET_WISDOM is set to nothing or there is no home.
  static std::string default_path();
  // The head lines of the block for this machine, build and context, whose libraries it loads.
  static std::string machine(const Context& context);

 private:
  using Layers = std::map<std::string, Times>;

  std::string path_, note_;
  std::function<std::string()> machine_;
  Layers layers_;
};

}  // namespace linnet
