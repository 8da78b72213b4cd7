#include "python/usual_pattern.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace guard {

namespace {
constexpr std::string_view kSyntax = "^$.*+?()[]{}|\\/", kClasses = "dDwWsS";
constexpr std::size_t kMostGroups = 10, kMostWeight = 2000, kMostCount = 1000;
// Automata of classes beyond ASCII are large, and validators bound their size.
constexpr std::size_t kWeightOfClass = 40;

bool has(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_printable(char c) { return c >= ' ' && c <= '~'; }

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool is_usual() {
    if (text_.empty()) return false;
    while (at_ < text_.size())
      if (!term(text_[at_++]) || sums_[depth_] > kMostWeight) return false;
    return depth_ == 0;
  }

 private:
  bool term(char c) {
    switch (c) {
      case '^':
      case '$':
      case '|': last_ = 0; return true;
      case '(': return open();
      case ')': return close();
      case '[': return atom(class_of_characters());
      case '.': return atom(kWeightOfClass);
      case '\\': return atom(escape(kSyntax));
      case '*':
      case '+':
      case '?': return repeat(1);
      case '{': return repeat(count());
      case ']':
      case '}': return false;
      default: return is_printable(c) && atom(1);
    }
  }
  // A term of this weight, which may be repeated; 0: it is not usual.
  bool atom(std::size_t weight) {
    last_ = weight;
    sums_[depth_] += weight;
    return weight > 0;
  }
  bool open() {
    if (peek() == '?') {
      ++at_;
      if (next() != ':') return false;
    }
    if (++depth_ == kMostGroups) return false;
    sums_[depth_] = 1;
    last_ = 0;
    return true;
  }
  bool close() {
    if (depth_ == 0) return false;
    return atom(sums_[depth_--]);
  }
  bool repeat(std::size_t most) {
    if (last_ == 0 || most == 0) return false;
    sums_[depth_] += last_ * (most - 1);
    last_ = 0;
    return peek() != '?' && peek() != '+';  // lazy, or possessive
  }
  // The most of {n}, {n,} or {n,m}; 0: it is not usual.
  std::size_t count() {
    std::size_t least = 0;
    if (!number(&least)) return 0;
    std::size_t most = least;
    if (peek() == ',') {
      ++at_;
      if (peek() != '}' && !number(&most)) return 0;
    }
    return next() == '}' && most >= least ? std::max<std::size_t>(most, 1) : 0;
  }
  bool number(std::size_t* out) {
    if (!is_digit(peek())) return false;
    *out = 0;
    while (is_digit(peek()))
      if ((*out = *out * 10 + static_cast<std::size_t>(text_[at_++] - '0')) > kMostCount)
        return false;
    return true;
  }
  // The weight of what is escaped; 0: it is not usual.
  std::size_t escape(std::string_view punctuation) {
    const char c = next();
    return c != '\0' && has(kClasses, c)      ? kWeightOfClass
           : c != '\0' && has(punctuation, c) ? 1
                                              : 0;
  }
  std::size_t class_of_characters() {
    constexpr std::string_view kOdd = "[&~";  // operators of other dialects
    const bool is_negated = peek() == '^';
    std::size_t weight = is_negated ? kWeightOfClass : 1;
    if (is_negated) ++at_;
    for (bool is_first = true;; is_first = false) {
      char c = next();
      if (c == ']') return is_first ? 0 : weight;
      if (!is_printable(c) || has(kOdd, c)) return 0;
      if (c == '-') {  // itself, at the begin or the end
        if (!is_first && peek() != ']') return 0;
        continue;
      }
      if (c == '\\') {
        c = peek();
        const std::size_t escaped = escape("^$.*+?()[]{}|\\/-");
        if (escaped == 0) return 0;
        if (escaped == kWeightOfClass) {
          weight = kWeightOfClass;
          if (peek() == '-' && peek(1) != ']') return 0;
          continue;
        }
      }
      if (peek() != '-' || peek(1) == ']') continue;
      ++at_;
      const char upto = next();
      if (!is_printable(upto) || has(kOdd, upto) || has("\\]-", upto) || upto < c) return 0;
    }
  }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  char next() { return at_ < text_.size() ? text_[at_++] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0, depth_ = 0;
  std::size_t last_ = 0;                             // the weight of what a quantifier repeats
  std::array<std::size_t, kMostGroups + 1> sums_{};  // of the open groups
};
}  // namespace

bool is_usual_pattern(std::string_view text) { return Reader(text).is_usual(); }

}  // namespace guard
