// libFuzzer target: whatever the bytes, read_onnx returns a graph all of whose weights can be read,
// or throws std::invalid_argument. Build with clang++ -fsanitize=fuzzer,address,undefined.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "formats/onnx_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A heap block of exactly this size, aligned as a mapping is, so that any read beyond it is seen.
  std::shared_ptr<uint8_t> copy(static_cast<uint8_t*>(std::malloc(size ? size : 1)), std::free);
  std::memcpy(copy.get(), data, size);
  try {
    const auto graph = linnet::read_onnx(copy.get(), size, copy, "fuzz")->build();
    volatile float sink = 0;
    for (const linnet::Weight& weight : graph->weights) {
      if (!weight.bytes()) continue;
      if (linnet::is_byte(weight.type) && weight.scales.empty()) continue;
      const linnet::Weight floats = weight.as(linnet::DType::kF32);
      for (int64_t i = 0; i < floats.count(); ++i) sink = floats.data[i];
    }
    (void)sink;
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
