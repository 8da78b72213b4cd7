// Outline: a necessary condition on how JSON text may continue, from its bytes alone, for any
// schema. All functions are pure.
#pragma once
#include <algorithm>
#include <string_view>

#include "support/base.hpp"

namespace guard {

// Whether the byte may follow a string or a number.
inline bool may_follow(std::uint8_t byte) {
  switch (byte) {
    case ',':
    case '}':
    case ']':
    case ':':
    case ' ':
    case '\n':
    case '\r':
    case '\t': return true;
    default: return false;
  }
}
constexpr std::string_view kSpaces = " \n\r\t", kStarts = "\"{}[],:-0123456789tfn";
inline bool may_come(std::string_view text) {  // after white space; requires a text that is not
                                               // empty
  const std::string_view word = text[0] == 't'   ? "true"
                                : text[0] == 'f' ? "false"
                                : text[0] == 'n' ? "null"
                                                 : "";
  return text.substr(0, word.size()) == word.substr(0, text.size());
}

// The bytes of a text inside of a string of an array, up to and with the quote that ends the
// string; 0 where that is not certain, or where the text begins another item. `opening`: an item of
// which there is nothing but the opening quote does not count.
inline std::size_t end_of_item(std::string_view text, bool opening) {
  const std::size_t end = text.find_first_of("\"\\");
  if (end == text.npos || text[end] == '\\') return 0;
  const std::size_t next = text.find_first_not_of(", \t\n\r", end + 1);
  const bool begins = next != text.npos && text[next] != ']' &&
                      !(opening && text[next] == '"' && next + 1 == text.size());
  return begins ? 0 : end + 1;
}

// How far a text reaches that follows a key (`colon`), or begins where a value begins. Never: it is
// not JSON. Within: at most to the value's end. Beyond: further. Raises *deepest to the deepest
// nesting. O(bytes).
enum class Reach { Never, Within, Beyond };
inline Reach reach(std::string_view text, bool colon, std::int32_t* deepest) {
  std::size_t i = 0;
  const auto gap = [&] { i = std::min(text.find_first_not_of(kSpaces, i), text.size()); };
  gap();
  if (colon && i < text.size()) {
    if (text[i++] != ':') return Reach::Never;
    gap();
  }
  if (i == text.size()) return Reach::Within;
  if (kStarts.find(text[i]) == kStarts.npos || text[i] == '}' || text[i] == ']' || text[i] == ':' ||
      text[i] == ',')
    return Reach::Never;
  if (text[i] != '"' && text[i] != '{' && text[i] != '[') {
    if (!may_come(text.substr(i))) return Reach::Never;
    const std::size_t end = text.find_first_of(" \n\r\t\"{}[],:", i);
    return end == text.npos ? Reach::Within : Reach::Beyond;
  }
  bool inside = false;
  std::int32_t depth = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      if (c == '\\')
        ++i;
      else
        inside = c != '"';
    } else if (c == '"') {
      inside = true;
    } else if (c == '{' || c == '[') {
      *deepest = std::max(*deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
    if (depth <= 0 && !inside) return i + 1 >= text.size() ? Reach::Within : Reach::Beyond;
  }
  return Reach::Within;
}

}  // namespace guard
