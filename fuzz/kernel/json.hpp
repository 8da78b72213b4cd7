// Json: a slow, strict reader of JSON text, for the judge. It shares no code with the engine.
//
// Refused: anything but RFC 8259, invalid UTF-8, lone surrogates, duplicate keys. A number keeps
// how it was written.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace judge {

struct Number {  // (-1)^negative * digits * 10^exp: no zero at either end of digits, zero has none
  bool negative = false, plain = true;  // plain: written without fraction and exponent
  std::string digits;
  int exp = 0;
};

inline Number number_of(std::string_view text) {  // requires the text of a JSON number
  Number n;
  if (text[0] == '-') n.negative = true, text.remove_prefix(1);
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  n.plain = text.find_first_of(".eE") == text.npos;
  bool fraction = false;
  for (char c : text.substr(0, e)) {
    if (c == '.') fraction = true;
    if (c == '.') continue;
    n.digits.push_back(c);
    n.exp -= fraction;
  }
  if (e < text.size()) n.exp += std::stoi(std::string(text.substr(e + 1)));
  n.digits.erase(0, std::min(n.digits.find_first_not_of('0'), n.digits.size()));
  while (!n.digits.empty() && n.digits.back() == '0') n.digits.pop_back(), ++n.exp;
  if (n.digits.empty()) n.negative = false, n.exp = 0;
  return n;
}

inline int compare(const Number& a, const Number& b) {
  const int sa = a.digits.empty() ? 0
                 : a.negative     ? -1
                                  : 1,
            sb = b.digits.empty() ? 0
                 : b.negative     ? -1
                                  : 1;
  if (sa != sb) return sa < sb ? -1 : 1;
  const int pa = static_cast<int>(a.digits.size()) + a.exp,
            pb = static_cast<int>(b.digits.size()) + b.exp;
  const int c = sa == 0 ? 0 : pa != pb ? (pa < pb ? -1 : 1) : a.digits.compare(b.digits);
  return (c < 0 ? -1 : c > 0) * (sa < 0 ? -1 : 1);
}

inline bool is_multiple(const Number& v, const Number& m) {  // requires m > 0, of few digits
  const std::int64_t step = std::stoll(m.digits);
  std::int64_t rest = 0;
  for (char c : v.digits) rest = (rest * 10 + (c - '0')) % step;
  for (int e = m.exp; e < v.exp; ++e) rest = rest * 10 % step;
  return v.digits.empty() || (v.exp >= m.exp && rest == 0);
}

struct Member;
struct Json {
  enum Kind { Null, False, True, Num, Str, Arr, Obj } kind = Null;
  Number number;
  std::u32string text;
  std::vector<Json> items;
  std::vector<Member> members;  // in the order written
};
struct Member {
  std::u32string first;
  Json second;
};

inline bool equal(const Json& a, const Json& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Json::Num) return compare(a.number, b.number) == 0;
  if (a.kind == Json::Str) return a.text == b.text;
  if (a.kind == Json::Arr)
    return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), equal);
  if (a.kind != Json::Obj) return true;
  return a.members.size() == b.members.size() &&
         std::all_of(a.members.begin(), a.members.end(), [&b](const auto& x) {
           return std::any_of(b.members.begin(), b.members.end(), [&x](const auto& y) {
             return x.first == y.first && equal(x.second, y.second);
           });
         });
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  std::optional<Json> whole() {
    Json out;
    if (!value(&out)) return {};
    space();
    if (at_ != text_.size()) return {};
    return out;
  }

 private:
  bool end() const { return at_ == text_.size(); }
  bool eat(char c) {
    if (end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void space() {
    while (!end() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool digits() {
    const std::size_t from = at_;
    while (!end() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > from;
  }
  bool value(Json* out) {
    space();
    if (end()) return false;
    const std::pair<std::string_view, Json::Kind> words[] = {
        {"null", Json::Null}, {"false", Json::False}, {"true", Json::True}};
    for (const auto& [word, kind] : words)
      if (text_.substr(at_, word.size()) == word) return at_ += word.size(), out->kind = kind, true;
    if (text_[at_] == '"') return out->kind = Json::Str, string(&out->text);
    if (eat('[')) {
      out->kind = Json::Arr;
      space();
      if (eat(']')) return true;
      do {
        if (!value(&out->items.emplace_back())) return false;
        space();
      } while (eat(','));
      return eat(']');
    }
    if (eat('{')) {
      out->kind = Json::Obj;
      space();
      if (eat('}')) return true;
      do {
        std::u32string key;
        space();
        if (end() || text_[at_] != '"' || !string(&key)) return false;
        for (const auto& [other, _] : out->members)
          if (other == key) return false;
        space();
        out->members.push_back({key, Json{}});
        if (!eat(':') || !value(&out->members.back().second)) return false;
        space();
      } while (eat(','));
      return eat('}');
    }
    const std::size_t from = at_;
    eat('-');
    if (!eat('0') && !digits()) return false;
    if (eat('.') && !digits()) return false;
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      if (!digits()) return false;
    }
    out->kind = Json::Num;
    out->number = number_of(text_.substr(from, at_ - from));
    return true;
  }
  bool hex(char32_t* c) {
    *c = 0;
    for (int i = 0; i < 4; ++i) {
      if (end()) return false;
      const std::size_t digit =
          std::string_view("0123456789abcdef")
              .find(static_cast<char>(text_[at_] >= 'A' && text_[at_] <= 'F' ? text_[at_] + 32
                                                                             : text_[at_]));
      if (digit == std::string_view::npos) return false;
      *c = *c * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return true;
  }
  bool string(std::u32string* out) {
    ++at_;  // the quote
    while (!end()) {
      const auto byte = static_cast<unsigned char>(text_[at_++]);
      if (byte == '"') return true;
      if (byte < 0x20) return false;
      char32_t c = byte;
      if (byte == '\\') {
        if (end()) return false;
        const char kind = text_[at_++];
        const std::size_t simple = std::string_view("\"\\/bfnrt").find(kind);
        if (simple != std::string_view::npos) {
          c = static_cast<char32_t>("\"\\/\b\f\n\r\t"[simple]);
        } else {
          if (kind != 'u' || !hex(&c)) return false;
          if (c >= 0xDC00 && c <= 0xDFFF) return false;
          if (c >= 0xD800 && c <= 0xDBFF) {
            char32_t low = 0;
            if (!eat('\\') || !eat('u') || !hex(&low) || low < 0xDC00 || low > 0xDFFF) return false;
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
          }
        }
      } else if (byte >= 0x80) {
        const int more = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
        if (byte < 0xC2 || byte > 0xF4) return false;
        c = byte & (0x3Fu >> more);
        for (int i = 0; i < more; ++i) {
          if (end() || (static_cast<unsigned char>(text_[at_]) & 0xC0) != 0x80) return false;
          c = c << 6 | (static_cast<unsigned char>(text_[at_++]) & 0x3Fu);
        }
        if (c < (more == 3   ? 0x10000u
                 : more == 2 ? 0x800u
                             : 0x80u) ||
            c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
          return false;
      }
      out->push_back(c);
    }
    return false;
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

inline std::optional<Json> read(std::string_view text) { return Reader(text).whole(); }

}  // namespace judge
