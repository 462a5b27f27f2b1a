#include "problem/problem.h"

#include <charconv>
#include <sstream>
#include <stdexcept>

namespace linnet {
namespace {

constexpr const char* kKinds[] = {"conv", "fc",   "maxpool", "avgpool",
                                  "add",  "relu", "softmax", "reorder"};

bool windowed(Kind kind) {
  return kind == Kind::kConv || kind == Kind::kMaxPool || kind == Kind::kAveragePool;
}

std::string pair(int64_t a, int64_t b) {
  return a == b ? std::to_string(a) : std::to_string(a) + "x" + std::to_string(b);
}

// A cursor over one field of a key; every reader throws with the field's text.
class Field {
 public:
  explicit Field(const std::string& text) : text_(text) {}
  bool done() const { return at_ == text_.size(); }
  bool take(const char* literal) {
    const std::string l = literal;
    if (text_.compare(at_, l.size(), l) != 0) return false;
    at_ += l.size();
    return true;
  }
  void expect(const char* literal) {
    if (!take(literal)) fail();
  }
  int64_t number(int64_t low) {
    int64_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    // The bound keeps every product of a few sizes inside int64.
    if (error != std::errc() || value < low || value > (int64_t{1} << 31)) fail();
    at_ += end - begin;
    return value;
  }
  void pair(int64_t* out, int64_t low) {
    out[0] = out[1] = number(low);
    if (take("x")) out[1] = number(low);
  }
  [[noreturn]] void fail() const {
    throw std::invalid_argument("problem: cannot read the field '" + text_ + "'");
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

Dims read_dims(Field& f, const char* c, const char* h, const char* w) {
  Dims d;
  f.expect(c), d.c = f.number(1);
  f.expect(h), d.h = f.number(1);
  f.expect(w), d.w = f.number(1);
  return d;
}

void read_layer(Field& f, Problem& p) {
  if (f.take("k")) p.k = f.number(1);
  if (f.take("r")) {
    p.window.kernel[0] = f.number(1);
    f.expect("x");
    p.window.kernel[1] = f.number(1);
    if (f.take("s")) f.pair(p.window.stride, 1);
    if (f.take("p")) {
      for (int i = 0; i < 4; ++i) {
        if (i) f.expect(",");
        p.window.pad[i] = f.number(0);
      }
    }
    if (f.take("d")) f.pair(p.window.dilation, 1);
  }
}

Layout read_layout(Field& f) {
  if (f.take("nchw")) return Layout::kNchw;
  f.expect("nhwc");
  return Layout::kNhwc;
}

}  // namespace

const char* to_string(Kind kind) { return kKinds[static_cast<int>(kind)]; }

Dims Problem::conv_out() const {
  switch (kind) {
    case Kind::kFullyConnected:
      return {k, 1, 1};
    case Kind::kConv:
      return {k, window.output(0, in.h), window.output(1, in.w)};
    case Kind::kMaxPool:
    case Kind::kAveragePool:
      return {in.c, window.output(0, in.h), window.output(1, in.w)};
    default:
      return {k ? k : in.c, in.h, in.w};
  }
}

Dims Problem::out() const {
  Dims d = conv_out();
  d.h /= pool[0];
  d.w /= pool[1];
  return d;
}

double Problem::macs() const {
  if (kind == Kind::kFullyConnected) return static_cast<double>(n) * in.count() * k;
  if (kind != Kind::kConv) return 0;
  const Dims d = conv_out();
  return static_cast<double>(n) * d.count() * (in.c / groups) * window.kernel[0] * window.kernel[1];
}

std::string Problem::key() const {
  std::ostringstream s;
  s << to_string(kind) << " f32 n" << n << " c" << in.c << 'h' << in.h << 'w' << in.w;
  if (k || windowed(kind)) s << ' ';
  if (k) s << 'k' << k;
  if (windowed(kind)) {
    const Window& w = window;
    s << 'r' << w.kernel[0] << 'x' << w.kernel[1];
    if (w.stride[0] != 1 || w.stride[1] != 1) s << 's' << pair(w.stride[0], w.stride[1]);
    if (w.pad[0] || w.pad[1] || w.pad[2] || w.pad[3]) {
      s << 'p' << w.pad[0] << ',' << w.pad[1] << ',' << w.pad[2] << ',' << w.pad[3];
    }
    if (w.dilation[0] != 1 || w.dilation[1] != 1) s << 'd' << pair(w.dilation[0], w.dilation[1]);
  }
  if (first) s << " at" << first;
  if (weights != DType::kF32) s << " w" << to_string(weights);
  if (groups != 1) s << " g" << groups;
  if (window.ceil) s << " ceil";
  if (window.include_pad) s << " pads";
  if (kind == Kind::kSoftmax) s << " axis" << axis;
  if (residual) s << " add";
  if (kind == Kind::kAdd && (operand != in || operand_constant)) {
    s << " add" << operand.c << 'x' << operand.h << 'x' << operand.w
      << (operand_constant ? "c" : "");
  }
  if (relu && kind != Kind::kRelu) s << " relu";
  if (pooled()) s << " maxpool" << pool[0] << 'x' << pool[1];
  s << ' ' << to_string(in_layout);
  if (out_layout != in_layout) s << '>' << to_string(out_layout);
  s << " t" << threads;
  return s.str();
}

Problem Problem::parse(const std::string& key) {
  std::istringstream words(key);
  std::string word;
  Problem p;
  auto next = [&](const char* what) {
    if (!(words >> word))
      throw std::invalid_argument(std::string("problem: ") + what + " is missing in '" + key + "'");
    return Field(word);
  };
  Field kind = next("the kind");
  bool known = false;
  for (int i = 0; i < 8; ++i) {
    if (word == kKinds[i]) p.kind = static_cast<Kind>(i), known = true;
  }
  if (!known) kind.fail();
  if (Field type = next("the type"); word != "f32") type.fail();
  Field n = next("the batch");
  n.expect("n"), p.n = n.number(1);
  Field dims = next("the input's dims");
  p.in = p.operand = read_dims(dims, "c", "h", "w");
  if (p.kind == Kind::kConv || p.kind == Kind::kFullyConnected || windowed(p.kind)) {
    Field layer = next("the layer");
    read_layer(layer, p);
    if (!layer.done()) layer.fail();
    const bool weights = p.kind == Kind::kConv || p.kind == Kind::kFullyConnected;
    if (weights != (p.k > 0)) layer.fail();
  }
  bool layout = false, threads = false;
  while (words >> word) {
    Field f(word);
    if (layout) {
      f.expect("t"), p.threads = static_cast<int>(f.number(1)), threads = true;
    } else if (f.take("nchw") || f.take("nhwc")) {
      Field again(word);
      p.in_layout = p.out_layout = read_layout(again);
      if (again.take(">")) p.out_layout = read_layout(again);
      f = again, layout = true;
    } else if (f.take("ceil")) {
      p.window.ceil = true;
    } else if (f.take("wf16")) {
      p.weights = DType::kF16;
    } else if (f.take("wint8")) {
      p.weights = DType::kI8;
    } else if (f.take("pads")) {
      p.window.include_pad = true;
    } else if (f.take("relu")) {
      p.relu = true;
    } else if (f.take("axis")) {
      p.axis = static_cast<int>(f.number(1));
      if (p.axis > 3) f.fail();
    } else if (p.kind == Kind::kReorder && f.take("k")) {
      p.k = f.number(1);
    } else if (p.kind == Kind::kReorder && f.take("at")) {
      p.first = f.number(1);
    } else if (f.take("add")) {
      if (p.kind == Kind::kAdd) {
        p.operand = read_dims(f, "", "x", "x");
        p.operand_constant = f.take("c");
      } else {
        p.residual = true;
      }
    } else if (f.take("maxpool")) {
      p.pool[0] = f.number(1);
      f.expect("x");
      p.pool[1] = f.number(1);
    } else if (f.take("g")) {
      p.groups = f.number(1);
    } else {
      f.fail();
    }
    if (!f.done()) f.fail();
  }
  if (!threads) throw std::invalid_argument("problem: layout or threads missing in '" + key + "'");
  if (p.kind == Kind::kRelu) p.relu = true;
  if (p.kind == Kind::kConv && (p.in.c % p.groups || p.k % p.groups)) {
    throw std::invalid_argument("problem: groups do not divide the channels in '" + key + "'");
  }
  const bool any_type = p.kind == Kind::kFullyConnected ||
                        (p.kind == Kind::kConv && is_pointwise(p.window, p.groups));
  if (p.weights != DType::kF32 && !any_type) {
    throw std::invalid_argument(
        "problem: only fc and an ungrouped 1x1 conv have other weights than f32: '" + key + "'");
  }
  if (p.kind == Kind::kReorder && (p.k || p.first) && (p.k <= p.in.c || p.first > p.k - p.in.c)) {
    throw std::invalid_argument("problem: the input is no part of the output in '" + key + "'");
  }
  const Dims o = p.out();
  if (o.h < 1 || o.w < 1) throw std::invalid_argument("problem: no window fits in '" + key + "'");
  if (p.kind == Kind::kAdd) {
    const Dims &a = p.in, &b = p.operand;
    if ((b.c != 1 && b.c != a.c) || (b.h != 1 && b.h != a.h) || (b.w != 1 && b.w != a.w)) {
      throw std::invalid_argument("problem: the operand does not broadcast in '" + key + "'");
    }
  }
  return p;
}

}  // namespace linnet
