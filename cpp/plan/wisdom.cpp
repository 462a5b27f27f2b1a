#include "plan/wisdom.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "problem/key.h"

namespace linnet {
namespace {

const char kFormat[] = "linnet wisdom ";
const char kVersion[] = "1";
constexpr std::uintmax_t kMostBytes = 16 << 20;

// What a file holds, block by block. `why_not` is empty if the file could be read.
struct Contents {
  struct Block {
    std::string machine;             // its head lines
    std::vector<std::string> lines;  // its layers
  };
  std::vector<Block> blocks;
  bool exists = false, is_wisdom = false;
  std::string why_not;
};

Contents read(const std::string& path) {
  Contents contents;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  contents.exists = std::filesystem::exists(path, error);
  std::ifstream file;
  if (std::filesystem::is_regular_file(path, error)) file.open(path);  // a pipe would wait
  std::string line;
  if (!contents.exists) {
    contents.why_not = "there is none yet";
  } else if (!file.is_open()) {
    contents.why_not = "it cannot be read";
  } else if (bytes > kMostBytes || !std::getline(file, line) ||
             line.compare(0, sizeof kFormat - 1, kFormat) != 0) {
    contents.why_not = "it is not a wisdom file";
  } else if (line.substr(sizeof kFormat - 1) != kVersion) {
    contents.is_wisdom = true;
    contents.why_not = "its format is " + line.substr(sizeof kFormat - 1, 20) + ", not " + kVersion;
  } else {
    contents.is_wisdom = true;
    bool fresh = true;
    while (std::getline(file, line)) {
      if (line.empty()) {
        fresh = true;
        continue;
      }
      if (fresh) contents.blocks.emplace_back();
      fresh = false;
      Contents::Block& block = contents.blocks.back();
      if (line.find(" = ") != std::string::npos) {
        block.lines.push_back(line);
      } else {
        block.machine += line + "\n";
      }
    }
  }
  return contents;
}

// Whether `line` is that of a layer with algorithms there are; fills `key` and `times`.
bool parse(const std::string& line, std::string* key, Wisdom::Times* times) {
  const size_t equals = line.find(" = ");
  *key = line.substr(0, equals);
  times->clear();
  std::istringstream list(line.substr(equals + 3));
  std::string item;
  try {
    if (Problem::parse(*key).key() != *key) return false;
    while (std::getline(list, item, ',')) {
      std::istringstream words(item);
      std::string name, rest;
      double seconds = 0;
      if (!(words >> name >> seconds) || words >> rest || !std::isfinite(seconds) || seconds <= 0)
        return false;
      times->emplace_back(algorithm(name).name(), seconds);
    }
  } catch (const std::invalid_argument&) {
    return false;
  }
  return !times->empty();
}

void add(Wisdom::Times& known, const Wisdom::Times& fresh) {
  for (const auto& time : fresh) {
    known.erase(std::remove_if(known.begin(), known.end(),
                               [&](const auto& k) { return k.first == time.first; }),
                known.end());
    known.push_back(time);
  }
  std::stable_sort(known.begin(), known.end(),
                   [](const auto& a, const auto& b) { return a.second < b.second; });
}

// The lines two blocks' heads differ in, as a reason.
std::string difference(const std::string& theirs, const std::string& ours) {
  std::istringstream a(theirs), b(ours);
  std::string line_a, line_b;
  while (std::getline(b, line_b)) {
    if (!std::getline(a, line_a) || line_a != line_b)
      return "made with '" + line_a.substr(0, 120) + "', here it is '" + line_b + "'";
  }
  return "made with something else";
}

// A block's head without the lines that say on which CPU and beside which libraries.
std::string without_cpu(const std::string& head) {
  std::istringstream lines(head);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const std::string word = line.substr(0, line.find(' '));
    if (word != "cpu" && word != "openblas" && word != "nnpack") kept += line + "\n";
  }
  return kept;
}

std::string cpu_model() {
  // The lines that tell models apart, of Linux on x86 and on ARM.
  const char* const names[] = {"model name",      "cpu family", "model",        "stepping",
                               "CPU implementer", "CPU part",   "CPU revision", "Model"};
  std::map<std::string, std::string> found;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t end = line.find_last_not_of(" \t", colon - 1),
                 begin = line.find_first_not_of(" \t", colon + 1);
    if (end != std::string::npos && begin != std::string::npos)
      found.emplace(line.substr(0, end + 1), line.substr(begin));
  }
  std::string model;
  for (const char* name : names) {
    if (found.count(name)) model += (model.empty() ? "" : ", ") + found[name];
  }
  return model.empty() ? "unknown" : model;
}

}  // namespace

std::string Wisdom::default_path() {
  if (const char* path = std::getenv("LINNET_WISDOM")) return path;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return std::string(cache) + "/linnet/wisdom.txt";
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/linnet/wisdom.txt" : "";
}

std::string Wisdom::machine(const Context& context) {
  std::string text = std::string("linnet ") + LINNET_VERSION + ", problem keys " +
                     std::to_string(kKeyVersion) + "\ncpu " + cpu_model() + "\nisa " +
                     context.kernels.isa + "\nalgorithms";
  for (const Algorithm* a : algorithms()) text += std::string(" ") + a->name();
  text += "\nopenblas ";
  if (const OpenBlas* blas = context.backends.openblas.library()) {
    text += blas->path + ", " + blas->threading + ", " + blas->openblas_get_config() + ", " +
            blas->openblas_get_corename();
  } else {
    text += "none";
  }
  const NnPack* nnpack = context.backends.nnpack.library();
  text += "\nnnpack " + (nnpack ? nnpack->path : "none");
  // A head line is one line, and not one of a layer.
  for (size_t at; (at = text.find(" = ")) != std::string::npos;) text.replace(at, 3, "=");
  return text + "\n";
}

Wisdom::Wisdom(std::string path, std::function<std::string()> machine, bool foreign)
    : path_(std::move(path)), machine_(std::move(machine)) {
  if (path_.empty()) {
    note_ = "wisdom is switched off";
    return;
  }
  const Contents contents = read(path_);
  if (!contents.why_not.empty()) {
    note_ = "no wisdom from " + path_ + ": " + contents.why_not;
    return;
  }
  size_t skipped = 0;
  const std::string here = contents.blocks.empty() ? "" : machine_();
  std::string other, wanted = here;
  for (const auto& block : contents.blocks) {
    if (block.machine == here) foreign = false;
  }
  for (const auto& block : contents.blocks) {
    if (foreign && without_cpu(block.machine) == without_cpu(here)) wanted = block.machine;
  }
  for (const auto& block : contents.blocks) {
    if (block.machine != wanted) {
      other = block.machine;
      continue;
    }
    std::string key;
    Times times;
    for (const std::string& line : block.lines) {
      if (parse(line, &key, &times)) {
        add(layers_[key], times);
      } else {
        ++skipped;
      }
    }
  }
  if (layers_.empty() && !other.empty()) {
    note_ = "no wisdom from " + path_ + ": " + difference(other, here);
    return;
  }
  note_ = "wisdom of " + std::to_string(layers_.size()) + " layers from " + path_;
  if (skipped) note_ += ", " + std::to_string(skipped) + " lines skipped that make no sense";
}

const Wisdom::Times* Wisdom::find(const std::string& key) const {
  const auto found = layers_.find(key);
  return found == layers_.end() ? nullptr : &found->second;
}

void Wisdom::record(const std::string& key, const Times& times) { add(layers_[key], times); }

void Wisdom::save() const {
  if (path_.empty())
    throw std::runtime_error(
        "there is no file to save wisdom to: LINNET_WISDOM is set to nothing, or there is no home");
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error("cannot write wisdom to " + path_ + ": " + what);
  };
  const Contents contents = read(path_);
  if (contents.exists && !contents.is_wisdom) fail(contents.why_not);

  Layers merged;
  const std::string here = machine_();
  std::ostringstream text;
  text << kFormat << kVersion << "\n";
  for (const auto& block : contents.blocks) {
    if (block.machine != here) {
      text << "\n" << block.machine;
      for (const std::string& line : block.lines) text << line << "\n";
      continue;
    }
    std::string key;
    Times times;
    for (const std::string& line : block.lines) {
      if (parse(line, &key, &times)) add(merged[key], times);
    }
  }
  for (const auto& [key, times] : layers_) add(merged[key], times);
  text << "\n" << here;
  text.precision(4);
  for (const auto& [key, times] : merged) {
    text << key << " = ";
    for (size_t i = 0; i < times.size(); ++i)
      text << (i ? ", " : "") << times[i].first << " " << times[i].second;
    text << "\n";
  }

  const std::filesystem::path target(path_);
  std::error_code error;
  if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), error);
  if (error) fail(error.message());
  std::string temporary = path_ + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0) fail(std::strerror(errno));
  const std::string bytes = text.str();
  size_t written = 0;
  int code = 0;
  while (written < bytes.size() && !code) {
    const ssize_t n = write(file, bytes.data() + written, bytes.size() - written);
    if (n >= 0) {
      written += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      code = errno;
    }
  }
  if (close(file) != 0 && !code) code = errno;
  if (!code && std::rename(temporary.c_str(), path_.c_str()) != 0) code = errno;
  if (code) {
    unlink(temporary.c_str());
    fail(std::strerror(code));
  }
}

}  // namespace linnet
