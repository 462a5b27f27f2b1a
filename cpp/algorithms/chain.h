// Chains: steps of a program that are computed together, some rows at a time, so that what one step
// writes is still in the cache when the next reads it, and needs no more room than those rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "algorithms/plan.h"

namespace linnet {

constexpr int kMostLinks = 8;

// A step of a chain, as numbers. A row of its y needs `extent` rows of x from `row * stride - pad`
// on, where there are such.
struct ChainLink {
  int64_t rows;  // of y
  int64_t stride, pad, extent;
  // Of y where the next step reads it: rows that are held, bytes of one, and where they lie in the
  // chain's memory.
  int64_t held, row_bytes, offset;
  int64_t x_image, z_image, y_image;  // bytes from one image to the next, where they are whole
};

struct ChainArgs {
  int64_t images, rows;  // rows of the last step's y that are computed at a time
  int64_t length;
  ChainLink links[kMostLinks];

  size_t bytes() const { return offsetof(ChainArgs, links) + length * sizeof(ChainLink); }
};

// What a step runs with; the operands of the first image.
struct ChainStep {
  const PlanCode* code;
  const void* args;
  Operands operands;
};

// `step(link)` is a ChainStep; `done(link)` is called when it has computed some rows.
template <typename Step, typename Done>
void run_chain(const ChainArgs& chain, void* memory, Step step, Done done) {
  const int64_t last = chain.length - 1;
  const auto at = [](const void* base, int64_t bytes) {
    return const_cast<char*>(static_cast<const char*>(base)) + bytes;
  };
  const auto held = [&](int64_t l) { return at(memory, chain.links[l].offset); };
  for (int64_t image = 0; image < chain.images; ++image) {
    int64_t next[kMostLinks] = {}, first[kMostLinks] = {};  // row to be computed, row held first
    while (next[last] < chain.links[last].rows) {
      // How far each step has to come, from the last back.
      int64_t wanted[kMostLinks];
      wanted[last] = std::min(next[last] + chain.rows, chain.links[last].rows);
      for (int64_t l = last; l > 0; --l) {
        const ChainLink& link = chain.links[l];
        const int64_t end = (wanted[l] - 1) * link.stride - link.pad + link.extent;
        wanted[l - 1] = std::max(next[l - 1], std::min(end, chain.links[l - 1].rows));
      }
      for (int64_t l = 0; l <= last; ++l) {
        const ChainLink& link = chain.links[l];
        const ChainStep now = step(l);
        Operands o = now.operands;
        RowRange rows{next[l], wanted[l], 0, 0};
        if (l > 0) {
          o.x = held(l - 1), rows.x_first = first[l - 1];
        } else {
          o.x = at(o.x, image * link.x_image);
        }
        if (l < last) {
          // Rows that the next step reads again become the first.
          const ChainLink& reader = chain.links[l + 1];
          const int64_t keep =
              std::min(next[l], std::max(first[l], next[l + 1] * reader.stride - reader.pad));
          if (keep > first[l]) {
            std::memmove(held(l), held(l) + (keep - first[l]) * link.row_bytes,
                         static_cast<size_t>((next[l] - keep) * link.row_bytes));
          }
          first[l] = keep;
          o.y = held(l), rows.y_first = keep;
        } else {
          o.y = at(o.y, image * link.y_image);
        }
        if (o.operand) o.operand = at(o.operand, image * link.z_image);
        if (rows.first < rows.last) now.code->run_rows(now.args, o, rows);
        next[l] = wanted[l];
        done(l);
      }
    }
  }
}

}  // namespace linnet
