#include "constraints/lexicon.hpp"

#include <algorithm>

namespace guard {

bool Lexicon::in_lang(Id lang, Id name) {
  return remember(matches, std::pair{lang, name},
                  [&] { return langs.contains(lang, decode_utf8(names[name].text)); });
}

namespace {
constexpr int kMaxNesting = 2000;  // of a value that is compared with others

struct Reader {
  Lexicon* lexicon;
  std::string_view text;
  std::size_t at = 0;
  int depth = 0;

  void space() {
    while (at < text.size() &&
           (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
      ++at;
  }
  // Requires valid JSON, which the automaton has read or json.dumps has written. Nothing is checked
  // here; `at` never passes the end.
  Id value() {
    const Recursion deeper(&depth, kMaxNesting);
    space();
    Value v;
    switch (text[at]) {
      case 'n': v.kind = Value::Null, at += 4; break;
      case 't': v.kind = Value::True, at += 4; break;
      case 'f': v.kind = Value::False, at += 5; break;
      case '"': v.kind = Value::String, v.text = lexicon->name(string()); break;
      case '[':
        v.kind = Value::Array;
        members(']', [&] { v.items.push_back(value()); });
        break;
      case '{':
        v.kind = Value::Object;
        members('}', [&] {
          const Id name = lexicon->name(string());
          space();
          ++at;  // the colon
          v.members.emplace_back(name, value());
        });
        // Equal values have equal ids, whatever the order of their keys.
        std::sort(v.members.begin(), v.members.end());
        break;
      default: v.kind = Value::Number, v.number = number();
    }
    return lexicon->values.intern(std::move(v));
  }
  template <class F>
  void members(char end, F read) {
    ++at;
    for (space(); text[at] != end; space()) {
      if (text[at] == ',') ++at, space();
      read();
    }
    ++at;
  }
  std::uint32_t hex() {
    std::uint32_t c = 0;
    for (int i = 0; i < 4; ++i) {
      const char d = text[at++];
      c = c * 16 + static_cast<std::uint32_t>(d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
    }
    return c;
  }
  std::string string() {
    std::string out;
    for (++at; text[at] != '"';) {
      const char c = text[at++];
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      const char e = text[at++];
      if (e == 'u') {
        std::uint32_t code = hex();
        if (code >= 0xD800 && code < 0xDC00)
          at += 2, code = 0x10000 + ((code - 0xD800) << 10) + (hex() - 0xDC00);
        const char32_t one = code;
        out += encode_utf8(std::u32string_view(&one, 1));
      } else {
        const std::string_view from = "bfnrt", to = "\b\f\n\r\t";
        const std::size_t i = from.find(e);
        out.push_back(i == from.npos ? e : to[i]);
      }
    }
    ++at;
    return out;
  }
  Decimal number() {
    Decimal d;
    const auto digits = [&](bool fraction) {
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
        d.digits.push_back(text[at]);
        d.exp -= fraction;
      }
    };
    if (text[at] == '-') d.negative = true, ++at;
    digits(false);
    if (at < text.size() && text[at] == '.') ++at, digits(true);
    if (at < text.size() && (text[at] | 32) == 'e') {
      ++at;
      const bool down = text[at] == '-';
      if (down || text[at] == '+') ++at;
      std::int32_t e = 0;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
        e = e * 10 + (text[at] - '0');
      d.exp += down ? -e : e;
    }
    // One form for each number: no zeros at either end; the exponent says where the point is; 0 has
    // no digits and no sign.
    d.digits.erase(0, std::min(d.digits.find_first_not_of('0'), d.digits.size()));
    while (!d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), ++d.exp;
    return d.digits.empty() ? Decimal{} : d;
  }
};
}  // namespace

Id Lexicon::parse(std::string_view text) { return Reader{this, text}.value(); }

}  // namespace guard
