// Rows of an image that another image names.

#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/cost.h"

namespace linnet {
namespace {

struct GatherArgs {
  bool elements, constant;
  DType places;
  int64_t n, size;    // of a number of x, in bytes
  int64_t outer, in;  // parts of x that have rows of their own, and how many
  int64_t rows, row;  // of y, and numbers in one
};

// Negative if there is no such row.
template <typename T>
int64_t place(const void* places, int64_t index, int64_t in) {
  const auto p = static_cast<int64_t>(static_cast<const T*>(places)[index]);
  const int64_t from_first = p < 0 ? p + in : p;
  return from_first < in ? from_first : -1;
}

void run_gather(const GatherArgs& a, const Operands& o) {
  const auto* x = static_cast<const char*>(o.x);
  auto* y = static_cast<char*>(o.y);
  const auto at = [&](int64_t index) {
    return a.places == DType::kI64 ? place<int64_t>(o.operand, index, a.in)
                                   : place<int32_t>(o.operand, index, a.in);
  };
  const int64_t bytes = a.row * a.size;
  o.pool.parallel_for(a.n * a.outer, [&](int64_t part, int) {
    const char* from = x + part * a.in * bytes;
    char* to = y + part * a.rows * bytes;
    const int64_t image = a.constant ? 0 : part / a.outer;
    for (int64_t r = 0; r < a.rows; ++r, to += bytes) {
      if (a.elements) {
        const int64_t first = ((a.constant ? part % a.outer : part) * a.rows + r) * a.row;
        for (int64_t i = 0; i < a.row; ++i) {
          const int64_t row = at(first + i);
          if (row < 0) std::memset(to + i * a.size, 0, static_cast<size_t>(a.size));
          if (row >= 0)
            std::memcpy(to + i * a.size, from + row * bytes + i * a.size,
                        static_cast<size_t>(a.size));
        }
      } else if (const int64_t row = at(image * a.rows + r); row >= 0) {
        std::memcpy(to, from + row * bytes, static_cast<size_t>(bytes));
      } else {
        std::memset(to, 0, static_cast<size_t>(bytes));
      }
    }
  });
}

constexpr auto kCode = plan_code<&run_gather>("gather");

class GatherRows final : public Algorithm {
 public:
  const char* name() const override { return "gather"; }
  Kinds kinds() const override { return {Kind::kGather}; }
  bool any_types() const override { return true; }
  bool uses_kernels() const override { return false; }
  double cost(const Problem& p, const Context&) const override {
    const double bytes = static_cast<double>(p.n * p.y.dims.count()) * size_of(p.x.dtype);
    const double each = p.gather().elements ? 4 : 8 / static_cast<double>(p.y.dims.w);
    return parallel_cycles(
               each * static_cast<double>(p.n * p.y.dims.count()) + stream_cycles(bytes, bytes),
               static_cast<double>(p.n * p.x.dims.c), p.threads) +
           200;
  }
  Plan prepare(const Problem& p, const Weight*, const Weight*,
               const Context& context) const override {
    const GatherArgs a{p.gather().elements, p.gather().constant, p.z.dtype,  p.n,
                       size_of(p.x.dtype),  p.x.dims.c,          p.x.dims.h, p.y.dims.h,
                       p.y.dims.w};
    return make_plan(kCode, a, context);
  }

 private:
  std::string objection(const Problem& p, const Context&) const override {
    return p.x.layout == Layout::kNchw && p.y.layout == Layout::kNchw ? "" : "reads planes only";
  }
};

const GatherRows kGather;
const RegisterAlgorithm kRegistered(&kGather);

}  // namespace
}  // namespace linnet
