// Judge: a direct evaluator of schema nodes on values: the slow reference. It shares no code with
// the engine.
//
// A node is a list of rules, all of which must hold. Regexes are matched by sets of end positions.
// What a rule has evaluated (keys, indices) is returned beside its verdict, for the unevaluated*
// rules, which come last in a node.
#pragma once
#include <set>

#include "json.hpp"

namespace judge {

enum class Op : std::uint8_t {  // the numbers of schemas/ops.py
  Type = 2,
  Const,
  Enum,
  Ref,
  All,
  Any,
  One,
  Not,
  If,
  Min,
  Max,
  Multiple,
  Length,
  Pattern,
  Format,
  Properties,
  Patterns,
  Additional,
  Required,
  Size,
  Names,
  DependentRequired,
  DependentSchemas,
  Items,
  Count,
  Contains,
  Unique,
  UnevaluatedProperties,
  UnevaluatedItems,
};

struct Regex {
  enum Kind { Set, Cat, Alt, Repeat, Start, End } kind = Cat;
  int lo = 0, hi = -1;   // Repeat: times, -1: for ever
  std::u32string chars;  // Set: these
  bool others = false;   // Set: or all but these
  std::vector<Regex> kids;
};

struct Rule {
  Op op;
  int lo = 0, hi = -1;  // bounds, -1: none; Type: lo is the mask
  bool open = false;
  Number number;
  std::vector<int> nodes;
  std::vector<std::u32string> names;
  std::vector<Regex> regexes;
  std::vector<Json> values;
  std::vector<std::vector<std::u32string>> lists;
};

using Node = std::vector<Rule>;  // node 0 holds always, node 1 never

inline std::set<std::size_t> ends(const Regex& r, const std::u32string& text, std::size_t from) {
  std::set<std::size_t> now{from};
  switch (r.kind) {
    case Regex::Set:
      if (from < text.size() && (r.chars.find(text[from]) != std::u32string::npos) != r.others)
        return {from + 1};
      return {};
    case Regex::Start: return from == 0 ? now : std::set<std::size_t>{};
    case Regex::End: return from == text.size() ? now : std::set<std::size_t>{};
    case Regex::Cat:
      for (const Regex& kid : r.kids) {
        std::set<std::size_t> next;
        for (std::size_t at : now) next.merge(ends(kid, text, at));
        now = std::move(next);
      }
      return now;
    case Regex::Alt: {
      std::set<std::size_t> out;
      for (const Regex& kid : r.kids) out.merge(ends(kid, text, from));
      return out;
    }
    case Regex::Repeat: {
      // More repetitions than there are positions repeat an empty match.
      std::set<std::size_t> out;
      const int enough = r.lo + static_cast<int>(text.size()) + 1;
      for (int times = 0; times <= (r.hi < 0 ? enough : r.hi); ++times) {
        if (times >= r.lo) out.insert(now.begin(), now.end());
        std::set<std::size_t> next;
        for (std::size_t at : now) next.merge(ends(r.kids[0], text, at));
        now = std::move(next);
      }
      return out;
    }
  }
  return {};
}

inline bool searches(const Regex& r, const std::u32string& text) {
  for (std::size_t at = 0; at <= text.size(); ++at)
    if (!ends(r, text, at).empty()) return true;
  return false;
}

class Judge {
 public:
  explicit Judge(const std::vector<Node>& nodes) : nodes_(nodes) {}
  bool holds(int node, const Json& v) const { return meets(node, v).ok; }

 private:
  struct Verdict {
    bool ok = true;
    std::set<std::u32string> keys;       // evaluated
    std::set<std::size_t> items, found;  // evaluated; found by contains
    void add(const Verdict& o) {
      keys.insert(o.keys.begin(), o.keys.end());
      items.insert(o.items.begin(), o.items.end());
      found.insert(o.found.begin(), o.found.end());
    }
  };
  static bool within(std::size_t n, const Rule& r) {
    return static_cast<int>(n) >= r.lo && (r.hi < 0 || static_cast<int>(n) <= r.hi);
  }
  static bool has(const std::vector<std::u32string>& names, const std::u32string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  static const Json* member(const Json& v, const std::u32string& name) {
    for (const auto& [key, value] : v.members)
      if (key == name) return &value;
    return nullptr;
  }
  static int bits(const Json& v) {
    switch (v.kind) {
      case Json::Null: return 1;
      case Json::False:
      case Json::True: return 2;
      case Json::Num: return 4 | (v.number.exp >= 0 ? 64 : 0) | (v.number.plain ? 128 : 0);
      case Json::Str: return 8;
      case Json::Arr: return 16;
      case Json::Obj: return 32;
    }
    return 0;
  }

  Verdict meets(int node, const Json& v) const {
    Verdict all;
    if (node == 0) return all;
    if (node == 1) return {false, {}, {}, {}};
    for (const Rule& r : nodes_[static_cast<std::size_t>(node)]) {
      const Verdict one = rule(r, v, all);
      if (!one.ok) return {false, {}, {}, {}};
      all.add(one);
    }
    return all;
  }

  Verdict rule(const Rule& r, const Json& v, const Verdict& before) const {
    Verdict out;
    switch (r.op) {
      case Op::Type: out.ok = bits(v) & r.lo; return out;
      case Op::Const:
      case Op::Enum:
        out.ok = std::any_of(r.values.begin(), r.values.end(),
                             [&v](const Json& w) { return equal(v, w); });
        return out;
      case Op::Ref: return meets(r.nodes[0], v);
      case Op::Not: out.ok = !meets(r.nodes[0], v).ok; return out;
      case Op::If: {
        const Verdict test = meets(r.nodes[0], v);
        Verdict then = meets(r.nodes[test.ok ? 1 : 2], v);
        then.add(test);
        return then;
      }
      case Op::All:
      case Op::Any:
      case Op::One: {
        std::size_t right = 0;
        for (int n : r.nodes) {
          const Verdict one = meets(n, v);
          right += one.ok;
          out.add(one);
        }
        out.ok = r.op == Op::All   ? right == r.nodes.size()
                 : r.op == Op::Any ? right > 0
                                   : right == 1;
        return out;
      }
      default: break;
    }
    if (v.kind == Json::Num) {
      const int c = r.op == Op::Min   ? compare(v.number, r.number)
                    : r.op == Op::Max ? -compare(v.number, r.number)
                                      : 1;
      out.ok = c > 0 || (c == 0 && !r.open);
      if (r.op == Op::Multiple) out.ok = is_multiple(v.number, r.number);
    } else if (v.kind == Json::Str) {
      if (r.op == Op::Length) out.ok = within(v.text.size(), r);
      if (r.op == Op::Pattern) out.ok = searches(r.regexes[0], v.text);
      if (r.op == Op::Format) out.ok = ends(r.regexes[0], v.text, 0).contains(v.text.size());
    } else if (v.kind == Json::Arr) {
      array(r, v, before, &out);
    } else if (v.kind == Json::Obj) {
      object(r, v, before, &out);
    }
    return out;
  }

  void array(const Rule& r, const Json& v, const Verdict& before, Verdict* out) const {
    if (r.op == Op::Count) out->ok = within(v.items.size(), r);
    if (r.op == Op::Unique)
      for (std::size_t i = 0; i < v.items.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) out->ok = out->ok && !equal(v.items[i], v.items[j]);
    for (std::size_t i = 0; i < v.items.size(); ++i) {
      if (r.op == Op::Contains && meets(r.nodes[0], v.items[i]).ok) out->found.insert(i);
      const bool applies =
          r.op == Op::Items
              ? static_cast<int>(i) >= r.lo && (r.hi < 0 || static_cast<int>(i) < r.hi)
              : r.op == Op::UnevaluatedItems && !before.items.contains(i) &&
                    !(r.lo && before.found.contains(i));
      if (!applies) continue;
      out->items.insert(i);
      out->ok = out->ok && meets(r.nodes[0], v.items[i]).ok;
    }
    if (r.op == Op::Contains) out->ok = within(out->found.size(), r);
  }

  void object(const Rule& r, const Json& v, const Verdict& before, Verdict* out) const {
    const auto apply = [&](int node, const std::u32string& key, const Json& value) {
      out->keys.insert(key);
      out->ok = out->ok && meets(node, value).ok;
    };
    if (r.op == Op::Required)
      out->ok =
          std::all_of(r.names.begin(), r.names.end(), [&v](const auto& n) { return member(v, n); });
    if (r.op == Op::Size) out->ok = within(v.members.size(), r);
    for (std::size_t i = 0; i < r.names.size(); ++i) {
      const Json* value = member(v, r.names[i]);
      if (!value) continue;
      if (r.op == Op::Properties) apply(r.nodes[i], r.names[i], *value);
      if (r.op == Op::DependentRequired)
        for (const auto& other : r.lists[i]) out->ok = out->ok && member(v, other);
      if (r.op == Op::DependentSchemas) {
        const Verdict one = meets(r.nodes[i], v);
        out->ok = out->ok && one.ok;
        out->add(one);
      }
    }
    for (const Member& m : v.members) {
      const std::u32string& key = m.first;
      const Json& value = m.second;
      if (r.op == Op::Names) {
        Json name;
        name.kind = Json::Str;
        name.text = key;
        out->ok = out->ok && meets(r.nodes[0], name).ok;
      }
      for (std::size_t i = 0; r.op == Op::Patterns && i < r.regexes.size(); ++i)
        if (searches(r.regexes[i], key)) apply(r.nodes[i], key, value);
      if (r.op == Op::Additional && !has(r.names, key) &&
          std::none_of(r.regexes.begin(), r.regexes.end(),
                       [&](const Regex& x) { return searches(x, key); }))
        apply(r.nodes[0], key, value);
      if (r.op == Op::UnevaluatedProperties && !before.keys.contains(key))
        apply(r.nodes[0], key, value);
    }
  }

  const std::vector<Node>& nodes_;
};

}  // namespace judge
