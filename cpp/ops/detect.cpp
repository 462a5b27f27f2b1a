// Boxes that stay of many that overlap.
#include "ops/op.h"
#include "problem/objection.h"

namespace linnet {
namespace {

int64_t positive(NodeReader& node, const char* name, int64_t fallback) {
  const int64_t value = node.integer(name, fallback);
  if (value < fallback || value > kMaxAxis) refuse(std::string(name) + " is out of range");
  return value;
}

Params read(NodeReader& node) {
  DetectParams p;
  family::Detect& d = p.detect;
  p.rows = positive(node, "rows", 1);
  p.places = node.flag("places");
  d.classes = positive(node, "classes", 1);
  d.background = positive(node, "background", -1);
  d.candidates = positive(node, "candidates", 0);
  d.each = positive(node, "each", 0);
  d.together = positive(node, "together", 0);
  d.centers = node.flag("centers"), d.own = node.flag("own"), d.planar = node.flag("planar");
  d.pixels = node.flag("pixels"), d.clip = node.flag("clip"), d.grouped = node.flag("grouped");
  d.score = static_cast<float>(node.real("score", 0));
  d.overlap = static_cast<float>(node.real("overlap", 1));
  d.eta = static_cast<float>(node.real("eta", 1));
  d.priors = node.constant(2) != nullptr;
  if (const char* why = objection(d)) refuse(why);
  return p;
}

// Boxes [N, boxes, 1 or classes, 4], scores [N, boxes, classes] or, planar, [N, classes, boxes],
// priors [boxes, 8].
std::vector<TensorType> types(const Params& params, const std::vector<TensorType>& inputs) {
  const auto& p = std::get<DetectParams>(params);
  const family::Detect& d = p.detect;
  const Shape &x = inputs[0].shape, &scores = inputs[1].shape;
  require_rank(x, 4, "input");
  require_rank(scores, 3, "second input");
  if (x[2] != (d.own ? d.classes : 1) || x[3] != 4) refuse("boxes have shape " + to_string(x));
  if (scores[d.planar ? 2 : 1] != x[1] || scores[d.planar ? 1 : 2] != d.classes)
    refuse("scores " + to_string(scores) + " do not fit boxes " + to_string(x));
  if (d.priors && inputs[2].shape != Shape{x[1], 8})
    refuse("priors " + to_string(inputs[2].shape) + " do not fit boxes " + to_string(x));
  if (p.places) return {{DType::kI64, {x[0], p.rows, 3}}};
  return {{DType::kF32, {x[0], p.rows, 7}}};
}

Problem problem(const Graph& graph, const Node& node) {
  Problem p;
  p.params = std::get<DetectParams>(node.params).detect;
  p.z.dims = graph.values[node.value(1)].dims();
  return p;
}

OpDef detect() {
  OpDef op{"Detections", {{Role::kActivation}, {Role::kActivation}, {Role::kWeight, true}}};
  op.read = read, op.types = types, op.problem = problem, op.planar = op.finds = true;
  return op;
}

const RegisterOps kRegistered({detect()});

}  // namespace
}  // namespace linnet
