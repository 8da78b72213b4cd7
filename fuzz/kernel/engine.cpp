// A libFuzzer target: the real engine against the slow judge.
//
// Bytes are decoded into a small set of nodes, options, some values, and a walk. Every value's text
// is judged and read by the engine. On the walk, in every state: the mask is what trying each token
// gives; distance() is lowered by some token; masks under a budget are those distances; forced
// bytes are forced; an older state still says what it said. A walk ends by distance(), and what it
// wrote must be valid. Limits are answers. Each input has tables of its own, so that a failure
// depends on nothing else. In place a node applies only nodes behind it: no schema is a loop.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "judge.hpp"
#include "runtime/tables.hpp"

namespace {

using guard::Id;
using judge::Json;
using judge::Rule;

constexpr std::size_t kSteps = 12;      // tokens of one walk
constexpr std::size_t kLongest = 3000;  // bytes after which a walk by distance is taken for endless
const char* const kNumbers[] = {"0",   "1",    "2",  "3",   "-1",  "0.5", "2.5", "10",
                                "100", "-0.1", "12", "1e2", "1.0", "7e1", "-20", "0.001"};
const char* const kMultiples[] = {"1", "2", "3", "0.5", "1.5", "10", "0.1", "7"};
const char32_t* const kTexts[] = {U"",  U"a",    U"b",  U"ab", U"abc",        U"bc",
                                  U"é", U"x\"y", U"aa", U"c",  U"\U0001F600", U"ba"};
const char32_t* const kNames[] = {U"a", U"b", U"c", U"ab", U"", U"é", U"x\"y", U"aa"};
const char* const kMerges[] = {"{\"", "\":",  "\": ", "\",\"",    "\", \"",   "},",   "],",   "[]",
                               "{}",  "[[",   "]]",   "true",     "false",    "null", ": ",   ", ",
                               "ab",  "aa",   "a\"",  "\"a\"",    "\"b\":",   "10",   "00",   "0.",
                               ".5",  "-1",   "e1",   "1,",       "1}",       "0]",   "\"}",  "\"]",
                               "\\u", "\\\"", "00e",  "\xC3\xA9", "{\"a\": ", " \"",  "\\u00"};

std::string utf8(const std::u32string& text) {
  std::string out;
  for (char32_t c : text) {
    const auto put = [&out](char32_t b) { out.push_back(static_cast<char>(b)); };
    if (c < 0x80)
      put(c);
    else if (c < 0x800)
      put(0xC0 | c >> 6), put(0x80 | (c & 63));
    else if (c < 0x10000)
      put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    else
      put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)),
          put(0x80 | (c & 63));
  }
  return out;
}

// ---- what a failure prints ----------------------------------------------------------------------

std::string shown(const Json& v) {
  const auto list = [](const auto& items, auto show) {
    std::string out;
    for (const auto& item : items) out += (out.empty() ? "" : ",") + show(item);
    return out;
  };
  switch (v.kind) {
    case Json::Null: return "null";
    case Json::False: return "false";
    case Json::True: return "true";
    case Json::Num:
      return (v.number.negative ? "-" : "") + (v.number.digits.empty() ? "0" : v.number.digits) +
             (v.number.exp ? "e" + std::to_string(v.number.exp) : "");
    case Json::Str: return '"' + utf8(v.text) + '"';
    case Json::Arr: return "[" + list(v.items, [](const Json& item) { return shown(item); }) + "]";
    case Json::Obj:
      return "{" +
             list(v.members,
                  [](const judge::Member& m) {
                    return '"' + utf8(m.first) + "\":" + shown(m.second);
                  }) +
             "}";
  }
  return {};
}

std::string shown(const judge::Regex& r) {
  std::string out;
  for (const judge::Regex& kid : r.kids)
    out += (out.empty() || r.kind != judge::Regex::Alt ? "" : "|") + shown(kid);
  switch (r.kind) {
    case judge::Regex::Set: return (r.others ? "[^" : "[") + utf8(r.chars) + "]";
    case judge::Regex::Repeat:
      return "(?:" + out + "){" + std::to_string(r.lo) + "," +
             (r.hi < 0 ? "" : std::to_string(r.hi)) + "}";
    case judge::Regex::Start: return "^";
    case judge::Regex::End: return "$";
    default: return "(?:" + out + ")";
  }
}

std::string shown(const std::vector<judge::Node>& nodes) {
  static const char* const names[] = {"type",
                                      "const",
                                      "enum",
                                      "ref",
                                      "allOf",
                                      "anyOf",
                                      "oneOf",
                                      "not",
                                      "if",
                                      "minimum",
                                      "maximum",
                                      "multipleOf",
                                      "length",
                                      "pattern",
                                      "format",
                                      "properties",
                                      "patternProperties",
                                      "additionalProperties",
                                      "required",
                                      "size",
                                      "propertyNames",
                                      "dependentRequired",
                                      "dependentSchemas",
                                      "items",
                                      "count",
                                      "contains",
                                      "uniqueItems",
                                      "unevaluatedProperties",
                                      "unevaluatedItems"};
  std::string out;
  for (std::size_t n = 2; n < nodes.size(); ++n) {
    out += "node " + std::to_string(n) + "\n";
    for (const Rule& r : nodes[n]) {
      out += "  " + std::string(names[static_cast<int>(r.op) - 2]) + " " + std::to_string(r.lo) +
             ".." + std::to_string(r.hi) + (r.open ? " open" : "");
      Json number;
      number.kind = Json::Num, number.number = r.number;
      if (!r.number.digits.empty()) out += " " + shown(number);
      for (int node : r.nodes) out += " #" + std::to_string(node);
      for (const auto& name : r.names) out += " '" + utf8(name) + "'";
      for (const judge::Regex& x : r.regexes) out += " /" + shown(x) + "/";
      for (const Json& v : r.values) out += " " + shown(v);
      for (const auto& names_of : r.lists) {
        out += " [";
        for (const auto& name : names_of) out += "'" + utf8(name) + "' ";
        out += "]";
      }
      out += "\n";
    }
  }
  return out;
}

class Bytes {  // the input; zeros behind its end
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool end() const { return at_ >= size_; }
  unsigned next() { return end() ? 0 : data_[at_++]; }
  int pick(int n) { return static_cast<int>(next() % static_cast<unsigned>(n)); }
  template <class T, std::size_t n>
  T one_of(T const (&list)[n]) {
    return list[pick(static_cast<int>(n))];
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

// ---- values -------------------------------------------------------------------------------------

struct Written {  // a value and its text
  Json value;
  std::string text;
  bool ordered = false;  // an object of two members: their order may not be the schema's
  bool odd = false;      // a number that not every spelling writes so
};

Written draw_value(Bytes& in, bool spaced, int depth = 3) {
  Written out;
  const auto inner = [&](std::string* text) {
    Written item = draw_value(in, spaced, depth - 1);
    *text += item.text;
    out.ordered |= item.ordered, out.odd |= item.odd;
    return item.value;
  };
  const auto quoted = [](const std::u32string& text) {
    std::string body = utf8(text);
    for (std::size_t at = 0; (at = body.find('"', at)) != body.npos; at += 2) body.insert(at, "\\");
    return '"' + body + '"';
  };
  const std::string comma = spaced ? ", " : ",", colon = spaced ? ": " : ":";
  switch (in.pick(depth > 0 ? 10 : 6)) {
    case 0: out.value.kind = Json::Null, out.text = "null"; break;
    case 1:
      out.value.kind = in.pick(2) ? Json::True : Json::False,
      out.text = out.value.kind == Json::True ? "true" : "false";
      break;
    case 2:
    case 3:
      out.text = in.one_of(kNumbers);
      out.value.kind = Json::Num;
      out.value.number = judge::number_of(out.text);
      out.odd = !out.value.number.plain &&
                (out.value.number.exp >= 0 || out.text.find('e') != out.text.npos);
      break;
    case 4:
    case 5:
      out.value.kind = Json::Str;
      out.value.text = in.one_of(kTexts);
      out.text = quoted(out.value.text);
      break;
    case 6:
    case 7:
      out.value.kind = Json::Arr;
      out.text = "[";
      for (int n = in.pick(4); n > 0; --n) {
        if (!out.value.items.empty()) out.text += comma;
        out.value.items.push_back(inner(&out.text));
      }
      out.text += "]";
      break;
    default:
      out.value.kind = Json::Obj;
      out.text = "{";
      for (int n = in.pick(4); n > 0; --n) {
        const std::u32string key = in.one_of(kNames);
        if (std::any_of(out.value.members.begin(), out.value.members.end(),
                        [&key](const auto& m) { return m.first == key; }))
          continue;
        if (!out.value.members.empty()) out.text += comma;
        out.text += quoted(key) + colon;
        Json value = inner(&out.text);
        out.value.members.push_back({key, std::move(value)});
      }
      out.ordered |= out.value.members.size() > 1;
      out.text += "}";
  }
  return out;
}

// ---- nodes --------------------------------------------------------------------------------------

judge::Regex draw_regex(Bytes& in, int depth = 3) {
  judge::Regex out;
  const int kind = in.pick(depth > 0 ? 8 : 3);
  switch (kind) {
    case 0:
    case 1:
      out.kind = judge::Regex::Set, out.chars = std::u32string(1, U"abc\u00e9"[in.pick(4)]);
      break;
    case 2:
      out.kind = judge::Regex::Set, out.chars = in.pick(2) ? U"ab" : U"b", out.others = in.pick(2);
      break;
    case 3: out.kind = in.pick(2) ? judge::Regex::Start : judge::Regex::End; break;
    case 4:
      out.kind = judge::Regex::Repeat;
      out.lo = in.pick(3);
      out.hi = in.pick(2) ? -1 : out.lo + in.pick(3);
      out.kids.push_back(draw_regex(in, depth - 1));
      break;
    default:
      out.kind = kind == 5 ? judge::Regex::Alt : judge::Regex::Cat;
      for (int n = 1 + in.pick(3); n > 0; --n) out.kids.push_back(draw_regex(in, depth - 1));
  }
  return out;
}

std::vector<std::u32string> draw_names(Bytes& in, int most) {
  std::vector<std::u32string> out;
  for (int n = 1 + in.pick(most); n > 0; --n) {
    const std::u32string name = in.one_of(kNames);
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  return out;
}

Rule draw_rule(Bytes& in, int node, int nodes) {
  static constexpr judge::Op kOps[] = {judge::Op::Type,
                                       judge::Op::Type,
                                       judge::Op::Const,
                                       judge::Op::Enum,
                                       judge::Op::Ref,
                                       judge::Op::All,
                                       judge::Op::Any,
                                       judge::Op::One,
                                       judge::Op::Not,
                                       judge::Op::If,
                                       judge::Op::Min,
                                       judge::Op::Max,
                                       judge::Op::Multiple,
                                       judge::Op::Length,
                                       judge::Op::Pattern,
                                       judge::Op::Format,
                                       judge::Op::Properties,
                                       judge::Op::Properties,
                                       judge::Op::Patterns,
                                       judge::Op::Additional,
                                       judge::Op::Required,
                                       judge::Op::Size,
                                       judge::Op::Names,
                                       judge::Op::DependentRequired,
                                       judge::Op::DependentSchemas,
                                       judge::Op::Items,
                                       judge::Op::Count,
                                       judge::Op::Contains};
  Rule r{in.one_of(kOps), 0, -1, false, {}, {}, {}, {}, {}, {}};
  const auto child = [&] { return in.pick(nodes + 2); };  // of a value inside
  const auto inner = [&] {
    const int n = in.pick(nodes - node + 2);
    return n < 2 ? n : node + n;
  };  // of the same value
  const auto some = [&](auto draw) {
    for (int n = 1 + in.pick(3); n > 0; --n) r.nodes.push_back(draw());
  };
  const auto bounds = [&](int most) {
    r.lo = in.pick(most), r.hi = in.pick(2) ? -1 : r.lo + in.pick(3);
  };
  switch (r.op) {
    case judge::Op::Type: r.lo = static_cast<int>(in.next()); break;
    case judge::Op::Const: r.values.push_back(draw_value(in, false, 2).value); break;
    case judge::Op::Enum:
      for (int n = 1 + in.pick(4); n > 0; --n) r.values.push_back(draw_value(in, false, 2).value);
      break;
    case judge::Op::Ref:
    case judge::Op::Not: r.nodes.push_back(inner()); break;
    case judge::Op::All:
    case judge::Op::Any:
    case judge::Op::One: some(inner); break;
    case judge::Op::If: r.nodes = {inner(), inner(), inner()}; break;
    case judge::Op::Min:
    case judge::Op::Max:
      r.number = judge::number_of(in.one_of(kNumbers)), r.open = in.pick(2);
      break;
    case judge::Op::Multiple: r.number = judge::number_of(in.one_of(kMultiples)); break;
    case judge::Op::Length: bounds(4); break;
    case judge::Op::Pattern:
    case judge::Op::Format: r.regexes.push_back(draw_regex(in)); break;
    case judge::Op::Properties:
      r.names = draw_names(in, 3);
      for (std::size_t i = 0; i < r.names.size(); ++i) r.nodes.push_back(child());
      break;
    case judge::Op::Patterns:
      some(child);
      for (std::size_t i = 0; i < r.nodes.size(); ++i) r.regexes.push_back(draw_regex(in, 2));
      break;
    case judge::Op::Additional:
      r.nodes.push_back(child());
      if (in.pick(2)) r.names = draw_names(in, 3);
      if (in.pick(3) == 0) r.regexes.push_back(draw_regex(in, 2));
      break;
    case judge::Op::Required: r.names = draw_names(in, 3); break;
    case judge::Op::Size:
    case judge::Op::Count: bounds(4); break;
    case judge::Op::Names: r.nodes.push_back(child()); break;
    case judge::Op::DependentRequired:
      r.names = draw_names(in, 2);
      for (std::size_t i = 0; i < r.names.size(); ++i) r.lists.push_back(draw_names(in, 2));
      break;
    case judge::Op::DependentSchemas:
      r.names = draw_names(in, 2);
      for (std::size_t i = 0; i < r.names.size(); ++i) r.nodes.push_back(inner());
      break;
    case judge::Op::Items:
      bounds(3);
      r.nodes.push_back(child());
      break;
    default:  // Contains
      bounds(3);
      r.nodes.push_back(child());
  }
  return r;
}

std::vector<judge::Node> draw_nodes(Bytes& in) {
  const int count = 1 + in.pick(6);
  std::vector<judge::Node> out(2);
  for (int node = 1; node <= count; ++node) {
    judge::Node& rules = out.emplace_back();
    for (int n = in.pick(4) + (node == 1); n > 0; --n) rules.push_back(draw_rule(in, node, count));
    if (in.pick(8) == 0)
      rules.push_back({judge::Op::UnevaluatedProperties,
                       0,
                       -1,
                       false,
                       {},
                       {in.pick(count + 2)},
                       {},
                       {},
                       {},
                       {}});
    if (in.pick(8) == 0)
      rules.push_back({judge::Op::UnevaluatedItems,
                       in.pick(2),
                       -1,
                       false,
                       {},
                       {in.pick(count + 2)},
                       {},
                       {},
                       {},
                       {}});
  }
  return out;
}

// ---- the engine's form of them ------------------------------------------------------------------

guard::Decimal decimal_of(const judge::Number& n) { return {n.negative, n.digits, n.exp}; }

guard::Tree tree_of(const judge::Regex& r) {
  guard::Tree out;
  static constexpr guard::Tree::Kind kinds[] = {guard::Tree::Set,   guard::Tree::Cat,
                                                guard::Tree::Alt,   guard::Tree::Repeat,
                                                guard::Tree::Start, guard::Tree::Finish};
  out.kind = kinds[r.kind];
  out.lo = r.lo;
  out.hi = r.hi < 0 ? guard::kInf : r.hi;
  std::vector<char32_t> chars(r.chars.begin(), r.chars.end());
  std::sort(chars.begin(), chars.end());
  std::uint32_t from = 0;
  for (std::size_t i = 0; r.kind == judge::Regex::Set && i <= chars.size(); ++i) {
    const std::uint32_t c =
        i < chars.size() ? static_cast<std::uint32_t>(chars[i]) : guard::kMaxChar + 1;
    if (r.others) {
      if (from < c && from < 0xD800 && c > 0xE000)
        out.ranges.push_back({from, 0xD7FF}), from = 0xE000;
      if (from < c) out.ranges.push_back({from, c - 1});
      from = c + 1;
    } else if (i < chars.size()) {
      out.ranges.push_back({c, c});
    }
  }
  out.ranges = guard::normalised(std::move(out.ranges));
  for (const judge::Regex& kid : r.kids) out.kids.push_back(tree_of(kid));
  return out;
}

Id value_of(guard::Lexicon& lexicon, const Json& v) {
  static constexpr guard::Value::Kind kinds[] = {
      guard::Value::Null,   guard::Value::False, guard::Value::True,  guard::Value::Number,
      guard::Value::String, guard::Value::Array, guard::Value::Object};
  guard::Value out;
  out.kind = kinds[v.kind];
  if (v.kind == Json::Num) out.number = decimal_of(v.number);
  if (v.kind == Json::Str) out.text = lexicon.name(utf8(v.text));
  for (const Json& item : v.items) out.items.push_back(value_of(lexicon, item));
  for (const auto& [key, value] : v.members) {
    const Id name = lexicon.name(utf8(key));
    out.members.emplace_back(name, value_of(lexicon, value));
  }
  std::sort(out.members.begin(), out.members.end());
  return lexicon.values.intern(std::move(out));
}

guard::Atom atom_of(guard::Lexicon& lexicon, const Rule& r) {
  guard::Atom a{.op = static_cast<guard::Op>(r.op),
                .number = decimal_of(r.number),
                .nodes = {},
                .names = {},
                .langs = {},
                .values = {},
                .lists = {}};
  a.lo = r.lo;
  a.hi = r.hi < 0 ? guard::kInf : r.hi;
  a.open = r.open;
  const auto node = [](int n) { return static_cast<Id>(n); };
  for (int n : r.nodes) a.nodes.push_back(node(n));
  for (const auto& name : r.names) a.names.push_back(lexicon.name(utf8(name)));
  for (const judge::Regex& x : r.regexes)
    a.langs.push_back(r.op == judge::Op::Format ? lexicon.langs.whole(tree_of(x))
                                                : lexicon.langs.search(tree_of(x)));
  for (const Json& v : r.values) a.values.push_back(value_of(lexicon, v));
  for (const auto& list : r.lists) {
    auto& names = a.lists.emplace_back();
    for (const auto& name : list) names.push_back(lexicon.name(utf8(name)));
  }
  return a;
}

std::vector<std::string> tokens() {
  std::vector<std::string> out;
  for (int b = 0; b < 256; ++b) out.push_back(std::string(1, static_cast<char>(b)));
  out.insert(out.end(), std::begin(kMerges), std::end(kMerges));
  out.push_back("ab");  // twins
  out.push_back("");    // the end of a sequence
  return out;
}

// ---- what must hold -----------------------------------------------------------------------------

class Run {
 public:
  Run(Bytes& in, std::vector<judge::Node> nodes, guard::Options options)
      : in_(in),
        nodes_(std::move(nodes)),
        options_(options),
        vocabulary_(std::make_shared<const guard::Vocabulary>(tokens(), std::vector<Id>{end_},
                                                              std::vector<Id>{})),
        engine_(tables_, options, 2, nullptr) {
    for (std::size_t n = 2; n < nodes_.size(); ++n) {
      std::vector<guard::Atom> atoms;
      for (const Rule& r : nodes_[n]) atoms.push_back(atom_of(tables_.lexicon, r));
      engine_.constraints.goals.define(static_cast<Id>(n), std::move(atoms));
    }
  }

  void values() {
    const bool spaced = options_.whitespace == guard::Whitespace::Spaced;
    for (int n = 0; n < 6; ++n) {
      const Written w = draw_value(in_, spaced);
      clock();
      guard::Config at = engine_.start(arena_);
      bool accepted = at.top != nullptr;
      for (std::size_t i = 0; accepted && i < w.text.size(); ++i) {
        guard::Config next;
        accepted = engine_.step(at, static_cast<std::uint8_t>(w.text[i]), &next, arena_);
        at = next;
      }
      accepted = accepted && engine_.can_stop(at);
      const bool valid = judge::Judge(nodes_).holds(2, w.value);
      if (accepted && !valid) fail("accepts " + w.text);
      if (!accepted && valid && !w.odd && !(w.ordered && options_.schema_order))
        fail("rejects " + w.text);
    }
  }

  void walk() {
    clock();
    std::vector<guard::Config> history{engine_.start(arena_)};
    std::vector<std::vector<std::uint32_t>> rows;
    std::string text;
    if (!history[0].top) return;
    for (std::size_t step = 0; step < kSteps; ++step) {
      const guard::Config at = history.back();
      const std::map<Id, guard::Config> after = state(at, text, &rows);
      if (after.empty()) break;  // only the end is left
      auto chosen = after.begin();
      std::advance(chosen, in_.next() * 7 % after.size());
      text += vocabulary_->bytes(chosen->first);
      history.push_back(chosen->second);
      if (in_.pick(8) == 0) {  // back, and see that nothing has changed
        const std::size_t to = static_cast<std::size_t>(in_.pick(static_cast<int>(rows.size())));
        if (filled(history[to], -1) != rows[to])
          fail("the mask of an older state has changed, after " + text);
      }
    }
    // To the end by distance.
    guard::Config at = history.back();
    for (std::int64_t left = engine_.distance(at); left > 1;) {
      clock();
      bool nearer = false;
      for (int b = 0; b < 256 && !nearer; ++b) {
        guard::Config next;
        if (!engine_.step(at, static_cast<std::uint8_t>(b), &next, arena_)) continue;
        const std::int64_t d = engine_.distance(next);
        if (d < 0 || d >= left) continue;
        text.push_back(static_cast<char>(b));
        at = next, left = d, nearer = true;
      }
      if (!nearer) fail("no byte lowers distance " + std::to_string(left) + " after " + text);
      if (text.size() > kLongest) return;
    }
    if (!engine_.can_stop(at)) fail("distance is 1, but the text can't stop: " + text);
    const std::optional<Json> value = judge::read(text);
    if (!value) fail("writes what is no JSON: " + text);
    if (!judge::Judge(nodes_).holds(2, *value)) fail("writes an invalid " + text);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    std::fprintf(
        stderr,
        "%s\nschema order %d, white space %d, any spelling %d; #0 always holds, #1 never; the root is 2\n%s",
        what.c_str(), options_.schema_order, static_cast<int>(options_.whitespace),
        options_.spelling == guard::Spelling::Any, shown(nodes_).c_str());
    std::abort();
  }
  void clock() {
    running_.reset();  // its end would stop the next one
    running_.reset(new guard::Clock::Running(engine_.constraints.start_clock()));
  }
  std::unique_ptr<guard::Clock::Running> running_;
  std::vector<std::uint32_t> filled(const guard::Config& at, std::int64_t budget) {
    clock();
    std::vector<std::uint32_t> row(vocabulary_->words(), 0);
    guard::Scratch scratch;
    engine_.filler.fill(at, tables_.masks(vocabulary_), budget, row.data(), scratch, nullptr);
    return row;
  }
  // The least budget. The engine's own distance counts bytes, of which a token may hold several.
  std::int64_t in_tokens(const guard::Config& at) {
    return engine_.filler.distance(at, *vocabulary_, nullptr);
  }
  static bool bit(const std::vector<std::uint32_t>& row, Id t) {
    return row[static_cast<std::size_t>(t) / 32] >> (t % 32) & 1;
  }

  // Compares all that is said of one state; returns what the allowed tokens lead to, the end aside.
  std::map<Id, guard::Config> state(const guard::Config& at, const std::string& text,
                                    std::vector<std::vector<std::uint32_t>>* rows) {
    const std::int64_t distance = in_tokens(at);
    const bool stops = engine_.can_stop(at);
    rows->push_back(filled(at, -1));
    std::map<Id, guard::Config> after;
    std::map<Id, std::int64_t> left;
    if (stops) left[end_] = 0;
    for (Id t = 0; t < vocabulary_->size(); ++t) {
      if (!vocabulary_->is_allowed_somewhere(t)) continue;
      guard::Config now = at, next;
      bool ok = true;
      for (char b : vocabulary_->bytes(t)) {
        ok = engine_.step(now, static_cast<std::uint8_t>(b), &next, arena_);
        if (!ok) break;
        now = next;
      }
      if (!ok) continue;
      clock();
      after[t] = now;
      left[t] = in_tokens(now);
      if (left[t] < 0) fail("a dead end: " + text + "|" + std::string(vocabulary_->bytes(t)));
    }
    compare(rows->back(), left, -1, text);
    if (left.empty()) fail("nothing is allowed after " + text);
    std::int64_t best = left.begin()->second;
    for (const auto& [_, d] : left) best = std::min(best, d);
    if (distance < 1 + best)
      fail("distance " + std::to_string(distance) + " is lowered to no less than " +
           std::to_string(best) + " after " + text);
    for (const std::int64_t budget : {distance - 1, distance, distance + 1, distance + 6})
      compare(filled(at, budget), left, budget, text);
    guard::Arena scratch;
    const std::string forced = engine_.forced(at, scratch);
    if (!forced.empty())
      for (const auto& [t, _] : left)
        if (t == end_ || vocabulary_->bytes(t)[0] != forced[0])
          fail("forced " + forced + " after " + text + ", but there is a choice");
    return after;
  }
  void compare(const std::vector<std::uint32_t>& row, const std::map<Id, std::int64_t>& left,
               std::int64_t budget, const std::string& text) {
    for (Id t = 0; t < vocabulary_->size(); ++t) {
      const auto found = left.find(t);
      const bool expected = found != left.end() && (budget < 0 || 1 + found->second <= budget);
      if (bit(row, t) != expected)
        fail("budget " + std::to_string(budget) + " after " + text + ": the mask " +
             (expected ? "lacks " : "has ") + std::to_string(t) + " '" +
             std::string(vocabulary_->raw_bytes(t)) + "'");
    }
  }

  const Id end_ = static_cast<Id>(tokens().size()) - 1;
  Bytes& in_;
  std::vector<judge::Node> nodes_;
  guard::Options options_;
  guard::Tables tables_{true};
  std::shared_ptr<const guard::Vocabulary> vocabulary_;
  guard::Compiled engine_;
  guard::Arena arena_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes in(data, size);
  guard::Options options;
  const unsigned chosen = in.next();
  options.schema_order = chosen & 1;
  options.spelling = chosen & 2 ? guard::Spelling::Any : guard::Spelling::Canonical;
  options.whitespace = static_cast<guard::Whitespace>(chosen >> 2 & 3);
  options.limits = {.alternatives = 1000, .states = 50000, .depth = 200, .seconds = 1};
  std::vector<judge::Node> nodes = draw_nodes(in);
  try {  // guard::Missing is a fault: all nodes are defined
    Run run(in, std::move(nodes), options);
    run.values();
    run.walk();
  } catch (const guard::Limit&) {}
  return 0;
}
