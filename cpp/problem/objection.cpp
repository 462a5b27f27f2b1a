#include "problem/objection.h"

#include <cmath>

namespace linnet {

const char* objection(const family::Detect& d) {
  if (d.together && (d.own || d.together > d.classes)) return "classes do not go together so";
  if (!(d.score > -kInfinity) || !(d.overlap >= 0) || !(d.eta > 0 && d.eta <= 1))
    return "a limit is no number";
  return nullptr;
}

const char* objection(const family::Regions& r, int64_t channels) {
  if (r.bins[0] > (int64_t{1} << 31) / r.bins[1]) return "there are too many bins";
  const int64_t own = r.code == RegionCode::kOwnMean ? r.bins[0] * r.bins[1] : 1;
  if (channels % r.images || channels / r.images % own)
    return "images and bins do not divide the channels";
  if (!(std::abs(r.scale) < 1e9f) || !(std::abs(r.offset) < 1e9f)) return "the scale is no number";
  return nullptr;
}

const char* objection(const Problem& p) {
  const Dims &x = p.x.dims, &y = p.y.dims, &z = p.z.dims;
  if (y.h < 1 || y.w < 1) return "no window fits";
  if (p.kind() == Kind::kConv && (x.c % p.conv().groups || y.c % p.conv().groups))
    return "groups do not divide the channels";
  if (p.kind() == Kind::kPool) {
    const Window& w = p.pool().window;
    if (!w.pads_below_extent(0) || !w.pads_below_extent(1))
      return "padding is not smaller than the window";
    if (p.pool().code == PoolCode::kAverage && w.dilated()) return "an average has no dilation";
  }
  if (p.weights() >= static_cast<DType>(kWeightTypes) && !p.quantized())
    return "weights have no such type";
  if (p.weighted() && p.quantized() &&
      (!is_byte(p.weights()) || (p.y.dtype != DType::kF32 && !is_byte(p.y.dtype))))
    return "integers have weights of 8 bits, and results of such or float32";
  if (p.weighted() && p.quantized() && p.end.residual && !is_byte(p.y.dtype))
    return "a residual of integers is added to such";
  if (p.end.then.code == MapCode::kQuantize || p.end.then.code == MapCode::kDequantize ||
      (p.quantized() && p.end.then.code != MapCode::kCopy &&
       (!is_byte(p.y.dtype) || p.end.residual)))
    return "a function of reals or of a sum with a residual is a layer of its own";
  if (p.quantized() && p.end.pooled()) return "a pool of integers is a layer of its own";
  if (p.kind() == Kind::kMap && p.map().code == MapCode::kQuantize &&
      ((p.x.dtype != DType::kF32 && !is_byte(p.x.dtype)) || !is_byte(p.y.dtype)))
    return "quantize makes integers of 8 bits";
  if (p.kind() == Kind::kMap && p.map().code == MapCode::kDequantize &&
      (!is_byte(p.x.dtype) || p.y.dtype != DType::kF32))
    return "dequantize makes float32 of integers of 8 bits";
  if (p.kind() == Kind::kMap &&
      (p.map().code == MapCode::kQuantize || p.map().code == MapCode::kDequantize) &&
      !(p.map().a > 0 && p.map().a < kInfinity))
    return "the scale is no positive number";
  if (p.kind() == Kind::kConv && p.weights() != DType::kF32 && !p.quantized() &&
      !is_pointwise(p.conv().window, p.conv().groups))
    return "only a matmul and an ungrouped 1x1 conv have other weights than f32";
  if (p.kind() == Kind::kMove && y.c != x.c && (y.c < x.c || p.move().first > y.c - x.c))
    return "the input is no part of the output";
  if (p.kind() == Kind::kMove && !p.move().atoms.empty()) {
    int64_t left = x.count();
    for (const Atom& atom : p.move().atoms) left = left % atom.count ? 0 : left / atom.count;
    if (left != 1) return "the steps are not as many numbers as the input";
    if (p.x.layout != Layout::kNchw || p.x.pitch) return "an input with steps has no layout";
  }
  if (p.kind() == Kind::kMove && p.y.dtype != p.x.dtype) return "a move keeps the type";
  if (p.kind() == Kind::kMove && y.c == x.c && p.move().first)
    return "the input is no part of the output";
  if (p.kind() == Kind::kReduce && !p.reduce().axes[0] && !p.reduce().axes[1] &&
      !p.reduce().axes[2])
    return "no axis is reduced";
  if (p.kind() == Kind::kReduce) {
    const family::Reduce& r = p.reduce();
    if (is_place(r.code) && r.axes[0] + r.axes[1] + r.axes[2] > 1)
      return "places are those of one axis";
    if (r.top > 1 && r.code != ReduceCode::kFirstMax && r.code != ReduceCode::kFirstMin)
      return "only first places are more than one";
    if (y.c > x.c || y.h > x.h || y.w > x.w) return "there are not so many places";
    if (p.y.dtype != (is_place(r.code) ? DType::kI64 : p.x.dtype)) return "the type does not fit";
  }
  if (p.kind() == Kind::kGather) {
    if (p.y.dtype != p.x.dtype) return "rows keep their type";
    if (p.z.dtype != DType::kI64 && p.z.dtype != DType::kI32) return "places are integers";
  }
  if (p.kind() == Kind::kDetect) {
    if (x.h != (p.detect().own ? p.detect().classes : 1) || x.w != 4)
      return "boxes are 4 numbers each";
    if (p.x.dtype != DType::kF32 || (p.y.dtype != DType::kF32 && p.y.dtype != DType::kI64))
      return "the type does not fit";
    return objection(p.detect());
  }
  if (p.kind() == Kind::kRegions) {
    if (p.x.dtype != DType::kF32 || p.y.dtype != DType::kF32) return "regions are of float32";
    return objection(p.regions(), x.c);
  }
  if ((p.kind() == Kind::kProduct || p.kind() == Kind::kSample) &&
      (p.x.dtype != DType::kF32 || p.y.dtype != DType::kF32))
    return "factors and places are float32";
  if (p.kind() == Kind::kResize) {
    const family::Resize& r = p.resize();
    for (const float real : {r.scale[0], r.scale[1], r.roi[0], r.roi[1], r.roi[2], r.roi[3]})
      if (!(std::abs(real) < 1e9f)) return "a scale or crop is no number";
    if (!(r.scale[0] >= 0 && r.scale[1] >= 0) || (r.scale[0] == 0) != (r.scale[1] == 0))
      return "scales are not positive";
    // Else a few numbers could be sums of any number of others.
    for (int axis = 0; r.antialias && axis < 2; ++axis) {
      const double scale = static_cast<double>(r.scale[axis]);
      const auto in = static_cast<double>(axis ? x.w : x.h);
      if (scale != 0 && scale * in < 1) return "the scale leaves nothing of the input";
    }
  }
  if (p.kind() == Kind::kMap &&
      ((z.c != 1 && z.c != x.c) || (z.h != 1 && z.h != x.h) || (z.w != 1 && z.w != x.w)))
    return "the second operand does not broadcast";
  return nullptr;
}

}  // namespace linnet
