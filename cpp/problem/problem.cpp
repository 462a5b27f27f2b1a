#include "problem/problem.h"

namespace linnet {

int64_t Operand::pixel(int width) const { return pitch ? pitch : round_up(dims.c, width); }

int64_t Operand::image(int width) const {
  if (layout == Layout::kNhwc) return dims.h * dims.w * pixel(width);
  return dims.h * dims.w * (pitch ? pitch : dims.c);
}

int64_t Problem::x_extent(int width) const {
  if (kind() != Kind::kMove || move().atoms.empty()) return x.extent(n, width);
  int64_t last = (n - 1) * move().image;
  for (const Atom& atom : move().atoms) last += (atom.count - 1) * atom.stride;
  return last + 1;
}

int64_t Operand::extent(int64_t n, int width) const {
  const int64_t all = n * image(width);
  if (!pitch) return all;
  const int64_t pixels = layout == Layout::kNhwc ? 1 : dims.h * dims.w;
  const int64_t own = layout == Layout::kNhwc ? round_up(dims.c, width) : dims.c;
  return all - pixels * (pitch - own);
}

Operand Operand::in(Layout other) const {
  Operand o = *this;
  if (layout != other) o.layout = other, o.pitch = 0;
  return o;
}

bool Problem::quantized() const {
  if (!is_byte(x.dtype)) return false;
  if (kind() == Kind::kMap) return y.dtype != DType::kBool && map().code != MapCode::kCopy;
  return weighted() || kind() == Kind::kPool;
}

DType Problem::weights() const {
  if (kind() == Kind::kConv) return conv().weights;
  return kind() == Kind::kMatmul ? std::get<family::Matmul>(params).weights : DType::kF32;
}

int64_t Problem::taps() const {
  if (kind() == Kind::kMatmul) return x.dims.count();
  if (kind() != Kind::kConv) return 0;
  const int64_t* kernel = conv().window.kernel;
  return x.dims.c / conv().groups * kernel[0] * kernel[1];
}

bool Problem::binary() const {
  return end.residual || kind() == Kind::kGather || kind() == Kind::kDetect ||
         kind() == Kind::kRegions || kind() == Kind::kProduct || kind() == Kind::kSample ||
         (kind() == Kind::kMap && info(map().code).inputs == 2);
}

Dims Problem::unpooled() const {
  if (kind() != Kind::kConv) return y.dims;
  const Window& w = conv().window;
  return {y.dims.c, w.output(0, x.dims.h), w.output(1, x.dims.w)};
}

double Problem::macs() const {
  if (kind() == Kind::kProduct)
    return static_cast<double>(n * y.dims.count()) * static_cast<double>(x.dims.w);
  if (!weighted()) return 0;
  if (kind() != Kind::kConv) return static_cast<double>(n * y.dims.c) * static_cast<double>(taps());
  const Window& w = conv().window;  // of any size, hence no product of integers
  return static_cast<double>(n) * static_cast<double>(unpooled().count()) *
         static_cast<double>(x.dims.c / conv().groups) * static_cast<double>(w.kernel[0]) *
         static_cast<double>(w.kernel[1]);
}

}  // namespace linnet
