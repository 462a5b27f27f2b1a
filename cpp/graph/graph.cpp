#include "graph/graph.h"

namespace linnet {

int Graph::find_value(const std::string& wanted) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].name == wanted) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace linnet
