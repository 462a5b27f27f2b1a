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
  // The reals that integers of a quantized layer stand for: scale * (q - zero). They do not change
  // how fast it runs, and are no part of a key.
  float scale = 1;
  int32_t zero = 0;

  // Numbers from one channels-last pixel to the next, from one image to the next, and those of `n`
  // images from the first to the last.
  int64_t pixel(int width) const;
  int64_t image(int width) const;
  int64_t extent(int64_t n, int width) const;
  // The same in another layout, where it is no slice.
  Operand in(Layout other) const;
  // Has its integers stand for what those of `o` do.
  void scale_as(const Operand& o) { scale = o.scale, zero = o.zero; }
};

// Families of problems. An operator that fits one of them is a row in the table of operators, a
// family a struct below.
enum class Kind : uint8_t {
  kConv,
  kMatmul,
  kPool,
  kMap,
  kNormalize,
  kMove,
  kResize,
  kReduce,
  kGather,
  kDetect,
  kRegions,
  kProduct,
  kSample
};
constexpr int kKinds = 13;

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
// What becomes of a bin of a region: the largest pixel, or the mean of those of a channel of its
// own (ROIPooling and PSROIPooling of Caffe's forks), or of samples between pixels (RoiAlign).
enum class RegionCode : uint8_t { kMax, kOwnMean, kSampleMean, kSampleMax };
enum class ResizeCode : uint8_t { kNearest, kLinear, kCubic };
// How numbers of the output lie among those of the input, and which of two the nearest is, as
// ONNX's Resize has it.
enum class Coordinates : uint8_t {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfHalfPixelForNn,
  kTfCropAndResize
};
// What lies beyond an image's border: zeros, its last numbers, or the image mirrored.
enum class Beyond : uint8_t { kZeros, kBorder, kReflection };
enum class Nearest : uint8_t { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };

// Integers that a result is rounded to before it is those of y, a residual is added to it, or it is
// a factor; no part of a key.
struct Between {
  float scale = 0;  // 0: it is not rounded
  int32_t zero = 0;
  DType dtype = DType::kI8;
  Limits limits;  // of the reals, before
};

// What becomes of a layer's results before they are stored, in this order.
struct Epilogue {
  Between between;  // of integers
  Between gate;     // of integers: what a product's second factor, of the first, is rounded to
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
// Height and width become others, each number a weighted sum of some along each axis.
struct Resize {
  ResizeCode code = ResizeCode::kNearest;
  Coordinates coordinates = Coordinates::kHalfPixel;
  Nearest nearest = Nearest::kRoundPreferFloor;
  float scale[2] = {0, 0};       // height, width; 0: the quotient of the sizes
  float roi[4] = {0, 0, 1, 1};   // top, left, bottom, right of a crop, 1 the image's own size
  float cubic = -0.75f;          // the coefficient of cubic interpolation
  bool antialias = false;        // where the output is smaller, sums of all that it covers
  bool exclude_outside = false;  // else the border's numbers go on outside
  float outside = 0;             // what a crop has outside the image

  // Whether it is defined for integers of 8 bits: docs/numerics.md.
  bool of_bytes() const {
    return code != ResizeCode::kCubic && !antialias && coordinates != Coordinates::kTfCropAndResize;
  }
};
struct Reduce {
  ReduceCode code = ReduceCode::kSum;
  bool axes[3] = {false, false, false};  // channels, height, width
  int64_t top = 1;                       // of places: how many, the best first
};
// Rows of x that z names: z is [1, rows], or of y's dims, a row for each of its numbers. Negative
// ones count from the last row; those beyond give zeros.
struct Gather {
  bool elements = false;
  bool constant = false;  // one z for all images of the batch
};
// The boxes that stay of many that overlap. x is [boxes, 1 or classes, 4], z the scores, [boxes, 1,
// classes] or, if they are planar, [classes, 1, boxes]. y is rows of 7: 0 (-1 where there are no
// more), class, score, box; or of 3, if it is integers: 0 (or -1), class, place of the box.
struct Detect {
  int64_t classes = 1;
  int64_t background = -1;  // class that is not looked for; -1: none
  bool centers = false;     // x is centres and sizes, not corners
  bool priors = false;      // x is relative to weights [boxes, 8]: see prepare_detect
  bool own = false;         // a box for each class
  bool planar = false;
  bool pixels = false;     // a box is one longer than its corners lie apart
  bool clip = false;       // boxes end where the image does, at 0 and 1
  bool grouped = false;    // rows are ordered by class before score
  int64_t candidates = 0;  // boxes of a class looked at, those of the highest scores; 0: all
  int64_t each = 0;        // boxes that stay of a class at most; 0: all
  // 0: each class for itself. Else boxes are compared by their highest score, and one that stays
  // comes with so many classes.
  int64_t together = 0;
  float score = 0, overlap = 1;  // only those above stay, those above go
  float eta = 1;                 // the second is multiplied by this for each box, while over 0.5
};
// Parts of images, each cut into bins. x is the images' channels one after the other; z is
// [regions, 1, 5], image, left, top, right, bottom; y is [regions, channels, bins].
struct Regions {
  RegionCode code = RegionCode::kMax;
  int64_t images = 1;
  int64_t bins[2] = {1, 1};  // rows, columns
  int64_t samples = 0;       // of a bin along each axis; 0: as many as it has pixels, rounded up
  float scale = 1;           // pixels of x for one of the numbers in z
  float offset = 0;          // added to those
};
// Matrices x [rows, terms], as many as x has channels, times as many z [terms, columns].
struct Product {};
// Numbers between those of an image, at the places z [rows, columns, 2] says: x and y, from -1
// to 1.
struct Sample {
  ResizeCode code = ResizeCode::kLinear;
  Beyond beyond = Beyond::kZeros;
  bool corners = false;  // -1 and 1 are the middles of the outermost numbers, not their borders
};
using Params = std::variant<Conv, Matmul, Pool, Map, Normalize, Move, Resize, Reduce, Gather,
                            Detect, Regions, Product, Sample>;

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
  const family::Resize& resize() const { return std::get<family::Resize>(params); }
  const family::Reduce& reduce() const { return std::get<family::Reduce>(params); }
  const family::Gather& gather() const { return std::get<family::Gather>(params); }
  const family::Detect& detect() const { return std::get<family::Detect>(params); }
  const family::Regions& regions() const { return std::get<family::Regions>(params); }
  const family::Sample& sample() const { return std::get<family::Sample>(params); }

  // Whether it is products with weights, their type, and how many each output channel has.
  bool weighted() const { return kind() == Kind::kConv || kind() == Kind::kMatmul; }
  // Whether its input are integers of 8 bits that stand for reals, which it computes with as such.
  bool quantized() const;
  DType weights() const;
  int64_t taps() const;
  // Numbers of x from the first to the last, for vectors of `width`.
  int64_t x_extent(int width) const;
  // Whether it reads a z.
  bool binary() const;
  // Dims of the convolution's own result, before a fused pool; of others those of y.
  Dims unpooled() const;
  // Multiply-adds for the whole batch; 0 for kinds without products.
  double macs() const;
  void scale_as(const Problem& p) { x.scale_as(p.x), y.scale_as(p.y), z.scale_as(p.z); }

  std::string key() const;
  // Throws std::invalid_argument naming the field.
  static Problem parse(const std::string& key);
};

const char* to_string(Kind kind);
const char* to_string(MapCode code);  // empty for a copy

}  // namespace linnet
