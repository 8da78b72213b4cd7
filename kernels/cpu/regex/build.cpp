// Langs: builds expressions from syntax trees, including look-arounds and loops. See regex.hpp.
#include "regex/regex.hpp"

#include <algorithm>

namespace guard {

// ---- from syntax trees --------------------------------------------------------------------------

// Expressions are built from right to left: `then` is the language of what follows. A look-around
// is never the left part of a Cat.

namespace {
bool looks(const Tree& tree) {
  return tree.kind == Tree::Look || tree.kind == Tree::Start || tree.kind == Tree::Finish ||
         std::any_of(tree.kids.begin(), tree.kids.end(), looks);
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
    case Tree::Text: return tree.ranges.empty();
    case Tree::Cat: return std::all_of(tree.kids.begin(), tree.kids.end(), may_take_nothing);
    case Tree::Alt: return std::any_of(tree.kids.begin(), tree.kids.end(), may_take_nothing);
    case Tree::Repeat: return tree.lo == 0 || may_take_nothing(tree.kids[0]);
    default: return true;
  }
}

// The assertions of a tree that matches the empty text. Requires may_take_nothing(tree).
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

// The non-empty matches of a tree.
Tree taking_some(const Tree& tree) {
  if (!may_take_nothing(tree)) return tree;
  switch (tree.kind) {
    case Tree::Cat: {
      std::vector<Tree> ways, head;
      for (auto kid = tree.kids.begin(); kid != tree.kids.end();
           ++kid) {  // `kid` is the first part with a non-empty match
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
    case Tree::Set: return cat(set(intersection(tree.ranges, writable_chars())), then);
    case Tree::Cat:
      for (auto it = tree.kids.rbegin(); it != tree.kids.rend(); ++it)
        then = build(*it, then, places);
      return then;
    case Tree::Alt: {
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, then, places));
      return alt(kids);
    }
    case Tree::Repeat: {
      if (!looks(tree))
        return cat(repeat(build(tree.kids[0], kEps, places), tree.lo, tree.hi), then);
      const Tree& kid = tree.kids[0];
      Body body{taking_some(kid), {}, may_take_nothing(kid)};
      if (body.may_be_none) body.none = taking_nothing(kid);
      bounded(size_of(body.some), 100,
              "parts of what a quantifier repeats, told apart by where it looks around");
      Places inside;
      look_behinds(kid, places, &inside);
      return loop(bodies_.intern(std::move(body)), tree.lo, tree.hi, then, std::move(inside));
    }
    case Tree::Look: {
      const Id seen =
          tree.ahead ? build(tree.kids[0], kAll, places) : behind(found(places, place_of(tree)));
      return both({tree.negative ? no(seen) : seen, then});
    }
    case Tree::Start: return both({behind(found(places, kHere)), then});
    case Tree::Finish: return both({kEps, then});
    case Tree::And: {  // with look-arounds, each operand includes `then`; valid only if every text
                       // is split from `then` in one way
      const bool apart = std::none_of(tree.kids.begin(), tree.kids.end(), looks);
      std::vector<Id> kids;
      for (const Tree& kid : tree.kids) kids.push_back(build(kid, apart ? kEps : then, places));
      return apart ? cat(both(kids), then) : both(kids);
    }
    case Tree::Not: return cat(no(build(tree.kids[0], kEps, places)), then);
    case Tree::Punycode:
      return cat(make({.kind = Kind::Coded, .a = build(tree.kids[0], kEps, {}), .kids = {}}), then);
    case Tree::Quotes: return cat(quotes(tree.quotable), then);
    case Tree::Text:
      for (auto c = tree.ranges.rbegin(); c != tree.ranges.rend(); ++c)
        then = cat(set(intersection({*c}, writable_chars())), then);
      return then;
    case Tree::Maybe: return maybe(build(tree.kids[0], then, places));
  }
  return kNone;
}

// Builds over the groups of a tree's characters, if it has any. Where characters are looked at from
// behind, the language changes with each of them, and is built over the characters themselves.
template <class Build>
Id Langs::by_groups(const Tree& tree, Build build) {
  std::optional<CharGroups> found = CharGroups::of(tree);
  if (!found) return build(tree);
  const Id groups = char_groups_.intern(*std::move(found)),
           over = build(char_groups_[groups].read(tree));
  const Node& n = nodes_[over];
  return n.moves || n.loops || n.here ? build(tree) : grouped(over, groups);
}

Id Langs::search(const Tree& tree) {
  return by_groups(tree, [this](const Tree& t) { return searched(t); });
}

// A search may begin anywhere, so a positive look-behind at its start matches the same texts as its
// content.
Id Langs::searched(const Tree& tree) {
  if (const Tree* first = tree.kind == Tree::Cat && !tree.kids.empty() ? &tree.kids[0] : &tree;
      first->kind == Tree::Look && !first->ahead && !first->negative) {
    Tree whole = first->kids[0];
    if (first != &tree) {
      std::vector<Tree> kids{std::move(whole)};
      kids.insert(kids.end(), tree.kids.begin() + 1, tree.kids.end());
      whole = cat_of(std::move(kids));
    }
    return searched(whole);
  }
  const Id here = build(tree, kAll, {});
  if (here == kNone || moved(here).next != std::vector<Id>{kNone}) return cat(kAll, here);
  return reached(here);  // a match can begin only at the start of the text
}

// A plain text becomes a set of one word, whose states are made on demand.
Id Langs::whole(const Tree& tree) {
  if (tree.kind != Tree::Text)
    return by_groups(tree, [this](const Tree& t) { return build(t, kEps, {}); });
  std::u32string word;
  for (const Range& c : tree.ranges) {
    if (!guard::meets(c, writable_chars())) return kNone;
    word.push_back(static_cast<char32_t>(c.lo));
  }
  return words(WordList(std::vector<std::u32string_view>{word}));
}

// ---- look-behinds and loops ---------------------------------------------------------------------

Id Langs::place_of(const Tree& look) { return cat(kAll, build(look.kids[0], kHere, {})); }

Id Langs::behind(Id place) {
  if (place == kNone) return kNone;
  const Node& meaning = nodes_[now(place)];
  return make({.kind = Kind::Behind,
               .a = place,
               .kids = {},
               .nullable = meaning.nullable,
               .possible = meaning.possible});
}

Id Langs::now(Id place) {
  const Node node = nodes_[place];
  if (!node.here) return place;  // a condition of a look-ahead inside of the look-behind
  const Deeper deeper(&depth_);
  switch (node.kind) {
    case Kind::Here: return kAll;
    case Kind::Cat: return nodes_[node.a].nullable ? now(node.b) : kNone;
    case Kind::Loop:
      return node.lo == 0                  ? now(node.b)
             : bodies_[node.a].may_be_none ? now(round(node, true))
                                           : kNone;
    default: break;
  }
  std::vector<Id> kids;
  for (Id k : node.kids) kids.push_back(now(k));
  return node.kind == Kind::Alt ? alt(kids) : both(kids);
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
  return node.kind == Kind::Alt ? alt(kids) : both(kids);
}

void Langs::look_behinds(const Tree& tree, const Places& places, Places* out) {
  if (tree.kind == Tree::Start || (tree.kind == Tree::Look && !tree.ahead)) {
    const Id start = tree.kind == Tree::Start ? kHere : place_of(tree);
    if (std::size_t i = 0; [&] {
          while (i < out->size() && (*out)[i] != start) i += 2;
          return i == out->size();
        }()) {
      out->push_back(start);
      out->push_back(found(places, start));
    }
    return;
  }
  for (const Tree& kid : tree.kids) look_behinds(kid, places, out);
}

// A round without text only asserts, and repeating it adds nothing, so one such round replaces all
// remaining mandatory rounds.
Id Langs::loop(Id body, std::int32_t lo, std::int32_t hi, Id rest, Places places) {
  if (hi == 0 || rest == kNone) return rest;
  Node node{
      .kind = Kind::Loop, .a = body, .b = rest, .lo = lo, .hi = hi, .kids = std::move(places)};
  const Id empty = lo == 0 ? rest : bodies_[body].may_be_none ? round(node, true) : kNone;
  node.nullable = nodes_[empty].nullable, node.possible = nodes_[empty].possible;
  return make(std::move(node));
}

Id Langs::round(const Node& node, bool none) {
  const Id more = loop(node.a, none ? 0 : std::max(node.lo - 1, 0),
                       node.hi == kInf ? kInf : node.hi - 1, node.b, node.kids);
  const Body& body = bodies_[node.a];
  return build(none ? body.none : body.some, more, node.kids);
}

}  // namespace guard
