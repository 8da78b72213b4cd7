#include "vocabulary.hpp"

#include <algorithm>
#include <atomic>

#include "outline.hpp"

namespace guard {

namespace {
// Bytes of the first character; 0: it is not whole, or no UTF-8.
std::size_t char_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0; };
  const int lead = at(0), next = at(1);
  if (lead < 0x80) return 1;
  const std::size_t n = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < n; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  const bool wrong = (lead == 0xE0 && next < 0xA0) || (lead == 0xED && next > 0x9F) || (lead == 0xF0 && next < 0x90) || (lead == 0xF4 && next > 0x8F);
  return wrong ? 0 : n;
}
// The class of each character, as a byte; false: there are bytes without one.
bool spell_classes(std::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const std::size_t n = char_length(bytes);
    if (n == 0) return false;
    const std::uint8_t cls = class_of(decode_utf8(bytes.substr(0, n))[0]);
    if (cls == kNoClass) return false;
    out->push_back(static_cast<char>(cls));
    bytes.remove_prefix(n);
  }
  return true;
}
// Characters of JSON text that these bytes complete.
std::size_t count_chars(std::string_view bytes) {
  constexpr std::size_t kEscape = 6;  // \uXXXX
  std::size_t n = 0;
  while (!bytes.empty()) {
    std::size_t length = char_length(bytes);
    if (bytes[0] == '\\') {
      const bool digits = bytes.size() > 1 && bytes[1] == 'u', high = digits && bytes.size() > 3 && (bytes[2] | 32) == 'd' && std::string_view("89abAB").find(bytes[3]) != std::string_view::npos;
      length = high ? 2 * kEscape : digits ? kEscape : 2;
    }
    if (length == 0 || length > bytes.size()) break;
    bytes.remove_prefix(length);
    ++n;
  }
  return n;
}
std::atomic<Id> vocabularies{0};
}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends, const std::vector<Id>& special)
    : tokens_(std::move(tokens)), usable_(tokens_.size(), 1), ends_(std::move(ends)), id_(vocabularies++), rows_(words()) {
  for (Id t : special) usable_[static_cast<std::size_t>(t)] = 0;
  for (Id t : ends_) usable_[static_cast<std::size_t>(t)] = 0;
  std::sort(ends_.begin(), ends_.end());
  std::vector<Spelled> spelled;
  spelled.reserve(tokens_.size());
  for (std::size_t t = 0; t < tokens_.size(); ++t)
    if (usable_[t] && !tokens_[t].empty()) spelled.push_back({tokens_[t], static_cast<Id>(t)});
  std::deque<std::string> classes;
  std::vector<Spelled> plain, other;
  for (const Spelled& s : spelled)
    if (std::string text; spell_classes(s.bytes, &text))
      plain.push_back({classes.emplace_back(std::move(text)), s.token});
    else
      other.push_back(s);
  is_plain_.assign(tokens_.size(), 0);
  for (const Spelled& s : plain) is_plain_[static_cast<std::size_t>(s.token)] = 1;
  plain_ = Trie(std::move(plain));
  std::vector<Spelled> closing, ended;
  for (const Spelled& s : other) {
    const std::size_t quote = s.bytes.find('"'), behind = quote + 1;
    if (quote == s.bytes.npos) continue;
    before_quote_ = std::max(before_quote_, static_cast<std::int32_t>(count_chars(s.bytes.substr(0, s.bytes.rfind('"')))));
    if (quote == 0 && (behind == s.bytes.size() || may_follow(static_cast<std::uint8_t>(s.bytes[1])))) ended.push_back(s);
    if (behind == s.bytes.size() || may_follow(static_cast<std::uint8_t>(s.bytes[behind])) || s.bytes.find('\\') != s.bytes.npos) closing.push_back(s);
  }
  closing_ = Trie(std::move(closing));
  for (Spelled& s : ended) s.bytes.remove_prefix(1);
  quoted_ = suffixes(std::move(ended));
  other_ = Trie(std::move(other));
  many_at_.assign(static_cast<std::size_t>(plain_.size()), -1);
  for (std::int32_t i = 0; i < plain_.size(); ++i)
    if (plain_.end(i) - plain_.begin(i) >= kMany) {
      many_at_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(many_.size());
      std::vector<std::uint32_t>& bits = many_.emplace_back(words());
      for (const Id* t = plain_.begin(i); t != plain_.end(i); ++t) bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
    }
  whole_ = {made_++, Trie(std::move(spelled))};
  match_plain();
  short_.assign(kShort + 1, std::vector<std::uint32_t>(words()));
  for (std::size_t t = 0; t < tokens_.size(); ++t) {
    chars_.push_back(static_cast<std::uint16_t>(count_chars(tokens_[t])));
    if (chars_[t] <= kShort)
      short_[chars_[t]][t / 32] |= 1u << (t % 32);
    else
      long_.push_back(static_cast<Id>(t));
  }
  for (std::size_t n = 1; n < short_.size(); ++n)
    for (std::size_t i = 0; i < words(); ++i) short_[n][i] |= short_[n - 1][i];
}

// Which nodes of the whole trie spell a node of plain_. O(nodes).
void Vocabulary::match_plain() {
  struct Place {
    std::int32_t node;  // of plain_, behind the last whole character; -1: there is none
    std::uint32_t lead, left;  // of a character that is not whole: what its bytes say so far, and how many are missing
  };
  const Trie& trie = whole_.trie;
  std::vector<Place> path(static_cast<std::size_t>(trie.longest()) + 1, Place{0, 0, 0});
  std::vector<std::pair<std::int32_t, std::int32_t>> found;  // nodes of plain_, and of the whole trie
  for (std::int32_t i = 1; i < trie.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
    Place place = path[depth - 1];
    const std::uint8_t byte = trie.byte(i);
    const bool follows = (byte & 0xC0) == 0x80, fits = follows == (place.left > 0);
    if (follows)
      place.lead = place.lead << 6 | (byte & 0x3F), --place.left;
    else if (byte < 0x80)
      place.lead = byte;
    else
      place.left = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3, place.lead = byte & (0x3Fu >> place.left);
    if (fits && !place.left) {
      const char cls = static_cast<char>(class_of(place.lead));
      place.node = plain_.find(place.node, {&cls, 1});
      if (place.node >= 0) found.push_back({place.node, i});
    }
    if (!fits || place.node < 0) {
      i = trie.skip(i);
      continue;
    }
    path[depth] = place;
    ++i;
  }
  spelled_first_.assign(static_cast<std::size_t>(plain_.size()) + 1, 0);
  for (const auto& [node, _] : found) ++spelled_first_[static_cast<std::size_t>(node) + 1];
  for (std::size_t i = 1; i < spelled_first_.size(); ++i) spelled_first_[i] += spelled_first_[i - 1];
  spelled_.resize(found.size());
  std::vector<std::int32_t> at(spelled_first_.begin(), spelled_first_.end() - 1);
  for (const auto& [node, i] : found) spelled_[static_cast<std::size_t>(at[static_cast<std::size_t>(node)]++)] = i;
}

bool Vocabulary::is_end(Id token) const { return std::binary_search(ends_.begin(), ends_.end(), token); }

std::vector<Id> Vocabulary::greedy(std::string_view data) const {
  std::vector<Id> out;
  for (std::size_t at = 0; at < data.size();) {
    std::int32_t node = 0, best = -1;
    std::size_t best_end = at;
    for (std::size_t i = at; i < data.size(); ++i) {
      std::int32_t child = node + 1;
      const std::int32_t end = whole_.trie.skip(node);
      while (child < end && whole_.trie.byte(child) != static_cast<std::uint8_t>(data[i])) child = whole_.trie.skip(child);
      if (child >= end) break;
      node = child;
      if (whole_.trie.begin(node) != whole_.trie.end(node)) best = *whole_.trie.begin(node), best_end = i + 1;
    }
    if (best < 0) break;
    out.push_back(best);
    at = best_end;
  }
  return out;
}

Tokens::Tokens(std::vector<Id> list, std::size_t words) {
  if (list.size() <= words) {
    few = std::move(list);
    few.shrink_to_fit();
    return;
  }
  bits.assign(words, 0);
  for (Id t : list) bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
}

void Tokens::to_bits(std::size_t words) {
  if (!bits.empty()) return;
  bits.assign(words, 0);
  for (Id t : few) bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
  std::vector<Id>().swap(few);
}

void Tokens::add(const Run& run, std::size_t words) {
  if (bits.empty()) {
    if (few.size() + static_cast<std::size_t>(run.end - run.begin) <= words) {
      few.insert(few.end(), run.begin, run.end);
      return;
    }
    to_bits(words);
  }
  if (run.bits)
    for (std::size_t i = 0; i < words; ++i) bits[i] |= run.bits[i];
  else
    for (const Id* t = run.begin; t != run.end; ++t) bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
}

void Tokens::add(const Tokens& other, std::size_t words) {
  add({other.few.data(), other.few.data() + other.few.size(), nullptr}, words);
  if (other.bits.empty()) return;
  to_bits(words);
  for (std::size_t i = 0; i < words; ++i) bits[i] |= other.bits[i];
}

std::shared_ptr<const Suffixes> Vocabulary::suffixes(std::vector<Spelled> list) {
  Content content;
  content.reserve(list.size());
  for (const Spelled& s : list) content.push_back(static_cast<std::uint64_t>(s.token) << 32 | s.bytes.size());
  auto& known = suffixes_[std::move(content)];
  if (std::shared_ptr<const Suffixes> found = known.lock()) return found;
  auto made = std::make_shared<Suffixes>(made_++, Trie(std::move(list)));
  held_ += made->trie.nbytes();
  known = made;
  return made;
}

const GapMask* Vocabulary::gap(const Suffixes& among, std::int32_t node, std::int32_t room) {
  const auto [slot, fresh] = gaps_.try_emplace({among.id, node});
  Gap& gap = slot->second;
  gap.used = true;
  const Trie& trie = among.trie;
  if (fresh) {
    const std::int32_t top = trie.depth(node);
    for (std::int32_t i = node + 1; i < trie.skip(node);) {
      const std::int32_t space = trie.depth(i) - top;
      if (kSpaces.find(static_cast<char>(trie.byte(i))) != kSpaces.npos) {
        gap.longest = std::max(gap.longest, space);
        for (const Id* t = trie.begin(i); t != trie.end(i); ++t) gap.tokens.push_back({space, {{}, *t}});
        ++i;
        continue;
      }
      const std::int32_t end = trie.skip(i);
      if (kStarts.find(static_cast<char>(trie.byte(i))) == kStarts.npos) i = end;
      for (; i < end; ++i)
        for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
          if (const std::string_view text = bytes(*t), rest = text.substr(text.size() - static_cast<std::size_t>(trie.depth(i) - top - space + 1)); may_come(rest))
            gap.tokens.push_back({space - 1, {rest, *t}});
    }
    if (gap.longest == 0) std::vector<Gap::Begun>().swap(gap.tokens);
    held_ += gap.nbytes();
  }
  if (gap.longest == 0) return nullptr;
  room = std::min(room, gap.longest);
  for (const auto& [most, mask] : gap.upto)
    if (most == room) return &mask;
  std::vector<Id> all;
  std::vector<Spelled> rest;
  for (const auto& [space, behind] : gap.tokens)
    if (space > room)
      continue;
    else if (behind.bytes.empty())
      all.push_back(behind.token);
    else
      rest.push_back(behind);
  gap.upto.push_back({room, {Tokens(std::move(all), words()), suffixes(std::move(rest))}});
  held_ += gap.upto.back().second.all.nbytes();
  return &gap.upto.back().second;
}

const Split& Vocabulary::split(const Suffixes& among, std::int32_t node, bool colon) {
  const auto [slot, fresh] = splits_.try_emplace({among.id, node * 2 + colon});
  Split& split = slot->second;
  split.used = true;
  if (!fresh) return split;
  const Trie& trie = among.trie;
  std::vector<Spelled> within, beyond;
  for (std::int32_t i = node + 1; i < trie.skip(node);) {
    const Id* first = trie.begin(i);  // a token of the subtree, in which all begin alike
    const std::size_t length = static_cast<std::size_t>(trie.depth(i) - trie.depth(node));
    std::int32_t end = i + 1;
    while (trie.begin(end) == first && end < trie.skip(i)) ++end;
    const std::string_view rest = end_of(*first, trie.depth(end - 1) - trie.depth(node)).substr(0, length);
    const Reach found = reach(rest, colon, &split.deepest);
    if (found == Reach::Within) {
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t) within.push_back({rest, *t});
      ++i;
      continue;
    }
    for (end = trie.skip(i); found == Reach::Beyond && i < end; ++i)
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t) beyond.push_back({end_of(*t, trie.depth(i) - trie.depth(node)), *t});
    i = end;
  }
  split.within = suffixes(std::move(within));
  split.beyond = suffixes(std::move(beyond));
  held_ += sizeof split;
  return split;
}

std::size_t Gap::nbytes() const {
  std::size_t n = sizeof *this + tokens.capacity() * sizeof tokens[0];
  for (const auto& [_, mask] : upto) n += mask.all.nbytes();
  return n;
}

void Vocabulary::trim() {
  if (held_ <= most_) return;
  held_ = 0;
  for (Masks* masks : {&texts_, &detailed_, &numbers_}) {
    const auto look = [this](Slot& mask) {
      if (mask && !mask->used) mask = nullptr;
      if (mask) mask->used = false, held_ += mask->nbytes();
    };
    for (std::size_t i = 0; i < masks->whole.size(); ++i) look(masks->whole[i]);
    for (auto& [_, mask] : masks->others) look(mask);
    std::erase_if(masks->others, [](const auto& entry) { return !entry.second; });
  }
  std::erase_if(gaps_, [](const auto& entry) { return !entry.second.used; });
  for (auto& [_, gap] : gaps_) gap.used = false, held_ += gap.nbytes();
  std::erase_if(loops_, [](const auto& entry) { return !entry.second.used; });
  for (auto& [_, loop] : loops_) loop.used = false, held_ += loop.tokens.nbytes() + loop.leaving.size() * sizeof loop.leaving[0];
  std::erase_if(splits_, [](const auto& entry) { return !entry.second.used; });
  for (auto& [_, split] : splits_) split.used = false, held_ += sizeof split;
  held_ += count_suffixes();
}

// Bytes of them; forgets those that nobody holds any more.
std::size_t Vocabulary::count_suffixes() {
  std::size_t n = 0;
  std::erase_if(suffixes_, [&](const auto& entry) {
    const std::shared_ptr<const Suffixes> found = entry.second.lock();
    if (found) n += found->trie.nbytes();
    return !found;
  });
  return n;
}

void Vocabulary::add_lengths(const Inside& group, const std::function<bool(std::int32_t)>& is_wanted, std::uint32_t* row) const {
  std::array<bool, 255> wanted{};
  std::int32_t upto = kShort + 1;  // the first that is not
  bool all = true, some = false, mixed = false;
  for (std::int32_t n = group.lengths.next(0); n < 255; n = group.lengths.next(n + 1)) {
    const bool yes = wanted[static_cast<std::size_t>(n)] = is_wanted(n);
    if (!yes) upto = std::min(upto, n);
    all &= yes, some |= yes, mixed |= yes && n <= kShort && n > upto;
  }
  const bool open = group.lengths.has(255);
  if (!open && !some) return;
  if (!open && all) return group.tokens.add_to(row);
  const auto take = [&](Id t) {
    const std::int32_t n = chars(t);
    if (n < 255 ? wanted[static_cast<std::size_t>(n)] : is_wanted(n)) row[t >> 5] |= 1u << (t & 31);
  };
  if (group.tokens.bits.empty() || mixed) return group.tokens.each(take);
  for (std::size_t i = 0; upto > 0 && i < words(); ++i) row[i] |= group.tokens.bits[i] & short_[static_cast<std::size_t>(upto - 1)][i];
  for (Id t : long_)
    if (group.tokens.bits[static_cast<std::size_t>(t) / 32] >> (t % 32) & 1) take(t);
}

// Of a free text.
const Tokens& Vocabulary::at_most(LexemeMask& mask, std::int32_t chars) {
  for (const auto& [n, tokens] : mask.upto)
    if (n == chars) return tokens;
  std::vector<std::uint32_t> row(words());
  for (const Inside& group : mask.inside) {
    const std::int32_t most = chars - !group.whole;  // one more, where they end inside of a character
    if (group.chars == kItsOwn)
      add_lengths(group, [most](std::int32_t n) { return n <= most; }, row.data());
    else if (group.chars <= most)
      group.tokens.add_to(row.data());
  }
  std::vector<Id> list;
  Tokens upto;
  upto.bits = std::move(row);
  if (mask.all->bits.empty()) {
    upto.each([&](Id t) { list.push_back(t); });
    upto = Tokens(std::move(list), words());
  }
  held_ += upto.nbytes();
  mask.upto.emplace_back(chars, std::move(upto));
  return mask.upto.back().second;
}

const std::vector<Inside>& Vocabulary::by_state(LexemeMask& mask) {
  if (!mask.by_state.empty()) return mask.by_state;
  if (mask.inside.empty() || mask.inside[0].chars == kItsOwn) return mask.inside;
  std::vector<const Inside*> groups;
  for (const Inside& group : mask.inside) groups.push_back(&group);
  for (std::size_t i = 0, j = 0; i < groups.size(); i = j) {
    while (j < groups.size() && groups[j]->state == groups[i]->state) ++j;
    Inside& all = mask.by_state.emplace_back(*groups[i]);
    if (j == i + 1) continue;
    if (std::all_of(groups.begin() + static_cast<std::ptrdiff_t>(i), groups.begin() + static_cast<std::ptrdiff_t>(j), [](const Inside* g) { return g->tokens.bits.empty(); })) {
      for (std::size_t k = i + 1; k < j; ++k) all.tokens.few.insert(all.tokens.few.end(), groups[k]->tokens.few.begin(), groups[k]->tokens.few.end());
      all.tokens = Tokens(std::move(all.tokens.few), words());
    } else {
      all.tokens = Tokens();
      all.tokens.bits.assign(words(), 0);
      for (std::size_t k = i; k < j; ++k) groups[k]->tokens.add_to(all.tokens.bits.data());
    }
  }
  for (const Inside& group : mask.by_state) held_ += sizeof group + group.tokens.nbytes();
  return mask.by_state;
}

std::size_t LexemeMask::nbytes() const {
  std::size_t n = sizeof *this + all->nbytes() + (odd.capacity() + escaped.capacity() + listed.capacity()) * sizeof odd[0];
  for (const auto& [_, tokens] : upto) n += tokens.nbytes();
  for (const auto* groups : {&inside, &by_state})
    for (const Inside& g : *groups) n += sizeof g + g.tokens.nbytes();
  return n + exits.capacity() * sizeof exits[0] + ends.capacity() * sizeof ends[0];
}

std::size_t Vocabulary::nbytes() const {
  std::size_t n = whole_.trie.nbytes() + plain_.nbytes() + other_.nbytes() + closing_.nbytes() + usable_.size() + is_plain_.size() + many_.size() * words() * 4 + (many_at_.size() + spelled_first_.size() + spelled_.size()) * 4 + chars_.size() * 2 + short_.size() * words() * 4;
  for (const std::string& t : tokens_) n += sizeof t + (t.size() > 15 ? t.size() + 1 : 0);
  return n + held_ + rows_.nbytes();
}

}  // namespace guard
