#include "regex/words.hpp"

#include <algorithm>

namespace guard {

namespace {
// Characters of equal cost in JSON text (spelled_bytes).
constexpr Range kAlike[] = {{0x20, 0x21},    {0x23, 0x5B},     {0x5D, 0x7F},        {8, 10},
                            {12, 13},        {0x22, 0x22},     {0x5C, 0x5C},        {0x80, 0x7FF},
                            {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, kMaxChar}, {0, 7},
                            {11, 11},        {14, 31}};
}  // namespace

const std::vector<Words::Edge>& Words::edges(Id lang) {
  const auto found = edges_.find(lang);
  if (found != edges_.end()) return found->second;
  std::vector<Edge> out;
  if (langs_.accepts(lang)) out.push_back({0, 0, Langs::kNone, 0, 0});
  const LangRow row = langs_.row(lang);
  std::uint32_t from = 0;
  for (std::size_t i = 0; i < row.next.size(); from = row.upto[i++] + 1) {
    const std::int64_t rest =
        row.next[i] == Langs::kNone ? -1 : langs_.cheapest(row.next[i], 0, kInf);
    for (const Range& alike : kAlike) {
      const std::uint32_t lo = std::max(from, alike.lo), hi = std::min(row.upto[i], alike.hi);
      if (rest >= 0 && lo <= hi)
        out.push_back({spelled_bytes(lo, lo), spelled_bytes(lo, lo) + rest, row.next[i], lo, hi});
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Edge& a, const Edge& b) { return a.rest < b.rest; });
  return edges_.emplace(lang, std::move(out)).first->second;
}

const Word* Words::at(Id lang, std::size_t i) {
  auto& slot = searches_[lang];
  const auto add = [](Search* s, const std::vector<Edge>& edges, std::size_t edge,
                      std::int32_t before, std::int64_t bytes) {
    if (edge < edges.size())
      s->open.push({bytes, bytes + edges[edge].rest, before, &edges,
                    static_cast<std::uint32_t>(edge), edges[edge].lo, s->age++});
  };
  if (!slot) {
    const std::vector<Edge>& first = edges(lang);
    slot = std::make_unique<Search>();
    add(slot.get(), first, 0, -1, 0);
  }
  Search& s = *slot;
  while (s.words.size() <= i && !s.open.empty()) {
    Branch b = s.open.top();
    const Edge& edge = (*b.edges)[b.edge];
    if (edge.next == Langs::kNone) {
      std::u32string text;
      for (std::int32_t at = b.before; at >= 0; at = s.letters[static_cast<std::size_t>(at)].before)
        text.push_back(s.letters[static_cast<std::size_t>(at)].c);
      std::reverse(text.begin(), text.end());
      s.words.push_back({encode_utf8(text), b.bytes});
      s.open.pop();
    } else {
      const std::vector<Edge>& further = edges(edge.next);
      s.open.pop();
      add(&s, further, 0, static_cast<std::int32_t>(s.letters.size()), b.bytes + edge.bytes);
      s.letters.push_back({b.before, b.c});
    }
    if (b.c++ < edge.hi)
      s.open.push(b);
    else
      add(&s, *b.edges, b.edge + 1, b.before, b.bytes);
  }
  return i < s.words.size() ? &s.words[i] : nullptr;
}

}  // namespace guard
