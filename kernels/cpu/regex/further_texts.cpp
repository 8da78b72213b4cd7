// Langs: how any text goes on, as the form of an expression proves without a search. See regex.hpp.
#include <algorithm>

#include "regex/regex.hpp"
#include "support/distances.hpp"

namespace guard {

namespace {
template <class Bytes>
std::int64_t least_of(const std::vector<Id>& kids, Bytes bytes_of) {  // least known; -1: none
  std::int64_t out = -1;
  for (Id k : kids)
    if (const std::int64_t bytes = bytes_of(k); bytes >= 0 && (out < 0 || bytes < out)) out = bytes;
  return out;
}
}  // namespace

// What looks behind may be dead after some text.
bool Langs::is_steady(Id r) {
  const Node& n = nodes_[r];
  if (!n.moves) return live(r);
  for (std::size_t i = 0; n.kind == Kind::Alt && i < n.kids.size(); ++i)
    if (is_steady(n.kids[i])) return true;
  return false;
}

Id Langs::goes_on(Id r) {
  const Node& n = nodes_[r];
  if (r == kAll || (n.kind == Kind::Not && is_words(n.a))) return kAll;
  if (is_wide(r)) return r;
  if (n.kind == Kind::Grouped) {
    const Id groups = n.b;
    return grouped(goes_on(n.a), groups);
  }
  if (n.kind == Kind::Cat) return live(r) && is_steady(n.b) ? goes_on(n.a) : kNone;
  Id out = kNone;
  if (n.kind == Kind::Alt)
    for (std::size_t i = 0; i < n.kids.size() && out != kAll; ++i)
      if (const Id k = goes_on(n.kids[i]); k == kAll || out == kNone) out = k;
  return out;
}

bool Langs::is_wide(Id r) const {
  const Node& n = nodes_[r];
  if (n.kind != Kind::Repeat || n.lo != 0 || n.hi != kInf || nodes_[n.a].kind != Kind::Set)
    return false;
  const Ranges& ranges =
      sets_[nodes_[n.a].a]
          .ranges;  // tokens with an excluded character are read one by one; few should have one
  return std::any_of(ranges.begin(), ranges.end(),
                     [](const Range& range) { return range.lo <= 0x20 && range.hi >= 0x2000; });
}

std::int64_t Langs::enough(Id r) const {
  const Node& n = nodes_[r];
  if (r == kAll) return 0;
  if (n.kind == Kind::Grouped) return enough(n.a);
  if (n.kind == Kind::Cat) return sum(enough(n.a), steady_text(n.b));
  return n.kind == Kind::Alt ? least_of(n.kids, [this](Id k) { return enough(k); }) : -1;
}

std::int64_t Langs::steady_text(Id r) const {
  const Node& n = nodes_[r];
  if (!n.moves) return some_text(r);
  return n.kind == Kind::Alt ? least_of(n.kids, [this](Id k) { return steady_text(k); }) : -1;
}

std::int64_t Langs::some_text(Id r) const {
  const Node& n = nodes_[r];
  if (n.kind == Kind::Grouped) return some_text(n.a);
  return n.bytes >= 0 || n.kind != Kind::Alt
             ? n.bytes
             : least_of(n.kids, [this](Id k) { return some_text(k); });
}

}  // namespace guard
