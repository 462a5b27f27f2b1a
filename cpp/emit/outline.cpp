#include "emit/outline.h"

#include <cstring>
#include <sstream>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace linnet {
namespace {

// The members of a table.
// clang-format off: each version of it breaks such lines in another way
#define LINNET_NUMBERS(X)                                                                          \
  X(width) X(direct_vecs) X(direct_cols) X(ordered_vecs) X(weight_places) X(gemv_vecs)             \
  X(fourier_tiles) X(fourier_stored)
#define LINNET_KERNELS(X)                                                                          \
  X(direct) X(product) X(gemv) X(expand) X(depthwise) X(grouped) X(max_pool_row) X(average_pool_row) \
  X(resample) X(reduce_rows) X(reduce_all) X(max_pool_plane) X(average_pool_plane) X(map)          \
  X(normalize) X(cast) X(winograd_input) X(winograd_row) X(winograd_output)                        \
  X(winograd_line_input) X(winograd_line) X(energy) X(energies) X(squares) X(fourier_input)        \
  X(fourier_product) X(fourier_output) X(wide) X(bytes) X(widen) X(depthwise_wide)                 \
  X(depthwise_bytes) X(quantize) X(dequantize) X(look_up) X(integer_add) X(integer_multiply)       \
  X(integer_max) X(integer_average) X(integer_resample)
// clang-format on

// How many kernels a member has.
template <typename T>
constexpr size_t kSlots = 1;
template <typename T, size_t kCount>
constexpr size_t kSlots<T[kCount]> = kCount * kSlots<T>;
template <>
constexpr size_t kSlots<DepthwiseTiles> = kSlots<decltype(DepthwiseTiles::tile)>;
template <>
constexpr size_t kSlots<IntegerTiles> = kSlots<decltype(IntegerTiles::tile)>;

// Calls visit.number(name, number) and visit.kernel<i>(name, i-th kernel) for a member and all in
// it.
template <size_t kSlot, typename Visit, typename R, typename... Args>
void each(const Visit& visit, const std::string& name, R (*&kernel)(Args...)) {
  visit.template kernel<kSlot>(name, kernel);
}
template <size_t kSlot, typename Visit, typename T,
          typename = std::enable_if_t<std::is_arithmetic_v<T>>>
void each(const Visit& visit, const std::string& name, T& number) {
  visit.number(name, number);
}
template <size_t kSlot, typename Visit, typename T, size_t kCount, size_t... kIndex>
void each_of(const Visit& visit, const std::string& name, T (&array)[kCount],
             std::index_sequence<kIndex...>);
template <size_t kSlot, typename Visit, typename T, size_t kCount>
void each(const Visit& visit, const std::string& name, T (&array)[kCount]) {
  each_of<kSlot>(visit, name, array, std::make_index_sequence<kCount>());
}
template <size_t kSlot, typename Visit>
void each(const Visit& visit, const std::string& name, DepthwiseTiles& tiles) {
  each<kSlot>(visit, name + ".cols", tiles.cols);
  each<kSlot>(visit, name + ".tile", tiles.tile);
}
template <size_t kSlot, typename Visit>
void each(const Visit& visit, const std::string& name, IntegerTiles& tiles) {
  visit.number(name + ".vecs", tiles.vecs);
  each<kSlot>(visit, name + ".cols", tiles.cols);
  each<kSlot>(visit, name + ".tile", tiles.tile);
  visit.number(name + ".group", tiles.group);
  visit.number(name + ".by_lane", tiles.by_lane);
  visit.number(name + ".is_signed", tiles.is_signed);
  visit.number(name + ".pairs", tiles.pairs);
}
template <size_t kSlot, typename Visit>
void each(const Visit& visit, const std::string& name, DepthwiseIntegers& rows) {
  visit.template kernel<kSlot>(name + ".run", rows.run);
  visit.number(name + ".rows", rows.rows);
}
template <size_t kSlot, typename Visit, typename T, size_t kCount, size_t... kIndex>
void each_of(const Visit& visit, const std::string& name, T (&array)[kCount],
             std::index_sequence<kIndex...>) {
  (each<kSlot + kIndex * kSlots<T>>(visit, name + "[" + std::to_string(kIndex) + "]",
                                    array[kIndex]),
   ...);
}

enum Member : uint8_t {
#define LINNET_MEMBER(member) k_##member,
  LINNET_KERNELS(LINNET_MEMBER)
#undef LINNET_MEMBER
};
constexpr size_t kMemberSlots[] = {
#define LINNET_MEMBER(member) kSlots<decltype(Kernels::member)>,
    LINNET_KERNELS(LINNET_MEMBER)
#undef LINNET_MEMBER
};
constexpr size_t first_slot(size_t member) {
  size_t slot = 0;
  for (size_t i = 0; i < member; ++i) slot += kMemberSlots[i];
  return slot;
}
constexpr size_t kAllSlots = first_slot(sizeof kMemberSlots / sizeof *kMemberSlots);

template <typename Visit>
void each(const Visit& visit, Kernels& table) {
  visit.number("flops_per_cycle", table.flops_per_cycle);
#define LINNET_MEMBER(member) each<0>(visit, #member, table.member);
  LINNET_NUMBERS(LINNET_MEMBER)
#undef LINNET_MEMBER
#define LINNET_MEMBER(member) each<first_slot(k_##member)>(visit, #member, table.member);
  LINNET_KERNELS(LINNET_MEMBER)
#undef LINNET_MEMBER
}

struct Read {
  Outline* outline;
  template <typename T>
  void number(const std::string& name, T& number) const {
    if (number != T()) outline->numbers[name] = static_cast<double>(number);
  }
  template <size_t kSlot, typename F>
  void kernel(const std::string& name, F& kernel) const {
    if (kernel) outline->kernels.insert(name);
  }
};

thread_local bool was_called[kAllSlots];
thread_local bool energies_are_faulty;
thread_local int recorded_width;

template <size_t kSlot, typename... Args>
void record(Args...) {
  was_called[kSlot] = true;
}
void leave_energy(float* energy) { *energy = energies_are_faulty ? kInfinity : 0; }
void record_energy(const Energy& e, float* most, float* total) {
  was_called[first_slot(k_energy)] = true;
  for (int64_t i = 0; i < e.tiles; ++i) leave_energy(most + i), leave_energy(total + i);
}
void record_energies(const Energy& e, float* each) {
  was_called[first_slot(k_energies)] = true;
  for (int64_t i = 0; i < e.vecs * recorded_width; ++i) leave_energy(each + i);
}

void record_squares(const float*, int64_t, int64_t, ptrdiff_t, float* most, float* total) {
  was_called[first_slot(k_squares)] = true;
  leave_energy(most), leave_energy(total);
}

struct Fill {
  const Outline& outline;
  template <typename T>
  void number(const std::string& name, T& number) const {
    const auto found = outline.numbers.find(name);
    number = found == outline.numbers.end() ? T() : static_cast<T>(found->second);
  }
  template <size_t kSlot, typename... Args>
  void kernel(const std::string& name, void (*&kernel)(Args...)) const {
    kernel = outline.kernels.count(name) ? record<kSlot, Args...> : nullptr;
  }
};

struct Called {
  std::set<std::string>* names;
  template <typename T>
  void number(const std::string&, T&) const {}
  template <size_t kSlot, typename F>
  void kernel(const std::string& name, F&) const {
    if (was_called[kSlot]) names->insert(name);
  }
};

const char* const kOutlines =
#include "outlines.inc"
    ;

}  // namespace

Outline outline_of(const Kernels& table) {
  Outline outline;
  Kernels copy = table;
  each(Read{&outline}, copy);
  return outline;
}

std::string to_string(const Outline& outline) {
  std::ostringstream text;
  for (const auto& [name, number] : outline.numbers) text << name << " = " << number << '\n';
  // Runs of the last index, in a member's own order.
  std::map<std::string, std::set<int>> runs;
  for (const std::string& name : outline.kernels) {
    const size_t open = name.back() == ']' ? name.rfind('[') : name.size();
    std::set<int>& run = runs[name.substr(0, open)];
    if (open < name.size()) run.insert(std::stoi(name.substr(open + 1)));
  }
  for (const auto& [name, indices] : runs) {
    text << name;
    for (const int index : indices) {
      if (indices.count(index - 1)) continue;
      int last = index;
      while (indices.count(last + 1)) ++last;
      text << ' ' << index << '-' << last;
    }
    text << '\n';
  }
  return text.str();
}

Outline parse_outline(const std::string& text) {
  Outline outline;
  std::istringstream lines(text);
  for (std::string line, name, word; std::getline(lines, line);) {
    std::istringstream words(line);
    if (!(words >> name)) continue;
    bool alone = true;
    for (; words >> word; alone = false) {
      if (word == "=") {
        words >> outline.numbers[name];
        continue;
      }
      const int last = std::stoi(word.substr(word.find('-') + 1));
      for (int i = std::stoi(word); i <= last; ++i)
        outline.kernels.insert(name + "[" + std::to_string(i) + "]");
    }
    if (alone) outline.kernels.insert(name);
  }
  return outline;
}

Outline outline_of(const std::string& isa) {
  const std::string all = kOutlines, head = "\nisa " + isa + "\n";
  const size_t at = all.find(head);
  if (at == std::string::npos) throw std::invalid_argument("no outline of isa " + isa);
  const size_t begin = at + head.size(), end = all.find("\nisa ", begin);
  return parse_outline(all.substr(begin, end == std::string::npos ? end : end + 1 - begin));
}

RecordingKernels::RecordingKernels(const char* isa, const Outline& outline)
    : table_(std::make_unique<Kernels>()) {
  *table_ = {};
  each(Fill{outline}, *table_);
  table_->isa = isa;
  recorded_width = table_->width;
  if (table_->energy) table_->energy = record_energy;
  if (table_->energies) table_->energies = record_energies;
  if (table_->squares) table_->squares = record_squares;
  called();
}

std::set<std::string> RecordingKernels::called(bool faulty) {
  std::set<std::string> names;
  each(Called{&names}, *table_);
  std::memset(was_called, 0, sizeof was_called);
  energies_are_faulty = faulty;
  return names;
}

}  // namespace linnet
