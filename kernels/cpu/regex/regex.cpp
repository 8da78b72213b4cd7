#include "regex/regex.hpp"

#include <algorithm>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kBroad = 500;         // states that are looked at breadth first; patterns that people write need fewer
constexpr int kMaxDepth = 3000;             // recursion over an expression; about 1 MB of stack
constexpr std::size_t kMaxFiltered = 20000; // words that an intersection lists rather than keeps symbolic
constexpr int kMaxTails = 16;               // of an alternative that are looked for among the others

struct Deeper {  // bounds recursion
  explicit Deeper(int* depth) : depth_(depth) {
    if (++*depth_ > kMaxDepth) {
      --*depth_;
      throw Limit{"depth", -1, "a pattern nests deeper than " + std::to_string(kMaxDepth), Op::Pattern};
    }
  }
  ~Deeper() { --*depth_; }
  Deeper(const Deeper&) = delete;
  int* depth_;
};
}  // namespace

// One language may take a part of the states that the schema may have.
void bounded(std::size_t n, std::size_t part, const char* what) {
  const std::size_t most = kernel_clock.states() / part;
  if (n <= most) return;
  throw Limit{"states", -1, "more than " + std::to_string(most) + " " + what + (part > 1 ? " (1/" + std::to_string(part) + " of limits.states)" : ""), Op::Pattern};
}

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

std::size_t LangRow::piece(std::uint32_t c) const {
  if (upto.size() <= 8) {
    std::size_t i = 0;
    while (upto[i] < c) ++i;
    return i;
  }
  return static_cast<std::size_t>(std::lower_bound(upto.begin(), upto.end(), c) - upto.begin());
}

bool LangRow::is_writable(std::size_t piece) const {
  const std::uint32_t from = piece ? upto[piece - 1] + 1 : 0;
  return from < 0xD800 || upto[piece] > 0xDFFF;
}

std::size_t Tree::hash() const {
  std::size_t h = mix(mix(mix(kind, ahead * 2 + negative), static_cast<std::size_t>(lo)), static_cast<std::size_t>(hi));
  for (const Range& r : ranges) h = mix(mix(h, r.lo), r.hi);
  for (const Tree& kid : kids) h = mix(h, kid.hash());
  return h;
}

Langs::Langs() {
  make({.kind = Kind::None, .kids = {}});             // kNone
  make({.kind = Kind::Eps, .kids = {}});              // kEps
  make({.kind = Kind::Not, .a = kNone, .kids = {}});  // kAll
  make({.kind = Kind::Here, .kids = {}});             // kHere
}

namespace {
std::int64_t capped(std::int64_t n) { return std::min<std::int64_t>(n, kInf - 1); }
}  // namespace

// Fills in what is derived; of a Behind and a Loop, the caller knows whether they are nullable.
Id Langs::make(Node n) {
  kernel_clock.tick(Op::Pattern);
  const Node &a = nodes_.size() ? nodes_[n.a] : n, &b = nodes_.size() ? nodes_[n.b] : n;
  switch (n.kind) {
    case Kind::None:
      break;
    case Kind::Eps:
      n.nullable = n.possible = n.alive = true;
      n.least = 0, n.bytes = 0;
      break;
    case Kind::Here:
      n.here = true;
      break;
    case Kind::Set:
      n.least = 1, n.alive = true;
      for (const Range& r : sets_[n.a].ranges) {
        const std::int64_t bytes = spelled_bytes(r.lo, r.hi);
        if (bytes >= 0 && (n.bytes < 0 || bytes < n.bytes)) n.bytes = bytes;
      }
      n.floor = std::max<std::int64_t>(n.bytes, 0);
      break;
    case Kind::Cat:
      n.nullable = a.nullable && b.nullable;
      n.possible = a.possible && b.possible;
      n.moves = b.moves, n.here = b.here, n.loops = b.loops, n.unsure = b.unsure;
      n.alive = a.alive && b.alive;
      n.floor = capped(a.floor + b.floor);
      if (a.least >= 0 && b.least >= 0) n.least = static_cast<std::int32_t>(capped(std::int64_t{a.least} + b.least)), n.bytes = capped(a.bytes + b.bytes);
      break;
    case Kind::Alt:
    case Kind::And: {
      const bool any = n.kind == Kind::Alt;
      n.nullable = n.possible = !any;
      bool known = any;
      std::int64_t least = kInf, bytes = kInf;
      n.floor = any ? kInf : 0;
      for (Id id : n.kids) {
        const Node& k = nodes_[id];
        n.floor = any ? std::min(n.floor, k.floor) : std::max(n.floor, k.floor);
        n.nullable = any ? n.nullable || k.nullable : n.nullable && k.nullable;
        n.possible = any ? n.possible || k.possible : n.possible && k.possible;
        n.moves |= k.moves, n.here |= k.here, n.loops |= k.loops, n.unsure |= k.unsure;
        n.alive |= any && k.alive;
        known = known && k.least >= 0;
        least = std::min<std::int64_t>(least, k.least), bytes = std::min(bytes, k.bytes);
      }
      if (known) n.least = static_cast<std::int32_t>(least), n.bytes = bytes;
      break;
    }
    case Kind::Not:
      n.nullable = !a.possible, n.possible = !a.nullable;
      n.moves = a.moves, n.loops = a.loops, n.unsure = a.unsure;
      if (n.a == kNone) n.least = 0, n.bytes = 0, n.alive = true;
      break;
    case Kind::Repeat:
      n.nullable = n.possible = n.lo == 0;
      n.alive = n.lo == 0 || a.alive;
      n.floor = capped(n.lo * a.floor);
      if (n.lo == 0) n.least = 0, n.bytes = 0;
      else if (a.least >= 0) n.least = static_cast<std::int32_t>(capped(std::int64_t{n.lo} * a.least)), n.bytes = capped(n.lo * a.bytes);
      break;
    case Kind::Words:
      n.alive = true;
      n.nullable = n.possible = tables_[n.a].words[static_cast<std::size_t>(n.lo)].size() == static_cast<std::size_t>(n.b);
      break;
    case Kind::Behind:
      n.moves = true, n.loops = a.loops, n.unsure = a.unsure;
      break;
    case Kind::Loop:
      n.moves = !n.kids.empty() || b.moves, n.here = b.here, n.loops = true, n.unsure = b.unsure;
      break;
    case Kind::Coded:
      n.alive = a.alive;
      break;
    case Kind::Maybe:
      n.possible = a.possible, n.moves = a.moves, n.loops = a.loops, n.unsure = true;
      break;
  }
  return nodes_.intern(std::move(n));
}

Id Langs::set(Ranges ranges) {
  if (ranges.empty()) return kNone;
  return make({.kind = Kind::Set, .a = sets_.intern({std::move(ranges)}), .kids = {}});
}

Id Langs::cat(Id a, Id b) {
  std::vector<Id> heads;  // to the right, so that equal tails are shared
  for (; nodes_[a].kind == Kind::Cat; a = nodes_[a].b) heads.push_back(nodes_[a].a);
  for (;; a = heads.back(), heads.pop_back()) {
    if (a == kNone || b == kNone) return kNone;
    const Node &first = nodes_[a], &second = nodes_[b];
    const bool star = a == kAll || (first.kind == Kind::Repeat && first.lo == 0 && first.hi == kInf);
    if (b == kAll && first.nullable) b = kAll;
    else if (b == kEps) b = a;
    else if (a != kEps && !(star && second.kind == Kind::Cat && second.a == a)) b = make({.kind = Kind::Cat, .a = a, .b = b, .kids = {}});
    if (heads.empty()) return b;
  }
}

// Alternatives apart, so that a state is a set of terms and the terms are few (Antimirov 1996).
Id Langs::each_then(Id a, Id b) {
  if (nodes_[a].kind != Kind::Alt) return cat(a, b);
  std::vector<Id> kids = nodes_[a].kids;
  for (Id& k : kids) k = cat(k, b);
  return alt(std::move(kids));
}

Id Langs::no(Id a) {
  const Node& n = nodes_[a];
  if (n.kind == Kind::Not) return n.a;
  if (n.loops && (n.kind == Kind::Alt || n.kind == Kind::And)) {
    std::vector<Id> kids = n.kids;
    const bool any = n.kind == Kind::Alt;
    for (Id& k : kids) k = no(k);
    return any ? both(std::move(kids)) : alt(std::move(kids));
  }
  return make({.kind = Kind::Not, .a = a, .kids = {}});
}

Id Langs::maybe(Id a) { return a == kNone || nodes_[a].kind == Kind::Maybe ? a : make({.kind = Kind::Maybe, .a = a, .kids = {}}); }

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
  drop_covered(&rest);
  if (rest.size() == 1) return rest[0];
  for (Id k : rest)
    if (nodes_[k].kind == Kind::Not && !nodes_[k].unsure && std::binary_search(rest.begin(), rest.end(), nodes_[k].a)) return kAll;
  return make({.kind = Kind::Alt, .kids = std::move(rest)});
}

// What a*b* has, b* needs not say again, nor does the empty text where another has it.
void Langs::drop_covered(std::vector<Id>* kids) {
  std::vector<Id> covered;
  for (Id k : *kids) {
    const Node* n = &nodes_[k];
    if (k != kEps && n->nullable && (*kids)[0] == kEps) covered.push_back(kEps);
    for (int steps = 0; steps < kMaxTails && n->kind == Kind::Cat && nodes_[n->a].nullable; ++steps) {
      covered.push_back(n->b);
      n = &nodes_[n->b];
    }
  }
  for (Id k : covered) {
    const auto at = std::lower_bound(kids->begin(), kids->end(), k);
    if (at != kids->end() && *at == k) kids->erase(at);
  }
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
  bool settled = true, spread = false;  // may the empty text be told from the others now; is there something to distribute
  for (Id k : flat) {
    const Node& n = nodes_[k];
    settled = settled && !n.moves && !n.here;
    spread |= n.loops && n.kind == Kind::Alt;
  }
  if (settled && std::binary_search(flat.begin(), flat.end(), kEps)) {
    const auto each = [&](bool Node::*has) { return std::all_of(flat.begin(), flat.end(), [&](Id k) { return nodes_[k].*has; }); };
    return each(&Node::nullable) ? kEps : each(&Node::possible) ? maybe(kEps) : kNone;
  }
  if (spread) return distributed(flat);
  Id least = -1;
  std::vector<Id> excluded;
  for (Id k : flat) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words && (least < 0 || n.hi - n.lo < nodes_[least].hi - nodes_[least].lo)) least = k;
    if (n.kind == Kind::Not && is_words(n.a)) excluded.push_back(n.a);
    if (n.kind == Kind::Not && !n.unsure && std::binary_search(flat.begin(), flat.end(), n.a)) return kNone;
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
  return make({.kind = Kind::And, .kids = std::move(flat)});
}

Id Langs::distributed(const std::vector<Id>& kids) {
  std::vector<std::vector<Id>> ways{{}};
  for (Id k : kids) {
    const std::vector<Id> choices = nodes_[k].loops && nodes_[k].kind == Kind::Alt ? nodes_[k].kids : std::vector<Id>{k};
    std::vector<std::vector<Id>> longer;
    bounded(ways.size() * choices.size(), 1000, "ways to go on that look-arounds under quantifiers leave");
    for (const auto& way : ways)
      for (Id choice : choices) kernel_clock.tick(Op::Pattern), longer.push_back(way), longer.back().push_back(choice);
    ways = std::move(longer);
  }
  std::vector<Id> out;
  for (auto& way : ways) out.push_back(both(std::move(way)));
  return alt(std::move(out));
}

Id Langs::filtered(Id leaf, const std::vector<Id>& others) {
  const Node node = nodes_[leaf];
  std::vector<std::u32string> kept;
  for (std::int32_t i = node.lo; i < node.hi; ++i) {
    kernel_clock.tick(Op::Pattern);
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
  if (nodes_[a].kind == Kind::Set && lo == 0 && hi == kInf && sets_[nodes_[a].a].ranges == writable_chars()) return kAll;
  if (nodes_[a].nullable) lo = 0;
  if (hi == kInf && lo <= 1) {
    const Node& n = nodes_[a];
    if (n.kind == Kind::Repeat && n.lo <= 1 && n.hi == kInf) return repeat(n.a, std::min(lo, n.lo), kInf);
    if (n.kind == Kind::Alt && n.kids[0] == kEps) return repeat(alt({n.kids.begin() + 1, n.kids.end()}), 0, kInf);
    if (n.kind == Kind::Repeat && n.lo == 0) return repeat(n.a, 0, kInf);
  }
  return make({.kind = Kind::Repeat, .a = a, .lo = lo, .hi = hi, .kids = {}});
}

Id Langs::words(std::vector<std::u32string> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  if (list.empty()) return kNone;
  const std::int32_t n = static_cast<std::int32_t>(list.size());
  const auto is_plain = [](char32_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; };
  const bool plain = std::all_of(list.begin(), list.end(), [&](const std::u32string& w) { return std::all_of(w.begin(), w.end(), is_plain); });
  return make({.kind = Kind::Words, .a = tables_.intern({std::move(list), plain}), .b = 0, .lo = 0, .hi = n, .kids = {}});
}

Langs::Listed Langs::listed(Id r) const {
  const Node& node = nodes_[r];
  if (node.kind != Kind::Words || !tables_[node.a].plain) return {};
  const auto& words = tables_[node.a].words;
  return {std::span(words).subspan(static_cast<std::size_t>(node.lo), static_cast<std::size_t>(node.hi - node.lo)), static_cast<std::size_t>(node.b)};
}

Id Langs::of_length(std::int32_t lo, std::int32_t hi) {
  return repeat(set(writable_chars()), lo, hi);
}

// ---- from syntax trees ----------------------------------------------------------------------------------------------
// Built right to left: `then` is what must follow. What looks around is never the left part of a Cat.

namespace {
bool looks(const Tree& tree) {
  return tree.kind == Tree::Look || tree.kind == Tree::Start || tree.kind == Tree::Finish || std::any_of(tree.kids.begin(), tree.kids.end(), looks);
}

Tree cat_of(std::vector<Tree> kids) {
  Tree out;
  out.kids = std::move(kids);
  return out;
}
Tree alt_of(std::vector<Tree> kids) {
  Tree out = cat_of(std::move(kids));
  out.kind = Tree::Alt;
  return out;
}
Tree repeat_of(const Tree& kid, std::int32_t lo, std::int32_t hi) {
  Tree out = cat_of({kid});
  out.kind = Tree::Repeat;
  out.lo = std::max(lo, 0), out.hi = hi;
  return out;
}

bool may_take_nothing(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Set: return false;
    case Tree::Cat: return std::all_of(tree.kids.begin(), tree.kids.end(), may_take_nothing);
    case Tree::Alt: return std::any_of(tree.kids.begin(), tree.kids.end(), may_take_nothing);
    case Tree::Repeat: return tree.lo == 0 || may_take_nothing(tree.kids[0]);
    default: return true;
  }
}

// What a tree asserts where it takes no text. Requires may_take_nothing(tree).
Tree taking_nothing(const Tree& tree) {
  Tree out = tree;
  out.kids.clear();
  switch (tree.kind) {
    case Tree::Cat:
    case Tree::Alt:
      for (const Tree& kid : tree.kids)
        if (may_take_nothing(kid)) out.kids.push_back(taking_nothing(kid));
      return out;
    case Tree::Repeat: return tree.lo == 0 ? cat_of({}) : taking_nothing(tree.kids[0]);
    default: return tree;
  }
}

// What a tree matches that is some text.
Tree taking_some(const Tree& tree) {
  if (!may_take_nothing(tree)) return tree;
  switch (tree.kind) {
    case Tree::Cat: {
      std::vector<Tree> ways, head;
      for (auto kid = tree.kids.begin(); kid != tree.kids.end(); ++kid) {  // the first that takes some
        std::vector<Tree> way = head;
        way.push_back(taking_some(*kid));
        way.insert(way.end(), kid + 1, tree.kids.end());
        ways.push_back(cat_of(std::move(way)));
        head.push_back(taking_nothing(*kid));
      }
      return alt_of(std::move(ways));
    }
    case Tree::Alt: {
      std::vector<Tree> ways;
      for (const Tree& kid : tree.kids) ways.push_back(taking_some(kid));
      return alt_of(std::move(ways));
    }
    case Tree::Repeat: {
      if (tree.hi == 0) return alt_of({});
      const Tree& kid = tree.kids[0];
      const std::int32_t fewer = tree.hi == kInf ? kInf : tree.hi - 1;
      const Tree first = cat_of({taking_some(kid), repeat_of(kid, tree.lo - 1, fewer)});
      if (tree.lo == 0 || !may_take_nothing(kid)) return first;
      return alt_of({first, cat_of({taking_nothing(kid), taking_some(repeat_of(kid, 0, fewer))})});
    }
    default: return alt_of({});
  }
}

std::size_t size_of(const Tree& tree) {
  std::size_t n = 1;
  for (const Tree& kid : tree.kids) n += size_of(kid);
  return n;
}

Id found(const std::vector<Id>& places, Id start) {
  for (std::size_t i = 0; i < places.size(); i += 2)
    if (places[i] == start) return places[i + 1];
  return start;  // nothing was read yet
}
}  // namespace

Id Langs::build(const Tree& tree, Id then, const Places& places) {
  if (then == kNone) return kNone;
  const Deeper deeper(&depth_);
  switch (tree.kind) {
    case Tree::Set:
      return cat(set(intersection(tree.ranges, writable_chars())), then);
    case Tree::Cat:
      for (auto it = tree.kids.rbegin(); it != tree.kids.rend(); ++it) then = build(*it, then, places);
      return then;
    case Tree::Alt: {
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, then, places));
      return alt(std::move(kids));
    }
    case Tree::Repeat: {
      if (!looks(tree)) return cat(repeat(build(tree.kids[0], kEps, places), tree.lo, tree.hi), then);
      const Tree& kid = tree.kids[0];
      Body body{taking_some(kid), {}, may_take_nothing(kid)};
      if (body.may_be_none) body.none = taking_nothing(kid);
      bounded(size_of(body.some), 100, "parts of what a quantifier repeats, told apart by where it looks around");
      Places inside;
      look_behinds(kid, places, &inside);
      return loop(bodies_.intern(std::move(body)), tree.lo, tree.hi, then, std::move(inside));
    }
    case Tree::Look: {
      const Id seen = tree.ahead ? build(tree.kids[0], kAll, places) : behind(found(places, place_of(tree)));
      return both({tree.negative ? no(seen) : seen, then});
    }
    case Tree::Start:
      return both({behind(found(places, kHere)), then});
    case Tree::Finish:
      return both({kEps, then});
    case Tree::And: {  // where parts look around, the whole must be split from what follows in one way only
      const bool apart = std::none_of(tree.kids.begin(), tree.kids.end(), looks);
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, apart ? kEps : then, places));
      return apart ? cat(both(std::move(kids)), then) : both(std::move(kids));
    }
    case Tree::Not:
      return cat(no(build(tree.kids[0], kEps, places)), then);
    case Tree::Punycode:
      return cat(make({.kind = Kind::Coded, .a = build(tree.kids[0], kEps, {}), .kids = {}}), then);
    case Tree::Maybe:
      return maybe(build(tree.kids[0], then, places));
  }
  return kNone;
}

// A look-behind at the start of a pattern that may begin anywhere is the text before it.
Id Langs::search(const Tree& tree) {
  if (const Tree* first = tree.kind == Tree::Cat && !tree.kids.empty() ? &tree.kids[0] : &tree; first->kind == Tree::Look && !first->ahead && !first->negative) {
    Tree whole = first->kids[0];
    if (first != &tree) {
      std::vector<Tree> kids{std::move(whole)};
      kids.insert(kids.end(), tree.kids.begin() + 1, tree.kids.end());
      whole = cat_of(std::move(kids));
    }
    return search(whole);
  }
  const Id here = build(tree, kAll, {});
  if (here == kNone || moved(here).next != std::vector<Id>{kNone}) return cat(kAll, here);
  return reached(here);  // it can begin at the start only
}

Id Langs::whole(const Tree& tree) { return build(tree, kEps, {}); }

// ---- look-behinds and loops -----------------------------------------------------------------------------------------

Id Langs::place_of(const Tree& look) { return cat(kAll, build(look.kids[0], kHere, {})); }

Id Langs::behind(Id place) {
  if (place == kNone) return kNone;
  const Node& meaning = nodes_[now(place)];
  return make({.kind = Kind::Behind, .a = place, .kids = {}, .nullable = meaning.nullable, .possible = meaning.possible});
}

Id Langs::now(Id place) {
  const Node node = nodes_[place];
  if (!node.here) return place;  // what a look-ahead inside of the look-behind still asks
  const Deeper deeper(&depth_);
  switch (node.kind) {
    case Kind::Here: return kAll;
    case Kind::Cat: return nodes_[node.a].nullable ? now(node.b) : kNone;
    case Kind::Loop: return node.lo == 0 ? now(node.b) : bodies_[node.a].may_be_none ? now(round(node, true)) : kNone;
    default: break;
  }
  std::vector<Id> kids;
  for (Id k : node.kids) kids.push_back(now(k));
  return node.kind == Kind::Alt ? alt(std::move(kids)) : both(std::move(kids));
}

Id Langs::reached(Id r) {
  const Node node = nodes_[r];
  if (!node.moves) return r;
  const Deeper deeper(&depth_);
  if (node.kind == Kind::Behind) return reached(now(node.a));
  if (node.kind == Kind::Not) return no(reached(node.a));
  if (node.kind != Kind::Alt && node.kind != Kind::And) return r;
  std::vector<Id> kids;
  for (Id k : node.kids) kids.push_back(reached(k));
  return node.kind == Kind::Alt ? alt(std::move(kids)) : both(std::move(kids));
}

void Langs::look_behinds(const Tree& tree, const Places& places, Places* out) {
  if (tree.kind == Tree::Start || (tree.kind == Tree::Look && !tree.ahead)) {
    const Id start = tree.kind == Tree::Start ? kHere : place_of(tree);
    if (std::size_t i = 0; [&] { while (i < out->size() && (*out)[i] != start) i += 2; return i == out->size(); }()) {
      out->push_back(start);
      out->push_back(found(places, start));
    }
    return;
  }
  for (const Tree& kid : tree.kids) look_behinds(kid, places, out);
}

// Rounds that take nothing only assert: one of them makes up for all that are still owed.
Id Langs::loop(Id body, std::int32_t lo, std::int32_t hi, Id rest, Places places) {
  if (hi == 0 || rest == kNone) return rest;
  Node node{.kind = Kind::Loop, .a = body, .b = rest, .lo = lo, .hi = hi, .kids = std::move(places)};
  const Id empty = lo == 0 ? rest : bodies_[body].may_be_none ? round(node, true) : kNone;
  node.nullable = nodes_[empty].nullable, node.possible = nodes_[empty].possible;
  return make(std::move(node));
}

Id Langs::round(const Node& node, bool none) {
  const Id more = loop(node.a, none ? 0 : std::max(node.lo - 1, 0), node.hi == kInf ? kInf : node.hi - 1, node.b, node.kids);
  const Body& body = bodies_[node.a];
  return build(none ? body.none : body.some, more, node.kids);
}

// ---- derivatives ----------------------------------------------------------------------------------------------------

template <class F>
LangRow Langs::combine(const std::vector<const LangRow*>& rows, F join) {
  constexpr std::size_t kFew = 8;
  LangRow out;
  std::vector<std::size_t> at(rows.size(), 0);
  std::vector<Id> kids(rows.size());
  std::vector<std::pair<std::vector<Id>, Id>> few;  // many pieces go the same ways
  std::unordered_map<std::vector<Id>, Id, VectorHash> many;
  const auto joined = [&]() -> Id {
    for (const auto& [way, next] : few)
      if (way == kids) return next;
    if (few.size() < kFew) return few.emplace_back(kids, join(kids)).second;
    return remember(many, kids, [&] { return join(kids); });
  };
  while (true) {
    kernel_clock.tick(Op::Pattern);
    std::uint32_t upto = kMaxChar;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      upto = std::min(upto, rows[i]->upto[at[i]]);
      kids[i] = rows[i]->next[at[i]];
    }
    const Id next = joined();
    if (!out.next.empty() && out.next.back() == next)
      out.upto.back() = upto;
    else
      out.upto.push_back(upto), out.next.push_back(next);
    if (upto == kMaxChar) return out;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i]->upto[at[i]] == upto) ++at[i];
  }
}

const LangRow& Langs::moved(Id r) {
  if (nodes_[r].moved) return rows_[static_cast<std::size_t>(nodes_[r].moved - 1)];
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  LangRow out{{kMaxChar}, {r}};
  if (node.moves) {
    std::vector<const LangRow*> rows;
    switch (node.kind) {
      case Kind::Cat:
        out = combine({&moved(node.b)}, [&](const auto& kids) { return cat(node.a, kids[0]); });
        break;
      case Kind::Not:
        out = combine({&moved(node.a)}, [&](const auto& kids) { return no(kids[0]); });
        break;
      case Kind::Maybe:
        out = combine({&moved(node.a)}, [&](const auto& kids) { return maybe(kids[0]); });
        break;
      case Kind::Behind:
        out = combine({&raw(node.a)}, [&](const auto& kids) { return behind(kids[0]); });
        break;
      case Kind::Loop:
        rows.push_back(&moved(node.b));
        for (std::size_t i = 1; i < node.kids.size(); i += 2) rows.push_back(&raw(node.kids[i]));
        out = combine(rows, [&](const auto& kids) {
          Places places = node.kids;
          for (std::size_t i = 1; i < kids.size(); ++i) places[2 * i - 1] = kids[i];
          return loop(node.a, node.lo, node.hi, kids[0], std::move(places));
        });
        break;
      default:
        for (Id k : node.kids) rows.push_back(&moved(k));
        out = combine(rows, [&](const auto& kids) { return node.kind == Kind::Alt ? alt(kids) : both(kids); });
    }
  }
  rows_.push_back(std::move(out));
  nodes_[r].moved = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

const LangRow& Langs::raw(Id r) {
  if (nodes_[r].raw) return rows_[static_cast<std::size_t>(nodes_[r].raw - 1)];
  std::vector<Id> tails;  // of parts that may all be empty: from the last on, so that nothing recurses over them
  for (Id q = r; nodes_[q].kind == Kind::Cat && nodes_[nodes_[q].a].nullable && !nodes_[nodes_[q].b].raw;)
    tails.push_back(q = nodes_[q].b);
  for (; !tails.empty(); tails.pop_back()) raw(tails.back());
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
    case Kind::Here:
      add(kMaxChar, kNone);
      break;
    case Kind::Set: {
      const Ranges ranges = sets_[node.a].ranges;
      for (const Range& range : ranges) {
        if (range.lo > 0 && (out.upto.empty() || out.upto.back() < range.lo - 1)) add(range.lo - 1, kNone);
        add(range.hi, kEps);
      }
      if (out.upto.empty() || out.upto.back() < kMaxChar) add(kMaxChar, kNone);
      break;
    }
    case Kind::Cat:
      if (nodes_[node.b].moves)
        out = combine({&raw(node.a), &moved(node.b)}, [&](const auto& kids) { return each_then(kids[0], kids[1]); });
      else
        out = combine({&raw(node.a)}, [&](const auto& kids) { return each_then(kids[0], node.b); });
      if (nodes_[node.a].nullable) out = combine({&out, &raw(node.b)}, [&](const auto& kids) { return alt(kids); });
      break;
    case Kind::Alt:
    case Kind::And: {
      std::vector<const LangRow*> rows;
      for (Id k : node.kids) rows.push_back(&raw(k));
      out = combine(rows, [&](const auto& kids) { return node.kind == Kind::Alt ? alt(kids) : both(kids); });
      break;
    }
    case Kind::Not:
      out = combine({&raw(node.a)}, [&](const auto& kids) { return no(kids[0]); });
      break;
    case Kind::Maybe:
      out = combine({&raw(node.a)}, [&](const auto& kids) { return maybe(kids[0]); });
      break;
    case Kind::Coded: {
      std::vector<std::u32string> all;
      const std::size_t most = kernel_clock.states() / 5;
      if (!list(node.a, most, &all)) bounded(most + 1, 5, "texts whose Punycode is written out");
      for (std::u32string& word : all) word = punycode(word);
      out = raw(words(std::move(all)));
      break;
    }
    case Kind::Behind:
      out = raw(now(node.a));
      break;
    case Kind::Loop: {
      std::vector<Id> ways{round(node, false)};
      if (node.lo == 0) ways.push_back(node.b);
      else if (bodies_[node.a].may_be_none) ways.push_back(round(node, true));
      out = raw(alt(std::move(ways)));
      break;
    }
    case Kind::Repeat: {
      const Id more = repeat(node.a, std::max(node.lo - 1, 0), node.hi == kInf ? kInf : node.hi - 1);
      out = combine({&raw(node.a)}, [&](const auto& kids) { return each_then(kids[0], more); });
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
  nodes_[r].raw = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

bool Langs::contains(Id r, std::u32string_view text) {
  // Along the expression's Boolean structure, so that asking a set of words makes no states of it.
  const Node& node = nodes_[r];
  if (!node.unsure) switch (node.kind) {
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
    r = nodes_[r].raw ? rows_[static_cast<std::size_t>(nodes_[r].raw - 1)].at(c) : raw(r).at(c);
  }
  return accepts(r);
}

// Breadth first for a while, since most texts are short; then depth first, since a long text has many prefixes.
bool Langs::live(Id start) {
  if (start == kNone) return false;
  if (nodes_[start].alive) return true;
  if (nodes_[start].live >= 0) return nodes_[start].live;
  // Where bounds on repetitions are far, a text without them has few enough characters for those.
  std::int32_t most = kInf;
  if (const Id r = relaxed(start, &most); r != start)
    if (const std::int64_t n = near(r); n >= 0 && n <= most) {
      nodes_[start].live = 1;
      return true;
    }
  // A conjunction with an empty part is empty: told without a search of the product. A Loop may lead back to itself.
  const auto hopeless = [this](Id q) {
    if (nodes_[q].kind != Kind::And) return false;
    const std::vector<Id> kids = nodes_[q].kids;
    return std::any_of(kids.begin(), kids.end(), [this](Id k) { return !nodes_[k].loops && !live(k); });
  };
  const Deeper deeper(&depth_);
  std::unordered_map<Id, Id> from{{start, -1}};
  std::deque<Id> todo{start};
  while (!todo.empty()) {
    kernel_clock.tick(Op::Pattern);
    const bool broad = from.size() < kBroad;
    Id q = broad ? todo.front() : todo.back();
    broad ? todo.pop_front() : todo.pop_back();
    if (nodes_[q].live == 1 || nodes_[q].alive || accepts(q)) {
      for (; q >= 0; q = from[q]) nodes_[q].live = 1;
      return true;
    }
    if (hopeless(q)) continue;
    bounded(from.size(), 40, "states of a pattern in one search");
    const LangRow next = raw(q);
    for (std::size_t i = 0; i < next.next.size(); ++i) {
      const Id n = next.next[i];
      if (n != kNone && next.is_writable(i) && nodes_[n].live != 0 && from.try_emplace(n, q).second) todo.push_back(n);
    }
  }
  for (const auto& [q, _] : from) nodes_[q].live = 0;
  return false;
}

const LangRow& Langs::row(Id r) {
  if (nodes_[r].row) return rows_[static_cast<std::size_t>(nodes_[r].row - 1)];
  const LangRow& from = raw(r);
  const auto stays = [&](std::size_t i) { return from.next[i] == kNone || (from.is_writable(i) && live(from.next[i])); };
  std::size_t alive = 0;
  while (alive < from.next.size() && stays(alive)) ++alive;
  if (alive == from.next.size()) return nodes_[r].row = nodes_[r].raw, from;
  LangRow out;
  for (std::size_t i = 0; i < from.next.size(); ++i) {
    const Id next = i < alive || (i > alive && stays(i)) ? from.next[i] : kNone;
    if (!out.next.empty() && out.next.back() == next)
      out.upto.back() = from.upto[i];
    else
      out.upto.push_back(from.upto[i]), out.next.push_back(next);
  }
  rows_.push_back(std::move(out));
  nodes_[r].row = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

// A match of a text takes no more rounds of a repetition than it has characters. Under a complement that would not do.
Id Langs::relaxed(Id r, std::int32_t* most) {
  const Kind kind = nodes_[r].kind;
  if ((kind != Kind::Cat && kind != Kind::Repeat && kind != Kind::Alt && kind != Kind::And) || nodes_[r].loops || nodes_[r].moves || nodes_[r].here) return r;
  if (nodes_[r].relaxed >= 0) return *most = std::min(*most, nodes_[r].most), nodes_[r].relaxed;
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  std::int32_t own = kInf;
  Id out = r;
  if (kind == Kind::Cat) {
    std::vector<Id> heads;  // nothing recurses over a chain
    Id tail = r;
    for (; nodes_[tail].kind == Kind::Cat; tail = nodes_[tail].b) heads.push_back(nodes_[tail].a);
    for (out = relaxed(tail, &own); !heads.empty(); heads.pop_back()) out = cat(relaxed(heads.back(), &own), out);
  } else if (kind == Kind::Repeat) {
    const bool far = node.hi != kInf && node.hi >= kFar;
    if (far) own = node.hi;
    out = repeat(relaxed(node.a, &own), node.lo, far ? kInf : node.hi);
  } else {
    std::vector<Id> kids;
    for (Id k : node.kids) kids.push_back(relaxed(k, &own));
    out = kind == Kind::Alt ? alt(std::move(kids)) : both(std::move(kids));
  }
  nodes_[r].relaxed = out, nodes_[r].most = own;
  return *most = std::min(*most, own), out;
}

// ---- Punycode -------------------------------------------------------------------------------------------------------

std::u32string punycode(std::u32string_view text) {
  constexpr std::uint32_t kBase = 36, kLeast = 1, kMost = 26, kSkew = 38, kDamp = 700;
  std::u32string out;
  for (char32_t c : text)
    if (c < 0x80) out.push_back(c);
  std::uint32_t done = static_cast<std::uint32_t>(out.size()), n = 0x80, delta = 0, bias = 72;
  const std::uint32_t basic = done;
  if (basic > 0) out.push_back('-');
  while (done < text.size()) {
    char32_t next = kMaxChar + 1;
    for (char32_t c : text)
      if (c >= n) next = std::min(next, c);
    delta += (next - n) * (done + 1);
    n = next;
    for (char32_t c : text) {
      if (c < n) ++delta;
      if (c != n) continue;
      std::uint32_t rest = delta;
      for (std::uint32_t k = kBase;; k += kBase) {
        const std::uint32_t t = std::clamp(k > bias ? k - bias : 0, kLeast, kMost);
        const std::uint32_t digit = rest < t ? rest : t + (rest - t) % (kBase - t);
        out.push_back(digit < 26 ? 'a' + digit : '0' + digit - 26);
        if (rest < t) break;
        rest = (rest - t) / (kBase - t);
      }
      delta = (done == basic ? delta / kDamp : delta / 2);
      delta += delta / ++done;
      for (bias = 0; delta > (kBase - kLeast) * kMost / 2; bias += kBase) delta /= kBase - kLeast;
      bias += (kBase - kLeast + 1) * delta / (delta + kSkew);
      delta = 0;
    }
    ++delta, ++n;
  }
  return out;
}

// ---- UTF-8 ----------------------------------------------------------------------------------------------------------

namespace {
char32_t next_char(std::string_view bytes, std::size_t* at) {
  const unsigned char lead = static_cast<unsigned char>(bytes[(*at)++]);
  int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  std::uint32_t c = more == 0 ? lead : lead & (0x3Fu >> more);
  for (; more > 0 && *at < bytes.size(); --more) c = c << 6 | (static_cast<unsigned char>(bytes[(*at)++]) & 0x3F);
  return static_cast<char32_t>(c);
}
}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  for (std::size_t at = 0; at < bytes.size();) out.push_back(next_char(bytes, &at));
  return out;
}

char32_t first_char(std::string_view bytes) {
  std::size_t at = 0;
  return next_char(bytes, &at);
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
