#include "problem/key.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "problem/objection.h"

namespace linnet {
namespace {

constexpr const char* kKindNames[kKinds] = {"conv",    "matmul",  "pool",   "map",    "normalize",
                                            "move",    "resize",  "reduce", "gather", "detect",
                                            "regions", "product", "sample"};
constexpr const char* kPoolNames[] = {"max", "average"};
constexpr const char* kReduceNames[kReduceCodes] = {"mean",     "sum",        "max",     "min",
                                                    "product",  "magnitudes", "squares", "firstmax",
                                                    "firstmin", "lastmax",    "lastmin"};
constexpr const char* kRegionNames[] = {"max", "own", "samples", "maxsample"};
constexpr const char* kBeyondNames[] = {"zeros", "border", "reflection"};
constexpr const char* kResizeNames[] = {"nearest", "linear", "cubic"};
// The first of each is not written.
constexpr const char* kCoordinateNames[] = {
    "",           "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
    "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
constexpr const char* kNearestNames[] = {"", "round_prefer_ceil", "floor", "ceil"};

// Numbers as every locale writes them; <charconv> of older libraries has none for reals.
bool parse(const std::string& text, float& value) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  return in >> value && in.peek() == std::istringstream::traits_type::eof();
}

// The shortest text that is read as the same number.
std::string text_of(float value) {
  if (value == kInfinity || value == -kInfinity) return value > 0 ? "inf" : "-inf";
  std::string text;
  float back = 0;
  for (int digits = 1; digits <= 9 && (digits == 1 || back != value); ++digits) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(digits);
    out << value;
    text = out.str();
    parse(text, back);
  }
  return text;
}

// Writer and Reader have the same methods, so that one function, fields(), describes the text for
// both. Every method is told what the problem has, which is what the writer writes, and returns
// what the text has, which the reader has read.
class Writer {
 public:
  static constexpr bool kReads = false;
  Writer() { text_.reserve(96); }
  // Begins a word, if it is present.
  bool word(const char* prefix, bool present = true) {
    if (present) text_.append(text_.empty() ? "" : " ").append(prefix);
    return present;
  }
  // A whole word.
  bool flag(const char* name, bool present) { return word(name, present); }
  // The next part of a word.
  bool part(const char* literal, bool present = true) {
    if (present) text_ += literal;
    return present;
  }
  int64_t number(int64_t value, int64_t /*least*/) {
    text_ += std::to_string(value);
    return value;
  }
  float real(float value) {
    text_ += text_of(value);
    return value;
  }
  [[noreturn]] void fail(const char* what) { throw std::logic_error(what); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(const std::string& text) : key_(text), rest_(text) {}
  bool word(const char* prefix, bool = true) {
    close();
    if (rest_.empty() || !starts(rest_, prefix)) return false;
    open(std::char_traits<char>::length(prefix));
    return true;
  }
  bool flag(const char* name, bool) {
    close();
    if (next() != name) return false;
    open(next().size());
    return true;
  }
  bool part(const char* literal, bool = true) {
    if (!starts(word_, literal)) return false;
    word_.remove_prefix(std::char_traits<char>::length(literal));
    return true;
  }
  int64_t number(int64_t value, int64_t least) {
    value = read(value);
    // The bound keeps every product of two sizes inside int64.
    if (value < least || value > (int64_t{1} << 31)) fail(nullptr);
    return value;
  }
  float real(float value) {
    for (const float infinity : {kInfinity, -kInfinity}) {
      if (part(text_of(infinity).c_str())) return infinity;
    }
    const size_t size = std::min(word_.find_first_not_of("+-.0123456789e"), word_.size());
    if (!parse(std::string(word_.substr(0, size)), value)) fail(nullptr);
    word_.remove_prefix(size);
    return value;
  }
  // What is missing, or the word that is there in its place.
  [[noreturn]] void fail(const char* what) {
    if (what && next().empty()) {
      throw std::invalid_argument(std::string("problem: ") + what + " is missing in '" +
                                  std::string(key_) + "'");
    }
    throw std::invalid_argument("problem: cannot read the field '" +
                                std::string(what ? next() : whole_) + "'");
  }
  void end() {
    close();
    if (!rest_.empty()) fail("nothing");
  }

 private:
  static bool starts(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
  }
  std::string_view next() const { return rest_.substr(0, rest_.find(' ')); }
  void open(size_t read) {
    whole_ = word_ = next();
    word_.remove_prefix(read);
    rest_.remove_prefix(std::min(rest_.size(), whole_.size() + 1));
  }
  void close() {
    if (!word_.empty()) fail(nullptr);
  }
  int64_t read(int64_t value) {
    const auto [end, error] = std::from_chars(word_.data(), word_.data() + word_.size(), value);
    if (error != std::errc()) fail(nullptr);
    word_.remove_prefix(static_cast<size_t>(end - word_.data()));
    return value;
  }

  const std::string_view key_;
  std::string_view rest_;          // words that follow
  std::string_view whole_, word_;  // the word at hand, and what is left of it
};

template <typename Io>
void need(Io& io, const char* prefix, const char* what) {
  if (!io.word(prefix)) io.fail(what);
}

// One of some words; false if none is there.
template <typename Io, typename E, size_t kCount>
bool choose(Io& io, E& value, const char* const (&names)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) {
    const E each = static_cast<E>(i);
    if (*names[i] && io.flag(names[i], value == each)) {
      value = each;
      return true;
    }
  }
  return false;
}

template <typename Io>
void type(Io& io, DType& value) {
  for (int i = 0; i < kDTypes; ++i) {
    const auto each = static_cast<DType>(i);
    if (io.part(to_string(each), value == each)) {
      value = each;
      return;
    }
  }
  io.fail(nullptr);
}

// A function by its word, which parameters follow; none for a copy.
template <typename Io>
void function(Io& io, Function& f, int inputs) {
  for (int i = 1; i < kMapCodes; ++i) {
    const auto code = static_cast<MapCode>(i);
    if (info(code).inputs > inputs) continue;
    const std::string word = std::string(info(code).word) + (info(code).parameters ? ":" : "");
    const bool present = info(code).parameters ? io.word(word.c_str(), f.code == code)
                                               : io.flag(word.c_str(), f.code == code);
    if (!present) continue;
    f.code = code;
    if (info(code).parameters > 0) f.a = io.real(f.a);
    if (info(code).parameters > 1) {
      if (!io.part(",")) io.fail(nullptr);
      f.b = io.real(f.b);
    }
    return;
  }
}

template <typename Io>
void pair(Io& io, int64_t* values, int64_t least) {
  values[0] = io.number(values[0], least);
  values[1] = io.part("x", values[1] != values[0]) ? io.number(values[1], least) : values[0];
}

// Two numbers with an x between them.
template <typename Io>
void sides(Io& io, int64_t& first, int64_t& second) {
  first = io.number(first, 1);
  if (!io.part("x")) io.fail(nullptr);
  second = io.number(second, 1);
}

template <typename Io>
void channels(Io& io, Problem& p) {
  need(io, "k", "the number of output channels");
  p.y.dims.c = io.number(p.y.dims.c, 1);
}

// In the word at hand.
template <typename Io>
void window(Io& io, Window& w) {
  if (!io.part("r")) io.fail(nullptr);
  sides(io, w.kernel[0], w.kernel[1]);
  if (io.part("s", !w.unit_stride())) pair(io, w.stride, 1);
  if (io.part("p", w.padded())) {
    for (int i = 0; i < 4; ++i) {
      if (i && !io.part(",")) io.fail(nullptr);
      w.pad[i] = io.number(w.pad[i], 0);
    }
  }
  if (io.part("d", w.dilated())) pair(io, w.dilation, 1);
}

template <typename Io>
void weights(Io& io, DType& value) {
  if (io.word("w", value != DType::kF32)) type(io, value);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Conv& c) {
  channels(io, p);
  window(io, c.window);
  weights(io, c.weights);
  if (io.word("g", c.groups != 1)) c.groups = io.number(c.groups, 1);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Matmul& m) {
  channels(io, p);
  weights(io, m.weights);
}

template <typename Io>
void parameters(Io& io, Problem&, family::Pool& pool) {
  need(io, "", "the window");
  window(io, pool.window);
  if (!choose(io, pool.code, kPoolNames)) io.fail("max or average");
  pool.window.ceil = io.flag("ceil", pool.window.ceil);
  pool.window.include_pad = io.flag("pads", pool.window.include_pad);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Map& m) {
  function(io, m, 2);
  if (!p.binary()) return;
  if (io.word("z", p.z.dims != p.x.dims || m.z_constant || p.z.pitch)) {
    p.z.dims.c = io.number(p.z.dims.c, 1);
    if (!io.part("x")) io.fail(nullptr);
    p.z.dims.h = io.number(p.z.dims.h, 1);
    if (!io.part("x")) io.fail(nullptr);
    p.z.dims.w = io.number(p.z.dims.w, 1);
    m.z_constant = io.part("c", m.z_constant);
    if (io.part("/", p.z.pitch)) p.z.pitch = io.number(p.z.pitch, 1);
  }
}

template <typename Io>
void parameters(Io& io, Problem&, family::Normalize& n) {
  if (!choose(io, n.code, kNormalizeWords)) io.fail("the function");
  need(io, "axis", "the axis");
  n.axis = static_cast<int>(io.number(n.axis, 1));
  if (n.axis > 3) io.fail(nullptr);
  if (!io.word("size", n.size > 0)) return;
  n.size = io.number(n.size, 1);
  for (float* number : {&n.a, &n.b, &n.c}) {
    if (!io.part(",")) io.fail(nullptr);
    *number = io.real(*number);
  }
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Gather& g) {
  need(io, "rows", "the number of rows");
  p.y.dims.h = io.number(p.y.dims.h, 1);
  g.elements = io.flag("elements", g.elements);
  need(io, "by", "the type of the places");
  type(io, p.z.dtype);
  g.constant = io.part("c", g.constant);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Regions& r) {
  channels(io, p);
  need(io, "to", "the bins");
  sides(io, r.bins[0], r.bins[1]);
  if (!choose(io, r.code, kRegionNames)) io.fail("what becomes of a bin");
  if (io.word("each", r.samples != 0)) r.samples = io.number(r.samples, 1);
  if (io.word("images", r.images != 1)) r.images = io.number(r.images, 1);
  if (io.word("scale", r.scale != 1)) r.scale = io.real(r.scale);
  if (io.word("offset", r.offset != 0)) r.offset = io.real(r.offset);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Detect& d) {
  channels(io, p);
  need(io, "classes", "the number of classes");
  d.classes = io.number(d.classes, 1);
  if (io.word("but", d.background >= 0)) d.background = io.number(d.background, 0);
  for (auto [name, value] :
       std::initializer_list<std::pair<const char*, bool*>>{{"centers", &d.centers},
                                                            {"priors", &d.priors},
                                                            {"own", &d.own},
                                                            {"planar", &d.planar},
                                                            {"pixels", &d.pixels},
                                                            {"clip", &d.clip},
                                                            {"grouped", &d.grouped}})
    *value = io.flag(name, *value);
  for (auto [name, value] : std::initializer_list<std::pair<const char*, int64_t*>>{
           {"candidates", &d.candidates}, {"each", &d.each}, {"together", &d.together}}) {
    if (io.word(name, *value != 0)) *value = io.number(*value, 1);
  }
  need(io, "score", "the least score");
  d.score = io.real(d.score);
  need(io, "overlap", "the largest overlap");
  d.overlap = io.real(d.overlap);
  if (io.word("eta", d.eta != 1)) d.eta = io.real(d.eta);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Product&) {
  need(io, "by", "the number of columns");
  p.y.dims.w = io.number(p.y.dims.w, 1);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Sample& s) {
  need(io, "to", "the output's size");
  sides(io, p.y.dims.h, p.y.dims.w);
  if (!choose(io, s.code, kResizeNames)) io.fail("nearest, linear or cubic");
  if (!choose(io, s.beyond, kBeyondNames)) io.fail("zeros, border or reflection");
  s.corners = io.flag("corners", s.corners);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Move& m) {
  if (io.word("k", p.y.dims.c != p.x.dims.c)) p.y.dims.c = io.number(p.y.dims.c, 1);
  if (io.word("at", m.first > 0)) m.first = io.number(m.first, 1);
  if (!io.word("steps", !m.atoms.empty())) return;
  m.image = io.number(m.image, 1);
  if (!io.part(":")) io.fail(nullptr);
  for (size_t i = 0; i == 0 || io.part(",", i < m.atoms.size()); ++i) {
    if (Io::kReads) m.atoms.push_back({1, 1});
    m.atoms[i].count = io.number(m.atoms[i].count, 1);
    if (!io.part("x")) io.fail(nullptr);
    m.atoms[i].stride = io.number(m.atoms[i].stride, 0);
  }
}

template <typename Io>
void reals(Io& io, float* values, int count) {
  for (int i = 0; i < count; ++i) {
    if (i && !io.part(",")) io.fail(nullptr);
    values[i] = io.real(values[i]);
  }
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Resize& r) {
  need(io, "to", "the output's size");
  sides(io, p.y.dims.h, p.y.dims.w);
  if (!choose(io, r.code, kResizeNames)) io.fail("nearest, linear or cubic");
  choose(io, r.coordinates, kCoordinateNames);
  choose(io, r.nearest, kNearestNames);
  if (io.word("scale", r.scale[0] != 0)) reals(io, r.scale, 2);
  if (r.coordinates == Coordinates::kTfCropAndResize) {
    need(io, "roi", "the crop");
    reals(io, r.roi, 4);
  }
  if (io.word("coeff", r.cubic != family::Resize().cubic)) r.cubic = io.real(r.cubic);
  r.antialias = io.flag("antialias", r.antialias);
  r.exclude_outside = io.flag("exclude_outside", r.exclude_outside);
  if (io.word("outside", r.outside != 0)) r.outside = io.real(r.outside);
}

template <typename Io>
void parameters(Io& io, Problem& p, family::Reduce& r) {
  if (!choose(io, r.code, kReduceNames)) io.fail("the function");
  need(io, "of", "the axes");
  r.axes[0] = io.part("c", r.axes[0]);
  r.axes[1] = io.part("h", r.axes[1]);
  r.axes[2] = io.part("w", r.axes[2]);
  if (io.word("top", r.top != 1)) r.top = io.number(r.top, 1);
  if (!Io::kReads) return;
  if (r.axes[0]) p.y.dims.c = r.top;
  if (r.axes[1]) p.y.dims.h = r.top;
  if (r.axes[2]) p.y.dims.w = r.top;
}

template <typename Io>
void limits(Io& io, Limits& l) {
  const auto are = [&](float low, float high) { return l.low == low && l.high == high; };
  if (io.flag("relu", are(0, kInfinity))) {
    l = {0, kInfinity};
  } else if (io.flag("relu6", are(0, 6))) {
    l = {0, 6};
  } else if (io.word("clip", !are(-kInfinity, kInfinity))) {
    l.low = io.real(l.low);
    if (!io.part(",")) io.fail(nullptr);
    l.high = io.real(l.high);
    if (!(l.low <= l.high)) io.fail(nullptr);
  }
}

template <typename Io>
void results(Io& io, Epilogue& end, Kind kind) {
  const bool weighted = kind == Kind::kConv || kind == Kind::kMatmul;
  if (weighted) end.residual = io.flag("add", end.residual);
  if (weighted || kind == Kind::kMap) limits(io, end.limits);
  if (kind == Kind::kConv && io.word("maxpool", end.pooled())) {
    sides(io, end.pool[0], end.pool[1]);
  }
  if (weighted) function(io, end.then, 1);
}

template <typename Io>
void place(Io& io, Operand& o) {
  o.layout = io.part("nhwc", o.layout == Layout::kNhwc) ? Layout::kNhwc : Layout::kNchw;
  if (o.layout == Layout::kNchw && !io.part("nchw")) io.fail(nullptr);
  o.pitch = io.part("/", o.pitch) ? io.number(o.pitch, 1) : 0;
}

// The fields of a key, in order.
template <typename Io>
void fields(Io& io, Problem& p) {
  Kind kind = p.kind();
  if (!choose(io, kind, kKindNames)) io.fail("the kind");
  static const family::Params kEmpty[kKinds] = {
      family::Conv(),    family::Matmul(),  family::Pool(),   family::Map(),    family::Normalize(),
      family::Move(),    family::Resize(),  family::Reduce(), family::Gather(), family::Detect(),
      family::Regions(), family::Product(), family::Sample()};
  if (kind != p.kind()) p.params = kEmpty[static_cast<int>(kind)];
  need(io, "", "the type");
  type(io, p.x.dtype);
  if (io.part(">", p.y.dtype != p.x.dtype)) {
    type(io, p.y.dtype);
  } else {
    p.y.dtype = p.x.dtype;
  }
  need(io, "n", "the batch");
  p.n = io.number(p.n, 1);
  need(io, "c", "the input's size");
  p.x.dims.c = io.number(p.x.dims.c, 1);
  if (!io.part("h")) io.fail(nullptr);
  p.x.dims.h = io.number(p.x.dims.h, 1);
  if (!io.part("w")) io.fail(nullptr);
  p.x.dims.w = io.number(p.x.dims.w, 1);
  if (Io::kReads) p.y.dims = p.z.dims = p.x.dims;  // unless the fields that follow say else
  std::visit([&](auto& params) { parameters(io, p, params); }, p.params);
  results(io, p.end, kind);
  need(io, "", "the layout");
  place(io, p.x);
  if (io.part(">", p.y.layout != p.x.layout || p.y.pitch != p.x.pitch)) {
    place(io, p.y);
  } else {
    p.y.layout = p.x.layout, p.y.pitch = p.x.pitch;
  }
  need(io, "t", "the number of threads");
  p.threads = static_cast<int>(io.number(p.threads, 1));
}

// What follows from the fields that were read.
void derive(Problem& p) {
  if (p.kind() == Kind::kConv || p.kind() == Kind::kPool) {
    const Window& w = p.kind() == Kind::kConv ? p.conv().window : p.pool().window;
    p.y.dims.h = w.output(0, p.x.dims.h) / p.end.pool[0];
    p.y.dims.w = w.output(1, p.x.dims.w) / p.end.pool[1];
  } else if (p.kind() == Kind::kMatmul) {
    p.y.dims.h = p.y.dims.w = 1;
  }
  if (p.kind() == Kind::kGather) {
    const DType type = p.z.dtype;
    const int64_t rows = p.y.dims.h;
    p.y.dims = {p.x.dims.c, rows, p.x.dims.w};
    p.z = p.y;
    if (!p.gather().elements) p.z.dims = {1, rows, 1};
    p.z.dtype = type;
    return;
  }
  if (p.kind() == Kind::kDetect) {
    const family::Detect& d = p.detect();
    p.y.dims = {p.y.dims.c, 1, p.y.dtype == DType::kF32 ? 7 : 3};
    p.z = p.y, p.z.dtype = p.x.dtype;
    p.z.dims = {p.x.dims.c, 1, d.classes};
    if (d.planar) std::swap(p.z.dims.c, p.z.dims.w);
    return;
  }
  if (p.kind() == Kind::kSample) {
    p.z = p.y, p.z.dims = {p.y.dims.h, p.y.dims.w, 2};
    return;
  }
  if (p.kind() == Kind::kProduct) {
    p.z = p.y, p.z.dims.h = p.x.dims.w;
    return;
  }
  if (p.kind() == Kind::kRegions) {
    const family::Regions& r = p.regions();
    const int64_t channels = p.x.dims.c / r.images, bins = r.bins[0] * r.bins[1];
    p.y.dims = {p.y.dims.c, r.code == RegionCode::kOwnMean ? channels / bins : channels, bins};
    p.z = p.y, p.z.dims = {p.y.dims.c, 1, 5}, p.z.dtype = p.x.dtype;
    return;
  }
  if (p.kind() != Kind::kMap) p.z = p.y;
  p.z.dtype = p.x.dtype, p.z.layout = p.y.layout;
}

}  // namespace

const char* to_string(Kind kind) { return kKindNames[static_cast<int>(kind)]; }
const char* to_string(MapCode code) { return info(code).word; }

std::string Problem::key() const {
  Writer writer;
  Problem copy = *this;  // fields() takes what it may read into
  fields(writer, copy);
  return writer.text();
}

Problem Problem::parse(const std::string& key) {
  Problem p;
  Reader reader(key);
  fields(reader, p);
  reader.end();
  derive(p);
  if (const char* why = objection(p))
    throw std::invalid_argument(std::string("problem: ") + why + ": '" + key + "'");
  return p;
}

}  // namespace linnet
