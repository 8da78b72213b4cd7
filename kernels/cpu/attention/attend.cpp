#include "attention/attend.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define GUARD_X86 1
#define GUARD_AVX2 __attribute__((target("avx2,fma")))
#define GUARD_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#endif
#define GUARD_INLINE [[gnu::always_inline]] inline

namespace guard {
namespace {

constexpr int kLanes = 16;
// Heads that are worked on together, and vectors of a value: their sums stay in registers.
constexpr int kHeads = 4, kVectors = 4;

typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef std::uint32_t Words __attribute__((vector_size(64)));
typedef std::uint16_t Halves __attribute__((vector_size(32)));

// By reference: a vector that is returned is passed otherwise by each of the targets.
GUARD_INLINE void load(Floats& to, const std::uint16_t* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}

GUARD_INLINE float sum(const Floats& of) {
  float part[kLanes];
  std::memcpy(part, &of, sizeof part);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) part[lane] += part[lane + width];
  return part[0];
}

GUARD_INLINE std::uint16_t rounded(float number) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  if (number != number) return 0x7FC0;
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// e^x for x <= 0, to float32's rounding or so: 2^n 2^f with f in [-0.5, 0.5], by its series.
GUARD_INLINE void exponential(Floats& x) {
  constexpr float log2 = 0.6931471805599453f;
  const Floats least = Floats{} - 87.0f;
  const Floats y = (x > least ? x : least) * 1.4426950408889634f;
  const Ints n = __builtin_convertvector(y - 0.5f, Ints);
  const Floats f = (y - __builtin_convertvector(n, Floats)) * log2;
  Floats series = 1.0f + f * (1.0f / 7);
  series = 1.0f + f * (1.0f / 6) * series;
  series = 1.0f + f * (1.0f / 5) * series;
  series = 1.0f + f * (1.0f / 4) * series;
  series = 1.0f + f * (1.0f / 3) * series;
  series = 1.0f + f * (1.0f / 2) * series;
  series = 1.0f + f * series;
  const Ints bits = (n + 127) << 23;
  Floats power;
  std::memcpy(&power, &bits, sizeof power);
  x = series * power;
}

// In place; returns the sum. There is room up to a multiple of kLanes.
GUARD_INLINE float softmax(float* scores, std::int64_t count) {
  const float most = *std::max_element(scores, scores + count);
  const std::int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
  std::fill(scores + count, scores + whole, -std::numeric_limits<float>::infinity());
  Floats total = {};
  for (std::int64_t at = 0; at < whole; at += kLanes) {
    Floats part;
    std::memcpy(&part, scores + at, sizeof part);
    part -= most;
    exponential(part);
    std::memcpy(scores + at, &part, sizeof part);
    if (at + kLanes > count) {
      std::fill(scores + count, scores + whole, 0.0f);
      std::memcpy(&part, scores + at, sizeof part);
    }
    total += part;
  }
  return sum(total);
}

template <int heads, int vectors>
GUARD_INLINE void add_values(const float* shares, std::int64_t room, const std::uint16_t* values,
                             std::int64_t size, std::int64_t count, const float* totals,
                             std::uint16_t* found) {
  Floats sums[heads][vectors] = {};
  for (std::int64_t token = 0; token < count; ++token, values += size)
    for (int vector = 0; vector < vectors; ++vector) {
      Floats value;
      load(value, values + vector * kLanes);
      for (int head = 0; head < heads; ++head)
        sums[head][vector] += shares[head * room + token] * value;
    }
  for (int head = 0; head < heads; ++head)
    for (int vector = 0; vector < vectors; ++vector)
      for (int lane = 0; lane < kLanes; ++lane)
        found[head * size + vector * kLanes + lane] =
            rounded(sums[head][vector][lane] / totals[head]);
}

// Some heads of one group, for one row that sees `count` tokens.
template <int heads>
GUARD_INLINE void attend_heads(const std::uint16_t* queries, const std::uint16_t* keys,
                               const std::uint16_t* values, std::int64_t size, std::int64_t count,
                               float* query, float* scores, std::uint16_t* found) {
  const std::int64_t room = (count + kLanes - 1) / kLanes * kLanes;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  for (std::int64_t at = 0; at < heads * size; at += kLanes) {
    Floats part;
    load(part, queries + at);
    part *= scale;
    std::memcpy(query + at, &part, sizeof part);
  }
  for (std::int64_t token = 0; token < count; ++token) {
    Floats sums[heads] = {};
    for (std::int64_t at = 0; at < size; at += kLanes) {
      Floats key;
      load(key, keys + token * size + at);
      for (int head = 0; head < heads; ++head) {
        Floats part;
        std::memcpy(&part, query + head * size + at, sizeof part);
        sums[head] += part * key;
      }
    }
    for (int head = 0; head < heads; ++head) scores[head * room + token] = sum(sums[head]);
  }
  float totals[heads];
  for (int head = 0; head < heads; ++head) totals[head] = softmax(scores + head * room, count);
  std::int64_t at = 0;
  for (; at + kVectors * kLanes <= size; at += kVectors * kLanes)
    add_values<heads, kVectors>(scores, room, values + at, size, count, totals, found + at);
  for (; at < size; at += kLanes)
    add_values<heads, 1>(scores, room, values + at, size, count, totals, found + at);
}

GUARD_INLINE void attend_all(const Attention& a, float* query, float* scores) {
  const std::int64_t share = a.heads / a.groups;
  for (std::int64_t row = 0; row < a.rows; ++row)
    for (std::int64_t group = 0; group < a.groups; ++group) {
      const std::uint16_t* keys = a.cache + group * a.cache_stride;
      const std::uint16_t* values = a.cache + (a.groups + group) * a.cache_stride;
      const std::int64_t count = a.past + row + 1;
      for (std::int64_t head = 0; head < share;) {
        const std::int64_t first = group * share + head, left = share - head;
        const std::uint16_t* queries = a.queries + row * a.query_stride + first * a.size;
        std::uint16_t* found = a.found + (row * a.heads + first) * a.size;
        if (left >= kHeads)
          attend_heads<4>(queries, keys, values, a.size, count, query, scores, found), head += 4;
        else if (left == 3)
          attend_heads<3>(queries, keys, values, a.size, count, query, scores, found), head += 3;
        else if (left == 2)
          attend_heads<2>(queries, keys, values, a.size, count, query, scores, found), head += 2;
        else
          attend_heads<1>(queries, keys, values, a.size, count, query, scores, found), head += 1;
      }
    }
}

using Attend = void (*)(const Attention&, float*, float*);

void attend_portable(const Attention& a, float* query, float* scores) {
  attend_all(a, query, scores);
}

#ifdef GUARD_X86
GUARD_AVX2 void attend_avx2(const Attention& a, float* query, float* scores) {
  attend_all(a, query, scores);
}

GUARD_AVX512 void attend_avx512(const Attention& a, float* query, float* scores) {
  attend_all(a, query, scores);
}
#endif

Attend kernel() {
#ifdef GUARD_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return attend_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return attend_avx2;
#endif
  return attend_portable;
}

}  // namespace

void attend(const Attention& attention) {
  static const Attend chosen = kernel();
  const std::int64_t most = attention.past + attention.rows + kLanes;
  std::vector<float> query(static_cast<std::size_t>(kHeads * attention.size));
  std::vector<float> scores(static_cast<std::size_t>(kHeads * most));
  chosen(attention, query.data(), scores.data());
}

}  // namespace guard
