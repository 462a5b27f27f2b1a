#include "run/debug.h"

#if defined(LINNET_DEBUG)

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "compile/place.h"

namespace linnet {
namespace {

constexpr int kNan = 0xff;  // every byte of a float's NaN
constexpr char kGuard = 0x5a;

[[noreturn]] void fail(const Program& program, size_t i, const std::string& what) {
  const Step& step = program.steps[i];
  std::fprintf(stderr, "linnet debug: step %zu %s (%s, %s) %s\n", i, step.name.c_str(),
               step.choice.algorithm->name(), step.choice.problem.key().c_str(), what.c_str());
  std::abort();
}

// A range of the arena that is in use during a step.
struct Range {
  std::string what;
  size_t offset, bytes;
};

std::vector<Range> in_use(const Program& program, size_t i) {
  std::vector<Range> ranges;
  for (size_t b = 0; b < program.blocks.size(); ++b) {
    const Block& block = program.blocks[b];
    if (block.where == Block::kArena && block.first_step >= 0 &&
        block.first_step <= static_cast<int>(i) && static_cast<int>(i) <= block.last_step)
      ranges.push_back({"block " + std::to_string(b), block.offset, block.bytes});
  }
  const Step& step = program.steps[i];
  if (const size_t bytes = step.plan.workspace)
    ranges.push_back({"its workspace", step.workspace, bytes});
  if (const Chain* chain = program.chain_of(static_cast<int>(i)))
    ranges.push_back({"the rows of its chain", chain->offset, chain->bytes});
  return ranges;
}

// Whether a lane of padding holds what it may: zero of either sign, or the NaN that its zero
// weights make of an input that is not finite. No kernel lets one lane's value into another's, so
// that NaN goes nowhere.
bool zero_or_nan(const char* lane, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, lane, sizeof value);
    return value == 0 || std::isnan(value);
  }
  if (dtype == DType::kF16) {
    uint16_t bits;
    std::memcpy(&bits, lane, sizeof bits);
    return (bits & 0x7fff) == 0 || (bits & 0x7fff) > 0x7c00;
  }
  const char zero[8] = {};
  return std::memcmp(lane, zero, static_cast<size_t>(size_of(dtype))) == 0;
}

// The lanes beside the channels of each pixel of an operand.
void check_padding(const Program& program, size_t i, const Place& place, const Operand& operand,
                   const char* arena) {
  if (place.block < 0 || operand.layout != Layout::kNhwc) return;
  if (is_byte(operand.dtype)) return;  // there it may be anything
  const Block& block = program.blocks[place.block];
  if (block.where != Block::kArena || block.first_step < 0) return;
  const char* image = arena + block.offset + place.offset;
  const int64_t size = size_of(operand.dtype);
  const int64_t pixel = operand.pixel(program.width);
  const int64_t lanes = round_up(operand.dims.c, program.width);
  for (int64_t n = 0; n < program.steps[i].choice.problem.n;
       ++n, image += operand.image(program.width) * size) {
    for (int64_t p = 0; p < operand.dims.h * operand.dims.w; ++p) {
      for (int64_t lane = operand.dims.c; lane < lanes; ++lane) {
        if (!zero_or_nan(image + (p * pixel + lane) * size, operand.dtype))
          fail(program, i,
               "reads block " + std::to_string(place.block) + ", in which lane " +
                   std::to_string(lane) + " of pixel " + std::to_string(p) +
                   " is padding and not zero");
      }
    }
  }
}

}  // namespace

void debug_begin(const Program& program, char* arena) {
  if (program.arena > 0) std::memset(arena, kNan, program.arena);
}

void debug_before(const Program& program, size_t i, char* arena) {
  const Step& step = program.steps[i];
  const Problem& problem = step.choice.problem;
  if (problem.kind() != Kind::kMove || problem.move().atoms.empty())
    check_padding(program, i, step.x, problem.x, arena);
  check_padding(program, i, step.z, problem.z, arena);
  if (const size_t bytes = step.plan.workspace) std::memset(arena + step.workspace, kNan, bytes);
  const Chain* chain = program.chain_of(static_cast<int>(i));
  if (chain && chain->first == static_cast<int>(i))
    std::memset(arena + chain->offset, kNan, chain->bytes);
  for (const Range& range : in_use(program, i)) {
    std::memset(arena + range.offset - kGuardBytes, kGuard, kGuardBytes);
    std::memset(arena + range.offset + range.bytes, kGuard, kGuardBytes);
  }
}

void debug_after(const Program& program, size_t i, char* arena) {
  const std::string guard(kGuardBytes, kGuard);
  for (const Range& range : in_use(program, i)) {
    if (std::memcmp(arena + range.offset - kGuardBytes, guard.data(), kGuardBytes) != 0)
      fail(program, i, "wrote before " + range.what);
    if (std::memcmp(arena + range.offset + range.bytes, guard.data(), kGuardBytes) != 0)
      fail(program, i, "wrote beyond " + range.what);
  }
  for (const Block& block : program.blocks) {
    if (block.where == Block::kArena && block.last_step == static_cast<int>(i))
      std::memset(arena + block.offset, kNan, block.bytes);
  }
}

}  // namespace linnet

#endif
