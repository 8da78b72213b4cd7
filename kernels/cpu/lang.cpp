#include "lang.hpp"

#include <algorithm>

namespace guard {

namespace {
constexpr std::size_t kMaxStates = 20000;   // of one search for a live state; patterns that people write need < 500
constexpr std::size_t kBroad = 500;         // of those, how many breadth first
constexpr int kEnds = 8;                    // that follow a text: one for each `$` that a match may pass
constexpr int kMaxDepth = 3000;             // recursion over an expression; about 1 MB of stack
constexpr std::size_t kMaxFiltered = 20000; // words that an intersection lists rather than keeps symbolic

struct Deeper {  // bounds recursion
  explicit Deeper(int* depth) : depth_(depth) {
    if (++*depth_ > kMaxDepth) {
      --*depth_;
      throw Limit{"depth", -1, "a pattern nests deeper than " + std::to_string(kMaxDepth)};
    }
  }
  ~Deeper() { --*depth_; }
  Deeper(const Deeper&) = delete;
  int* depth_;
};
}  // namespace

Ranges normalised(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
  Ranges out;
  for (const Range& r : ranges) {
    if (!out.empty() && r.lo <= out.back().hi + 1)
      out.back().hi = std::max(out.back().hi, r.hi);
    else
      out.push_back(r);
  }
  return out;
}

Ranges intersection(const Ranges& a, const Ranges& b) {
  Ranges out;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const std::uint32_t lo = std::max(a[i].lo, b[j].lo), hi = std::min(a[i].hi, b[j].hi);
    if (lo <= hi) out.push_back({lo, hi});
    a[i].hi < b[j].hi ? ++i : ++j;
  }
  return out;
}

const Ranges& writable_chars() {
  static const Ranges chars{{0, 0xD7FF}, {0xE000, kMaxChar}};
  return chars;
}

bool Lengths::meets(std::int64_t lo, std::int64_t hi) const {
  if (least == kInf) return false;
  lo = std::max<std::int64_t>(lo, 0);
  if (simple) return std::max<std::int64_t>(lo, least) <= hi;
  const std::int64_t span = prefix + period;
  for (std::int64_t n = lo; n <= hi && n < span; ++n)
    if (has[static_cast<std::size_t>(n)]) return true;
  if (hi < span || period == 0) return false;
  lo = std::max<std::int64_t>(lo, prefix);
  for (std::int64_t n = lo; n <= hi && n < lo + period; ++n)
    if (has[static_cast<std::size_t>(prefix + (n - prefix) % period)]) return true;
  return false;
}

Id LangRow::at(std::uint32_t c) const {
  if (upto.size() <= 8) {
    std::size_t i = 0;
    while (upto[i] < c) ++i;
    return next[i];
  }
  return next[static_cast<std::size_t>(std::lower_bound(upto.begin(), upto.end(), c) - upto.begin())];
}

bool LangRow::is_writable(std::size_t piece) const {
  const std::uint32_t from = piece ? upto[piece - 1] + 1 : 0;
  return from < 0xD800 || upto[piece] > 0xDFFF;
}

Langs::Langs() {
  make({});                                                     // kNone
  make({.kind = Kind::Eps, .nullable = true, .kids = {}});      // kEps
  make({.kind = Kind::Not, .nullable = true, .a = kNone, .kids = {}});  // kAll
}

Id Langs::make(Node node) {
  const Id id = nodes_.intern(std::move(node));
  if (static_cast<std::size_t>(id) >= raw_of_.size()) {
    raw_of_.push_back(0);
    row_of_.push_back(0);
    live_.push_back(-1);
    accepts_.push_back(-1);
  }
  return id;
}

Id Langs::set(Ranges ranges) {
  if (ranges.empty()) return kNone;
  return make({.kind = Kind::Set, .a = sets_.intern({std::move(ranges)}), .kids = {}});
}

Id Langs::cat(Id a, Id b) {
  if (a == kNone || b == kNone) return kNone;
  if (a == kEps) return b;
  if (b == kEps) return a;
  if (a == kAll && b == kAll) return kAll;
  if (nodes_[a].kind == Kind::Cat) {  // to the right, so that equal tails are shared
    const Id first = nodes_[a].a, second = nodes_[a].b;
    const Deeper deeper(&depth_);
    return cat(first, cat(second, b));
  }
  return make({.kind = Kind::Cat, .nullable = nodes_[a].nullable && nodes_[b].nullable, .a = a, .b = b, .kids = {}});
}

Id Langs::no(Id a) {
  if (nodes_[a].kind == Kind::Not) return nodes_[a].a;
  return make({.kind = Kind::Not, .nullable = !nodes_[a].nullable, .a = a, .kids = {}});
}

Id Langs::alt(std::vector<Id> kids) {
  std::vector<Id> flat;
  for (Id k : kids) {
    if (k == kAll) return kAll;
    if (k == kNone) continue;
    if (nodes_[k].kind == Kind::Alt)
      flat.insert(flat.end(), nodes_[k].kids.begin(), nodes_[k].kids.end());
    else
      flat.push_back(k);
  }
  if (flat.size() < 2) return flat.empty() ? kNone : flat[0];
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  // Several finite sets are one; several complements of finite sets are the complement of what they share.
  std::vector<std::u32string> merged;
  std::vector<Id> rest;
  std::size_t tables = 0, sets = 0;
  Ranges ranges;
  for (Id k : flat) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words) ++tables;
    if (n.kind == Kind::Set) ++sets;
  }
  for (Id k : flat) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words && tables > 1) {
      for (std::int32_t i = n.lo; i < n.hi; ++i)
        merged.push_back(tables_[n.a].words[static_cast<std::size_t>(i)].substr(static_cast<std::size_t>(n.b)));
    } else if (n.kind == Kind::Set && sets > 1) {
      const Ranges& more = sets_[n.a].ranges;
      ranges.insert(ranges.end(), more.begin(), more.end());
    } else {
      rest.push_back(k);
    }
  }
  if (tables > 1) rest.push_back(words(std::move(merged)));
  if (sets > 1) rest.push_back(set(normalised(std::move(ranges))));
  if (tables > 1 || sets > 1) std::sort(rest.begin(), rest.end());
  if (rest.size() == 1) return rest[0];
  bool nullable = false;
  for (Id k : rest) {
    nullable |= nodes_[k].nullable;
    if (nodes_[k].kind == Kind::Not && std::binary_search(rest.begin(), rest.end(), nodes_[k].a)) return kAll;
  }
  return make({.kind = Kind::Alt, .nullable = nullable, .kids = std::move(rest)});
}

Id Langs::both(std::vector<Id> kids) {
  std::vector<Id> flat;
  for (Id k : kids) {
    if (k == kNone) return kNone;
    if (k == kAll) continue;
    if (nodes_[k].kind == Kind::And)
      flat.insert(flat.end(), nodes_[k].kids.begin(), nodes_[k].kids.end());
    else
      flat.push_back(k);
  }
  if (flat.size() < 2) return flat.empty() ? kAll : flat[0];
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  if (flat.size() == 1) return flat[0];
  Id least = -1;
  std::vector<Id> excluded;
  for (Id k : flat) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words && (least < 0 || n.hi - n.lo < nodes_[least].hi - nodes_[least].lo)) least = k;
    if (n.kind == Kind::Not && is_words(n.a)) excluded.push_back(n.a);
    if (n.kind == Kind::Not && std::binary_search(flat.begin(), flat.end(), n.a)) return kNone;
  }
  if (least >= 0 && static_cast<std::size_t>(nodes_[least].hi - nodes_[least].lo) <= kMaxFiltered) {
    std::erase(flat, least);
    return filtered(least, flat);
  }
  if (excluded.size() > 1) {
    std::erase_if(flat, [&](Id k) { return nodes_[k].kind == Kind::Not && is_words(nodes_[k].a); });
    flat.push_back(no(alt(std::move(excluded))));
    std::sort(flat.begin(), flat.end());
    if (flat.size() == 1) return flat[0];
  }
  bool nullable = true;
  for (Id k : flat) nullable &= nodes_[k].nullable;
  return make({.kind = Kind::And, .nullable = nullable, .kids = std::move(flat)});
}

Id Langs::filtered(Id leaf, const std::vector<Id>& others) {
  const Node node = nodes_[leaf];
  std::vector<std::u32string> kept;
  for (std::int32_t i = node.lo; i < node.hi; ++i) {
    const std::u32string word = tables_[node.a].words[static_cast<std::size_t>(i)].substr(static_cast<std::size_t>(node.b));
    if (std::all_of(others.begin(), others.end(), [&](Id o) { return contains(o, word); })) kept.push_back(word);
  }
  return words(std::move(kept));
}

Id Langs::repeat(Id a, std::int32_t lo, std::int32_t hi) {
  if (hi == 0 || a == kEps || (a == kNone && lo == 0)) return kEps;
  if (a == kNone) return kNone;
  if (lo == 1 && hi == 1) return a;
  if (a == kAll) return kAll;
  if (nodes_[a].kind == Kind::Set && lo == 0 && hi == kInf && sets_[nodes_[a].a].ranges == Ranges{{0, kEnd}}) return kAll;
  if (nodes_[a].nullable) lo = 0;
  return make({.kind = Kind::Repeat, .nullable = lo == 0, .a = a, .lo = lo, .hi = hi, .kids = {}});
}

Id Langs::words(std::vector<std::u32string> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  if (list.empty()) return kNone;
  const std::int32_t n = static_cast<std::int32_t>(list.size());
  return make({.kind = Kind::Words, .a = tables_.intern({std::move(list)}), .b = 0, .lo = 0, .hi = n, .kids = {}});
}

Id Langs::of_length(std::int32_t lo, std::int32_t hi) {
  return cat(repeat(set(writable_chars()), lo, hi), ends(1));
}

// ---- from syntax trees ----------------------------------------------------------------------------------------------
// Built right to left: `then` is what must follow, so that a look-ahead is an intersection with it.

Id Langs::build(const Tree& tree, Id then) {
  const Deeper deeper(&depth_);
  switch (tree.kind) {
    case Tree::Set:
      return begins(cat(set(intersection(tree.ranges, writable_chars())), then));
    case Tree::Cat:
      for (auto it = tree.kids.rbegin(); it != tree.kids.rend(); ++it) then = build(*it, then);
      return then;
    case Tree::Alt: {
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, then));
      return alt(std::move(kids));
    }
    case Tree::Repeat: {
      ++repeating_;
      const Id kid = build(tree.kids[0], kEps);
      --repeating_;
      return cat(repeat(kid, tree.lo, tree.hi), then);
    }
    case Tree::Look: {
      const Id inner = build(tree.kids[0], kAll);
      return both({tree.negative ? no(inner) : inner, then});
    }
    case Tree::Start:
      return cat(set({{kBegin, kBegin}}), then);
    case Tree::Finish:  // under a quantifier nothing is known of what follows: only further ENDs can
      if (repeating_) return begins(cat(set({{kEnd, kEnd}}), then));
      return both({begins(cat(set({{kEnd, kEnd}}), kAll)), then});
    case Tree::And: {
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, then));
      return both(std::move(kids));
    }
    case Tree::Not:
      return both({no(build(tree.kids[0], then)), cat(repeat(set(writable_chars()), 0, kInf), ends(1))});
    case Tree::WordBoundary:
      break;
  }
  throw Limit{"keywords", -1, "a word boundary reached the engine"};
}

namespace {
int count_of(const Tree& tree, Tree::Kind kind) {
  int n = tree.kind == kind;
  for (const Tree& kid : tree.kids) n += count_of(kid, kind);
  if (tree.kind == Tree::Repeat) n *= std::clamp(tree.lo, 1, 8);
  return std::min(n, 8);
}
bool begins_with_start(const Tree& tree) { return tree.kind == Tree::Start || (tree.kind == Tree::Cat && !tree.kids.empty() && begins_with_start(tree.kids[0])); }
}  // namespace

// Before the text stand symbols BEGIN, one more than the pattern can consume: `^` consumes one, and what is in front of the pattern
// takes all of them or none. Where several assertions may look at the same place, characters skip those that are left.
Id Langs::search(const Tree& tree) {
  const int starts = count_of(tree, Tree::Start);
  skip_begins_ = starts > 1 || (starts == 1 && !begins_with_start(tree)) || count_of(tree, Tree::Look) > 0;
  repeating_ = 0;
  const Id here = build(tree, kAll);
  const Id chars = set(writable_chars());  // and no END: a negative look-ahead must see it
  Id r = skip_begins_ ? alt({here, cat(begins(chars), cat(repeat(chars, 0, kInf), here))}) : cat(kAll, here);
  for (int i = std::max(1, starts) + skip_begins_; i > 0; --i) r = derivative(r, kBegin);
  const bool clean = starts > 0 || skip_begins_;
  skip_begins_ = false;
  std::unordered_map<Id, Id> memo;
  return clean ? without_begin(r, &memo) : r;
}

Id Langs::begins(Id then) { return skip_begins_ ? cat(repeat(set({{kBegin, kBegin}}), 0, kInf), then) : then; }

// The language behind the last BEGIN.
Id Langs::without_begin(Id r, std::unordered_map<Id, Id>* memo) {
  const auto found = memo->find(r);
  if (found != memo->end()) return found->second;
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  Id out = r;
  switch (node.kind) {
    case Kind::Set: {
      Ranges kept;
      for (const Range& range : sets_[node.a].ranges) {
        if (range.lo < kBegin) kept.push_back({range.lo, std::min(range.hi, kBegin - 1)});
        if (range.hi > kBegin) kept.push_back({std::max(range.lo, kBegin + 1), range.hi});
      }
      // A set that is whole stays whole: it is how ALL is recognised.
      if (!(sets_[node.a].ranges == Ranges{{0, kEnd}})) out = set(std::move(kept));
      break;
    }
    case Kind::Cat: out = cat(without_begin(node.a, memo), without_begin(node.b, memo)); break;
    case Kind::Not: out = no(without_begin(node.a, memo)); break;
    case Kind::Repeat: out = repeat(without_begin(node.a, memo), node.lo, node.hi); break;
    case Kind::Alt:
    case Kind::And: {
      std::vector<Id> kids;
      for (Id k : node.kids) kids.push_back(without_begin(k, memo));
      out = node.kind == Kind::Alt ? alt(std::move(kids)) : both(std::move(kids));
      break;
    }
    default: break;
  }
  return (*memo)[r] = out;
}

Id Langs::whole(const Tree& tree) { return build(tree, ends(1)); }

Id Langs::ends(std::int32_t least) { return repeat(set({{kEnd, kEnd}}), least, kInf); }

// ---- derivatives ----------------------------------------------------------------------------------------------------

Id Langs::derivative(Id r, std::uint32_t symbol) {
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  switch (node.kind) {
    case Kind::None:
    case Kind::Eps:
      return kNone;
    case Kind::Set: {
      for (const Range& range : sets_[node.a].ranges)
        if (range.lo <= symbol && symbol <= range.hi) return kEps;
      return kNone;
    }
    case Kind::Cat: {
      const Id first = cat(derivative(node.a, symbol), node.b);
      return nodes_[node.a].nullable ? alt({first, derivative(node.b, symbol)}) : first;
    }
    case Kind::Alt:
    case Kind::And: {
      std::vector<Id> kids;
      for (Id k : node.kids) kids.push_back(derivative(k, symbol));
      return node.kind == Kind::Alt ? alt(std::move(kids)) : both(std::move(kids));
    }
    case Kind::Not:
      return no(derivative(node.a, symbol));
    case Kind::Repeat: {
      const Id d = derivative(node.a, symbol);
      return d == kNone ? kNone
                        : cat(d, repeat(node.a, std::max(node.lo - 1, 0), node.hi == kInf ? kInf : node.hi - 1));
    }
    case Kind::Words: {
      const auto& list = tables_[node.a].words;
      if (symbol == kEnd) return list[static_cast<std::size_t>(node.lo)].size() == static_cast<std::size_t>(node.b) ? ends(0) : kNone;
      std::int32_t lo = node.lo, hi = node.hi;
      const std::size_t at = static_cast<std::size_t>(node.b);
      while (lo < hi && (list[static_cast<std::size_t>(lo)].size() <= at || list[static_cast<std::size_t>(lo)][at] < symbol)) ++lo;
      std::int32_t end = lo;
      while (end < hi && list[static_cast<std::size_t>(end)][at] == symbol) ++end;
      if (lo == end) return kNone;
      return make({.kind = Kind::Words, .a = node.a, .b = node.b + 1, .lo = lo, .hi = end, .kids = {}});
    }
  }
  return kNone;
}

LangRow Langs::combine(const std::vector<const LangRow*>& rows, bool any) {
  LangRow out;
  std::vector<std::size_t> at(rows.size(), 0);
  std::vector<Id> kids(rows.size());
  while (true) {
    std::uint32_t upto = kMaxChar;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      upto = std::min(upto, rows[i]->upto[at[i]]);
      kids[i] = rows[i]->next[at[i]];
    }
    const Id next = any ? alt(kids) : both(kids);
    if (!out.next.empty() && out.next.back() == next)
      out.upto.back() = upto;
    else
      out.upto.push_back(upto), out.next.push_back(next);
    if (upto == kMaxChar) return out;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i]->upto[at[i]] == upto) ++at[i];
  }
}

const LangRow& Langs::raw(Id r) {
  const std::size_t at = static_cast<std::size_t>(r);
  if (raw_of_[at]) return rows_[static_cast<std::size_t>(raw_of_[at] - 1)];
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  LangRow out;
  const auto add = [&out](std::uint32_t upto, Id next) {
    if (!out.next.empty() && out.next.back() == next)
      out.upto.back() = upto;
    else
      out.upto.push_back(upto), out.next.push_back(next);
  };
  switch (node.kind) {
    case Kind::None:
    case Kind::Eps:
      add(kMaxChar, kNone);
      break;
    case Kind::Set: {
      const Ranges ranges = sets_[node.a].ranges;
      for (const Range& range : ranges) {
        if (range.lo > kMaxChar) break;
        if (range.lo > 0 && (out.upto.empty() || out.upto.back() < range.lo - 1)) add(range.lo - 1, kNone);
        add(std::min(range.hi, kMaxChar), kEps);
      }
      if (out.upto.empty() || out.upto.back() < kMaxChar) add(kMaxChar, kNone);
      break;
    }
    case Kind::Cat: {
      const LangRow& first = raw(node.a);
      for (std::size_t i = 0; i < first.next.size(); ++i) add(first.upto[i], cat(first.next[i], node.b));
      if (nodes_[node.a].nullable) out = combine({&out, &raw(node.b)}, true);
      break;
    }
    case Kind::Alt:
    case Kind::And: {
      std::vector<const LangRow*> rows;
      for (Id k : node.kids) rows.push_back(&raw(k));
      out = combine(rows, node.kind == Kind::Alt);
      break;
    }
    case Kind::Not: {
      const LangRow& inner = raw(node.a);
      for (std::size_t i = 0; i < inner.next.size(); ++i) add(inner.upto[i], no(inner.next[i]));
      break;
    }
    case Kind::Repeat: {
      const Id more = repeat(node.a, std::max(node.lo - 1, 0), node.hi == kInf ? kInf : node.hi - 1);
      const LangRow& first = raw(node.a);
      for (std::size_t i = 0; i < first.next.size(); ++i) add(first.upto[i], cat(first.next[i], more));
      break;
    }
    case Kind::Words: {
      const std::size_t depth = static_cast<std::size_t>(node.b);
      std::int32_t i = node.lo;
      if (tables_[node.a].words[static_cast<std::size_t>(i)].size() == depth) ++i;
      while (i < node.hi) {
        const char32_t c = tables_[node.a].words[static_cast<std::size_t>(i)][depth];
        std::int32_t end = i + 1;
        while (end < node.hi && tables_[node.a].words[static_cast<std::size_t>(end)][depth] == c) ++end;
        if (c > 0 && (out.upto.empty() || out.upto.back() < c - 1)) add(c - 1, kNone);
        add(c, make({.kind = Kind::Words, .a = node.a, .b = node.b + 1, .lo = i, .hi = end, .kids = {}}));
        i = end;
      }
      if (out.upto.empty() || out.upto.back() < kMaxChar) add(kMaxChar, kNone);
      break;
    }
  }
  rows_.push_back(std::move(out));
  raw_of_[at] = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

bool Langs::accepts(Id r) {
  const std::size_t at = static_cast<std::size_t>(r);
  if (accepts_[at] < 0) {
    Id now = r, next = derivative(r, kEnd);
    for (int i = 1; i < kEnds && next != now; ++i) now = next, next = derivative(now, kEnd);
    const bool yes = nodes_[next].nullable;
    accepts_[at] = yes;
  }
  return accepts_[at];
}

bool Langs::contains(Id r, std::u32string_view text) {
  // Along the expression's Boolean structure, so that asking a set of words makes no states of it.
  const Node& node = nodes_[r];
  switch (node.kind) {
    case Kind::None: return false;
    case Kind::Not: return !contains(node.a, text);
    case Kind::Alt: return std::any_of(node.kids.begin(), node.kids.end(), [&](Id k) { return contains(k, text); });
    case Kind::And: return std::all_of(node.kids.begin(), node.kids.end(), [&](Id k) { return contains(k, text); });
    case Kind::Words: {
      const auto& words = tables_[node.a].words;
      const auto less = [&](const std::u32string& w, std::u32string_view t) { return std::u32string_view(w).substr(static_cast<std::size_t>(node.b)) < t; };
      const auto at = std::lower_bound(words.begin() + node.lo, words.begin() + node.hi, text, less);
      return at != words.begin() + node.hi && std::u32string_view(*at).substr(static_cast<std::size_t>(node.b)) == text;
    }
    default: break;
  }
  for (char32_t c : text) {
    if (r == kNone || r == kAll) break;
    const std::size_t at = static_cast<std::size_t>(r);
    r = raw_of_[at] ? rows_[static_cast<std::size_t>(raw_of_[at] - 1)].at(c) : raw(r).at(c);
  }
  return accepts(r);
}

// Breadth first for a while, since most texts are short; then depth first, since a long text has many prefixes.
bool Langs::live(Id start) {
  if (start == kNone) return false;
  if (start == kAll || is_words(start)) return true;
  if (live_[static_cast<std::size_t>(start)] >= 0) return live_[static_cast<std::size_t>(start)];
  // A conjunction with an empty part is empty: told without a search of the product.
  const auto hopeless = [this](Id q) {
    if (nodes_[q].kind != Kind::And) return false;
    const std::vector<Id> kids = nodes_[q].kids;
    return std::any_of(kids.begin(), kids.end(), [this](Id k) { return !live(k); });
  };
  const Deeper deeper(&depth_);
  std::unordered_map<Id, Id> from{{start, -1}};
  std::deque<Id> todo{start};
  while (!todo.empty()) {
    const bool broad = from.size() < kBroad;
    Id q = broad ? todo.front() : todo.back();
    broad ? todo.pop_front() : todo.pop_back();
    if (live_[static_cast<std::size_t>(q)] == 1 || q == kAll || is_words(q) || accepts(q)) {
      for (; q >= 0; q = from[q]) live_[static_cast<std::size_t>(q)] = 1;
      return true;
    }
    if (hopeless(q)) continue;
    if (from.size() > kMaxStates) throw Limit{"states", -1, "a pattern needs more than " + std::to_string(kMaxStates) + " states"};
    const LangRow next = raw(q);
    for (std::size_t i = 0; i < next.next.size(); ++i) {
      const Id n = next.next[i];
      if (n != kNone && next.is_writable(i) && live_[static_cast<std::size_t>(n)] != 0 && from.try_emplace(n, q).second) todo.push_back(n);
    }
  }
  for (const auto& [q, _] : from) live_[static_cast<std::size_t>(q)] = 0;
  return false;
}

const LangRow& Langs::row(Id r) {
  const std::size_t at = static_cast<std::size_t>(r);
  if (row_of_[at]) return rows_[static_cast<std::size_t>(row_of_[at] - 1)];
  const LangRow from = raw(r);
  LangRow out;
  for (std::size_t i = 0; i < from.next.size(); ++i) {
    const Id next = from.is_writable(i) && live(from.next[i]) ? from.next[i] : kNone;
    if (!out.next.empty() && out.next.back() == next)
      out.upto.back() = from.upto[i];
    else
      out.upto.push_back(from.upto[i]), out.next.push_back(next);
  }
  if (out.next == from.next) {
    row_of_[at] = raw_of_[at];
  } else {
    rows_.push_back(std::move(out));
    row_of_[at] = static_cast<std::int32_t>(rows_.size());
  }
  return rows_[static_cast<std::size_t>(row_of_[at] - 1)];
}

const Lengths& Langs::lengths(Id r) {
  const auto found = lengths_.find(r);
  if (found != lengths_.end()) return found->second;
  Lengths out;
  std::unordered_map<std::vector<Id>, std::int32_t, VectorHash> seen;  // the set of states after n characters
  std::vector<Id> now{r};
  std::size_t work = 0;
  if (!live(r)) now.clear();
  while (!now.empty()) {
    const auto [at, fresh] = seen.try_emplace(now, static_cast<std::int32_t>(out.has.size()));
    if (!fresh) {
      out.prefix = at->second;
      out.period = static_cast<std::int32_t>(out.has.size()) - out.prefix;
      break;
    }
    bool accept = false;
    std::vector<Id> next;
    for (Id q : now) {
      accept |= accepts(q);
      for (Id n : row(q).next)
        if (n != kNone) next.push_back(n);
    }
    if (accept && out.least == kInf) out.least = static_cast<std::int32_t>(out.has.size());
    out.has.push_back(accept);
    std::sort(next.begin(), next.end());
    next.erase(std::unique(next.begin(), next.end()), next.end());
    if ((work += next.size() + 1) > 50 * kMaxStates)
      throw Limit{"states", -1, "the lengths that a pattern allows need more than " + std::to_string(50 * kMaxStates) + " steps"};
    now = std::move(next);
  }
  if (now.empty()) out.prefix = static_cast<std::int32_t>(out.has.size());
  out.simple = out.least != kInf && out.period > 0;
  for (std::size_t n = out.least == kInf ? 0 : static_cast<std::size_t>(out.least); n < out.has.size(); ++n) out.simple &= out.has[n] != 0;
  return lengths_.emplace(r, std::move(out)).first->second;
}

std::int64_t Langs::shortest(Id r) {
  if (r == kAll) return 0;
  if (!live(r)) return -1;
  const auto found = shortest_.find(r);
  if (found != shortest_.end()) return found->second;
  std::unordered_map<Id, Id> from{{r, -1}};
  std::vector<Id> now{r};
  for (std::int64_t n = 0; !now.empty(); ++n) {
    std::vector<Id> next;
    for (Id q : now) {
      const auto known = shortest_.find(q);
      if (q == kAll || accepts(q) || (known != shortest_.end() && known->second == 0)) {
        std::int64_t back = 0;
        for (Id at = q; at >= 0; at = from[at]) shortest_.try_emplace(at, back++);
        return n;
      }
      for (Id to : row(q).next)
        if (to != kNone && from.try_emplace(to, q).second) next.push_back(to);
    }
    if (from.size() > kMaxStates) throw Limit{"states", -1, "the shortest text of a pattern is too far away"};
    now = std::move(next);
  }
  return -1;
}

bool Langs::meets(Id r, std::int64_t lo, std::int64_t hi) {
  if (r == kAll) return std::max<std::int64_t>(lo, 0) <= hi;
  const std::int64_t least = shortest(r);
  if (least < 0 || least > hi) return false;
  return least >= lo || lengths(r).meets(lo, hi);
}

bool Langs::is_endless(Id r) {
  if (r == kAll) return true;
  if (is_words(r)) return false;
  const auto found = endless_.find(r);
  if (found != endless_.end()) return found->second;
  // Every live state must lead to a cycle: none may lead only to states without one. Those without are peeled off.
  std::unordered_map<Id, std::vector<Id>> before;
  std::unordered_map<Id, std::size_t> ways;
  std::vector<Id> todo{r}, ends;
  ways[r] = 0;
  bool endless = live(r);
  while (!todo.empty() && endless) {
    const Id q = todo.back();
    todo.pop_back();
    if (q == kAll) {
      ways[q] = 1;
      continue;
    }
    if (is_words(q) || ways.size() > 2000) endless = false;  // or too large to know
    std::vector<Id> next = row(q).next;
    std::sort(next.begin(), next.end());
    next.erase(std::unique(next.begin(), next.end()), next.end());
    std::erase(next, kNone);
    ways[q] = next.size();
    if (next.empty()) ends.push_back(q);
    for (Id n : next) {
      before[n].push_back(q);
      if (ways.try_emplace(n, 0).second) todo.push_back(n);
    }
  }
  endless = endless && ends.empty();  // a state without a way on is one that is finite; so is whatever leads only there
  return endless_[r] = endless;
}

std::int64_t Langs::count(Id r, std::int64_t cap) {
  if (!live(r)) return 0;
  if (r == kAll) return cap;
  std::unordered_map<Id, std::int64_t> now{{r, 1}};
  std::int64_t total = 0;
  for (int steps = 0; !now.empty() && total < cap; ++steps) {
    if (steps > 4096) return cap;  // longer words than any finite set of keys that people write
    std::unordered_map<Id, std::int64_t> next;
    for (const auto& [q, ways] : now) {
      if (accepts(q)) total = std::min(cap, total + ways);
      const LangRow& out = row(q);
      std::uint32_t lo = 0;
      for (std::size_t i = 0; i < out.next.size(); lo = out.upto[i++] + 1) {
        if (out.next[i] == kNone) continue;
        std::int64_t chars = 0;
        for (const Range& range : intersection({{lo, out.upto[i]}}, writable_chars())) chars += range.hi - range.lo + 1;
        auto& sum = next[out.next[i]];
        sum = std::min(cap, sum + (ways > cap / std::max<std::int64_t>(chars, 1) ? cap : ways * chars));
        if (sum == 0) next.erase(out.next[i]);
      }
    }
    now = std::move(next);
    if (now.size() > kMaxStates) return cap;
  }
  return total;
}

bool Langs::list(Id r, std::size_t cap, std::vector<std::u32string>* out) {
  const std::int64_t n = count(r, static_cast<std::int64_t>(cap) + 1);
  if (n > static_cast<std::int64_t>(cap)) return false;
  std::vector<std::pair<Id, std::u32string>> todo;
  if (n > 0) todo.push_back({r, U""});
  while (!todo.empty()) {
    const auto [q, text] = std::move(todo.back());
    todo.pop_back();
    if (accepts(q)) out->push_back(text);
    const LangRow pieces = row(q);
    std::uint32_t lo = 0;
    for (std::size_t i = 0; i < pieces.next.size(); lo = pieces.upto[i++] + 1) {
      if (pieces.next[i] == kNone) continue;
      for (const Range& range : intersection({{lo, pieces.upto[i]}}, writable_chars()))
        for (std::uint32_t c = range.lo; c <= range.hi; ++c) todo.push_back({pieces.next[i], text + static_cast<char32_t>(c)});
    }
  }
  return true;
}

std::int64_t spelled_bytes(std::uint32_t lo, std::uint32_t hi) {
  const auto meets = [&](std::uint32_t a, std::uint32_t b) { return std::max(lo, a) <= std::min(hi, b); };
  if (meets(0x23, 0x5B) || meets(0x5D, 0x7F) || meets(0x20, 0x21)) return 1;
  if (meets(8, 10) || meets(12, 13) || meets(0x22, 0x22) || meets(0x5C, 0x5C) || meets(0x80, 0x7FF)) return 2;
  if (meets(0x800, 0xD7FF) || meets(0xE000, 0xFFFF)) return 3;
  if (meets(0x10000, kMaxChar)) return 4;
  return meets(0, 31) ? 6 : -1;
}

std::int64_t Langs::cheapest(Id r, std::int64_t lo, std::int64_t hi) {
  lo = std::max<std::int64_t>(lo, 0);
  if (hi < lo) return -1;
  if (r == kAll) return lo;
  const bool keep = lo == 0 && hi >= kInf;
  if (keep) {
    const auto found = cheapest_.find({r, 0});
    if (found != cheapest_.end()) return found->second;
  }
  if (!meets(r, lo, hi)) return -1;
  std::unordered_map<Id, std::int64_t> now{{r, 0}};
  std::int64_t best = -1;
  for (std::int64_t n = 0; n <= hi && !now.empty(); ++n) {
    std::unordered_map<Id, std::int64_t> next;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const auto& [q, cost] : now) {
      least = std::min(least, cost);
      if (n >= lo && accepts(q) && (best < 0 || cost < best)) best = cost;
    }
    if (best >= 0 && least >= best) break;
    for (const auto& [q, cost] : now) {
      const LangRow& out = row(q);
      std::uint32_t from = 0;
      for (std::size_t i = 0; i < out.next.size(); from = out.upto[i++] + 1) {
        if (out.next[i] == kNone) continue;
        const std::int64_t step = spelled_bytes(from, out.upto[i]);
        if (step < 0 || (best >= 0 && cost + step >= best)) continue;
        const auto [at, fresh] = next.try_emplace(out.next[i], cost + step);
        if (!fresh) at->second = std::min(at->second, cost + step);
      }
    }
    now = std::move(next);
  }
  if (keep) cheapest_[{r, 0}] = best;
  return best;
}

// ---- UTF-8 ----------------------------------------------------------------------------------------------------------

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const unsigned char lead = static_cast<unsigned char>(bytes[i++]);
    int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    std::uint32_t c = more == 0 ? lead : lead & (0x3Fu >> more);
    for (; more > 0 && i < bytes.size(); --more) c = c << 6 | (static_cast<unsigned char>(bytes[i++]) & 0x3F);
    out.push_back(static_cast<char32_t>(c));
  }
  return out;
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  for (char32_t c : text) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
      continue;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    out.push_back(static_cast<char>((0xFF00u >> (more + 1) & 0xFF) | c >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) out.push_back(static_cast<char>(0x80 | (c >> (6 * i) & 0x3F)));
  }
  return out;
}

}  // namespace guard
