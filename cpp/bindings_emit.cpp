// The Python module: networks compiled ahead, as numbers and bytes.
#include "bindings.h"
#include "emit/emit.h"
#include "graph/builder.h"

namespace linnet {
namespace {

py::tuple to_tuple(const EmittedPlace& place) { return py::make_tuple(place.base, place.offset); }

py::dict to_dict(const EmittedStep& step) {
  py::dict d;
  d["name"] = readable(step.name), d["op"] = step.op, d["algorithm"] = step.algorithm;
  d["problem"] = step.problem, d["seconds"] = step.seconds, d["measured"] = step.measured;
  d["code"] = step.code;
  d["args"] = py::bytes(step.args);
  d["x"] = to_tuple(step.x), d["z"] = to_tuple(step.z), d["y"] = to_tuple(step.y);
  d["workspace"] = to_tuple(step.workspace);
  py::list weights;
  for (const EmittedPlace& place : step.weights) weights.append(to_tuple(place));
  d["weights"] = weights;
  d["chain"] = py::bytes(step.chain);
  d["rows"] = to_tuple(step.rows);
  return d;
}

py::dict program(Emission& emission, int64_t batch) {
  EmittedProgram emitted;
  {
    const GilRelease release;
    emitted = emission.program(batch);
  }
  py::dict d;
  d["batch"] = emitted.batch, d["arena"] = emitted.arena, d["seconds"] = emitted.seconds;
  py::list steps;
  for (const EmittedStep& step : emitted.steps) steps.append(to_dict(step));
  d["steps"] = steps;
  return d;
}

// Names, shapes of so many images, 0 where any number of them will do, types, and what integers
// stand for: scale and zero point.
py::list values(const Graph& graph, const std::vector<int>& indices) {
  py::list list;
  for (const int i : indices) {
    const Value& v = graph.values[i];
    const Quantization q = quantization_of(graph, i);
    list.append(
        py::make_tuple(v.name, v.shape(), numpy_type(v.type.dtype), double{q.scale}, q.zero));
  }
  return list;
}

}  // namespace

void define_emission(py::module_& m) {
  py::class_<Emission>(m, "Emission")
      .def(py::init([](const GraphBuilder& builder, const std::string& isa,
                       const std::string& outline, const std::string& architecture,
                       const std::string& cpuinfo, const py::kwargs& given) {
             const SessionOptions options = session_options(given);
             std::shared_ptr<const Graph> graph = builder.build();
             if (!options.weights_dtype.empty())
               graph = with_weights(*graph, weight_type(options.weights_dtype));
             const Target target{isa, outline, architecture, cpuinfo, std::max(1, options.threads)};
             return std::make_unique<Emission>(std::move(graph), target, options);
           }),
           py::arg("graph"), py::arg("isa") = "", py::arg("outline") = "",
           py::arg("architecture") = "", py::arg("cpuinfo") = "")
      .def("program", program)
      .def_property_readonly("features", &Emission::features)
      .def_property_readonly("kernels", &Emission::kernels)
      .def_property_readonly("numbers", [](const Emission& e) { return e.outline().numbers; })
      .def_property_readonly("weights", [](const Emission& e) { return py::bytes(e.weights()); })
      .def_property_readonly("inputs",
                             [](const Emission& e) { return values(e.graph(), e.graph().inputs); })
      .def_property_readonly("outputs",
                             [](const Emission& e) { return values(e.graph(), e.graph().outputs); })
      .def("wisdom_note", [](Emission& e) { return readable(e.wisdom_note()); });
}

}  // namespace linnet
