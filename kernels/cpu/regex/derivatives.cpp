// Langs: the rows of states, and which states are live. See regex.hpp.
#include "regex/regex.hpp"

#include <algorithm>
#include <queue>
#include <ranges>
#include <tuple>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kBroad =
    32;  // states that are visited breadth first; patterns that people write need fewer
constexpr std::size_t kLong = 48;  // states of a search from which on it may be a long one
}  // namespace

namespace {
// The results of a function of lists of so many ids, each with a hash that the caller knows.
class Joined {
 public:
  explicit Joined(std::size_t size) : size_(size) {}
  template <class F>
  Id of(const std::vector<Id>& ids, std::size_t hash, F join) {
    const auto is_it = [&](std::size_t i) {
      return hashes_[i] == hash && std::equal(ids.begin(), ids.end(), ids_.data() + i * size_);
    };
    if (slots_.empty()) {
      for (std::size_t i = 0; i < hashes_.size(); ++i)
        if (is_it(i)) return results_[i];
    } else {
      for (std::size_t at = first(hash); slots_[at] >= 0; at = (at + 1) & (slots_.size() - 1))
        if (const auto i = static_cast<std::size_t>(slots_[at]); is_it(i)) return results_[i];
    }
    const Id result = join(ids);
    hashes_.push_back(hash), results_.push_back(result);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    if (slots_.empty() ? hashes_.size() > kFew : hashes_.size() * 2 > slots_.size())
      spread();
    else if (!slots_.empty())
      put(hashes_.size() - 1);
    return result;
  }

 private:
  static constexpr std::size_t kFew = 32;  // so many are compared one by one
  std::size_t first(std::size_t hash) const { return (hash >> 32) & (slots_.size() - 1); }
  void put(std::size_t i) {
    std::size_t at = first(hashes_[i]);
    while (slots_[at] >= 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = static_cast<std::int32_t>(i);
  }
  void spread() {  // over twice as many slots
    slots_.assign(std::max(kFew * 4, slots_.size() * 2), -1);
    for (std::size_t i = 0; i < hashes_.size(); ++i) put(i);
  }
  std::size_t size_;
  std::vector<std::size_t> hashes_;
  std::vector<Id> results_, ids_;    // ids_: the lists, one after the other
  std::vector<std::int32_t> slots_;  // by hash; -1: free
};
}  // namespace

template <class F>
LangRow Langs::combine(const std::vector<const LangRow*>& rows, F join) {
  LangRow out;
  std::vector<std::size_t> at(rows.size(), 0);
  std::vector<Id> kids(rows.size(), 0);
  std::size_t hash = 0;  // a sum over the kids, so that it can be updated for the few that change
  Joined joined(rows.size());  // many pieces have the same successors
  const auto go = [&](std::size_t row) {
    const Id next = rows[row]->next[at[row]];
    hash +=
        mix(row, static_cast<std::size_t>(next)) - mix(row, static_cast<std::size_t>(kids[row]));
    kids[row] = next;
  };
  for (std::size_t i = 0; i < rows.size(); ++i) go(i);
  while (true) {
    kernel_clock.tick(Op::Pattern);
    std::uint32_t upto = kMaxChar;
    for (std::size_t i = 0; i < rows.size(); ++i) upto = std::min(upto, rows[i]->upto[at[i]]);
    out.add(upto, joined.of(kids, hash, join));
    if (upto == kMaxChar) return out;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i]->upto[at[i]] == upto) ++at[i], go(i);
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
        out = combine(rows, [&](const auto& kids) {
          return node.kind == Kind::Alt ? alt(kids) : both(kids);
        });
    }
  }
  rows_.push_back(std::move(out));
  nodes_[r].moved = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

const LangRow& Langs::raw(Id r) {
  if (nodes_[r].raw) return rows_[static_cast<std::size_t>(nodes_[r].raw - 1)];
  std::vector<Id> tails;  // suffixes after nullable heads; computed from the last one, which avoids
                          // deep recursion
  for (Id q = r;
       nodes_[q].kind == Kind::Cat && nodes_[nodes_[q].a].nullable && !nodes_[nodes_[q].b].raw;)
    tails.push_back(q = nodes_[q].b);
  for (; !tails.empty(); tails.pop_back()) raw(tails.back());
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  LangRow out;
  // Adds the piece of these characters. Those between it and the last piece lead nowhere.
  const auto add = [&out](std::uint32_t lo, std::uint32_t hi, Id next) {
    if (lo > 0 && (out.upto.empty() || out.upto.back() < lo - 1)) out.add(lo - 1, kNone);
    out.add(hi, next);
  };
  const auto end = [&out] {
    if (out.upto.empty() || out.upto.back() < kMaxChar) out.add(kMaxChar, kNone);
  };
  switch (node.kind) {
    case Kind::None:
    case Kind::Eps:
    case Kind::Here: end(); break;
    case Kind::Set: {
      const Ranges ranges = sets_[node.a].ranges;
      for (const Range& range : ranges) add(range.lo, range.hi, kEps);
      end();
      break;
    }
    case Kind::Cat:
      if (nodes_[node.b].moves)
        out = combine({&raw(node.a), &moved(node.b)},
                      [&](const auto& kids) { return each_then(kids[0], kids[1]); });
      else
        out = combine({&raw(node.a)}, [&](const auto& kids) { return each_then(kids[0], node.b); });
      if (nodes_[node.a].nullable)
        out = combine({&out, &raw(node.b)}, [&](const auto& kids) { return alt(kids); });
      break;
    case Kind::Alt:
    case Kind::And: {
      std::vector<const LangRow*> rows;
      for (Id k : node.kids) rows.push_back(&raw(k));
      out = combine(
          rows, [&](const auto& kids) { return node.kind == Kind::Alt ? alt(kids) : both(kids); });
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
      out = raw(words(WordList({all.begin(), all.end()})));
      break;
    }
    case Kind::Grouped: out = grouped_row(node.a, node.b); break;
    case Kind::Behind: out = raw(now(node.a)); break;
    case Kind::Loop: {
      std::vector<Id> ways{round(node, false)};
      if (node.lo == 0)
        ways.push_back(node.b);
      else if (bodies_[node.a].may_be_none)
        ways.push_back(round(node, true));
      out = raw(alt(ways));
      break;
    }
    case Kind::Repeat: {
      const Id more =
          repeat(node.a, std::max(node.lo - 1, 0), node.hi == kInf ? kInf : node.hi - 1);
      out = combine({&raw(node.a)}, [&](const auto& kids) { return each_then(kids[0], more); });
      break;
    }
    case Kind::Quotes: {
      Quoting q;
      quoting(r, &q);
      split(q, [&](char32_t c, std::int32_t lo, std::int32_t hi) {
        add(c, c,
            make({.kind = Kind::Quotes,
                  .a = node.a,
                  .b = node.b + 1,
                  .lo = lo,
                  .hi = hi,
                  .kids = {}}));
      });
      end();
      break;
    }
    case Kind::Words: {
      std::int32_t i = node.lo;
      if (word_of(node, i).empty()) ++i;
      while (i < node.hi) {
        const char32_t c = word_of(node, i)[0];
        std::int32_t next = i + 1;
        while (next < node.hi && word_of(node, next)[0] == c) ++next;
        add(c, c,
            make({.kind = Kind::Words,
                  .a = node.a,
                  .b = node.b + 1,
                  .lo = i,
                  .hi = next,
                  .kids = {}}));
        i = next;
      }
      end();
      break;
    }
  }
  rows_.push_back(std::move(out));
  nodes_[r].raw = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

Id Langs::after(Id r, std::uint32_t c) {
  const Node& node = nodes_[r];
  if (node.raw || node.moves) return raw(r).at(c);
  const Deeper deeper(&depth_);
  switch (node.kind) {
    case Kind::Cat: {
      if (nodes_[node.a].nullable) return raw(r).at(c);  // one of a long chain, perhaps
      return each_then(after(node.a, c), node.b);
    }
    case Kind::Alt:
    case Kind::And: {
      std::vector<Id> kids;
      for (Id k : node.kids) kids.push_back(after(k, c));
      return node.kind == Kind::Alt ? alt(kids) : both(kids);
    }
    case Kind::Not: return no(after(node.a, c));
    case Kind::Maybe: return maybe(after(node.a, c));
    case Kind::Repeat: {
      const std::int32_t lo = std::max(node.lo - 1, 0), hi = node.hi == kInf ? kInf : node.hi - 1;
      const Id more = repeat(node.a, lo, hi);
      return each_then(after(node.a, c), more);
    }
    case Kind::Grouped: return grouped(after(node.a, char_groups_[node.b].read(c)), node.b);
    default: return raw(r).at(c);
  }
}

bool Langs::contains(Id r, std::u32string_view text) {
  // Follows the expression's Boolean structure, so that a test for a set of words makes no states.
  const Node& node = nodes_[r];
  if (!node.unsure) switch (node.kind) {
      case Kind::None: return false;
      case Kind::Not: return !contains(node.a, text);
      case Kind::Alt:
        return std::any_of(node.kids.begin(), node.kids.end(),
                           [&](Id k) { return contains(k, text); });
      case Kind::And:
        return std::all_of(node.kids.begin(), node.kids.end(),
                           [&](Id k) { return contains(k, text); });
      case Kind::Words: {
        const auto all = std::views::iota(node.lo, node.hi);
        const auto at =
            std::ranges::lower_bound(all, text, {}, [&](auto i) { return word_of(node, i); });
        return at != all.end() && word_of(node, *at) == text;
      }
      case Kind::Quotes: {
        const Quotable& from = *quotables_[static_cast<std::size_t>(node.a)];
        const std::size_t depth = static_cast<std::size_t>(node.b);
        return std::any_of(
            from.places.begin() + node.lo, from.places.begin() + node.hi, [&](std::int32_t place) {
              const std::size_t p = static_cast<std::size_t>(place), end = p + depth + text.size();
              return end > p && end <= static_cast<std::size_t>(from.limits[p]) && from.ends[end] &&
                     std::u32string_view(from.text).substr(p + depth, text.size()) == text;
            });
      }
      default: break;
    }
  for (char32_t c : text) {
    if (r == kNone || r == kAll) break;
    r = nodes_[r].raw ? rows_[static_cast<std::size_t>(nodes_[r].raw - 1)].at(c) : raw(r).at(c);
  }
  return accepts(r);
}

// How promising a state is, lower values more: the bytes of the parts that a conjunction has yet to
// write, each as if it were written on its own. First those of parts that are not whole yet, as if
// nothing of them were written, but of the longest part, which often is a number of characters that
// every text has; then what is left of them.
std::pair<std::int64_t, std::int64_t> Langs::left_to_write(Id r) const {
  const Node& n = nodes_[r];
  const auto farthest = [this](Id part) {
    const Node& p = nodes_[part];
    std::int64_t out = p.floor;
    if (p.kind == Kind::Alt)
      for (const Id way : p.kids) out = std::max(out, nodes_[way].floor);
    return out;
  };
  std::pair<std::int64_t, std::int64_t> out{0, 0};
  if (n.kind == Kind::And) {
    std::int64_t most = 0;
    for (const Id part : n.kids) {
      const std::int64_t all = farthest(part);
      out.first += all, out.second += nodes_[part].floor, most = std::max(most, all);
    }
    out.first -= most;
  } else if (n.kind == Kind::Alt) {
    out = left_to_write(n.kids[0]);
    for (const Id way : n.kids) out = std::min(out, left_to_write(way));
  } else {
    out = {farthest(r), n.floor};
  }
  return out;
}

// Breadth first up to kBroad states, since most languages have short texts; then the best first
// (Pearl 1984), since a long text has many prefixes, most of which lead nowhere.
bool Langs::live(Id start) {
  if (start == kNone) return false;
  if (nodes_[start].alive) return true;
  if (nodes_[start].live >= 0) return nodes_[start].live;
  if (is_grouped(start)) {
    const bool found = live(nodes_[start].a);
    return nodes_[start].live = found, found;
  }
  if (Quoting q; quoting(start, &q)) {
    const bool found = to_an_end(q) >= 0;
    return nodes_[start].live = found, found;
  }
  // If the bounds on repetitions are large, a short text of the relaxed language stays below them.
  std::int32_t most = kInf;
  if (const Id r = relaxed(start, &most); r != start)
    if (const std::int64_t n = near(r); n >= 0 && n <= most) {
      nodes_[start].live = 1;
      return true;
    }
  // A conjunction with an empty part is empty, which needs no search of the product. Loops are
  // excluded, because they may lead back to themselves.
  const auto hopeless = [this](Id q) {
    if (nodes_[q].kind != Kind::And) return false;
    const std::vector<Id> kids = nodes_[q].kids;
    return std::any_of(kids.begin(), kids.end(),
                       [this](Id k) { return !nodes_[k].loops && !live(k); });
  };
  const Deeper deeper(&depth_);
  const auto has_text = [this](Id q) {
    return nodes_[q].live == 1 || nodes_[q].alive || accepts(q);
  };
  if (accepts(start)) return nodes_[start].live = 1, true;
  // One character is tried without the row, which takes all of them.
  for (std::size_t i = 0; i < likely_.size() && !nodes_[start].raw; ++i)
    if (has_text(after(start, likely_[i]))) {
      std::rotate(likely_.begin(), likely_.begin() + static_cast<std::ptrdiff_t>(i),
                  likely_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      return nodes_[start].live = 1, true;
    }
  std::unordered_map<Id, Id> from{{start, -1}};
  std::deque<Id> todo{start};
  // Of states that are alike, the last one found is the first.
  using Ranked = std::tuple<std::pair<std::int64_t, std::int64_t>, std::int64_t, Id>;
  std::priority_queue<Ranked, std::vector<Ranked>, std::greater<>> best;
  std::int64_t rank = 0;
  bool tried_apart = false;
  while (!todo.empty() || !best.empty()) {
    kernel_clock.tick(Op::Pattern);
    if (from.size() >= kBroad)
      for (; !todo.empty(); todo.pop_front())
        best.push({left_to_write(todo.front()), --rank, todo.front()});
    const Id q = todo.empty() ? std::get<2>(best.top()) : todo.front();
    todo.empty() ? best.pop() : todo.pop_front();
    if (hopeless(q)) continue;
    bounded(from.size(), 40, "states of a pattern in one search");
    if (from.size() >= kLong && !std::exchange(tried_apart, true))
      if (const signed char found = live_apart(start); found >= 0) {
        if (found) return nodes_[start].live = 1, true;
        break;
      }
    const LangRow& next = raw(q);
    for (std::size_t i = 0; i < next.next.size(); ++i) {
      Id n = next.next[i];
      if (n == kNone || !next.is_writable(i) || nodes_[n].live == 0 ||
          !from.try_emplace(n, q).second)
        continue;
      if (has_text(n)) {
        const std::uint32_t by = next.upto[i];
        if (guard::meets({by, by}, writable_chars()) &&
            std::find(likely_.begin(), likely_.end(), by) == likely_.end())
          likely_.back() = by;
        const auto known = a_length_.find(n);
        std::int64_t length = accepts(n)                 ? 0
                              : nodes_[n].least >= 0     ? nodes_[n].least
                              : known != a_length_.end() ? known->second
                                                         : -1;
        for (; n >= 0; n = from[n]) {
          nodes_[n].live = 1;
          if (length >= 0) a_length_.try_emplace(n, length++);
        }
        return true;
      }
      todo.push_back(n);
    }
  }
  for (const auto& [q, _] : from) nodes_[q].live = 0;
  return false;
}

const LangRow& Langs::row(Id r) {
  if (nodes_[r].row) return rows_[static_cast<std::size_t>(nodes_[r].row - 1)];
  const LangRow& from = raw(r);
  const auto stays = [&](std::size_t i) {
    return from.next[i] == kNone || (from.is_writable(i) && live(from.next[i]));
  };
  std::size_t alive = 0;
  while (alive < from.next.size() && stays(alive)) ++alive;
  if (alive == from.next.size()) return nodes_[r].row = nodes_[r].raw, from;
  LangRow out;
  for (std::size_t i = 0; i < from.next.size(); ++i) {
    const Id next = i < alive || (i > alive && stays(i)) ? from.next[i] : kNone;
    out.add(from.upto[i], next);
  }
  rows_.push_back(std::move(out));
  nodes_[r].row = static_cast<std::int32_t>(rows_.size());
  return rows_.back();
}

// A match of a text needs no more rounds of a repetition than the text has characters. This does
// not hold under a complement, so complements are not relaxed.
Id Langs::relaxed(Id r, std::int32_t* most) {
  const Kind kind = nodes_[r].kind;
  if (kind == Kind::Grouped) return grouped(relaxed(nodes_[r].a, most), nodes_[r].b);
  if ((kind != Kind::Cat && kind != Kind::Repeat && kind != Kind::Alt && kind != Kind::And) ||
      nodes_[r].loops || nodes_[r].moves || nodes_[r].here)
    return r;
  if (nodes_[r].relaxed >= 0) return *most = std::min(*most, nodes_[r].most), nodes_[r].relaxed;
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  std::int32_t own = kInf;
  Id out = r;
  if (kind == Kind::Cat) {
    std::vector<Id> heads;  // an iteration, to avoid recursion over a long chain
    Id tail = r;
    for (; nodes_[tail].kind == Kind::Cat; tail = nodes_[tail].b) heads.push_back(nodes_[tail].a);
    for (out = relaxed(tail, &own); !heads.empty(); heads.pop_back())
      out = cat(relaxed(heads.back(), &own), out);
  } else if (kind == Kind::Repeat) {
    const bool far = node.hi != kInf && node.hi >= kFar;
    if (far) own = node.hi;
    out = repeat(relaxed(node.a, &own), node.lo, far ? kInf : node.hi);
  } else {
    std::vector<Id> kids;
    for (Id k : node.kids) kids.push_back(relaxed(k, &own));
    out = kind == Kind::Alt ? alt(kids) : both(kids);
  }
  nodes_[r].relaxed = out, nodes_[r].most = own;
  return *most = std::min(*most, own), out;
}

// Which texts of so many characters continue to a text of the language, and which are one, is
// decided part by part, from the left, since a text of n characters is past parts of at most n.
// What is farther away becomes anything at all. Complements and conjunctions stay: whether they
// continue is not decided part by part.
Id Langs::cut(Id r, std::int32_t chars, Cut* how) {
  if (--how->left < 0) return r;
  const Deeper deeper(&depth_);
  const Node node = nodes_[r];
  if (node.loops || node.moves || node.here || node.unsure || node.quotes) return r;
  if (chars == 0)
    return !node.alive ? r : node.nullable ? kAll : repeat(set(writable_chars()), 1, kInf);
  if (node.kind == Kind::Cat) {
    const std::int32_t least = nodes_[node.a].least;  // -1: unknown
    const Id first = cut(node.a, chars, how);
    if (least > chars && nodes_[node.b].alive) return cat(first, kAll);
    return cat(first, cut(node.b, chars - std::clamp(least, 0, chars), how));
  }
  if (node.kind == Kind::Repeat) {
    const std::int32_t least = nodes_[node.a].least;
    if (least < 1 || !nodes_[node.a].alive) return r;
    const std::int32_t most = chars / least;  // that many rounds end within these characters
    if (node.lo <= most && (node.hi == kInf || node.hi <= most)) return r;
    how->counts = true;
    return node.lo > most ? cat(repeat(node.a, most + 1, most + 1), kAll)
                          : repeat(node.a, node.lo, kInf);
  }
  if (node.kind == Kind::Alt) {
    std::vector<Id> kids;
    for (const Id k : node.kids) kids.push_back(cut(k, chars, how));
    return alt(kids);
  }
  return r;
}

}  // namespace guard
