// Langs: conjunctions whose parts have no room beside each other. See regex.hpp.
#include "regex/regex.hpp"

#include <algorithm>
#include <queue>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kMost = 2048;  // states of a half
constexpr std::size_t kMostTriples =
    8192;                                  // that are visited: a longer search costs more elsewhere
constexpr std::size_t kMostKnown = 65536;  // that are remembered
}  // namespace

std::int64_t Langs::longest(Id r) {
  return remember(longest_, r, [&] {
    const Deeper deeper(&depth_);
    kernel_clock.tick(Op::Pattern);
    const Node node = nodes_[r];
    std::int64_t out = kInf;
    switch (node.kind) {
      case Kind::None:
      case Kind::Eps: out = 0; break;
      case Kind::Set: out = 1; break;
      case Kind::Cat: {  // an iteration, to avoid recursion over a long chain
        Id tail = r;
        for (out = 0; nodes_[tail].kind == Kind::Cat && out < kInf; tail = nodes_[tail].b)
          out += longest(nodes_[tail].a);
        if (out < kInf) out += longest(tail);
        break;
      }
      case Kind::Repeat:
        if (node.hi != kInf) out = longest(node.a) * node.hi;
        break;
      case Kind::Alt:
        out = 0;
        for (const Id k : node.kids) out = std::max(out, longest(k));
        break;
      case Kind::And:
        for (const Id k : node.kids) out = std::min(out, longest(k));
        break;
      case Kind::Words:
        out = 0;
        each_word(r, [&](std::u32string_view word) {
          out = std::max(out, static_cast<std::int64_t>(word.size()));
        });
        break;
      default: break;
    }
    return std::min<std::int64_t>(out, kInf);
  });
}

// Breadth first from r, then breadth first back from the states that accept.
bool Langs::learn_least(Id r) {
  if (least_from_.contains(r)) return true;
  std::vector<Id> states{r};
  std::unordered_map<Id, std::vector<Id>> before{{r, {}}};  // by state: those that lead to it
  for (std::size_t i = 0; i < states.size(); ++i) {
    kernel_clock.tick(Op::Pattern);
    const Id q = states[i];
    if (nodes_[q].unsure || states.size() > kMost) return false;
    const LangRow& row = raw(q);
    for (std::size_t piece = 0; piece < row.next.size(); ++piece) {
      if (row.next[piece] == kNone || !row.is_writable(piece)) continue;
      const auto [at, is_new] = before.try_emplace(row.next[piece]);
      at->second.push_back(q);
      if (is_new) states.push_back(row.next[piece]);
    }
  }
  std::unordered_map<Id, std::int64_t> found;
  std::vector<Id> now;
  for (const Id q : states)
    if (accepts(q)) found[q] = 0, now.push_back(q);
  for (std::int64_t n = 1; !now.empty(); ++n) {
    std::vector<Id> next;
    for (const Id q : now)
      for (const Id p : before[q])
        if (found.try_emplace(p, n).second) next.push_back(p);
    now = std::move(next);
  }
  for (const Id q : states) found.try_emplace(q, kInf);
  least_from_.reserve(least_from_.size() + found.size());  // all or none, also without memory
  least_from_.merge(found);
  return true;
}

// Best first over triples: the bounded parts, and two halves of the others. For all states of
// either half the shortest texts are known (a pattern database: Culberson, Schaeffer 1998), and a
// triple is left alone where a half needs more characters than the bounded parts have room for. A
// search of the conjunctions themselves would meet each state of the halves once for each length.
// What it finds of a triple, the next search knows: for a token's state, it begins a few characters
// further on.
signed char Langs::live_apart(Id r) {
  if (nodes_[r].kind != Kind::And || nodes_[r].unsure) return -1;
  std::vector<Id> bounded, first;
  for (const Id k : std::vector<Id>(nodes_[r].kids))
    (longest(k) == kInf ? first : bounded).push_back(k);
  if (bounded.empty() || first.size() < 2) return -1;
  const auto half = first.begin() + static_cast<std::ptrdiff_t>(first.size() / 2);
  std::vector<Id> second(half, first.end());
  first.erase(half, first.end());
  const Triple start{both(bounded), both(first), both(second)};
  if (!learn_least(start[1]) || !learn_least(start[2])) return -1;
  if (apart_.size() > kMostKnown) apart_.clear();
  struct Place {
    Triple at;
    std::size_t before;  // the place that leads here, by this character
    std::uint32_t by;
  };
  std::vector<Place> places;
  std::unordered_set<Triple, TripleHash> seen;
  std::priority_queue<std::pair<std::int64_t, std::size_t>> best;  // of equal ones, the last found
  const auto add = [&](const Triple& to, std::size_t before, std::uint32_t by) {
    if (to[0] == kNone || to[1] == kNone || to[2] == kNone) return;
    const std::int64_t a = least_from_.at(to[1]), b = least_from_.at(to[2]);
    if (std::max(a, b) > longest(to[0]) || !seen.insert(to).second) return;
    const auto* const known = apart_.find(to);
    if (known && known->second < 0) return;
    best.push({known ? 1 : -(a + b), places.size()});
    places.push_back({to, before, by});
  };
  for (add(start, 0, 0); !best.empty();) {
    kernel_clock.tick(Op::Pattern);
    const std::size_t here = best.top().second;
    const Triple q = places[here].at;
    best.pop();
    const auto* const known = apart_.find(q);
    if (known || (accepts(q[0]) && accepts(q[1]) && accepts(q[2]))) {
      std::int64_t length = known ? known->second : 0;
      std::vector<std::uint32_t> text;
      for (std::size_t i = here;; i = places[i].before, ++length) {
        apart_.try_emplace(places[i].at, length);
        if (i == 0) break;
        text.push_back(places[i].by);
      }
      for (Id state = r;; --length) {  // every state along the text is live, too
        nodes_[state].live = 1;
        a_length_.try_emplace(state, length);
        if (text.empty()) return 1;
        state = raw(state).at(text.back());
        text.pop_back();
      }
    }
    if (seen.size() > kMostTriples) return -1;
    const std::array<const LangRow*, 3> rows{&raw(q[0]), &raw(q[1]), &raw(q[2])};
    std::array<std::size_t, 3> at{};
    for (std::uint32_t from = 0; from <= kMaxChar;) {
      std::uint32_t upto = kMaxChar;
      Triple to;
      for (std::size_t i = 0; i < 3; ++i)
        upto = std::min(upto, rows[i]->upto[at[i]]), to[i] = rows[i]->next[at[i]];
      if (from < 0xD800 || upto > 0xDFFF) add(to, here, upto);  // surrogates can't be written
      for (std::size_t i = 0; i < 3; ++i) at[i] += rows[i]->upto[at[i]] == upto;
      from = upto + 1;
    }
  }
  for (const Triple& dead : seen) apart_.try_emplace(dead, -1);
  return 0;
}

}  // namespace guard
