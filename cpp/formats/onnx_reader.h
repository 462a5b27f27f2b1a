// Reads models in canonical ONNX, the one format linnet stores.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "graph/builder.h"

namespace linnet {

// Reads the ONNX file at `path`, which must be in canonical form (docs/architecture.md); other
// models are first rewritten by `linnet convert`. Weights stay in the file, small ones excepted,
// and are read from it whenever they are packed, which fails if it has been changed in place
// meanwhile; another file may take its name.
//
// The file is not trusted: whatever its bytes, the outcome is a graph or an exception, with memory
// bounded by a small multiple of its size. Throws std::invalid_argument naming the file and all
// nodes and tensors that do not fit.
std::shared_ptr<GraphBuilder> read_onnx(const std::string& path);

// The same for a file already in memory; `owner` keeps it alive and `name` stands for it in
// messages.
std::shared_ptr<GraphBuilder> read_onnx(const void* data, size_t size,
                                        std::shared_ptr<const void> owner, const std::string& name);

}  // namespace linnet
