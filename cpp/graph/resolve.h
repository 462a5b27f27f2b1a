// The types of values: what follows from those of the inputs, node by node.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "graph/graph.h"

namespace linnet {

// The types of a node's outputs, where type_of(value) is that of any value before. Throws
// std::invalid_argument saying what does not fit.
std::vector<TensorType> node_types(const Graph& graph, const Node& node,
                                   const std::function<const TensorType&(int)>& type_of);

// The graph with the sizes that follow from these shapes of its inputs: with a free batch, whatever
// axis 0 is, if all operators keep that apart; else fixed. Throws std::invalid_argument naming the
// input or node that does not fit.
std::shared_ptr<const Graph> resolve(const Graph& graph, const std::vector<Shape>& inputs);

}  // namespace linnet
