// Parts of images that other values name.
#include "ops/op.h"
#include "problem/objection.h"

namespace linnet {
namespace {

Params read(NodeReader& node) {
  RegionsParams p;
  family::Regions& r = p.regions;
  const std::string mode = node.text("mode", "max");
  const char* const names[] = {"max", "own", "samples", "maxsample"};
  int code = 0;
  while (code < 4 && mode != names[code]) ++code;
  if (code == 4) refuse("mode '" + mode + "' is not supported");
  r.code = static_cast<RegionCode>(code);
  if (!node.integers("bins", r.bins, 2, 1)) refuse("bins is missing");
  r.images = node.integer("images", 1), r.samples = node.integer("samples", 0);
  if (r.images < 1 || r.images > kMaxAxis || r.samples < 0 || r.samples > 1024)
    refuse("images or samples are out of range");
  r.scale = static_cast<float>(node.real("scale", 1));
  r.offset = static_cast<float>(node.real("offset", 0));
  return p;
}

// Of x [N, images x channels, H, W] the regions [N, regions, 5]: [N, regions, channels, bins].
std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const family::Regions& r = std::get<RegionsParams>(params).regions;
  const Shape &x = inputs[0].shape, &regions = inputs[1].shape;
  require_rank(x, 4, "input");
  require_rank(regions, 3, "second input");
  if (regions[2] != 5) refuse("regions have shape " + to_string(regions));
  if (const char* why = objection(r, x[1])) refuse(why + (" " + to_string(x)));
  const int64_t bins = r.bins[0] * r.bins[1], own = r.code == RegionCode::kOwnMean ? bins : 1;
  return {{DType::kF32, {x[0], regions[1], x[1] / (r.images * own), bins}}};
}

Problem problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = std::get<RegionsParams>(node.params).regions;
  p.z.dims = graph.values[node.value(1)].dims();
  return p;
}

OpDef regions() {
  OpDef op{"Regions", {{Role::kActivation}, {Role::kActivation}}};
  op.read = read, op.types = types, op.problem = problem, op.planar = true;
  return op;
}

const RegisterOps kRegistered({regions()});

}  // namespace
}  // namespace linnet
