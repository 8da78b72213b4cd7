// Character classes: characters that most patterns treat alike, so that tokens with the same
// classes are classified together.
//
// A vocabulary of 150,000 tokens has some 6,000 spellings by class. Any partition would be correct;
// this one is seldom too coarse. Where a state distinguishes characters of one class, the tokens
// with that class are read byte by byte. So the letters of the scripts that vocabularies have most
// tokens of are classes, which `\p{L}` and the formats of IDNA take or refuse as a whole. Control
// characters, `"` and `\` have no class.
#pragma once
#include <array>

#include "regex/regex.hpp"

namespace guard {

constexpr std::uint8_t kNoClass = 255;
// Lower case, upper case, digits, and each other ASCII character. Beyond ASCII: white space of
// `\s`, characters that `.` excludes, letters, all others.
constexpr std::uint8_t kBeyond = 128, kBeyondSpace = 129, kBeyondLine = 130, kLetters = 131;
struct Letters {  // of one script
  std::uint32_t lo, hi;
  std::uint8_t cls;
};
// Sorted. Left out are letters that IDNA excludes, as it does those with a compatibility
// decomposition.
constexpr std::array kScripts{
    Letters{0xDF, 0xF6, kLetters},         Letters{0xF8, 0xFF, kLetters},          // Latin
    Letters{0x430, 0x45F, kLetters + 1},                                           // Cyrillic
    Letters{0x5D0, 0x5EA, kLetters + 2},                                           // Hebrew
    Letters{0x621, 0x63A, kLetters + 3},   Letters{0x641, 0x64A, kLetters + 3},    // Arabic
    Letters{0xE01, 0xE30, kLetters + 4},   Letters{0xE40, 0xE45, kLetters + 4},    // Thai
    Letters{0x3041, 0x3096, kLetters + 5}, Letters{0x30A1, 0x30FA, kLetters + 5},  // kana
    Letters{0x4E00, 0x9FFF, kLetters + 6},                                         // Han
    Letters{0xAC00, 0xD7A3, kLetters + 7}};                                        // Hangul
constexpr std::uint8_t kClasses = kLetters + 8;

inline std::uint8_t class_of(std::uint32_t c) {
  if (c < 0x20 || c == '"' || c == '\\') return kNoClass;
  if (c >= 'a' && c <= 'z') return 'a';
  if (c >= 'A' && c <= 'Z') return 'A';
  if (c >= '0' && c <= '9') return '0';
  if (c < 0x80) return static_cast<std::uint8_t>(c);
  for (const Letters& letters : kScripts)
    if (c <= letters.hi) {
      if (c >= letters.lo) return letters.cls;
      break;
    }
  if (c == 0x2028 || c == 0x2029) return kBeyondLine;
  const bool space = c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F ||
                     c == 0x205F || c == 0x3000 || c == 0xFEFF;
  return space ? kBeyondSpace : kBeyond;
}

// The characters of each class.
inline const std::array<Ranges, kClasses>& classes() {
  static const std::array<Ranges, kClasses> all = [] {
    std::array<Ranges, kClasses> out;
    const auto add = [&](std::uint32_t lo, std::uint32_t hi) {
      for (std::uint32_t c = lo; c <= hi; ++c) {
        const std::uint8_t cls = class_of(c);
        if (cls == kNoClass) continue;
        Ranges& ranges = out[cls];
        if (!ranges.empty() && ranges.back().hi + 1 == c)
          ranges.back().hi = c;
        else
          ranges.push_back({c, c});
      }
    };
    add(0, 0xD7FF);
    add(0xE000, kMaxChar);
    return out;
  }();
  return all;
}

}  // namespace guard
