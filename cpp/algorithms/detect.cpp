// Boxes that stay of many that overlap: greedy suppression (Viola and Jones, 2001, in the form of
// Girshick et al., 2014), box by box from the highest score on.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct Found {
  float score;
  int32_t box;
};

// The higher score first; of equal ones the box that comes first.
bool before(const Found& a, const Found& b) {
  return a.score > b.score || (a.score == b.score && a.box < b.box);
}

struct DetectArgs {
  family::Detect d;
  bool places;  // of boxes, instead of the boxes
  int64_t n, boxes, rows;
  int64_t searches;                   // of an image: each for the boxes of a class, or of all
  int64_t most;                       // boxes that may stay of one
  int64_t found, stay, counts, kept;  // what follows the decoded boxes in the workspace, in bytes
};

int64_t own_boxes(const DetectArgs& a) { return a.d.own ? a.d.classes : 1; }

// A box from its code `x`, by the numbers of its prior.
void decode(const family::Detect& d, const float* x, const float* prior, float* box) {
  static const float kNone[] = {0, 0, 0, 0, 1, 1, 1, 1};
  const float* p = d.priors ? prior : kNone;
  if (d.centers) {
    for (int i = 0; i < 2; ++i) {
      const float center = x[i] * p[4 + i] + p[i];
      const float size = d.priors ? std::exp(x[2 + i] * p[6 + i]) * p[2 + i] : x[2 + i];
      box[i] = center - size / 2, box[2 + i] = center + size / 2;
    }
  } else {
    for (int i = 0; i < 4; ++i) box[i] = x[i] * p[4 + i] + p[i];
    // Without priors any two opposite corners do.
    for (int i = 0; i < 2 && !d.priors; ++i) {
      if (box[i] > box[2 + i]) std::swap(box[i], box[2 + i]);
    }
  }
  for (int i = 0; i < 4 && d.clip; ++i) box[i] = std::min(std::max(box[i], 0.0f), 1.0f);
}

float area(const float* box, float pixel) {
  if (box[2] < box[0] || box[3] < box[1]) return 0;
  return (box[2] - box[0] + pixel) * (box[3] - box[1] + pixel);
}

// Intersection over union.
float overlap(const float* a, const float* b, float pixel) {
  const float w = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const float h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (!(w >= 0 && h >= 0)) return 0;
  const float both = (w + pixel) * (h + pixel);
  return both > 0 ? both / (area(a, pixel) + area(b, pixel) - both) : 0;
}

// Sorts those of highest score to the beginning; how many, at most `most` of them if that is not 0.
int64_t best(Found* found, int64_t count, int64_t most) {
  if (most && most < count) {
    std::nth_element(found, found + most, found + count, before);
    count = most;
  }
  std::sort(found, found + count, before);
  return count;
}

// Numbers of an image, and where its parts of the workspace are.
struct Image {
  Image(const DetectArgs& a, const FloatOperands& o, int64_t image)
      : x(o.x + image * a.boxes * own_boxes(a) * 4),
        scores(o.operand + image * a.boxes * a.d.classes),
        boxes(o.workspace + image * a.boxes * own_boxes(a) * 4),
        stay(reinterpret_cast<Found*>(reinterpret_cast<char*>(o.workspace) + a.stay) +
             image * a.searches * a.most),
        counts(reinterpret_cast<int64_t*>(reinterpret_cast<char*>(o.workspace) + a.counts) +
               image * a.searches) {}

  const float *x, *scores;
  float* boxes;
  Found* stay;  // `most` of each search
  int64_t* counts;
};

float score_of(const DetectArgs& a, const Image& image, int64_t box, int64_t c) {
  return a.d.planar ? image.scores[c * a.boxes + box] : image.scores[box * a.d.classes + c];
}

const float* box_of(const DetectArgs& a, const Image& image, const Found& found, int64_t c) {
  return image.boxes + (found.box * own_boxes(a) + (a.d.own ? c : 0)) * 4;
}

// What a search looks at: the boxes above the least score, which are all above it or not a number.
int64_t look(const DetectArgs& a, const Image& image, int64_t search, Found* found) {
  int64_t count = 0;
  for (int64_t box = 0; box < a.boxes; ++box) {
    float score = -kInfinity;
    if (!a.d.together) score = score_of(a, image, box, search);
    for (int64_t c = 0; c < a.d.classes && a.d.together; ++c) {
      if (c != a.d.background) score = std::max(score, score_of(a, image, box, c));
    }
    if (score > a.d.score) found[count++] = {score, static_cast<int32_t>(box)};
  }
  return count;
}

void suppress(const DetectArgs& a, const Image& image, int64_t search, Found* found) {
  int64_t& count = image.counts[search] = 0;
  if (!a.d.together && search == a.d.background) return;
  const int64_t looked = best(found, look(a, image, search, found), a.d.candidates);
  Found* stay = image.stay + search * a.most;
  const float pixel = a.d.pixels ? 1.0f : 0.0f;
  float limit = a.d.overlap;
  for (int64_t i = 0; i < looked && count < a.most; ++i) {
    const bool stays = std::none_of(stay, stay + count, [&](const Found& other) {
      return overlap(box_of(a, image, found[i], search), box_of(a, image, other, search), pixel) >
             limit;
    });
    if (!stays) continue;
    stay[count++] = found[i];
    if (a.d.eta < 1 && limit > 0.5f) limit *= a.d.eta;
  }
}

// A row of the result: a box of a search that stays.
struct Kept {
  Found found;
  int32_t c;
};

bool by_class(const Kept& a, const Kept& b) {
  return a.c < b.c || (a.c == b.c && before(a.found, b.found));
}
bool by_score(const Kept& a, const Kept& b) {
  return a.found.score > b.found.score || (a.found.score == b.found.score && by_class(a, b));
}

// The classes of highest scores of a box that stays, in that order.
int64_t classes_of(const DetectArgs& a, const Image& image, const Found& found, Kept* kept) {
  int64_t count = 0;
  for (int32_t c = 0; c < a.d.classes; ++c) {
    if (c == a.d.background) continue;
    const Kept k{{score_of(a, image, found.box, c), found.box}, c};
    int64_t at = count < a.d.together ? count++ : a.d.together;
    for (; at > 0 && k.found.score > kept[at - 1].found.score; --at) {
      if (at < a.d.together) kept[at] = kept[at - 1];
    }
    if (at < a.d.together) kept[at] = k;
  }
  return count;
}

// All that stay of an image; how many.
int64_t collect(const DetectArgs& a, const Image& image, Kept* kept) {
  int64_t count = 0;
  for (int64_t s = 0; s < a.searches; ++s) {
    for (int64_t i = 0; i < image.counts[s]; ++i) {
      const Found& found = image.stay[s * a.most + i];
      if (a.d.together) {
        count += classes_of(a, image, found, kept + count);
      } else {
        kept[count++] = {found, static_cast<int32_t>(s)};
      }
    }
  }
  if (a.d.together) return std::min(count, a.rows);
  if (count > a.rows) {
    std::nth_element(kept, kept + a.rows, kept + count, by_score);
    count = a.rows;
  }
  std::sort(kept, kept + count, a.d.grouped ? by_class : by_score);
  return count;
}

template <typename T>
void write(const DetectArgs& a, const Image& image, const Kept* kept, int64_t count, T* y) {
  const int64_t columns = a.places ? 3 : 7;
  for (int64_t r = 0; r < a.rows; ++r, y += columns) {
    std::fill_n(y, columns, T(0));
    if (r >= count) {
      y[0] = T(-1);
      continue;
    }
    const Kept& k = kept[r];
    y[1] = static_cast<T>(k.c);
    if (a.places) {
      y[2] = static_cast<T>(k.found.box);
      continue;
    }
    y[2] = static_cast<T>(k.found.score);
    std::copy_n(box_of(a, image, k.found, k.c), 4, y + 3);
  }
}

constexpr int64_t kDecodedTogether = 256;

// Decodes all boxes, searches each class, then sorts what stays of each image.
enum : uint8_t { kPriors };

void run_detect(const DetectArgs& a, const Operands& operands) {
  const FloatOperands o(operands);
  auto* bytes = static_cast<char*>(operands.workspace);
  const int64_t parts = ceil_div(a.boxes, kDecodedTogether);
  o.pool.parallel_for(a.n * parts, [&](int64_t task, int) {
    const Image image(a, o, task / parts);
    const int64_t first = task % parts * kDecodedTogether;
    for (int64_t b = first; b < std::min(a.boxes, first + kDecodedTogether); ++b) {
      for (int64_t k = b * own_boxes(a); k < (b + 1) * own_boxes(a); ++k) {
        const float* prior = a.d.priors ? o.floats(kPriors) + b * 8 : nullptr;
        decode(a.d, image.x + k * 4, prior, image.boxes + k * 4);
      }
    }
  });
  o.pool.parallel_for(a.n * a.searches, [&](int64_t task, int thread) {
    Found* found = reinterpret_cast<Found*>(bytes + a.found) + thread * a.boxes;
    suppress(a, Image(a, o, task / a.searches), task % a.searches, found);
  });
  o.pool.parallel_for(a.n, [&](int64_t task, int thread) {
    const Image image(a, o, task);
    const int64_t room = a.searches * a.most * std::max<int64_t>(1, a.d.together);
    Kept* kept = reinterpret_cast<Kept*>(bytes + a.kept) + thread * room;
    const int64_t count = collect(a, image, kept);
    if (a.places) {
      write(a, image, kept, count, static_cast<int64_t*>(operands.y) + task * a.rows * 3);
    } else {
      write(a, image, kept, count, o.y + task * a.rows * 7);
    }
  });
}

constexpr auto kCode = plan_code<&run_detect>("detect");

class Detect final : public Algorithm {
 public:
  const char* name() const override { return "detect"; }
  Kinds kinds() const override { return {Kind::kDetect}; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const auto scores = static_cast<double>(p.n * p.z.dims.count());
    const auto boxes = static_cast<double>(p.n * p.x.dims.count());
    return parallel_cycles(2 * scores + 10 * boxes + stream_cycles(4 * scores, 0),
                           static_cast<double>(p.detect().classes), p.threads) +
           1000;
  }
  // Priors are 8 numbers a box. For centres: its centre (2), its size, and what the code's centre
  // and the logarithm of the code's size are multiplied by; for corners: those, and by what the
  // code's are multiplied. Caffe's variances and TensorFlow's scales are in these factors.
  Plan prepare(const Problem& p, const Weight* priors, const Weight*,
               const Context& context) const override {
    DetectArgs a{};
    a.d = p.detect(), a.places = p.y.dtype != DType::kF32;
    a.n = p.n, a.boxes = p.x.dims.c, a.rows = p.y.dims.c;
    a.searches = a.d.together ? 1 : a.d.classes;
    a.most = most(p);
    const double kept = static_cast<double>(a.searches) * static_cast<double>(a.most) *
                        static_cast<double>(std::max<int64_t>(1, a.d.together)) *
                        static_cast<double>(p.threads);
    if (kept + static_cast<double>(a.n * a.searches) * static_cast<double>(a.most) > 1e9)
      throw std::bad_alloc();
    a.found = round_up(a.n * a.boxes * own_boxes(a) * 4, 16) * int64_t{sizeof(float)};
    a.stay = round_up(a.found + p.threads * a.boxes * int64_t{sizeof(Found)}, 64);
    a.counts = round_up(a.stay + a.n * a.searches * a.most * int64_t{sizeof(Found)}, 64);
    a.kept = round_up(a.counts + a.n * a.searches * int64_t{sizeof(int64_t)}, 64);
    const size_t workspace = static_cast<size_t>(a.kept) + static_cast<size_t>(kept) * sizeof(Kept);
    std::vector<PlanData> weights;
    if (a.d.priors) weights.push_back(context.weights.get_floats(priors));
    return make_plan(kCode, a, context, workspace, weights);
  }

 private:
  static int64_t most(const Problem& p) {
    const family::Detect& d = p.detect();
    int64_t most = p.x.dims.c;
    if (d.candidates) most = std::min(most, d.candidates);
    if (d.each) most = std::min(most, d.each);
    return std::min(most, p.y.dims.c);
  }
  std::string objection(const Problem& p, const Context&) const override {
    if (p.x.layout != Layout::kNchw || p.y.layout != Layout::kNchw) return "reads planes only";
    return p.x.dims.c > (int64_t{1} << 24) || p.detect().classes > (1 << 20) ? "too many boxes"
                                                                             : "";
  }
};

const Detect kDetect;
const RegisterAlgorithm kRegistered(&kDetect);

}  // namespace
}  // namespace linnet
