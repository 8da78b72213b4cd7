#include "regex/regex.hpp"

#include <algorithm>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kMaxFiltered =
    20000;                     // words that an intersection lists rather than keeps symbolic
constexpr int kMaxTails = 16;  // tails of an alternative to look up among the others
}  // namespace

void bounded(std::size_t n, std::size_t part, const char* what) {
  const std::size_t most = kernel_clock.states() / part;
  if (n <= most) return;
  throw Limit{"states", -1,
              "more than " + std::to_string(most) + " " + what +
                  (part > 1 ? " (1/" + std::to_string(part) + " of limits.states)" : ""),
              Op::Pattern};
}

void Deeper::too_deep() {
  --*depth_;
  throw Limit{"depth", -1, "a pattern nests deeper than " + std::to_string(kMostDepth),
              Op::Pattern};
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
  std::size_t h = mix(mix(mix(kind, ahead * 2 + negative), static_cast<std::size_t>(lo)),
                      static_cast<std::size_t>(hi));
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

// Computes the derived fields. The caller sets `nullable` and `possible` of a Behind and a Loop.
Id Langs::make(Node n) {
  kernel_clock.tick(Op::Pattern);
  // Most are known, and what is derived from their parts need not be derived again.
  if (const Id known = nodes_.find(n); known >= 0) return known;
  const Node &a = nodes_.size() ? nodes_[n.a] : n, &b = nodes_.size() ? nodes_[n.b] : n;
  switch (n.kind) {
    case Kind::None: break;
    case Kind::Eps:
      n.nullable = n.possible = n.alive = true;
      n.least = 0, n.bytes = 0;
      break;
    case Kind::Here: n.here = true; break;
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
      n.quotes = a.quotes || b.quotes;
      n.alive = a.alive && b.alive;
      n.floor = capped(a.floor + b.floor);
      if (a.least >= 0 && b.least >= 0)
        n.least = static_cast<std::int32_t>(capped(std::int64_t{a.least} + b.least)),
        n.bytes = capped(a.bytes + b.bytes);
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
        n.quotes |= k.quotes;
        known = known && k.least >= 0;
        least = std::min<std::int64_t>(least, k.least), bytes = std::min(bytes, k.bytes);
      }
      if (known) n.least = static_cast<std::int32_t>(least), n.bytes = bytes;
      break;
    }
    case Kind::Not:
      n.nullable = !a.possible, n.possible = !a.nullable;
      n.moves = a.moves, n.loops = a.loops, n.unsure = a.unsure, n.quotes = a.quotes;
      if (n.a == kNone) n.least = 0, n.bytes = 0, n.alive = true;
      break;
    case Kind::Repeat:
      n.nullable = n.possible = n.lo == 0;
      n.alive = n.lo == 0 || a.alive;
      n.quotes = a.quotes;
      n.floor = capped(n.lo * a.floor);
      if (n.lo == 0)
        n.least = 0, n.bytes = 0;
      else if (a.least >= 0)
        n.least = static_cast<std::int32_t>(capped(std::int64_t{n.lo} * a.least)),
        n.bytes = capped(n.lo * a.bytes);
      break;
    case Kind::Words:
      n.alive = true;
      n.nullable = n.possible = word_of(n, n.lo).empty();
      break;
    case Kind::Quotes:
      n.alive = n.quotes = true;
      n.nullable = n.possible =
          may_end({quotables_[static_cast<std::size_t>(n.a)].get(), n.b, n.lo, n.hi, kAll});
      break;
    case Kind::Behind: n.moves = true, n.loops = a.loops, n.unsure = a.unsure; break;
    case Kind::Loop:
      n.moves = !n.kids.empty() || b.moves, n.here = b.here, n.loops = true, n.unsure = b.unsure;
      break;
    case Kind::Coded: n.alive = a.alive; break;
    case Kind::Grouped:  // a group's first character is its cheapest
      n.nullable = a.nullable, n.possible = a.possible, n.unsure = a.unsure, n.alive = a.alive;
      n.least = a.least, n.bytes = a.bytes, n.floor = a.floor;
      break;
    case Kind::Maybe:
      n.possible = a.possible, n.moves = a.moves, n.loops = a.loops, n.unsure = true;
      n.floor = kInf - 1;  // none of its texts is certain
      break;
  }
  return nodes_.intern(std::move(n));
}

Id Langs::set(Ranges ranges) {
  if (ranges.empty()) return kNone;
  return make({.kind = Kind::Set, .a = sets_.intern({std::move(ranges)}), .kids = {}});
}

Id Langs::cat(Id a, Id b) {
  std::vector<Id> heads;  // associates to the right, so that equal tails are shared
  for (; nodes_[a].kind == Kind::Cat; a = nodes_[a].b) heads.push_back(nodes_[a].a);
  for (;; a = heads.back(), heads.pop_back()) {
    if (a == kNone || b == kNone) return kNone;
    const Node &first = nodes_[a], &second = nodes_[b];
    const bool star =
        a == kAll || (first.kind == Kind::Repeat && first.lo == 0 && first.hi == kInf);
    if (b == kAll && first.nullable)
      b = kAll;
    else if (b == kEps)
      b = a;
    else if (a != kEps && !(star && second.kind == Kind::Cat && second.a == a))
      b = make({.kind = Kind::Cat, .a = a, .b = b, .kids = {}});
    if (heads.empty()) return b;
  }
}

// Distributes over alternatives, so that a state is a set of few terms (Antimirov 1996).
Id Langs::each_then(Id a, Id b) {
  if (nodes_[a].kind != Kind::Alt) return cat(a, b);
  std::vector<Id> kids = nodes_[a].kids;
  for (Id& k : kids) k = cat(k, b);
  return alt(kids);
}

Id Langs::no(Id a) {
  const Node& n = nodes_[a];
  if (n.kind == Kind::Not) return n.a;
  if (n.loops && (n.kind == Kind::Alt || n.kind == Kind::And)) {
    std::vector<Id> kids = n.kids;
    const bool any = n.kind == Kind::Alt;
    for (Id& k : kids) k = no(k);
    return any ? both(kids) : alt(kids);
  }
  return make({.kind = Kind::Not, .a = a, .kids = {}});
}

Id Langs::maybe(Id a) {
  return a == kNone || nodes_[a].kind == Kind::Maybe
             ? a
             : make({.kind = Kind::Maybe, .a = a, .kids = {}});
}

Id Langs::alt(const std::vector<Id>& kids) {
  std::vector<Id> flat;
  flat.reserve(kids.size());
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
  join_alike(&flat);
  drop_covered(&flat);
  if (flat.size() == 1) return flat[0];
  for (Id k : flat)
    if (nodes_[k].kind == Kind::Not && !nodes_[k].unsure &&
        std::binary_search(flat.begin(), flat.end(), nodes_[k].a))
      return kAll;
  return make({.kind = Kind::Alt, .kids = std::move(flat)});
}

// Makes several finite sets of words one, and several character sets one.
void Langs::join_alike(std::vector<Id>* kids) {
  std::size_t tables = 0, sets = 0;
  for (Id k : *kids) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words) ++tables;
    if (n.kind == Kind::Set) ++sets;
  }
  if (tables < 2 && sets < 2) return;
  std::vector<std::u32string_view> merged;
  std::vector<Id> rest;
  Ranges ranges;
  for (Id k : *kids) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words && tables > 1) {
      for (std::int32_t i = n.lo; i < n.hi; ++i) merged.push_back(word_of(n, i));
    } else if (n.kind == Kind::Set && sets > 1) {
      const Ranges& more = sets_[n.a].ranges;
      ranges.insert(ranges.end(), more.begin(), more.end());
    } else {
      rest.push_back(k);
    }
  }
  if (tables > 1) rest.push_back(words(WordList(std::move(merged))));
  if (sets > 1) rest.push_back(set(normalised(std::move(ranges))));
  std::sort(rest.begin(), rest.end());
  *kids = std::move(rest);
}

// Drops an alternative b next to a*b, which contains it, and the empty text next to another
// nullable alternative.
void Langs::drop_covered(std::vector<Id>* kids) {
  std::vector<Id> covered;
  for (Id k : *kids) {
    const Node* n = &nodes_[k];
    if (k != kEps && n->nullable && (*kids)[0] == kEps) covered.push_back(kEps);
    for (int steps = 0; steps < kMaxTails && n->kind == Kind::Cat && nodes_[n->a].nullable;
         ++steps) {
      covered.push_back(n->b);
      n = &nodes_[n->b];
    }
  }
  for (Id k : covered) {
    const auto at = std::lower_bound(kids->begin(), kids->end(), k);
    if (at != kids->end() && *at == k) kids->erase(at);
  }
}

Id Langs::both(const std::vector<Id>& kids) {
  std::vector<Id> flat;
  flat.reserve(kids.size());
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
  bool settled = true, spread = false;  // can nullability be decided now, and is there an
                                        // alternative to distribute?
  for (Id k : flat) {
    const Node& n = nodes_[k];
    settled = settled && !n.moves && !n.here;
    spread |= n.loops && n.kind == Kind::Alt;
  }
  if (settled && std::binary_search(flat.begin(), flat.end(), kEps)) {
    const auto each = [&](bool Node::* has) {
      return std::all_of(flat.begin(), flat.end(), [&](Id k) { return nodes_[k].*has; });
    };
    return each(&Node::nullable) ? kEps : each(&Node::possible) ? maybe(kEps) : kNone;
  }
  if (spread) return distributed(flat);
  Id least = -1;
  std::vector<Id> excluded;
  for (Id k : flat) {
    const Node& n = nodes_[k];
    if (n.kind == Kind::Words && (least < 0 || n.hi - n.lo < nodes_[least].hi - nodes_[least].lo))
      least = k;
    if (n.kind == Kind::Not && is_words(n.a)) excluded.push_back(n.a);
    if (n.kind == Kind::Not && !n.unsure && std::binary_search(flat.begin(), flat.end(), n.a))
      return kNone;
  }
  if (least >= 0 && static_cast<std::size_t>(nodes_[least].hi - nodes_[least].lo) <= kMaxFiltered) {
    std::erase(flat, least);
    return filtered(least, flat);
  }
  if (excluded.size() > 1) {
    std::erase_if(flat, [&](Id k) { return nodes_[k].kind == Kind::Not && is_words(nodes_[k].a); });
    flat.push_back(no(alt(excluded)));
    std::sort(flat.begin(), flat.end());
    if (flat.size() == 1) return flat[0];
  }
  return make({.kind = Kind::And, .kids = std::move(flat)});
}

Id Langs::distributed(const std::vector<Id>& kids) {
  std::vector<std::vector<Id>> ways{{}};
  for (Id k : kids) {
    const std::vector<Id> choices =
        nodes_[k].loops && nodes_[k].kind == Kind::Alt ? nodes_[k].kids : std::vector<Id>{k};
    std::vector<std::vector<Id>> longer;
    bounded(ways.size() * choices.size(), 1000,
            "ways to go on that look-arounds under quantifiers leave");
    for (const auto& way : ways)
      for (Id choice : choices)
        kernel_clock.tick(Op::Pattern), longer.push_back(way), longer.back().push_back(choice);
    ways = std::move(longer);
  }
  std::vector<Id> out;
  for (const auto& way : ways) out.push_back(both(way));
  return alt(out);
}

Id Langs::filtered(Id leaf, const std::vector<Id>& others) {
  const Node node = nodes_[leaf];
  std::vector<std::u32string_view> kept;
  for (std::int32_t i = node.lo; i < node.hi; ++i) {
    kernel_clock.tick(Op::Pattern);
    const std::u32string_view word = word_of(node, i);
    if (std::all_of(others.begin(), others.end(), [&](Id o) { return contains(o, word); }))
      kept.push_back(word);
  }
  return words(WordList(std::move(kept)));
}

Id Langs::repeat(Id a, std::int32_t lo, std::int32_t hi) {
  if (hi == 0 || a == kEps || (a == kNone && lo == 0)) return kEps;
  if (a == kNone) return kNone;
  if (lo == 1 && hi == 1) return a;
  if (a == kAll) return kAll;
  if (nodes_[a].kind == Kind::Set && lo == 0 && hi == kInf &&
      sets_[nodes_[a].a].ranges == writable_chars())
    return kAll;
  if (nodes_[a].nullable) lo = 0;
  if (hi == kInf && lo <= 1) {
    const Node& n = nodes_[a];
    if (n.kind == Kind::Repeat && n.lo <= 1 && n.hi == kInf)
      return repeat(n.a, std::min(lo, n.lo), kInf);
    if (n.kind == Kind::Alt && n.kids[0] == kEps)
      return repeat(alt({n.kids.begin() + 1, n.kids.end()}), 0, kInf);
    if (n.kind == Kind::Repeat && n.lo == 0) return repeat(n.a, 0, kInf);
  }
  return make({.kind = Kind::Repeat, .a = a, .lo = lo, .hi = hi, .kids = {}});
}

Id Langs::words(WordList list) {
  if (list.size() == 0) return kNone;
  const std::int32_t n = static_cast<std::int32_t>(list.size());
  const auto is_plain = [](char32_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; };
  const bool plain = std::ranges::all_of(list.text(), is_plain);
  return make({.kind = Kind::Words,
               .a = tables_.intern({std::move(list), plain}),
               .b = 0,
               .lo = 0,
               .hi = n,
               .kids = {}});
}

Langs::Listed Langs::listed(Id r) const {
  const Node& node = nodes_[r];
  if (node.kind != Kind::Words || !tables_[node.a].plain) return {};
  return {&tables_[node.a].words, static_cast<std::size_t>(node.lo),
          static_cast<std::size_t>(node.hi), static_cast<std::size_t>(node.b)};
}

bool Langs::is_over(Id r) const {
  const Node& n = nodes_[r];
  return r == kEps || (n.kind == Kind::Words && n.nullable && n.hi - n.lo == 1);
}

Id Langs::of_length(std::int32_t lo, std::int32_t hi) {
  return repeat(set(writable_chars()), lo, hi);
}

}  // namespace guard
