// The options a session is made with, declared once. Python's keywords (bindings.cpp), what C's
// linnet_options means (c_api.cpp), and the options of linnet-run and of the linnet command are
// made from this table; tests/test_options.py holds against it what is written by hand: the stub,
// the header, the signature of linnet.load.
#pragma once

#include <cstdint>

namespace linnet {

// What an option's value is: a whole number (0: the default); yes or no; a number of bytes (0: the
// default); seconds; a text.
enum class OptionKind : uint8_t { kCount, kFlag, kBytes, kSeconds, kText };

struct Option {
  const char* name;  // of the field and of Python's keyword; on a command line --name, with dashes
  OptionKind kind;
  const char* value;    // what stands for the value in a list of options; "" for a flag
  const char* help;     // one line
  const char* choices;  // the texts it may be, separated by blanks; "" for any
};

namespace option {

constexpr Option kThreads{"threads", OptionKind::kCount, "N",
                          "threads (default: one for every core)", ""};
constexpr Option kIsa{"isa", OptionKind::kText, "NAME",
                      "instruction set of the kernels (default: LINNET_ISA, else the best)", ""};
constexpr Option kAlgorithm{"algorithm", OptionKind::kText, "NAME",
                            "use this algorithm, or family, only, wherever it can", ""};
constexpr Option kStrict{"strict", OptionKind::kFlag, "",
                         "only algorithms that add up the products of the definition", ""};
constexpr Option kMemoryLimit{"memory_limit", OptionKind::kBytes, "SIZE",
                              "most bytes of packed weights and activations, as 300M", ""};
constexpr Option kWeightsDtype{
    "weights_dtype", OptionKind::kText, "TYPE",
    "f32, f16, int8, auto: of fully connected and 1x1 layers (default: the file's)",
    "f32 f16 int8 auto"};
constexpr Option kBlas{"blas", OptionKind::kText, "FILE",
                       "OpenBLAS or another BLAS; master or dl: of those linnet may come with", ""};
constexpr Option kNnpack{"nnpack", OptionKind::kText, "FILE",
                         "library that holds NNPACK (default: LINNET_NNPACK, else the system's)",
                         ""};

constexpr Option kSearch{"search", OptionKind::kText, "NAME",
                         "layers to measure: none, promising ones, all that are not hopeless",
                         "estimate fast full"};
constexpr Option kSeconds{"seconds", OptionKind::kSeconds, "S", "of measuring, at most", ""};
constexpr Option kKeep{"keep", OptionKind::kFlag, "", "do not measure again what wisdom knows", ""};
constexpr Option kWisdom{"wisdom", OptionKind::kText, "FILE",
                         "wisdom file (default: LINNET_WISDOM, else in ~/.cache); empty: none", ""};

}  // namespace option

// Calls visit(option, o.field...) for each option of a program that loads a model. Objects of any
// types with fields of these names are visited side by side.
template <typename Visit, typename... Objects>
void visit_options(const Visit& visit, Objects&... o) {
  visit(option::kThreads, o.threads...);
  visit(option::kIsa, o.isa...);
  visit(option::kAlgorithm, o.algorithm...);
  visit(option::kStrict, o.strict...);
  visit(option::kMemoryLimit, o.memory_limit...);
  visit(option::kWeightsDtype, o.weights_dtype...);
  visit(option::kBlas, o.blas...);
  visit(option::kNnpack, o.nnpack...);
}

// The same for what only `linnet tune` sets.
template <typename Visit, typename... Objects>
void visit_tuning_options(const Visit& visit, Objects&... o) {
  visit(option::kSearch, o.search...);
  visit(option::kSeconds, o.seconds...);
  visit(option::kKeep, o.keep...);
  visit(option::kWisdom, o.wisdom...);
}

}  // namespace linnet
