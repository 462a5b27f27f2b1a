// What the files of the Python module `linnet._core` share. They translate between Python and the
// core, decide nothing, and are the only ones that know pybind11.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "session.h"

namespace linnet {

namespace py = pybind11;

// Runs its scope without the GIL. While the interpreter ends, Python makes a thread that wants the
// GIL back exit by unwinding, which pybind11's own guard turns into an abort; here it stops.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// Keeps a Python object alive from C++ code that may drop it without holding the GIL.
std::shared_ptr<const void> keep_alive(const py::object& object);

py::dtype numpy_type(DType type);
bool is_of(const py::array& array, const py::dtype& type);
Search parse_search(const std::string& search);
py::str readable(const std::string& text);

// Keywords, of which None stands for the default.
SessionOptions session_options(const py::kwargs& given);
// The options there are, as core/options.h declares them.
py::list describe_options();

// One layer on its own, for tests and layer benches.
void define_layer(py::module_& m);
// Networks compiled ahead.
void define_emission(py::module_& m);

}  // namespace linnet
