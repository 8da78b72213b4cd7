// Langs: characters that a tree never tells apart. A tree with `\\p{L}`, or of a format of IDNA,
// has sets of hundreds of ranges, but only some dozens of groups of characters. So its language is
// built over the first characters of the groups, which keeps rows short. A Grouped language reads
// each character as the first of its group. See regex.hpp.
#include <algorithm>
#include <numeric>

#include "regex/regex.hpp"

namespace guard {

namespace {
constexpr std::size_t kManyRanges = 32;  // of a set, from which on its tree is grouped
constexpr std::size_t kMostSets = 1000;  // of a tree that is grouped
constexpr std::uint32_t kSurrogates = 0xD800, kBehindSurrogates = 0xE000;

// Adds the tree's sets, and each character of its texts as a set. False: the tree is not grouped.
bool note_sets(const Tree& tree, std::vector<Ranges>* sets) {
  switch (tree.kind) {
    case Tree::Quotes: return false;
    case Tree::Punycode: return true;  // its texts are spelled in ASCII
    case Tree::Set: sets->push_back(tree.ranges); break;
    case Tree::Text:
      for (const Range& c : tree.ranges) sets->push_back({c});
      break;
    default: break;
  }
  return std::all_of(tree.kids.begin(), tree.kids.end(),
                     [sets](const Tree& kid) { return note_sets(kid, sets); });
}
}  // namespace

std::optional<CharGroups> CharGroups::of(const Tree& tree) {
  std::vector<Ranges> sets;
  if (!note_sets(tree, &sets) || std::none_of(sets.begin(), sets.end(), [](const Ranges& ranges) {
        return ranges.size() >= kManyRanges;
      }))
    return std::nullopt;
  const auto less = [](const Range& a, const Range& b) {
    return std::pair(a.lo, a.hi) < std::pair(b.lo, b.hi);
  };
  std::sort(sets.begin(), sets.end(), [&](const Ranges& a, const Ranges& b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), less);
  });
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  if (sets.size() > kMostSets) return std::nullopt;
  // JSON text has no surrogates, so they are a group of their own.
  sets.push_back({{kSurrogates, kBehindSurrogates - 1}});
  sets.push_back({{kBehindSurrogates, kMaxChar}});
  CharGroups out;
  for (const Ranges& ranges : sets)
    for (const Range& r : ranges) {
      if (r.lo > kFrom) out.upto.push_back(r.lo - 1);
      if (r.hi >= kFrom) out.upto.push_back(r.hi);
    }
  out.upto.push_back(kMaxChar);
  sort_unique(&out.upto);
  out.group.assign(out.upto.size(), 0);
  std::int32_t groups = 1;
  for (const Ranges& ranges : sets) {  // each set divides the groups so far
    std::vector<std::int32_t> inside(static_cast<std::size_t>(groups), -1);
    std::vector<std::int32_t> sizes(static_cast<std::size_t>(groups), 0);
    for (const std::int32_t g : out.group) ++sizes[static_cast<std::size_t>(g)];
    std::vector<std::size_t> pieces;
    auto range = ranges.begin();
    for (std::size_t i = 0; i < out.upto.size() && range != ranges.end(); ++i) {
      while (range != ranges.end() && range->hi < out.upto[i]) ++range;
      if (range != ranges.end() && range->lo <= out.upto[i]) pieces.push_back(i);
    }
    std::vector<std::int32_t> taken(static_cast<std::size_t>(groups), 0);
    for (const std::size_t i : pieces) ++taken[static_cast<std::size_t>(out.group[i])];
    for (const std::size_t i : pieces) {
      const auto g = static_cast<std::size_t>(out.group[i]);
      if (taken[g] == sizes[g]) continue;
      if (inside[g] < 0) inside[g] = groups++;
      out.group[i] = inside[g];
    }
  }
  // Numbered in the order of their first characters.
  std::vector<std::int32_t> number(static_cast<std::size_t>(groups), -1);
  for (std::size_t i = 0; i < out.upto.size(); ++i) {
    std::int32_t& n = number[static_cast<std::size_t>(out.group[i])];
    if (n < 0) {
      n = static_cast<std::int32_t>(out.first.size());
      out.first.push_back(i ? out.upto[i - 1] + 1 : kFrom);
    }
    out.group[i] = n;
  }
  return out;
}

std::size_t CharGroups::hash() const { return mix(hash_of(upto), hash_of(group)); }

std::uint32_t CharGroups::read(std::uint32_t c) const {
  if (c < kFrom) return c;
  const auto piece = std::lower_bound(upto.begin(), upto.end(), c) - upto.begin();
  return first[static_cast<std::size_t>(group[static_cast<std::size_t>(piece)])];
}

// The first characters of the groups in the set. Each stands for all characters up to the next one,
// so that a language over them has no text with a character that is none of them.
Ranges CharGroups::read(const Ranges& set) const {
  Ranges out = intersection(set, {{0, kFrom - 1}});
  for (std::size_t g = 0; g < first.size(); ++g)
    if (guard::meets({first[g], first[g]}, set))
      out.push_back({first[g], g + 1 < first.size() ? first[g + 1] - 1 : kMaxChar});
  return normalised(std::move(out));
}

Tree CharGroups::read(const Tree& tree) const {
  if (tree.kind == Tree::Punycode) return tree;
  Tree out = tree;
  if (tree.kind == Tree::Set) {
    out.ranges = read(tree.ranges);
  } else if (tree.kind == Tree::Text) {
    out.kind = Tree::Cat;
    out.ranges.clear();
    for (const Range& c : tree.ranges) {
      Tree& one = out.kids.emplace_back();
      one.kind = Tree::Set, one.ranges = read(Ranges{c});
    }
  } else {
    for (Tree& kid : out.kids) kid = read(kid);
  }
  return out;
}

Id Langs::grouped(Id a, Id groups) {
  return a == kNone || a == kEps || a == kAll
             ? a
             : make({.kind = Kind::Grouped, .a = a, .b = groups, .kids = {}});
}

// A row leads to few states, and most rows tell the same groups apart, so the pieces of those that
// do are found once.
LangRow Langs::grouped_row(Id a, Id of) {
  const LangRow& own = raw(a);
  const CharGroups& groups = char_groups_[of];
  std::vector<std::pair<Id, Id>> known;  // states, and the same over all characters
  const auto grouped_at = [&](std::size_t piece) {
    const Id to = own.next[piece];
    for (std::size_t k = 0; k < known.size(); ++k)
      if (known[k].first == to) return k;
    known.push_back({to, grouped(to, of)});
    return known.size() - 1;
  };
  LangRow out;
  std::size_t i = 0;
  for (; own.upto[i] < CharGroups::kFrom - 1; ++i)
    out.add(own.upto[i], known[grouped_at(i)].second);
  out.add(CharGroups::kFrom - 1, known[grouped_at(i)].second);
  known.clear();  // so that states are numbered by the groups alone
  std::vector<Id> alike{of};
  for (const std::uint32_t first : groups.first) {
    while (own.upto[i] < first) ++i;
    alike.push_back(static_cast<Id>(grouped_at(i)));
  }
  const LangRow& merged = remember(merged_groups_, alike, [&] {
    LangRow made;
    for (std::size_t k = 0; k < groups.upto.size(); ++k)
      made.add(groups.upto[k], alike[static_cast<std::size_t>(groups.group[k]) + 1]);
    return made;
  });
  const bool joins = out.next.back() == known[static_cast<std::size_t>(merged.next[0])].second;
  const std::size_t n = out.next.size() - joins;
  out.upto.resize(n), out.next.resize(n);
  out.upto.insert(out.upto.end(), merged.upto.begin(), merged.upto.end());
  out.next.reserve(n + merged.next.size());
  for (const Id to : merged.next) out.next.push_back(known[static_cast<std::size_t>(to)].second);
  return out;
}

}  // namespace guard
