#include "graph/graph.h"

namespace linnet {

int Graph::find_value(const std::string& wanted) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].name == wanted) return static_cast<int>(i);
  }
  return -1;
}

int Graph::integers_of(int value) const {
  if (value < 0 || values[value].producer < 0) return -1;
  const Node& node = nodes[values[value].producer];
  const auto* map = std::get_if<MapParams>(&node.params);
  return map && map->function.code == MapCode::kDequantize ? node.value(0) : -1;
}

}  // namespace linnet
