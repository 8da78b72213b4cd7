// Langs: the substrings of a text that may be quoted. See regex.hpp.
//
// Alone they are a leaf. In an intersection, each place is followed along the rows of the other
// languages, so product states are made only for text that is actually written.
#include <algorithm>
#include <unordered_set>

#include "regex/quotes.hpp"

namespace guard {

Id Langs::quotes(std::shared_ptr<Quotable> from) {
  const std::int32_t n = static_cast<std::int32_t>(from->places.size());
  if (n == 0) return kNone;
  quotables_.push_back(std::move(from));
  return make({.kind = Kind::Quotes,
               .a = static_cast<Id>(quotables_.size()) - 1,
               .b = 0,
               .lo = 0,
               .hi = n,
               .kids = {}});
}

bool Langs::quoting(Id r, Quoting* out) {
  const auto take = [&](Id leaf, Id others) {
    const Node& n = nodes_[leaf];
    *out = {quotables_[static_cast<std::size_t>(n.a)].get(), n.b, n.lo, n.hi, others};
    return true;
  };
  const Node& node = nodes_[r];
  if (node.kind == Kind::Quotes) return take(r, kAll);
  if (node.kind != Kind::And || !node.quotes || node.moves || node.unsure) return false;
  std::vector<Id> others = node.kids;
  const auto leaf = std::find_if(others.begin(), others.end(),
                                 [this](Id k) { return nodes_[k].kind == Kind::Quotes; });
  if (leaf == others.end()) return false;
  const Id found = *leaf;
  others.erase(leaf);
  return take(found, both(others));
}

bool Langs::may_end(const Quoting& q) const {
  if (q.depth == 0 || !accepts(q.others)) return false;
  return std::any_of(
      q.from->places.begin() + q.lo, q.from->places.begin() + q.hi, [&](std::int32_t p) {
        return q.from->ends[static_cast<std::size_t>(p) + static_cast<std::size_t>(q.depth)];
      });
}

std::int32_t Langs::to_an_end(const Quoting& q) {
  std::int32_t found = -1;
  each_quoted(q, [&](std::int32_t place, std::int32_t end) {
    found = end - place - q.depth;
    return Then::Stop;
  });
  return found;
}

std::int64_t Langs::cheapest_quoted(const Quoting& q, std::int64_t lo, std::int64_t hi) {
  std::int64_t best = -1;
  each_quoted(q, [&](std::int32_t place, std::int32_t end) {
    const std::int64_t length = end - place - q.depth;
    if (length > hi || (best >= 0 && length >= best)) return Then::NextPlace;
    if (length < lo) return Then::GoOn;
    std::int64_t bytes = 0;
    for (std::int32_t at = place + q.depth; at < end; ++at) {
      const char32_t c = q.from->text[static_cast<std::size_t>(at)];
      const std::int64_t spelled = spelled_bytes(c, c);
      if (spelled < 0) return Then::NextPlace;
      bytes += spelled;
    }
    if (best < 0 || bytes < best) best = bytes;
    return Then::NextPlace;  // longer ones from the same place cost more
  });
  return best;
}

std::vector<std::u32string> Langs::quoted(const Quoting& q, std::int64_t lo, std::int64_t hi,
                                          std::size_t most) {
  std::unordered_set<std::u32string> found;
  each_quoted(q, [&](std::int32_t place, std::int32_t end) {
    const std::int64_t length = end - place - q.depth;
    if (length > hi) return Then::NextPlace;
    if (length >= lo)
      found.insert(
          q.from->text.substr(static_cast<std::size_t>(place) + static_cast<std::size_t>(q.depth),
                              static_cast<std::size_t>(length)));
    return found.size() < most ? Then::GoOn : Then::Stop;
  });
  std::vector<std::u32string> out(found.begin(), found.end());
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::pair(a.size(), std::u32string_view(a)) <
           std::pair(b.size(), std::u32string_view(b));
  });
  return out;
}

}  // namespace guard
