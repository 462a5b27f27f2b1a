// The Python module: one layer on its own, for tests and layer benches. Arrays are flat, in the
// layouts of the problem's text key.
#include "bindings.h"
#include "layer.h"

namespace linnet {
namespace {

using Floats = py::array_t<float, py::array::c_style>;

// A view of an array's floats.
std::optional<Weight> weight_of(const std::optional<Floats>& array) {
  if (!array) return std::nullopt;
  Weight w;
  w.shape.assign(array->shape(), array->shape() + array->ndim());
  w.data = array->data();
  w.owner = keep_alive(*array);
  return w;
}

py::dict dict_of(const family::Detect& f) {
  py::dict d;
  d["classes"] = f.classes, d["background"] = f.background, d["candidates"] = f.candidates;
  d["each"] = f.each, d["together"] = f.together, d["priors"] = f.priors, d["own"] = f.own;
  d["centers"] = f.centers, d["planar"] = f.planar, d["pixels"] = f.pixels, d["clip"] = f.clip;
  d["grouped"] = f.grouped, d["score"] = f.score, d["overlap"] = f.overlap, d["eta"] = f.eta;
  return d;
}

// Gives a problem the scales and zero points of its operands, by "x", "y", "z" and "between".
void set_scales(Problem& p, const std::map<std::string, std::pair<float, int>>& scales) {
  for (const auto& [name, given] : scales) {
    const auto [scale, zero] = given;
    if (name == "between") {
      p.end.between = {scale, zero, p.y.dtype, {}};
      continue;
    }
    Operand& o = name == "x" ? p.x : name == "y" ? p.y : p.z;
    o.scale = scale, o.zero = zero;
  }
}

}  // namespace

void define_layer(py::module_& m) {
  m.def(
      "refusal",
      [](const std::string& key, const std::string& name, const std::string& isa) {
        return refusal(Problem::parse(key), name, isa);
      },
      py::arg("problem"), py::arg("algorithm"), py::arg("isa"));
  m.def(
      "estimate",
      [](const std::string& key, const std::string& name, const std::string& isa) {
        return estimate(Problem::parse(key), name, isa);
      },
      py::arg("problem"), py::arg("algorithm"), py::arg("isa"));
  m.def(
      "choose",
      [](const std::string& key, const std::string& isa, const std::string& search,
         const std::optional<Floats>& weight, const std::optional<Floats>& bias) {
        const auto w = weight_of(weight), b = weight_of(bias);
        const Choice c = choose(Problem::parse(key), isa, parse_search(search), w ? &*w : nullptr,
                                b ? &*b : nullptr);
        return py::make_tuple(c.algorithm->name(), c.problem.key());
      },
      py::arg("problem"), py::arg("isa"), py::arg("search"), py::arg("weight") = py::none(),
      py::arg("bias") = py::none());
  m.def(
      "parse_problem",
      [](const std::string& key) {
        const Problem p = Problem::parse(key);
        const auto dims = [](const Dims& d) { return py::make_tuple(d.c, d.h, d.w); };
        py::dict d;
        const auto list = [](const int64_t* from, int count) {
          return std::vector<int64_t>(from, from + count);
        };
        d["key"] = p.key(), d["kind"] = to_string(p.kind()), d["n"] = p.n;
        d["in"] = dims(p.x.dims), d["out"] = dims(p.y.dims);
        d["in_dtype"] = numpy_type(p.x.dtype), d["out_dtype"] = numpy_type(p.y.dtype);
        d["in_layout"] = to_string(p.x.layout), d["out_layout"] = to_string(p.y.layout);
        d["in_pitch"] = p.x.pitch, d["out_pitch"] = p.y.pitch;
        d["threads"] = p.threads, d["macs"] = p.macs();
        d["weights"] = to_string(p.weights());
        if (p.kind() == Kind::kConv || p.kind() == Kind::kPool) {
          const Window& w = p.kind() == Kind::kConv ? p.conv().window : p.pool().window;
          d["kernel"] = list(w.kernel, 2), d["strides"] = list(w.stride, 2);
          d["pads"] = list(w.pad, 4), d["dilations"] = list(w.dilation, 2);
          d["ceil_mode"] = w.ceil, d["count_include_pad"] = w.include_pad;
        }
        if (p.kind() == Kind::kConv) d["group"] = p.conv().groups;
        if (p.kind() == Kind::kPool) d["average"] = p.pool().code == PoolCode::kAverage;
        if (p.kind() == Kind::kMove) {
          py::list steps;
          for (const Atom& a : p.move().atoms) steps.append(py::make_tuple(a.count, a.stride));
          d["first"] = p.move().first, d["steps"] = steps, d["image"] = p.move().image;
        }
        if (p.kind() == Kind::kReduce) {
          d["reduction"] = static_cast<int>(p.reduce().code);
          d["axes"] = std::vector<bool>(p.reduce().axes, p.reduce().axes + 3);
          d["top"] = p.reduce().top;
        }
        if (p.kind() == Kind::kGather) d["elements"] = p.gather().elements;
        if (p.kind() == Kind::kDetect) d["detect"] = dict_of(p.detect());
        if (p.kind() == Kind::kRegions) {
          const family::Regions& r = p.regions();
          d["mode"] = static_cast<int>(r.code), d["images"] = r.images;
          d["bins"] = list(r.bins, 2), d["samples"] = r.samples;
          d["scale"] = r.scale, d["offset"] = r.offset;
        }
        if (p.kind() == Kind::kSample) {
          const family::Sample& s = p.sample();
          d["mode"] = static_cast<int>(s.code), d["beyond"] = static_cast<int>(s.beyond);
          d["corners"] = s.corners;
        }
        if (p.kind() == Kind::kResize) {
          const family::Resize& r = p.resize();
          d["mode"] = static_cast<int>(r.code), d["coordinates"] = static_cast<int>(r.coordinates);
          d["nearest"] = static_cast<int>(r.nearest), d["cubic"] = r.cubic;
          d["scales"] = std::vector<float>(r.scale, r.scale + 2);
          d["roi"] = std::vector<float>(r.roi, r.roi + 4);
          d["antialias"] = r.antialias, d["exclude_outside"] = r.exclude_outside;
          d["outside"] = r.outside;
        }
        if (p.kind() == Kind::kNormalize) {
          const family::Normalize& n = p.normalize();
          d["axis"] = n.axis, d["size"] = n.size;
          d["numbers"] = py::make_tuple(n.a, n.b, n.c);
        }
        d["binary"] = p.binary(), d["operand"] = dims(p.z.dims), d["operand_pitch"] = p.z.pitch;
        d["operand_dtype"] = numpy_type(p.z.dtype);
        d["operand_constant"] = (p.kind() == Kind::kMap && p.map().z_constant) ||
                                (p.kind() == Kind::kGather && p.gather().constant);
        d["function"] = p.kind() == Kind::kMap ? to_string(p.map().code) : "";
        if (p.kind() == Kind::kNormalize)
          d["function"] = kNormalizeWords[static_cast<int>(p.normalize().code)];
        d["then"] = to_string(p.end.then.code);
        const Function& f = p.kind() == Kind::kMap ? p.map() : p.end.then;
        d["parameters"] = py::make_tuple(f.a, f.b);
        d["low"] = p.end.limits.low, d["high"] = p.end.limits.high;
        d["pool"] = list(p.end.pool, 2);
        return d;
      },
      py::arg("problem"));
  py::class_<Layer>(m, "Layer")
      .def(py::init([](const std::string& key, const std::string& name, const std::string& isa,
                       const std::optional<Floats>& weight, const std::optional<Floats>& bias,
                       const std::map<std::string, std::pair<float, int>>& scales) {
             const auto w = weight_of(weight), b = weight_of(bias);
             Problem problem = Problem::parse(key);
             set_scales(problem, scales);
             return std::make_unique<Layer>(problem, name, isa, w ? &*w : nullptr,
                                            b ? &*b : nullptr);
           }),
           py::arg("problem"), py::arg("algorithm"), py::arg("isa"), py::arg("weight") = py::none(),
           py::arg("bias") = py::none(),
           py::arg("scales") = std::map<std::string, std::pair<float, int>>())
      .def_property_readonly("width", &Layer::width)
      .def_property_readonly("x_count", &Layer::x_count)
      .def_property_readonly("y_count", &Layer::y_count)
      .def_property_readonly("operand_count", &Layer::operand_count)
      .def(
          "run",
          [](Layer& layer, const py::array& x, const std::optional<py::array>& operand, py::array y,
             int times, bool settle) {
            const Problem& p = layer.problem();
            const auto check = [](const py::array& a, int64_t count, DType type, const char* what) {
              if (a.ndim() != 1 || a.size() != count || !(a.flags() & py::array::c_style) ||
                  !is_of(a, numpy_type(type))) {
                throw std::invalid_argument(std::string(what) + " is not a flat array of " +
                                            std::to_string(count) + " " + to_string(type));
              }
            };
            check(x, layer.x_count(), p.x.dtype, "x");
            check(y, layer.y_count(), p.y.dtype, "y");
            if (operand) check(*operand, layer.operand_count(), p.z.dtype, "operand");
            if (!operand && layer.operand_count())
              throw std::invalid_argument("operand is missing");
            const void *from = x.data(), *second = operand ? operand->data() : nullptr;
            void* to = y.mutable_data();
            const GilRelease release;
            return layer.run(from, second, to, times, settle);
          },
          py::arg("x"), py::arg("operand"), py::arg("y"), py::arg("times") = 1,
          py::arg("settle") = false);
}

}  // namespace linnet
