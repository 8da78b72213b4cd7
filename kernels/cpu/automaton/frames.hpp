// Frames: what several parts of the engine ask of a frame and of keys.
#pragma once
#include <algorithm>

#include "automaton/engine.hpp"

namespace guard {

constexpr std::string_view kLiterals[] = {"null", "true", "false"};

inline Type type_of(const Frame& f) { return f.kind == Kind::Object ? Type::Object : Type::Array; }
inline bool bit(const std::uint64_t* words, std::int32_t i) { return words && (words[i >> 6] >> (i & 63) & 1); }
inline bool is_extra(const Frame& f, std::string_view key) {  // was this undeclared key written?
  return f.extras && std::binary_search(f.extras->texts, f.extras->texts + f.extras->size, key);
}
inline const Extras* with_extra(const Frame& f, std::string_view key, Arena& arena) {
  const std::int32_t n = f.extras ? f.extras->size : 0;
  auto* texts = static_cast<std::string_view*>(arena.allocate(sizeof(std::string_view) * static_cast<std::size_t>(n + 1)));
  std::int32_t i = 0;
  for (; i < n && f.extras->texts[i] < key; ++i) texts[i] = f.extras->texts[i];
  texts[i] = key;
  for (; i < n; ++i) texts[i + 1] = f.extras->texts[i];
  return arena.make(Extras{n + 1, texts});
}
inline std::size_t words_for(std::size_t bits) { return std::max<std::size_t>((bits + 63) / 64, 1); }

inline bool is_separated(const Frame& f) {  // behind a comma or a colon
  return f.phase == Phase::Key || (f.phase == Phase::Value && f.kind != Kind::Root);
}

// The character of a key at this byte; -1 behind its end.
inline std::int64_t char_at(std::string_view text, std::int32_t depth) {
  if (static_cast<std::int32_t>(text.size()) <= depth) return -1;
  return first_char(text.substr(static_cast<std::size_t>(depth)));
}
inline bool in_ranges(const Ranges& ranges, std::int64_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [c](const Range& r) { return c >= r.lo && c <= r.hi; });
}

}  // namespace guard
