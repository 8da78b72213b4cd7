#include "automaton/closed_texts.hpp"

#include <algorithm>

namespace guard {
namespace {

// The most characters of a number in a closed choice, on average.
constexpr std::size_t kDigits = 16;

// Is a value due here?
bool is_due(const Frame& f) {
  return f.phase == Phase::Value || (f.phase == Phase::First && f.kind == Kind::Array);
}

// A text as between JSON quotes, in canonical spelling.
std::string escaped(const std::u32string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : encode_utf8(text)) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          (out += "\\u00").append({kHex[c >> 4], kHex[c & 15]});
        else
          out += c;
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> closed_texts(Engine& engine, const Config& at, std::size_t most) {
  Arena scratch;
  std::vector<std::string> out;
  if (!at.top || at.finished) return out;
  if (at.lex == Lex::Text) {
    Lexicon& lexicon = engine.lexicon();
    if (!lexicon.texts.is_whole(at.state)) return out;
    std::vector<std::u32string> found;
    for (const Component& c : std::vector<Component>(lexicon.texts.components(at.state))) {
      if (c.index >= kTracked) continue;  // an item that must not be repeated
      if (!lexicon.langs.has_quotes(c.lang)) return out;
      lexicon.langs.some(c.lang, 0, kInf, most + 1, &found);
      if (found.size() > most) return out;
    }
    for (const std::u32string& text : found) out.push_back(escaped(text) + '"');
  } else if (at.lex == Lex::None && is_due(*at.top)) {
    Config next;
    for (const char b : std::string_view("\"[{tf]"))
      if (engine.step(at, static_cast<std::uint8_t>(b), &next, scratch)) return out;
    if (engine.step(at, 'n', &next, scratch)) out.emplace_back("null");
    // By length. If the numbers are no closed choice, the number of prefixes soon exceeds the
    // limit.
    std::vector<std::pair<Config, std::string>> parts{{at, ""}};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto [from, text] = parts[i];
      if (from.lex == Lex::Number && engine.stepper.end_number(from, &next, scratch))
        out.push_back(text);
      if (out.size() > most || parts.size() > most * kDigits) return {};
      for (const char b : std::string_view("-0123456789.eE+"))
        if (engine.step(from, static_cast<std::uint8_t>(b), &next, scratch) &&
            next.lex == Lex::Number)
          parts.emplace_back(next, text + b);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace guard
