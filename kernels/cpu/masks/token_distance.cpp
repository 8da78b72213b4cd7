#include "masks/token_distance.hpp"

namespace guard {

Symbols::Symbols(std::vector<std::vector<Id>> by_symbol, const std::vector<Id>& any,
                 const std::vector<Id>& special, const Vocabulary& vocabulary)
    : tokens(std::move(by_symbol)) {
  const auto set = [](std::vector<std::uint32_t>& row, Id t) {
    row[static_cast<std::size_t>(t) >> 5] |= 1u << (t & 31);
  };
  const auto is_token = [&](Id t) { return t >= 0 && t < vocabulary.size(); };
  for (Id s : any) {
    std::vector<std::uint32_t>& row = any_tokens[s];
    row.assign(vocabulary.words(), 0);
    for (Id t = 0; t < vocabulary.size(); ++t)
      if (vocabulary.is_allowed_somewhere(t)) set(row, t);
    for (Id t : special)
      if (is_token(t) && !vocabulary.is_end(t)) set(row, t);
    for (Id t : tokens[static_cast<std::size_t>(s)])
      if (is_token(t)) row[static_cast<std::size_t>(t) >> 5] &= ~(1u << (t & 31));
  }
  for (std::size_t s = 0; s < tokens.size(); ++s)
    if (!any_tokens.contains(static_cast<Id>(s)))
      for (Id t : tokens[s])
        if (is_token(t)) of[t].push_back(static_cast<Id>(s));
}

std::int64_t TokenDistances::of(Id link, const Vocabulary& vocabulary, const Symbols* symbols) {
  std::vector<std::int64_t>& counts = counts_[vocabulary.id()];
  while (counts.size() < completions_.size())  // the links after a link were made before it
    counts.push_back(behind(static_cast<Id>(counts.size()), counts, vocabulary, symbols));
  return counts[static_cast<std::size_t>(link)];
}

std::int64_t TokenDistances::behind(Id link, const std::vector<std::int64_t>& counts,
                                    const Vocabulary& vocabulary, const Symbols* symbols) const {
  using Link = Completions::Link;
  const Link& first = completions_[link];
  if (first.kind == Link::None) return -1;
  if (first.kind == Link::End) return 1;
  if (first.kind == Link::Uncounted) return first.bytes;
  std::int64_t fewest = -1;
  const auto look = [&](Id next) {
    const std::int64_t rest = counts[static_cast<std::size_t>(next)];
    if (rest >= 0 && (fewest < 0 || 1 + rest < fewest)) fewest = 1 + rest;
  };
  if (first.kind == Link::Symbol) {
    look(first.next);
    return fewest;
  }
  const Trie& trie = vocabulary.whole().trie;
  std::int32_t node = 0;
  for (Id at = link; completions_[at].kind == Link::Byte; at = completions_[at].next) {
    const char byte = static_cast<char>(completions_[at].byte);
    node = trie.find(node, {&byte, 1});
    if (node < 0) break;
    for (const Id* t = trie.begin(node); t != trie.end(node); ++t)
      if (!symbols || !symbols->of.contains(*t)) {
        look(completions_[at].next);
        break;
      }
  }
  // If the vocabulary lacks a byte of the first completion, another one may avoid it.
  return fewest < 0 ? first.bytes : fewest;
}

void TokenDistances::trim() {
  constexpr std::size_t kMostVocabularies = 4;
  if (completions_.trim() || counts_.size() > kMostVocabularies) counts_.clear();
}

std::size_t TokenDistances::nbytes() const {
  std::size_t n = completions_.nbytes();
  for (const auto& [_, counts] : counts_) n += counts.capacity() * sizeof counts[0];
  return n;
}

}  // namespace guard
