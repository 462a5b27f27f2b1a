// The Python module: what a session is made with, from keywords.
#include <set>
#include <type_traits>

#include "bindings.h"
#include "core/options.h"

namespace linnet {
namespace {

// A Python function that C++ code may drop without holding the GIL.
struct GilFunction {
  py::function function;
  ~GilFunction() {
    const py::gil_scoped_acquire gil;
    function = py::function();
  }
};

// The value of an option, for a field of the core's.
template <typename T>
void assign(const Option& option, const py::handle& value, T* field) {
  try {
    if constexpr (std::is_same_v<T, Search>) {
      *field = parse_search(py::cast<std::string>(value));
    } else {
      *field = py::cast<T>(value);
    }
  } catch (const py::cast_error&) {
    const char* const expected[] = {"a whole number", "True or False", "a number of bytes",
                                    "a number of seconds", "a string"};
    throw std::invalid_argument(std::string(option.name) + " is " +
                                py::cast<std::string>(py::repr(value)) + ", expected " +
                                expected[static_cast<int>(option.kind)]);
  }
}

}  // namespace

SessionOptions session_options(const py::kwargs& given) {
  SessionOptions options;
  std::set<std::string> unknown;
  for (const auto& [name, value] : given) unknown.insert(py::cast<std::string>(name));
  const auto take = [&](const Option& option, auto& field) {
    if (unknown.erase(option.name) && !given[option.name].is_none())
      assign(option, given[option.name], &field);
  };
  visit_options(take, options);
  visit_tuning_options(take, options);
  if (unknown.erase("progress") && !given["progress"].is_none()) {
    // Shared, so that copies of the options need no GIL.
    auto call = std::make_shared<GilFunction>(GilFunction{given["progress"]});
    options.progress = [call](const Problem& p) {
      const py::gil_scoped_acquire gil;
      call->function(p.key());
    };
  }
  if (!unknown.empty()) throw py::type_error("a session has no option '" + *unknown.begin() + "'");
  return options;
}

py::list describe_options() {
  py::list all;
  SessionOptions defaults;
  bool tuning = false;
  const auto describe = [&](const Option& option, const auto& field) {
    const char* const kinds[] = {"count", "flag", "bytes", "seconds", "text"};
    py::dict d;
    d["name"] = option.name, d["kind"] = kinds[static_cast<int>(option.kind)];
    d["value"] = option.value, d["help"] = option.help;
    d["choices"] = py::str(option.choices).attr("split")();
    d["tuning"] = tuning;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Search>) {
      d["default"] = "estimate";
    } else if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::string>) {
      d["default"] = readable(field);
    } else {
      d["default"] = field;
    }
    all.append(d);
  };
  visit_options(describe, defaults);
  tuning = true;
  visit_tuning_options(describe, defaults);
  return all;
}

}  // namespace linnet
