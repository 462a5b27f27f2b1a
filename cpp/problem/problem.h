// Problem: everything that can change how fast one (fused) layer runs. Its text form is in key.h.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "core/activation.h"
#include "core/atoms.h"
#include "core/types.h"

namespace linnet {

// What one image of a problem's input or output is, and how it lies in memory.
struct Operand {
  DType dtype = DType::kF32;
  Dims dims;
  Layout layout = Layout::kNchw;
  // Channels of the image that it is a slice of: its own, padded to whole vectors if they are last,
  // lie among so many. 0 where it is an image of its own.
  int64_t pitch = 0;

  // Numbers from one channels-last pixel to the next, from one image to the next, and those of `n`
  // images from the first to the last.
  int64_t pixel(int width) const;
  int64_t image(int width) const;
  int64_t extent(int64_t n, int width) const;
  // The same in another layout, where it is no slice.
  Operand in(Layout other) const;
};

// Families of problems. An operator that fits one of them is a row in the table of operators, a
// family a struct below.
enum class Kind : uint8_t { kConv, kMatmul, kPool, kMap, kNormalize, kMove };
constexpr int kKinds = 6;

// Some kinds.
class Kinds {
 public:
  constexpr Kinds(std::initializer_list<Kind> kinds) {
    for (const Kind kind : kinds) bits_ |= 1u << static_cast<unsigned>(kind);
  }
  static constexpr Kinds all() {
    Kinds kinds({});
    kinds.bits_ = (1u << kKinds) - 1;
    return kinds;
  }
  constexpr bool has(Kind kind) const { return bits_ >> static_cast<unsigned>(kind) & 1; }

 private:
  unsigned bits_ = 0;
};

enum class PoolCode : uint8_t { kMax, kAverage };

// What becomes of a layer's results before they are stored, in this order.
struct Epilogue {
  bool residual = false;  // z, of the result's shape, is added
  Limits limits;
  int64_t pool[2] = {1, 1};  // window and stride of a max pool without padding
  Function then;             // of one input

  bool pooled() const { return pool[0] > 1 || pool[1] > 1; }
};

// What each family has besides; in the order of Kind.
namespace family {

struct Conv {
  Window window;
  int64_t groups = 1;
  DType weights = DType::kF32;
};
struct Matmul {  // fully connected: y = W x
  DType weights = DType::kF32;
};
struct Pool {
  PoolCode code = PoolCode::kMax;
  Window window;  // of a global pool the whole image
};
struct Map : Function {
  bool z_constant = false;  // one z for all images of the batch
};
struct Normalize {
  NormalizeCode code = NormalizeCode::kSoftmax;
  int axis = 1;  // 1 (channels) to 3
  // Where it has them: how many neighbours along the axis count, and three numbers.
  int64_t size = 0;
  float a = 0, b = 0, c = 0;
};
// A copy to another layout, or to some channels of an image that has more.
struct Move {
  int64_t first = 0;  // channel of y that the first one of x becomes
  // Where x is no image in any layout: where its numbers lie in the order of y's channels, rows and
  // columns, and how far its images lie apart.
  std::vector<Atom> atoms = {};
  int64_t image = 0;
};
using Params = std::variant<Conv, Matmul, Pool, Map, Normalize, Move>;

}  // namespace family

struct Problem {
  int64_t n = 1;
  // z is the residual, or a map's second operand, whose dims may be 1 where it broadcasts. It has
  // y's layout.
  Operand x, y, z;
  family::Params params;
  Epilogue end;
  int threads = 1;

  Kind kind() const { return static_cast<Kind>(params.index()); }
  const family::Conv& conv() const { return std::get<family::Conv>(params); }
  const family::Pool& pool() const { return std::get<family::Pool>(params); }
  const family::Map& map() const { return std::get<family::Map>(params); }
  const family::Normalize& normalize() const { return std::get<family::Normalize>(params); }
  const family::Move& move() const { return std::get<family::Move>(params); }

  // Whether it has weights, their type, and how many each output channel has.
  bool weighted() const { return kind() == Kind::kConv || kind() == Kind::kMatmul; }
  DType weights() const;
  int64_t taps() const;
  // Numbers of x from the first to the last, for vectors of `width`.
  int64_t x_extent(int width) const;
  // Whether it reads a z.
  bool binary() const;
  // Dims of the convolution's own result, before a fused pool; of others those of y.
  Dims unpooled() const;
  // Multiply-adds for the whole batch; 0 for kinds without weights.
  double macs() const;

  std::string key() const;
  // Throws std::invalid_argument naming the field.
  static Problem parse(const std::string& key);
};

const char* to_string(Kind kind);
const char* to_string(MapCode code);  // empty for a copy

}  // namespace linnet
