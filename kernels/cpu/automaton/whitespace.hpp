// White space between lexemes: how much of it is allowed, in each style. All functions are pure and
// O(1).
#pragma once
#include "automaton/frames.hpp"

namespace guard {

inline bool is_space(std::uint8_t b) { return b == ' ' || b == '\n' || b == '\r' || b == '\t'; }

// A gap counts the white space so far. For Whitespace::Flexible it also encodes whether spaces or
// tabs follow a newline.
namespace gaps {
constexpr std::int32_t kNewline = 100, kTabs = 200, kMaxSpaces = 40, kMaxTabs = 10;
}

// May there be white space at all? Inside of a format, the format decides on the text around a
// value.
inline bool may_have_gap(const Frame& f) {
  return f.phase != Phase::End && !(f.kind == Kind::Root && f.phase == Phase::Value && f.parent);
}

// The gap after one more byte of white space; -1: it is not allowed.
inline std::int32_t gap_after(const Options& options, const Frame& f, std::int32_t gap,
                              std::uint8_t byte) {
  using namespace gaps;
  const bool leading = f.kind == Kind::Root && f.phase == Phase::Value;
  if (!may_have_gap(f)) return -1;
  switch (options.whitespace) {
    case Whitespace::Compact: return -1;
    case Whitespace::Any: return gap < options.longest_run ? gap + 1 : -1;
    case Whitespace::Spaced:
      return gap == 0 && byte == ' ' && (leading || is_separated(f)) ? 1 : -1;
    case Whitespace::Flexible:
      if (gap == 0)
        return byte == ' ' && (leading || is_separated(f)) ? 1
               : byte == '\n' && !leading                  ? kNewline
                                                           : -1;
      if (gap >= kNewline && gap < kNewline + kMaxSpaces && byte == ' ') return gap + 1;
      if (gap == kNewline && byte == '\t') return kTabs + 1;
      return gap > kTabs && gap < kTabs + kMaxTabs && byte == '\t' ? gap + 1 : -1;
  }
  return -1;
}

// May a lexeme begin after the gap?
inline bool gap_is_done(const Options& options, const Frame& f, std::int32_t gap) {
  return options.whitespace != Whitespace::Spaced || gap == 1 || !is_separated(f);
}

}  // namespace guard
