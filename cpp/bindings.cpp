// The Python module `linnet._core`: graphs and sessions.

#include "bindings.h"

#include <algorithm>

#include "formats/onnx_reader.h"
#include "ops/op.h"
#include "run/cgroup.h"

namespace linnet {

// Text that may hold names of files in any encoding, which are shown escaped.
py::str readable(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
}

// Keeps a Python object alive from C++ code that may drop it without holding the GIL.
std::shared_ptr<const void> keep_alive(const py::object& object) {
  PyObject* raw = object.inc_ref().ptr();
  return std::shared_ptr<const void>(raw, [](const void* p) {
    const py::gil_scoped_acquire gil;
    Py_DECREF(static_cast<PyObject*>(const_cast<void*>(p)));
  });
}

py::dtype numpy_type(DType type) {
  switch (type) {
    case DType::kF32:
      return py::dtype::of<float>();
    case DType::kF16:
      return py::dtype("float16");
    case DType::kI8:
      return py::dtype::of<int8_t>();
    case DType::kU8:
      return py::dtype::of<uint8_t>();
    case DType::kI16:
      return py::dtype::of<int16_t>();
    case DType::kI32:
      return py::dtype::of<int32_t>();
    case DType::kI64:
      return py::dtype::of<int64_t>();
    case DType::kBool:
      return py::dtype::of<bool>();
  }
  throw std::logic_error("no such type");
}

bool is_of(const py::array& array, const py::dtype& type) {
  return py::detail::npy_api::get().PyArray_EquivTypes_(array.dtype().ptr(), type.ptr());
}

Search parse_search(const std::string& search) {
  if (search == "estimate") return Search::kEstimate;
  if (search == "fast") return Search::kFast;
  if (search == "full") return Search::kFull;
  throw std::invalid_argument("search is '" + search + "', expected estimate, fast or full");
}

namespace {

constexpr int kDense = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;

DType core_type(const py::dtype& type) {
  for (int i = 0; i < kDTypes; ++i) {
    const auto each = static_cast<DType>(i);
    if (type.equal(numpy_type(each))) return each;
  }
  throw std::invalid_argument("there is no type " + py::cast<std::string>(py::str(type)));
}

// The array, or a copy that lies densely. NumPy's errors stay, which ensure() drops.
py::array dense(const py::array& array) {
  if ((array.flags() & kDense) == kDense) return array;
  const auto& numpy = py::detail::npy_api::get();
  PyObject* made =
      numpy.PyArray_FromAny_(array.ptr(), array.dtype().release().ptr(), 0, 0,
                             py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_ | kDense, nullptr);
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(made);
}

// A list of integers, of numbers of which some are reals, or of strings.
Attribute to_list_attribute(const py::handle& value) {
  const auto items = py::cast<py::sequence>(value);
  bool reals = false;
  for (const py::handle item : items) {
    if (py::isinstance<py::str>(item)) return py::cast<std::vector<std::string>>(value);
    reals |= py::isinstance<py::float_>(item);
  }
  if (reals) return py::cast<std::vector<double>>(value);
  return py::cast<std::vector<int64_t>>(value);
}

Attributes to_attributes(const py::dict& dict) {
  Attributes attributes;
  for (const auto& [key, value] : dict) {
    const auto name = py::cast<std::string>(key);
    if (py::isinstance<py::str>(value)) {
      attributes[name] = py::cast<std::string>(value);
    } else if (py::isinstance<py::float_>(value)) {
      attributes[name] = py::cast<double>(value);
    } else if (PyIndex_Check(value.ptr())) {
      attributes[name] = py::cast<int64_t>(value);
    } else {
      attributes[name] = to_list_attribute(value);
    }
  }
  return attributes;
}

// A constant tensor; floats are borrowed from the array.
Weight to_weight(const std::string& name, const py::array& array) {
  Weight w;
  w.name = name;
  w.shape.assign(array.shape(), array.shape() + array.ndim());
  if (py::isinstance<py::array_t<float>>(array)) {
    if ((array.flags() & kDense) != kDense)
      throw std::invalid_argument("initializer '" + name + "' is not C-contiguous and aligned");
    w.data = static_cast<const float*>(array.data()), w.owner = keep_alive(array);
  } else if (py::isinstance<py::array_t<int64_t>>(array)) {
    const auto dense = py::array_t<int64_t, py::array::c_style>::ensure(array);
    w.integers.assign(dense.data(), dense.data() + dense.size());
  } else {
    w.type = core_type(array.dtype());
    if (!is_byte(w.type) || (array.flags() & kDense) != kDense)
      throw std::invalid_argument("initializer '" + name + "' is " +
                                  py::cast<std::string>(py::str(array.dtype())) +
                                  ", not dense float32, int64, int8 or uint8");
    w.stored = array.data(), w.owner = keep_alive(array);
  }
  return w;
}

void add_initializer(GraphBuilder& builder, const std::string& name, const py::array& array) {
  Weight w = to_weight(name, array);
  if (w.stored) {
    builder.initializer(name, std::move(w));
  } else if (w.data) {
    builder.initializer(name, w.shape, w.data, w.owner);
  } else {
    builder.initializer(name, w.shape, w.integers);
  }
}

// An activation's shape and type, a constant, or None where an optional input is absent.
Weight to_input(const py::handle& given) {
  if (py::isinstance<py::array>(given)) return to_weight("", py::cast<py::array>(given));
  Weight activation;
  if (!given.is_none()) {
    const auto [shape, dtype] = py::cast<std::pair<Shape, py::dtype>>(given);
    activation.shape = shape, activation.type = core_type(dtype);
  }
  return activation;
}

// Whether an array's shape is one that a value may have: free sizes are 0.
bool matches(const Shape& given, const Shape& wanted) {
  bool same = given.size() == wanted.size();
  for (size_t axis = 1; axis < wanted.size() && same; ++axis)
    same = given[axis] == wanted[axis] || (wanted[axis] == 0 && given[axis] > 0);
  return same;
}

// The batch that `arrays` agree on; throws for a wrong dtype or shape, naming every wrong one.
int64_t checked_batch(const Graph& graph, const std::vector<int>& values,
                      const std::vector<py::array>& arrays, bool writable) {
  if (arrays.size() != values.size()) {
    throw std::invalid_argument("got " + std::to_string(arrays.size()) +
                                (writable ? " outputs" : " inputs") + ", the model has " +
                                std::to_string(values.size()));
  }
  std::string problems;
  int64_t batch = -1;  // over own_images()
  for (size_t i = 0; i < values.size(); ++i) {
    const Value& value = graph.values[values[i]];
    const py::array& a = arrays[i];
    const Shape shape(a.shape(), a.shape() + a.ndim());
    const auto complain = [&](const std::string& what) {
      problems += (problems.empty() ? "'" : "; '") + value.name + "' " + what;
    };
    const auto text = [&] {
      std::string all = "(";
      for (int64_t d : shape) all += (all.size() > 1 ? ", " : "") + std::to_string(d);
      return all + ")";
    };
    const py::dtype wanted = numpy_type(value.type.dtype);
    if (!is_of(a, wanted)) {
      complain("has dtype " + py::cast<std::string>(py::str(a.dtype())) + ", expected " +
               py::cast<std::string>(py::str(wanted)));
    } else if (!matches(shape, value.shape())) {
      const bool last =
          shape.size() == 4 && matches({shape[0], shape[3], shape[1], shape[2]}, value.shape());
      complain("has shape " + text() + ", expected " + to_string(value.shape()) +
               (last ? " (channels first: transpose with x.transpose(0, 3, 1, 2))" : ""));
    } else if (shape[0] < 1 || shape[0] % graph.own_images(values[i]) != 0) {
      complain("has shape " + text() +
               (shape[0] < 1 ? ": the batch is empty" : ", expected " + to_string(value.shape())));
    } else if (batch >= 0 && shape[0] / graph.own_images(values[i]) != batch) {
      complain("has a batch of " + std::to_string(shape[0]) + ", others have " +
               std::to_string(batch));
    } else if (writable && ((a.flags() & kDense) != kDense || !a.writeable())) {
      complain("must be aligned, C-contiguous and writable");
    } else {
      batch = shape[0] / graph.own_images(values[i]);
    }
  }
  if (!problems.empty()) throw std::invalid_argument((writable ? "output " : "input ") + problems);
  return batch * graph.own_images(graph.inputs[0]);
}

std::vector<int> wanted_values(const Graph& graph, const std::vector<std::string>& names) {
  if (names.empty()) return graph.outputs;
  std::vector<int> wanted;
  std::string missing;
  for (const std::string& name : names) {
    const int value = graph.find_value(name);
    if (value < 0) {
      missing += (missing.empty() ? "'" : ", '") + name + "'";
    } else if (!std::count(wanted.begin(), wanted.end(), value)) {
      wanted.push_back(value);
    } else {
      throw std::invalid_argument("'" + name + "' is asked for twice");
    }
  }
  if (!missing.empty()) throw std::invalid_argument("the model has no value " + missing);
  return wanted;
}

// Whether a value is rows of which callers are given those that are there.
bool is_found(const Graph& graph, int value) {
  const int producer = graph.values[value].producer;
  return producer >= 0 && graph.nodes[producer].op->finds;
}

template <typename T>
py::array found_rows(const py::array& rows, std::vector<py::ssize_t> shape, size_t axis) {
  const py::ssize_t columns = rows.shape(2);
  const T* from = static_cast<const T*>(rows.data());
  std::vector<T> found;
  for (py::ssize_t i = 0; i < rows.shape(0) * rows.shape(1); ++i, from += columns) {
    if (from[0] < 0) continue;
    found.push_back(static_cast<T>(i / rows.shape(1)));
    found.insert(found.end(), from + 1, from + columns);
  }
  shape[axis] = static_cast<py::ssize_t>(found.size()) / columns;
  py::array_t<T> all(shape);
  std::copy(found.begin(), found.end(), all.mutable_data());
  return std::move(all);
}

// [images, rows, columns] without rows that begin with -1, and with the number of its image in
// front of each other: as Caffe's DetectionOutput has them or, of places, ONNX's NonMaxSuppression.
py::array found_rows(const py::array& rows) {
  if (rows.shape(2) == 3) return found_rows<int64_t>(rows, {0, 3}, 0);
  return found_rows<float>(rows, {1, 1, 0, 7}, 2);
}

py::list to_list(const std::vector<StepReport>& reports, const std::vector<StepTime>* times) {
  py::list list;
  for (size_t i = 0; i < reports.size(); ++i) {
    const StepReport& r = reports[i];
    py::dict d;
    d["name"] = r.name;
    d["op"] = r.op;
    d["problem"] = r.choice.problem.key();
    d["algorithm"] = r.choice.algorithm->name();
    d["uses_kernels"] = r.choice.algorithm->uses_kernels();
    d["macs"] = r.choice.problem.macs();
    d["batch"] = r.choice.problem.n;
    d["estimate"] = r.choice.seconds;
    d["measured"] = r.choice.source == Source::kMeasured;
    d["rows"] = r.rows;
    py::list candidates;
    for (const Candidate& c : r.choice.candidates) {
      py::dict e;
      e["algorithm"] = c.algorithm->name();
      e["seconds"] = c.refusal.empty() ? py::object(py::float_(c.seconds)) : py::object(py::none());
      e["refusal"] = c.refusal;
      e["measured"] = c.source == Source::kMeasured;
      candidates.append(e);
    }
    d["candidates"] = candidates;
    if (times) {
      const StepTime t = i < times->size() ? (*times)[i] : StepTime();
      d["seconds"] = t.seconds;
      py::dict phases;
      if (t.phases.product > 0) {
        phases["input transform"] = t.phases.input;
        phases["multiplication"] = t.phases.product;
        phases["output transform"] = t.phases.output;
      }
      d["phases"] = phases;
    }
    list.append(d);
  }
  return list;
}

// A Session and the conversions around it.
class PySession {
 public:
  PySession(std::shared_ptr<const Graph> graph, SessionOptions options) {
    const GilRelease release;
    session_ = std::make_unique<Session>(std::move(graph), std::move(options));
  }
  ~PySession() {
    // Its workers are joined and its weights' owners dropped, which takes the GIL.
    const GilRelease release;
    session_.reset();
  }

  py::list run(const std::vector<py::array>& inputs, const std::vector<std::string>& names,
               const py::object& out, std::vector<StepTime>* times) {
    const Graph& graph = session_->graph();
    const std::vector<int> wanted = wanted_values(graph, names);
    const int64_t batch = checked_batch(graph, graph.inputs, inputs, false);
    std::vector<Shape> shapes;
    if (graph.open)
      for (const py::array& a : inputs) shapes.emplace_back(a.shape(), a.shape() + a.ndim());
    const Session::Resolved resolved = session_->resolved(shapes);
    std::vector<py::array> given, results;
    std::vector<const void*> from;
    std::vector<void*> to;
    for (const py::array& a : inputs) {
      given.push_back(dense(a));
      from.push_back(given.back().data());
    }
    const auto finds = [&](int value) { return is_found(graph, value); };
    if (!out.is_none()) {
      if (std::any_of(wanted.begin(), wanted.end(), finds))
        throw std::invalid_argument(
            "out cannot hold an output whose size depends on what is found");
      results = py::cast<std::vector<py::array>>(out);
      if (checked_batch(*resolved, wanted, results, true) != batch)
        throw std::invalid_argument("out has another batch than the input");
    } else {
      for (int value : wanted) {
        const TensorType& known = resolved->values[value].type;
        std::vector<py::ssize_t> shape(known.shape.begin(), known.shape.end());
        shape[0] = Session::images(*resolved, batch, value);
        results.emplace_back(numpy_type(known.dtype), shape);
      }
    }
    for (py::array& a : results) to.push_back(a.mutable_data());
    {
      const GilRelease release;
      session_->run(resolved, batch, from, wanted, to, times);
    }
    py::list list;
    for (size_t i = 0; i < results.size(); ++i)
      list.append(finds(wanted[i]) ? found_rows(results[i]) : results[i]);
    return list;
  }

  py::list profile(const std::vector<py::array>& inputs, const std::vector<std::string>& names) {
    std::vector<StepTime> times;
    run(inputs, names, py::none(), &times);
    return to_list(steps(inputs[0].shape(0), names), &times);
  }

  py::list plan(int64_t batch, const std::vector<std::string>& names) {
    return to_list(steps(batch, names), nullptr);
  }

  std::string dump(int64_t batch, const std::vector<std::string>& names) {
    const std::vector<int> wanted = wanted_values(session_->graph(), names);
    const GilRelease release;
    return session_->dump(session_->resolved(), batch, wanted);
  }

  py::list values(const std::vector<int>& indices) const {
    py::list list;
    for (int i : indices) {
      const Value& v = session_->graph().values[i];
      Shape shape = v.shape();
      if (is_found(session_->graph(), i)) shape = shape[2] == 3 ? Shape{0, 3} : Shape{1, 1, 0, 7};
      list.append(py::make_tuple(v.name, shape, numpy_type(v.type.dtype)));
    }
    return list;
  }

  Session& session() { return *session_; }

 private:
  std::vector<StepReport> steps(int64_t batch, const std::vector<std::string>& names) {
    const std::vector<int> wanted = wanted_values(session_->graph(), names);
    const GilRelease release;  // another caller may be running
    return session_->plan(session_->resolved(), batch, wanted);
  }

  std::unique_ptr<Session> session_;
};

py::dict to_dict(const OpenBlas& blas) {
  py::dict d;
  d["path"] = readable(blas.path);
  d["core"] = blas.openblas_get_corename();
  d["config"] = blas.openblas_get_config();
  d["threading"] = blas.threading;
  d["warning"] = blas.warning;
  return d;
}

}  // namespace
}  // namespace linnet

PYBIND11_MODULE(_core, m) {
  using namespace linnet;

  // Looks NumPy's interface up now instead of in the first call of a session.
  py::dtype::of<float>();
  if (const char* problem = cpu_problem()) throw py::import_error(problem);
  m.attr("__version__") = LINNET_VERSION;
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(std::move(error));
    } catch (const py::builtin_exception&) {
      throw;
    } catch (const std::invalid_argument& e) {
      py::set_error(PyExc_ValueError, readable(e.what()));
    } catch (const std::runtime_error& e) {
      py::set_error(PyExc_RuntimeError, readable(e.what()));
    }
  });

  py::class_<GraphBuilder, std::shared_ptr<GraphBuilder>>(m, "GraphBuilder")
      .def(py::init<std::string>(), py::arg("name") = "")
      .def(
          "input",
          [](GraphBuilder& b, const std::string& name, const Shape& shape,
             const py::object& dtype) {
            b.input(name, shape, core_type(py::dtype::from_args(dtype)));
          },
          py::arg("name"), py::arg("shape"), py::arg("dtype") = "float32")
      .def("initializer", &add_initializer, py::arg("name"), py::arg("array"))
      .def(
          "node",
          [](GraphBuilder& b, const std::string& op, const std::string& name,
             const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
             const py::dict& attrs) { b.node(op, name, inputs, outputs, to_attributes(attrs)); },
          py::arg("op"), py::arg("name"), py::arg("inputs"), py::arg("outputs"), py::arg("attrs"))
      .def("output", &GraphBuilder::output, py::arg("name"))
      .def("shape", &GraphBuilder::shape, py::arg("value"))
      .def(
          "dtype",
          [](const GraphBuilder& b, const std::string& value) { return numpy_type(b.type(value)); },
          py::arg("value"));

  m.def(
      "infer_type",
      [](const std::string& op, const py::dict& attrs, const py::sequence& inputs) {
        std::vector<Weight> given;
        for (const py::handle& input : inputs) given.push_back(to_input(input));
        const TensorType type = infer_type(op, to_attributes(attrs), given);
        return std::make_pair(type.shape, numpy_type(type.dtype));
      },
      py::arg("op"), py::arg("attrs"), py::arg("inputs"));
  m.def(
      "read_onnx", [](const std::string& path) { return read_onnx(path); }, py::arg("path"),
      py::call_guard<GilRelease>());

  py::class_<PySession>(m, "Session")
      .def(py::init([](const GraphBuilder& builder, const py::kwargs& options) {
             SessionOptions read = session_options(options);  // wrong ones are named first
             return std::make_unique<PySession>(builder.build(), std::move(read));
           }),
           py::arg("graph"))
      .def(
          "run",
          [](PySession& s, const std::vector<py::array>& inputs,
             const std::vector<std::string>& wanted,
             const py::object& out) { return s.run(inputs, wanted, out, nullptr); },
          py::arg("inputs"), py::arg("wanted"), py::arg("out"))
      .def("profile", &PySession::profile, py::arg("inputs"), py::arg("wanted"))
      .def("plan", &PySession::plan, py::arg("batch"), py::arg("wanted"))
      .def("dump", &PySession::dump, py::arg("batch"), py::arg("wanted"))
      .def_property_readonly("inputs",
                             [](PySession& s) { return s.values(s.session().graph().inputs); })
      .def_property_readonly("outputs",
                             [](PySession& s) { return s.values(s.session().graph().outputs); })
      .def_property_readonly("values",
                             [](PySession& s) {
                               std::vector<int> all(s.session().graph().values.size());
                               for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
                               return s.values(all);
                             })
      .def_property_readonly("name", [](PySession& s) { return s.session().graph().name; })
      .def_property_readonly("threads", [](PySession& s) { return s.session().threads(); })
      .def_property_readonly("isa", [](PySession& s) { return s.session().isa(); })
      .def("wisdom_note",
           [](PySession& s) {
             std::string note;
             {
               const GilRelease release;
               note = s.session().wisdom_note();
             }
             return readable(note);
           })
      .def_property_readonly("weights_note",
                             [](PySession& s) { return s.session().weights_note(); })
      .def(
          "save_wisdom", [](PySession& s) { s.session().save_wisdom(); },
          py::call_guard<GilRelease>())
      .def(
          "peak", [](PySession& s) { return s.session().peak(); }, py::call_guard<GilRelease>())
      .def_property_readonly("weight_bytes",
                             [](PySession& s) {
                               const GilRelease release;
                               return s.session().weight_bytes();
                             })
      .def_property_readonly("arena_bytes", [](PySession& s) {
        const GilRelease release;
        return s.session().arena_bytes();
      });

  m.def(
      "needs",
      [](const GraphBuilder& builder, int64_t batch, const py::kwargs& options) {
        SessionOptions read = session_options(options);
        Needs needs;
        {
          const GilRelease release;
          Session session(builder.build(), std::move(read), true);
          needs = session.needs(batch);
        }
        py::dict d;
        d["weights"] = needs.weights, d["plain"] = needs.plain, d["read"] = needs.read;
        d["arena"] = needs.arena, d["values"] = needs.values;
        d["callers"] = static_cast<int64_t>(needs.callers);
        d["available"] = static_cast<int64_t>(std::min(available_memory(), 1e18));
        return d;
      },
      py::arg("graph"), py::arg("batch"));
  m.def("session_options", &describe_options);
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (const char* const* isa = available_isas(); *isa; ++isa) names.push_back(*isa);
    return names;
  });
  m.def("default_isa", [] { return std::string(select_kernels("").isa); });
  m.def("default_threads", &default_threads);
  m.def("algorithms", [] {
    std::vector<std::string> names;
    for (const Algorithm* a : algorithms()) names.push_back(a->name());
    return names;
  });
  m.def(
      "find_blas",
      [](const std::string& request) -> py::object {
        std::string why;
        const OpenBlas* blas = find_openblas(request, &why);
        return blas ? py::object(to_dict(*blas)) : py::object(readable(why));
      },
      py::arg("request") = "",
      "A dict describing the OpenBLAS found, or a string saying why there is none.");

  m.def(
      "find_nnpack",
      [](const std::string& request) -> std::pair<bool, py::str> {
        std::string why;
        const NnPack* nnpack = nullptr;
        {
          const GilRelease release;
          nnpack = find_nnpack(request, &why);
        }
        return {nnpack != nullptr, readable(nnpack ? nnpack->path : why)};
      },
      py::arg("request") = "", "Whether an NNPACK was found, and its path or why there is none.");

  define_layer(m);
  define_emission(m);
}
