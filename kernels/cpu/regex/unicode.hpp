// Unicode: ranges of code points, UTF-8, Punycode, and how JSON spells text. All functions are
// pure.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace guard {

constexpr std::uint32_t kMaxChar = 0x10FFFF;

struct Range {
  std::uint32_t lo, hi;  // closed
  bool operator==(const Range&) const = default;
};
using Ranges = std::vector<Range>;  // sorted, disjoint, not adjacent
Ranges normalised(Ranges ranges);
Ranges intersection(const Ranges& a, const Ranges& b);
inline bool meets(Range range, const Ranges& ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [range](const Range& r) { return r.lo <= range.hi && range.lo <= r.hi; });
}
const Ranges& writable_chars();  // the characters of JSON text: every code point except surrogates

std::u32string punycode(std::u32string_view text);             // RFC 3492, without `xn--`
void append_utf8(std::string_view bytes, std::u32string* to);  // requires valid UTF-8
std::u32string decode_utf8(std::string_view bytes);            // requires valid UTF-8
char32_t first_char(std::string_view bytes);                   // requires valid UTF-8, not empty
std::string encode_utf8(std::u32string_view text);
std::int64_t spelled_bytes(
    std::string_view text);  // bytes of UTF-8 text inside quotes, escapes included
std::int64_t spelled_bytes(
    std::uint32_t lo,
    std::uint32_t hi);  // of the cheapest character in [lo, hi] inside quotes; -1: there is none

}  // namespace guard
