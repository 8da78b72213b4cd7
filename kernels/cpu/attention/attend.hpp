// What a token sees of those before it: softmax(q k^T / sqrt(size)) v, over a cache in bfloat16.
//
// For the few rows of a decoding step, where a general kernel takes longer to begin than to attend.
// Each row's result is its own: it depends on no other row, and on how many there are in no bit.
// Sums run in float32, 16 at a time; O(tokens * size) for each head, the cache read once a group.
// Thread-safe. Tested against torch's attention in tests/kernels/test_attend.py.
#pragma once

#include <cstdint>

namespace guard {

struct Attention {
  const std::uint16_t* queries;  // bfloat16 [rows, heads, size]
  std::int64_t query_stride;     // from a row to the next, in numbers
  const std::uint16_t* cache;    // bfloat16 [2 groups, ..., size]: keys of each group, then values
  std::int64_t cache_stride;     // from a group to the next, in numbers
  std::uint16_t* found;          // bfloat16 [rows, heads, size], side by side
  std::int64_t rows;
  std::int64_t past;   // row i sees the first past + i + 1 tokens of the cache
  std::int64_t heads;  // a multiple of groups: so many heads share a group's keys and values
  std::int64_t groups;
  std::int64_t size;  // a multiple of 16
};

void attend(const Attention& attention);

}  // namespace guard
