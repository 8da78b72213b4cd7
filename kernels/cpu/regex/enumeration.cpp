// Langs: questions about a language's texts: their lengths, their number, the texts themselves, and
// the cost of the cheapest. All of them are searches over derivatives (regex.cpp).
#include "regex/quotes.hpp"

#include <algorithm>
#include <queue>
#include <tuple>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kLargest =
    50000;  // states of a language that is counted; patterns that people write need fewer than 500
constexpr std::size_t kMaxFront =
    64;  // states reached at once, up to which costs are memoised by length
}  // namespace

// The fewest characters from any state after n characters to an end; -1: no text is that long.
// Computes the set of states after 0, 1, 2, ... characters until a set repeats, and only as far as
// needed. The results are memoised in lengths_.
std::int64_t Langs::rest_behind(Id r, std::int64_t n) {
  const auto [slot, fresh] = lengths_.try_emplace(r);
  Lengths& known = slot->second;
  if (fresh) known.now.push_back(r);
  while (static_cast<std::int64_t>(known.rest.size()) <= n && !known.now.empty()) {
    const std::int32_t size = static_cast<std::int32_t>(known.rest.size());
    const auto before = known.seen.find(known.now);
    if (before != known.seen.end()) {
      known.prefix = before->second;
      known.period = size - known.prefix;
      known.now.clear();
      known.seen.clear();
      break;
    }
    std::int64_t least = -1;
    std::vector<Id> next;
    for (Id q : known.now) {
      kernel_clock.tick(Op::Pattern);
      const std::int64_t rest = shortest(q);
      if (least < 0 || rest < least) least = rest;
      for (Id to : row(q).next)
        if (to != kNone) next.push_back(to);
    }
    std::sort(next.begin(), next.end());
    next.erase(std::unique(next.begin(), next.end()), next.end());
    bounded(known.work + next.size() + 1, 1, "steps to the lengths that a pattern allows");
    known.work += next.size() + 1;
    known.rest.push_back(least);
    known.seen.emplace(std::move(known.now), size);
    known.now = std::move(next);
  }
  if (n < static_cast<std::int64_t>(known.rest.size()))
    return known.rest[static_cast<std::size_t>(n)];
  return known.period == 0 ? -1
                           : known.rest[static_cast<std::size_t>(known.prefix + (n - known.prefix) %
                                                                                    known.period)];
}

std::int64_t Langs::near(Id r) {
  constexpr std::size_t kFew = 256, kMany = 4 * kFew;  // before a round, and amid one
  if (accepts(r)) return 0;
  if (nodes_[r].least >= 0) return nodes_[r].least;
  if (nodes_[r].near != -2) return nodes_[r].near;
  if (is_grouped(r)) return near(nodes_[r].a);
  if (Quoting q; quoting(r, &q)) return nodes_[r].near = to_an_end(q);
  std::int64_t best = -1;
  std::unordered_set<Id> seen{r};
  std::vector<Id> now{r};
  for (std::int64_t n = 1; !now.empty() && best < 0 && seen.size() < kFew; ++n) {
    std::vector<Id> next;
    for (Id q : now) {
      kernel_clock.tick(Op::Pattern);
      if (seen.size() >= kMany) return nodes_[r].near = -1;
      const LangRow& row = raw(q);
      for (std::size_t i = 0; i < row.next.size(); ++i) {
        const Id to = row.next[i];
        if (to == kNone || !row.is_writable(i) || !seen.insert(to).second) continue;
        const std::int64_t rest = accepts(to)             ? 0
                                  : nodes_[to].least >= 0 ? nodes_[to].least
                                                          : nodes_[to].near;
        if (rest >= 0 && (best < 0 || n + rest < best)) best = n + rest;
        next.push_back(to);
      }
    }
    now = std::move(next);
  }
  return nodes_[r].near = best;
}

std::int64_t Langs::shortest(Id r) {
  if (nodes_[r].least >= 0) return nodes_[r].least;
  if (is_grouped(r)) return shortest(nodes_[r].a);
  if (!live(r)) return -1;
  const auto found = shortest_.find(r);
  if (found != shortest_.end()) return found->second;
  if (is_words(r)) {
    std::size_t least = std::numeric_limits<std::int32_t>::max();
    each_word(r, [&](std::u32string_view word) { least = std::min(least, word.size()); });
    return shortest_[r] = static_cast<std::int64_t>(least);
  }
  if (Quoting q; quoting(r, &q)) {
    std::int32_t least = kInf;
    each_quoted(q, [&](std::int32_t place, std::int32_t end) {
      least = std::min(least, end - place - q.depth);
      return Then::NextPlace;
    });
    return shortest_[r] = least;
  }
  std::unordered_map<Id, Id> from{{r, -1}};
  std::vector<Id> now{r};
  std::int64_t best = -1;
  Id end = kNone;
  for (std::int64_t n = 0; !now.empty() && (best < 0 || n < best); ++n) {
    std::vector<Id> next;
    for (Id q : now) {
      kernel_clock.tick(Op::Pattern);
      const auto known = shortest_.find(q);
      const std::int64_t rest = accepts(q)                 ? 0
                                : known != shortest_.end() ? known->second
                                                           : nodes_[q].least;
      if (rest >= 0) {
        if (best < 0 || n + rest < best) best = n + rest, end = q;
        continue;
      }
      for (Id to : row(q).next)
        if (to != kNone && from.try_emplace(to, q).second) next.push_back(to);
    }
    bounded(from.size(), 40, "states of a pattern on the way to its shortest text");
    now = std::move(next);
  }
  std::int64_t back = accepts(end) ? 0 : shortest(end);
  for (Id at = end; at >= 0; at = from[at]) shortest_.try_emplace(at, back++);
  return best;
}

// Is there a text of lo to hi characters? A depth-first search, since one text is enough. -1:
// unknown.
signed char Langs::search_length(Id r, std::int64_t lo, std::int64_t hi, bool plain) {
  constexpr std::int64_t kMostPlaces = 3'000;
  if (lo > kMostPlaces) return -1;
  struct Place {
    Id state;
    std::vector<Id> next;
  };
  // Ordered by characters, not by ids: the result must not depend on which languages exist already.
  const auto ways = [this, plain](Id q, bool turned) {
    std::vector<Id> next;
    const LangRow& out = row(q);
    std::uint32_t from = 0;
    for (std::size_t i = 0; i < out.next.size(); from = out.upto[i++] + 1)
      if (out.next[i] != kNone && (!plain || spelled_bytes(from, out.upto[i]) == 1) &&
          std::find(next.begin(), next.end(), out.next[i]) == next.end())
        next.push_back(out.next[i]);
    if (turned) std::reverse(next.begin(), next.end());
    return next;
  };
  for (const int order : {0, 1, 2}) {  // the last characters first, the first ones first, in turn
    const auto turned = [order](std::size_t depth) {
      return order == 1 || (order == 2 && depth % 2 == 1);
    };
    std::unordered_set<std::pair<Id, Id>, PairHash>
        seen;  // (state, characters) that lead nowhere, or are on the path
    std::vector<Place> path{{r, ways(r, turned(0))}};
    while (!path.empty() && static_cast<std::int64_t>(seen.size()) <= kMostPlaces) {
      kernel_clock.tick(Op::Pattern);
      const Id state = path.back().state, depth = static_cast<Id>(path.size()) - 1;
      if (depth == lo && plain) {
        if (accepts(state)) {
          for (std::size_t i = 0; i < path.size(); ++i)
            plain_.insert({path[i].state, static_cast<Id>(lo) - static_cast<Id>(i)});
          return 1;
        }
        path.pop_back();
        continue;
      }
      if (depth == lo) {
        if (const std::int64_t rest = shortest(state); rest >= 0 && lo + rest <= hi) {
          for (std::size_t i = 0; i < path.size();
               ++i) {  // keeps the longest text for a repeated state: it answers most later bounds
            std::int64_t& known = a_length_[path[i].state];
            known = std::max(known, lo + rest - static_cast<std::int64_t>(i));
          }
          return 1;
        }
        path.pop_back();
        continue;
      }
      if (path.back().next.empty()) {
        path.pop_back();
        continue;
      }
      const Id to = path.back().next.back();
      path.back().next.pop_back();
      if (!seen.emplace(to, depth + 1).second) continue;
      path.push_back({to, depth + 1 == lo ? std::vector<Id>{} : ways(to, turned(path.size()))});
    }
    if (path.empty()) return 0;
  }
  return -1;
}
// Tries the text that live() finds, the one that always takes the first transition, and the one
// that always takes the last. One of them suffices for most languages, for example for dates, which
// have thousands of states.
bool Langs::meets_on_sight(Id r, std::int64_t lo, std::int64_t hi) {
  constexpr std::int64_t kMostSteps = 64;
  if (!live(r)) return false;
  if (knows_length(r, lo, hi)) return true;  // live() may have found a text
  if (lo > kMostSteps) return false;
  for (const bool last : {false, true}) {
    std::vector<Id> path{r};
    while (static_cast<std::int64_t>(path.size()) - 1 <= std::min(hi, kMostSteps)) {
      const std::int64_t chars = static_cast<std::int64_t>(path.size()) - 1;
      if (chars >= lo && hi == kInf) return true;  // every state of a row is live
      if (chars >= lo && accepts(path.back())) {
        for (std::int64_t i = 0; i <= chars; ++i) {
          std::int64_t& known = a_length_[path[static_cast<std::size_t>(i)]];
          known = std::max(known, chars - i);
        }
        return true;
      }
      const LangRow& out = raw(path.back());
      Id to = kNone;  // the first or last state that is live; the others need not be known
      for (std::size_t n = out.next.size(), i = 0; i < n && to == kNone; ++i)
        if (const std::size_t at = last ? n - 1 - i : i; out.is_writable(at) && live(out.next[at]))
          to = out.next[at];
      if (to == kNone) break;
      path.push_back(to);
    }
  }
  return false;
}

bool Langs::meets(Id r, std::int64_t lo, std::int64_t hi) {
  if (r == kAll) return std::max<std::int64_t>(lo, 0) <= hi;
  if (is_grouped(r)) return meets(nodes_[r].a, lo, hi);
  if (knows_length(r, lo, hi)) return true;
  if (Quoting q; quoting(r, &q)) {
    bool found = false;
    each_quoted(q, [&](std::int32_t place, std::int32_t end) {
      const std::int64_t length = end - place - q.depth;
      found = length >= lo && length <= hi;
      return found ? Then::Stop : length > hi ? Then::NextPlace : Then::GoOn;
    });
    return found;
  }
  if (nodes_[r].least < 0 && !shortest_.contains(r) && meets_on_sight(r, lo, hi)) return true;
  const std::int64_t least = shortest(r);
  if (least < 0 || least > hi) return false;
  if (least >= lo) return true;
  const signed char found = search_length(r, lo, hi, false);
  if (found >= 0) return found;
  const std::int64_t rest = rest_behind(r, lo);
  return rest >= 0 && lo + rest <= hi;
}

bool Langs::is_endless(Id r) {
  if (r == kAll) return true;
  if (is_grouped(r)) return is_endless(nodes_[r].a);
  if (Quoting q; is_words(r) || quoting(r, &q)) return false;
  const auto found = endless_.find(r);
  if (found != endless_.end()) return found->second;
  // Every live state must lead to a cycle, which fails if some state has no transition: its texts
  // end there, and are finitely many. Stops early at finite sets, and where there are too many
  // states.
  std::unordered_map<Id, std::vector<Id>> before;
  std::unordered_map<Id, std::size_t> ways;
  std::vector<Id> todo{r}, ends;
  ways[r] = 0;
  bool endless = live(r);
  while (!todo.empty() && endless) {
    kernel_clock.tick(Op::Pattern);
    const Id q = todo.back();
    todo.pop_back();
    if (q == kAll) {
      ways[q] = 1;
      continue;
    }
    if (Quoting of; is_words(q) || quoting(q, &of) || ways.size() > 2000)
      endless = false;  // or is too large to decide
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
  endless = endless && ends.empty();  // a state without a transition has finitely many texts
  return endless_[r] = endless;
}

std::int64_t Langs::count(Id r, std::int64_t cap) {
  if (!live(r)) return 0;
  if (r == kAll) return cap;
  if (Quoting q; quoting(r, &q))
    return static_cast<std::int64_t>(quoted(q, 0, kInf, static_cast<std::size_t>(cap)).size());
  std::unordered_map<Id, std::int64_t> now{{r, 1}};
  std::int64_t total = 0;
  for (int steps = 0; !now.empty() && total < cap; ++steps) {
    if (steps > 4096) return cap;  // words longer than in any finite set of keys that people write
    std::unordered_map<Id, std::int64_t> next;
    for (const auto& [q, ways] : now) {
      kernel_clock.tick(Op::Pattern);
      if (accepts(q)) total = std::min(cap, total + ways);
      const LangRow& out = row(q);
      std::uint32_t lo = 0;
      for (std::size_t i = 0; i < out.next.size(); lo = out.upto[i++] + 1) {
        if (out.next[i] == kNone) continue;
        if (out.next[i] == q) return cap;  // a live state with a self-loop has infinitely many
        std::int64_t chars = 0;
        for (const Range& range : intersection({{lo, out.upto[i]}}, writable_chars()))
          chars += range.hi - range.lo + 1;
        auto& sum = next[out.next[i]];
        sum = std::min(cap,
                       sum + (ways > cap / std::max<std::int64_t>(chars, 1) ? cap : ways * chars));
        if (sum == 0) next.erase(out.next[i]);
      }
    }
    now = std::move(next);
    if (now.size() > kLargest) return cap;
  }
  return total;
}

bool Langs::list(Id r, std::size_t cap, std::vector<std::u32string>* out) {
  const std::int64_t n = count(r, static_cast<std::int64_t>(cap) + 1);
  if (n > static_cast<std::int64_t>(cap)) return false;
  if (Quoting q; n > 0 && quoting(r, &q)) {
    const std::vector<std::u32string> found = quoted(q, 0, kInf, cap);
    out->insert(out->end(), found.begin(), found.end());
    return true;
  }
  std::vector<std::pair<Id, std::u32string>> todo;
  if (n > 0) todo.push_back({r, U""});
  while (!todo.empty()) {
    kernel_clock.tick(Op::Pattern);
    const auto [q, text] = std::move(todo.back());
    todo.pop_back();
    if (accepts(q)) out->push_back(text);
    const LangRow pieces = row(q);
    std::uint32_t lo = 0;
    for (std::size_t i = 0; i < pieces.next.size(); lo = pieces.upto[i++] + 1) {
      if (pieces.next[i] == kNone) continue;
      for (const Range& range : intersection({{lo, pieces.upto[i]}}, writable_chars()))
        for (std::uint32_t c = range.lo; c <= range.hi; ++c)
          kernel_clock.tick(Op::Pattern),
              todo.push_back({pieces.next[i], text + static_cast<char32_t>(c)});
    }
  }
  return true;
}

void Langs::some(Id r, std::int32_t lo, std::int32_t hi, std::size_t n,
                 std::vector<std::u32string>* out) {
  static const Ranges kByCost[] = {{{'a', 'z'}},
                                   {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x60}, {0x7B, 0x7F}},
                                   {{0x22, 0x22}, {0x5C, 0x5C}, {0x80, 0xD7FF}, {0xE000, kMaxChar}},
                                   {{0, 0x1F}}};
  if (Quoting q; n > 0 && quoting(r, &q)) {
    const std::vector<std::u32string> found = quoted(q, lo, hi, n);
    out->insert(out->end(), found.begin(), found.end());
    return;
  }
  struct Part {  // a prefix of a text, linked from its last character backwards
    Id lang;
    std::ptrdiff_t before;
    char32_t last;
  };
  const auto leads_on = [&](Id lang, std::int64_t chars) {
    if (!live(lang)) return false;
    return (chars >= lo && hi == kInf) ||
           meets(lang, std::max<std::int64_t>(lo - chars, 0), hi == kInf ? kInf : hi - chars);
  };
  // Completes a prefix to a shortest text of the required length.
  const auto finish = [&](std::u32string text, Id lang) {
    std::int64_t left = std::max<std::int64_t>(lo - static_cast<std::int64_t>(text.size()), 0);
    while (!meets(lang, left, left)) ++left;
    for (; left > 0; --left) {
      const LangRow pieces = row(lang);
      bool found = false;
      for (std::size_t chosen = 0; chosen < std::size(kByCost) && !found; ++chosen) {
        std::uint32_t first = 0;
        for (std::size_t k = 0; k < pieces.next.size() && !found; first = pieces.upto[k++] + 1) {
          const Ranges ranges = pieces.next[k] == kNone
                                    ? Ranges{}
                                    : intersection({{first, pieces.upto[k]}}, kByCost[chosen]);
          if (ranges.empty() || !meets(pieces.next[k], left - 1, left - 1)) continue;
          text.push_back(ranges[0].lo);
          lang = pieces.next[k];
          found = true;
        }
      }
    }
    out->push_back(std::move(text));
  };
  std::vector<Part> parts;
  if (n > 0 && leads_on(r, 0)) parts.push_back({r, -1, 0});
  std::size_t from = 0;
  for (std::int32_t chars = 0; from < parts.size() && chars <= hi; ++chars) {
    const std::size_t to = parts.size(), enough = to - from >= n ? n : 0;
    for (std::size_t i = from; i < (enough ? from + enough : to); ++i) {
      if (!enough && (chars < lo || !accepts(parts[i].lang))) continue;
      std::u32string text;
      for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(i);
           parts[static_cast<std::size_t>(at)].before >= 0;
           at = parts[static_cast<std::size_t>(at)].before)
        text.push_back(parts[static_cast<std::size_t>(at)].last);
      std::reverse(text.begin(), text.end());
      if (enough)
        finish(std::move(text), parts[i].lang);
      else
        out->push_back(std::move(text)), --n;
    }
    if (enough || n == 0) return;
    const auto expand = [&](std::size_t i) {
      kernel_clock.tick(Op::Pattern);
      const LangRow pieces = row(parts[i].lang);
      for (const Ranges& chosen : kByCost) {
        std::uint32_t first = 0;
        for (std::size_t k = 0; k < pieces.next.size(); first = pieces.upto[k++] + 1) {
          if (pieces.next[k] == kNone) continue;
          const Ranges ranges = intersection({{first, pieces.upto[k]}}, chosen);
          if (ranges.empty() || !leads_on(pieces.next[k], std::int64_t{chars} + 1)) continue;
          for (const Range& range : ranges)
            for (std::uint32_t c = range.lo; c <= range.hi; ++c) {
              if (parts.size() - to >= n) return;  // each of them is completed to a text
              parts.push_back({pieces.next[k], static_cast<std::ptrdiff_t>(i), c});
            }
        }
      }
    };
    for (std::size_t i = from; i < to && parts.size() - to < n; ++i) expand(i);
    from = to;
  }
}

std::int64_t Langs::cheapest(Id r, std::int64_t lo, std::int64_t hi) {
  lo = std::max<std::int64_t>(lo, 0);
  if (hi < lo) return -1;
  if (r == kAll) return lo;
  if (is_grouped(r)) return cheapest(nodes_[r].a, lo, hi);
  if (lo == 0 && hi >= kInf) return cheapest(r);
  if (is_words(r)) return cheapest_word(r, lo, hi);
  if (Quoting q; quoting(r, &q)) return cheapest_quoted(q, lo, hi);
  if (!meets(r, lo, hi)) return -1;
  if (lo > 0)
    if (const std::int64_t found = cheapest_long(r, lo, hi); found >= 0) return found;
  // No text can be cheaper than one with the fewest allowed characters, all of one byte.
  if (lo > 0 && (plain_.contains({r, static_cast<Id>(lo)}) || search_length(r, lo, hi, true) == 1))
    return lo;
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
      kernel_clock.tick(Op::Pattern);
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
  return best;
}

std::int64_t Langs::cheapest_word(Id r, std::int64_t lo, std::int64_t hi) const {
  std::int64_t best = -1;
  each_word(r, [&](std::u32string_view word) {
    kernel_clock.tick(Op::Pattern);
    const std::int64_t n = static_cast<std::int64_t>(word.size());
    std::int64_t bytes = 0;
    if (n < lo || n > hi || (best >= 0 && n >= best)) return;
    for (char32_t c : word)
      if (const std::int64_t spelled = spelled_bytes(c, c); spelled >= 0)
        bytes += spelled;
      else
        return;
    if (best < 0 || bytes < best) best = bytes;
  });
  return best;
}

// For texts of any length. Forward: an A* search (Hart, Nilsson, Raphael 1968) whose heuristic is
// `floor`, a lower bound derived from the parts of an expression. Backward: Dijkstra's algorithm
// (1959) from the states with a known rest, and from the states at which the search stopped, whose
// rest has only a lower bound. A state that is nearer to a known rest gets its exact cost, which is
// memoised.
std::int64_t Langs::cheapest(Id r) {
  const auto known = [this](Id q) -> std::int64_t {
    if (q == kAll || accepts(q)) return 0;
    if (nodes_[q].bytes >= 0) return nodes_[q].bytes;
    const auto found = cheapest_.find(q);
    return found != cheapest_.end() ? found->second : -2;
  };
  if (const std::int64_t bytes = known(r); bytes != -2) return bytes;
  if (is_words(r)) return cheapest_[r] = cheapest_word(r, 0, kInf);
  if (Quoting q; quoting(r, &q)) return cheapest_[r] = cheapest_quoted(q, 0, kInf);
  if (!live(r)) return cheapest_[r] = -1;
  struct State {
    Id lang;
    std::int64_t cost, rest = -2;  // rest -2: not computed yet
    bool done = false;
    std::vector<std::pair<std::size_t, std::int64_t>> before = {};
  };
  std::vector<State> states{{r, 0}};
  std::unordered_map<Id, std::size_t> at{{r, 0}};
  using Way = std::tuple<std::int64_t, std::int64_t,
                         std::size_t>;  // (lower bound of the total, minus the cost so far, state)
  using Mark = std::tuple<std::int64_t, bool, std::size_t>;  // rest, is it only a bound?, state
  std::priority_queue<Way, std::vector<Way>, std::greater<>> open;
  open.push({nodes_[r].floor, 0, 0});
  std::int64_t best = -1;
  std::vector<Mark> ends;
  while (!open.empty()) {
    kernel_clock.tick(Op::Pattern);
    const auto [whole, behind, i] = open.top();
    const std::int64_t cost = -behind;
    if (best >= 0 && whole >= best) break;
    open.pop();
    if (cost > states[i].cost || std::exchange(states[i].done, true)) continue;
    const Id q = states[i].lang;
    std::int64_t rest = known(q);
    if (rest == -2 && is_words(q)) rest = cheapest_[q] = cheapest_word(q, 0, kInf);
    if (rest >= 0) {
      ends.push_back({rest, false, i});
      if (best < 0 || cost + rest < best) best = cost + rest;
    }
    if (rest != -2 || !live(q)) continue;
    const LangRow& out = raw(q);
    std::uint32_t from = 0;
    for (std::size_t k = 0; k < out.next.size(); from = out.upto[k++] + 1) {
      const Id lang = out.next[k];
      const std::int64_t step = lang == kNone ? -1 : spelled_bytes(from, out.upto[k]);
      if (step < 0) continue;
      const auto [to, fresh] = at.try_emplace(lang, states.size());
      if (fresh) states.push_back({lang, std::numeric_limits<std::int64_t>::max()});
      bounded(states.size(), 40, "states of a pattern on the way to its cheapest text");
      State& next = states[to->second];
      next.before.push_back({i, step});
      if (cost + step >= next.cost) continue;
      next.cost = cost + step, next.done = false;
      if (const std::int64_t end = known(lang); end >= 0 && (best < 0 || next.cost + end < best))
        best = next.cost + end;
      open.push({next.cost + nodes_[lang].floor, -next.cost, to->second});
    }
  }
  if (best < 0) return cheapest_[r] = -1;
  for (std::size_t i = 0; i < states.size(); ++i)
    if (const std::int64_t rest = states[i].done ? -1 : known(states[i].lang);
        !states[i].done && rest != -1)
      ends.push_back({rest < 0 ? nodes_[states[i].lang].floor : rest, rest < 0, i});
  std::priority_queue<Mark, std::vector<Mark>, std::greater<>> back(std::greater<>{},
                                                                    std::move(ends));
  while (!back.empty()) {
    const auto [rest, bound, i] = back.top();
    back.pop();
    if (states[i].rest != -2) continue;
    states[i].rest = rest;
    if (!bound) cheapest_.try_emplace(states[i].lang, rest);
    for (const auto& [j, step] : states[i].before)
      if (states[j].rest == -2) back.push({rest + step, bound, j});
  }
  return best;
}

bool Langs::reckon(Costs* c) {
  std::unordered_map<Id, std::int64_t> next;
  for (const auto& [q, cost] : c->front) {
    kernel_clock.tick(Op::Pattern);
    const LangRow& out = row(q);
    std::uint32_t from = 0;
    for (std::size_t i = 0; i < out.next.size(); from = out.upto[i++] + 1) {
      const std::int64_t step = out.next[i] == kNone ? -1 : spelled_bytes(from, out.upto[i]);
      if (step < 0) continue;
      const auto [at, fresh] = next.try_emplace(out.next[i], cost + step);
      if (!fresh) at->second = std::min(at->second, cost + step);
    }
  }
  c->front.assign(next.begin(), next.end());
  std::sort(c->front.begin(), c->front.end());
  return next.size() <= kMaxFront;
}

// For large lo: memoises the costs of each length, which become periodic. -1: too many states.
std::int64_t Langs::cheapest_long(Id r, std::int64_t lo, std::int64_t hi) {
  Costs& c = costs_[r];
  const auto note = [&] {
    std::int64_t least = std::numeric_limits<std::int64_t>::max(), best = -1;
    for (const auto& [q, cost] : c.front) {
      least = std::min(least, cost);
      if (accepts(q) && (best < 0 || cost < best)) best = cost;
    }
    c.least.push_back(least);
    c.best.push_back(best);
  };
  if (c.least.empty()) c.front = c.mark = {{r, 0}}, note();
  const auto is_like_mark = [&] {  // all costs differ by the same number
    return c.front.size() == c.mark.size() &&
           std::equal(c.front.begin(), c.front.end(), c.mark.begin(),
                      [&](const auto& a, const auto& b) {
                        return a.first == b.first &&
                               a.second - b.second == c.front[0].second - c.mark[0].second;
                      });
  };
  std::int64_t best = -1;
  for (std::int64_t n = lo; n <= hi; ++n) {
    while (!c.period && static_cast<std::int64_t>(c.least.size()) <= n) {
      if (c.wide || (c.wide = !reckon(&c))) return -1;
      if (c.front.empty()) return best;
      note();
      if (const std::size_t at = c.least.size() - 1; is_like_mark()) {
        c.period = static_cast<std::int32_t>(at - c.marked);
        c.gain = c.front[0].second - c.mark[0].second;
      } else if (std::has_single_bit(at)) {  // cycle detection (Brent 1980)
        c.mark = c.front;
        c.marked = at;
      }
    }
    const std::int64_t over = n - static_cast<std::int64_t>(c.least.size()) + 1,
                       rounds = over > 0 ? (over + c.period - 1) / c.period : 0;
    const std::size_t at = static_cast<std::size_t>(n - rounds * c.period);
    if (best >= 0 && c.least[at] + rounds * c.gain >= best) break;
    if (c.best[at] >= 0 && (best < 0 || c.best[at] + rounds * c.gain < best))
      best = c.best[at] + rounds * c.gain;
  }
  return best;
}

}  // namespace guard
