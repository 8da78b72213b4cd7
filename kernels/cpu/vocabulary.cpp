#include "vocabulary.hpp"

#include <algorithm>
#include <map>

namespace guard {

namespace {
using Key = std::pair<Id, std::int32_t>;  // (state, characters)
bool may_follow(std::uint8_t byte) {
  switch (byte) {
    case ',': case '}': case ']': case ':': case ' ': case '\n': case '\r': case '\t': return true;
    default: return false;
  }
}
bool is_number_byte(std::uint8_t b) { return (b >= '0' && b <= '9') || b == '.' || b == '-' || b == '+' || b == 'e' || b == 'E'; }
}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends, const std::vector<Id>& special)
    : tokens_(std::move(tokens)), usable_(tokens_.size(), 1), ends_(std::move(ends)) {
  for (Id t : special) usable_[static_cast<std::size_t>(t)] = 0;
  for (Id t : ends_) usable_[static_cast<std::size_t>(t)] = 0;
  std::sort(ends_.begin(), ends_.end());
  std::vector<Spelled> spelled;
  spelled.reserve(tokens_.size());
  for (std::size_t t = 0; t < tokens_.size(); ++t)
    if (usable_[t] && !tokens_[t].empty()) spelled.push_back({tokens_[t], static_cast<Id>(t)});
  trie_ = Trie(std::move(spelled));
}

bool Vocabulary::is_end(Id token) const { return std::binary_search(ends_.begin(), ends_.end(), token); }

std::vector<Id> Vocabulary::greedy(std::string_view data) const {
  std::vector<Id> out;
  for (std::size_t at = 0; at < data.size();) {
    std::int32_t node = 0, best = -1;
    std::size_t best_end = at;
    for (std::size_t i = at; i < data.size(); ++i) {
      std::int32_t child = node + 1;
      const std::int32_t end = trie_.skip(node);
      while (child < end && trie_.byte(child) != static_cast<std::uint8_t>(data[i])) child = trie_.skip(child);
      if (child >= end) break;
      node = child;
      if (trie_.begin(node) != trie_.end(node)) best = *trie_.begin(node), best_end = i + 1;
    }
    if (best < 0) break;
    out.push_back(best);
    at = best_end;
  }
  return out;
}

// A mask under construction: tokens by the (state, characters) in which they end or leave.
struct Vocabulary::Draft {
  explicit Draft(std::size_t words) { mask.all.assign(words, 0); }
  LexemeMask mask;
  std::unordered_map<std::uint64_t, std::size_t> at;
  std::map<Key, std::vector<Spelled>> exits;

  void stay(Key key, const Id* begin, const Id* end, bool detailed, bool whole) {
    for (const Id* t = begin; t != end; ++t) mask.all[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
    if (!detailed || begin == end) return;
    const auto [slot, fresh] = at.try_emplace(static_cast<std::uint64_t>(key.first) << 32 | static_cast<std::uint32_t>(key.second), mask.inside.size());
    if (fresh) mask.inside.push_back({key.first, key.second, key.second + !whole, {}, {}});
    auto& tokens = mask.inside[slot->second].tokens;
    tokens.insert(tokens.end(), begin, end);
  }
  LexemeMask done() {
    std::sort(mask.inside.begin(), mask.inside.end(), [](const Inside& a, const Inside& b) { return std::pair(a.needs, a.state) < std::pair(b.needs, b.state); });
    for (Inside& group : mask.inside) {
      if (group.tokens.size() <= mask.all.size()) {
        group.tokens.shrink_to_fit();
        continue;
      }
      group.bits.assign(mask.all.size(), 0);
      for (Id t : group.tokens) group.bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
      std::vector<Id>().swap(group.tokens);
    }
    for (auto& [key, list] : exits)
      if (!list.empty()) mask.exits.push_back({key.first, key.second, Trie(std::move(list))});
    return std::move(mask);
  }
};

// The tokens in which a string may end.
const Trie& Vocabulary::closing() {
  if (closing_) return *closing_;
  std::vector<Spelled> list;
  for (std::size_t t = 0; t < tokens_.size(); ++t) {
    const std::string_view text = tokens_[t];
    const std::size_t quote = text.find('"');
    if (!usable_[t] || quote == text.npos) continue;
    if (quote + 1 == text.size() || may_follow(static_cast<std::uint8_t>(text[quote + 1])) || text.find('\\') != text.npos) list.push_back({text, static_cast<Id>(t)});
  }
  closing_ = std::make_unique<Trie>(std::move(list));
  return *closing_;
}

LexemeMask& Vocabulary::text(Texts& texts, Id state, bool detailed) {
  auto& slot = (detailed ? detailed_ : texts_)[state];
  if (slot) return slot->used = true, *slot;
  Draft draft(words());
  // Where every text can go on to an end, the tokens inside are those of any string.
  const bool any = !detailed && texts.goes_on(state) && !texts.is_free(state);
  if (any) draft.mask.all = text(texts, texts.free(state), false).all;
  const Trie& trie = any ? closing() : trie_;
  std::vector<Key> path(static_cast<std::size_t>(trie.longest()) + 2, Key{state, 0});
  for (std::int32_t i = 1; i < trie.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
    const auto [from, chars] = path[depth - 1];
    const std::uint8_t byte = trie.byte(i);
    if (byte == '"' && texts.is_whole(from)) {
      if (!texts.may_end(from)) {
        i = trie.skip(i);
        continue;
      }
      auto& list = draft.exits[{from, chars}];
      for (std::int32_t j = i; j < trie.skip(i);) {
        const std::size_t length = static_cast<std::size_t>(trie.depth(j)) - depth;
        if (length == 1 && !may_follow(trie.byte(j))) {
          j = trie.skip(j);
          continue;
        }
        for (const Id* t = trie.begin(j); t != trie.end(j); ++t) {
          const std::string_view rest = std::string_view(tokens_[static_cast<std::size_t>(*t)]).substr(depth);
          if (std::count(rest.begin(), rest.end(), '"') > 1)
            draft.mask.odd.push_back(*t);
          else
            list.push_back({rest, *t});
        }
        ++j;
      }
      i = trie.skip(i);
      continue;
    }
    const Id next = texts.step(from, byte);
    if (next == Texts::kDead) {
      i = trie.skip(i);
      continue;
    }
    path[depth] = {next, chars + (detailed && texts.is_whole(next) ? 1 : 0)};
    draft.stay(path[depth], trie.begin(i), trie.end(i), detailed, texts.is_whole(next));
    ++i;
  }
  return keep(slot, draft.done());
}

LexemeMask& Vocabulary::number(Numbers& numbers, Id state) {
  auto& slot = numbers_[state];
  if (slot) return slot->used = true, *slot;
  Draft draft(words());
  std::vector<Id> path(static_cast<std::size_t>(trie_.longest()) + 2);
  path[0] = state;
  for (std::int32_t i = 1; i < trie_.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie_.depth(i));
    const Id from = path[depth - 1];
    const std::uint8_t byte = trie_.byte(i);
    if (!is_number_byte(byte)) {
      if (depth > 1 && may_follow(byte) && byte != ':' && numbers.accepts_any(from)) {
        auto& list = draft.exits[{from, 0}];
        for (const Id* t = trie_.begin(i); t != trie_.subtree_end(i); ++t)
          list.push_back({std::string_view(tokens_[static_cast<std::size_t>(*t)]).substr(depth - 1), *t});
      }
      i = trie_.skip(i);
      continue;
    }
    const Id next = numbers.step(from, byte);
    if (next == Numbers::kDead) {
      i = trie_.skip(i);
      continue;
    }
    path[depth] = next;
    draft.stay({next, 0}, trie_.begin(i), trie_.end(i), true, true);
    ++i;
  }
  return keep(slot, draft.done());
}

LexemeMask& Vocabulary::keep(std::unique_ptr<LexemeMask>& slot, LexemeMask mask) {
  slot = std::make_unique<LexemeMask>(std::move(mask));
  held_ += slot->nbytes();
  return *slot;
}

void Vocabulary::trim() {
  if (held_ <= kMost) return;
  held_ = 0;
  for (Masks* masks : {&texts_, &detailed_, &numbers_}) {
    std::erase_if(*masks, [](const auto& entry) { return !entry.second || !entry.second->used; });
    for (auto& [_, mask] : *masks) mask->used = false, held_ += mask->nbytes();
  }
}

const Bits& Vocabulary::at_most(LexemeMask& mask, std::int32_t chars) {
  for (const auto& [n, bits] : mask.upto)
    if (n == chars) return bits;
  Bits bits(words(), 0);
  for (const Inside& group : mask.inside) {
    if (group.needs > chars) break;
    for (std::size_t i = 0; i < group.bits.size(); ++i) bits[i] |= group.bits[i];
    for (Id t : group.tokens) bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
  }
  held_ += bits.size() * 4;
  mask.upto.emplace_back(chars, std::move(bits));
  return mask.upto.back().second;
}

std::size_t LexemeMask::nbytes() const {
  std::size_t n = sizeof *this + all.size() * 4 * (1 + upto.size()) + odd.size() * 4;
  for (const Inside& g : inside) n += sizeof g + g.tokens.capacity() * 4 + g.bits.size() * 4;
  for (const Exit& e : exits) n += sizeof e + e.rest.nbytes();
  return n;
}

std::size_t Vocabulary::nbytes() const {
  std::size_t n = trie_.nbytes() + usable_.size();
  for (const std::string& t : tokens_) n += sizeof t + (t.size() > 15 ? t.size() + 1 : 0);
  return n + held_;
}

}  // namespace guard
