#include "masks/vocabulary.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "lexers/outline.hpp"

namespace guard {

namespace {
// The number of bytes of the first character; 0: it is incomplete, or not UTF-8.
std::size_t char_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) {
    return i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0;
  };
  const int lead = at(0), next = at(1);
  if (lead < 0x80) return 1;
  const std::size_t n = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < n; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  const bool wrong = (lead == 0xE0 && next < 0xA0) || (lead == 0xED && next > 0x9F) ||
                     (lead == 0xF0 && next < 0x90) || (lead == 0xF4 && next > 0x8F);
  return wrong ? 0 : n;
}
// The class of each character, one byte each; false: some bytes have no class.
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
// The number of characters of JSON text that these bytes complete.
std::size_t count_chars(std::string_view bytes) {
  constexpr std::size_t kEscape = 6;  // \uXXXX
  std::size_t n = 0;
  while (!bytes.empty()) {
    std::size_t length = char_length(bytes);
    if (bytes[0] == '\\') {
      const bool digits = bytes.size() > 1 && bytes[1] == 'u',
                 high = digits && bytes.size() > 3 && (bytes[2] | 32) == 'd' &&
                        std::string_view("89abAB").find(bytes[3]) != std::string_view::npos;
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

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends,
                       const std::vector<Id>& special)
    : tokens_(std::move(tokens)),
      usable_(tokens_.size(), 1),
      ends_(std::move(ends)),
      id_(vocabularies++) {
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
  note_below();
  std::vector<Spelled> closing, ended, holding;
  for (const Spelled& s : other) {
    const std::size_t quote = s.bytes.find('"'), behind = quote + 1;
    if (quote == s.bytes.npos) continue;
    holding.push_back(s);
    before_quote_ =
        std::max(before_quote_,
                 static_cast<std::int32_t>(count_chars(s.bytes.substr(0, s.bytes.rfind('"')))));
    if (quote == 0 &&
        (behind == s.bytes.size() || may_follow(static_cast<std::uint8_t>(s.bytes[1]))))
      ended.push_back(s);
    if (behind == s.bytes.size() || may_follow(static_cast<std::uint8_t>(s.bytes[behind])) ||
        s.bytes.find('\\') != s.bytes.npos)
      closing.push_back(s);
  }
  closing_ = Trie(std::move(closing));
  holding_quotes_ = {2, Trie(std::move(holding))};
  for (const Spelled& s : ended)
    if (end_of_item(s.bytes, false) == 0) quoted_beyond_.push_back(s);
  for (Spelled& s : ended) s.bytes.remove_prefix(1);
  quoted_ = {1, Trie(std::move(ended))};
  other_ = Trie(std::move(other));
  many_at_.assign(static_cast<std::size_t>(plain_.size()), -1);
  for (std::int32_t i = 0; i < plain_.size(); ++i)
    if (plain_.end(i) - plain_.begin(i) >= kMany) {
      many_at_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(many_.size());
      std::vector<std::uint32_t>& bits = many_.emplace_back(words());
      for (const Id* t = plain_.begin(i); t != plain_.end(i); ++t)
        bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
    }
  whole_ = {0, Trie(std::move(spelled))};
  for (unsigned byte = 0; byte <= 0xF4; ++byte) {
    const char one = static_cast<char>(byte);
    const std::int32_t node = whole_.trie.find(0, {&one, 1});
    const bool is_token = node >= 0 && whole_.trie.begin(node) != whole_.trie.end(node);
    spells_bytes_ = spells_bytes_ && (is_token || byte == 0xC0 || byte == 0xC1);
  }
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

// Notes the classes below the nodes of plain_ that so many tokens share that to join a row takes
// less than to set them. O(nodes).
void Vocabulary::note_below() {
  const auto many = static_cast<std::ptrdiff_t>(words() / 8);
  below_at_.assign(static_cast<std::size_t>(plain_.size()), -1);
  // From the last node to the first: by depth, the classes of the nodes whose parent is to come.
  std::vector<Bytes> open(static_cast<std::size_t>(plain_.longest()) + 2);
  for (std::int32_t i = plain_.size(); i-- > 0;) {
    const auto depth = static_cast<std::size_t>(plain_.depth(i));
    const Bytes classes = std::exchange(open[depth + 1], {});
    open[depth].add(classes), open[depth].add(plain_.byte(i));
    if (i > 0 && plain_.subtree_end(i) - plain_.end(i) <= many) continue;
    below_at_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(below_.size());
    below_.push_back(classes);
  }
}

// Finds the nodes of the whole trie that spell a node of plain_. O(nodes).
void Vocabulary::match_plain() {
  struct Place {
    std::int32_t node;         // of plain_, after the last complete character; -1: none
    std::uint32_t lead, left,  // of an incomplete character: its bits so far, the number of missing
        least;                 // bytes, and the least character of its length
  };
  // Pre-order: path[d] is the place after the first d bytes of the path to the current node, so
  // each node costs one step from its parent.
  const Trie& trie = whole_.trie;
  std::vector<Place> path(static_cast<std::size_t>(trie.longest()) + 1, Place{0, 0, 0, 0});
  struct Found {
    std::int32_t node, i;  // of plain_, and of the whole trie
    char32_t last;
  };
  std::vector<Found> found;
  for (std::int32_t i = 1; i < trie.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
    Place place = path[depth - 1];
    const std::uint8_t byte = trie.byte(i);
    const bool follows = (byte & 0xC0) == 0x80, fits = follows == (place.left > 0);
    if (follows)
      place.lead = place.lead << 6 | (byte & 0x3F), --place.left;
    else if (byte < 0x80)
      place.lead = byte, place.least = 0;
    else
      place.left = byte < 0xE0   ? 1
                   : byte < 0xF0 ? 2
                                 : 3,
      place.lead = byte & (0x3Fu >> place.left),
      place.least = byte < 0xE0   ? 0x80
                    : byte < 0xF0 ? 0x800
                                  : 0x10000;
    // Longer spellings, halves of surrogate pairs, and what is beyond the last character are no
    // UTF-8.
    const bool is_char =
        place.lead >= place.least && place.lead <= 0x10FFFF && place.lead >> 11 != 0xD800 >> 11;
    if (fits && !place.left) {
      if (!is_char) {
        i = trie.skip(i);
        continue;
      }
      const char cls = static_cast<char>(class_of(place.lead));
      place.node = plain_.find(place.node, {&cls, 1});
      if (place.node >= 0) found.push_back({place.node, i, place.lead});
    }
    // Neither this node nor any node below it spells plain characters.
    if (!fits || place.node < 0) {
      i = trie.skip(i);
      continue;
    }
    path[depth] = place;
    ++i;
  }
  // A radix sort by the last character, which has up to 21 bits.
  for (const int shift : {0, 11}) {
    std::vector<std::size_t> to(1 << 11);
    const auto digit = [shift](const Found& f) { return f.last >> shift & 0x7FF; };
    for (const Found& f : found) ++to[digit(f)];
    std::exclusive_scan(to.begin(), to.end(), to.begin(), std::size_t{0});
    std::vector<Found> sorted(found.size());
    for (const Found& f : found) sorted[to[digit(f)]++] = f;
    found = std::move(sorted);
  }
  // A counting sort by node of plain_. Afterwards the nodes of the whole trie that spell node n are
  // in spelled_[spelled_first_[n], spelled_first_[n + 1]), ordered by the last character.
  spelled_first_.assign(static_cast<std::size_t>(plain_.size()) + 1, 0);
  for (const auto& [node, i, last] : found) ++spelled_first_[static_cast<std::size_t>(node) + 1];
  for (std::size_t i = 1; i < spelled_first_.size(); ++i)
    spelled_first_[i] += spelled_first_[i - 1];
  spelled_.resize(found.size()), spelled_last_.resize(found.size());
  std::vector<std::int32_t> at(spelled_first_.begin(), spelled_first_.end() - 1);
  for (const auto& [node, i, last] : found) {
    const auto k = static_cast<std::size_t>(at[static_cast<std::size_t>(node)]++);
    spelled_[k] = i, spelled_last_[k] = last;
  }
}

bool Vocabulary::is_end(Id token) const {
  return std::binary_search(ends_.begin(), ends_.end(), token);
}

std::vector<Id> Vocabulary::greedy(std::string_view data) const {
  std::vector<Id> out;
  for (std::size_t at = 0; at < data.size();) {
    // Takes the longest token at each position. Stops early at text that no token begins.
    std::int32_t node = 0, best = -1;
    std::size_t best_end = at;
    for (std::size_t i = at; i < data.size(); ++i) {
      std::int32_t child = node + 1;
      const std::int32_t end = whole_.trie.skip(node);
      while (child < end && whole_.trie.byte(child) != static_cast<std::uint8_t>(data[i]))
        child = whole_.trie.skip(child);
      if (child >= end) break;
      node = child;
      if (whole_.trie.begin(node) != whole_.trie.end(node))
        best = *whole_.trie.begin(node), best_end = i + 1;
    }
    if (best < 0) break;
    out.push_back(best);
    at = best_end;
  }
  return out;
}

Tokens::Tokens(std::vector<Id> list, std::size_t words) {
  // A list while it takes no more memory than one bit for each token.
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
    for (const Id* t = run.begin; t != run.end; ++t)
      bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
}

void Tokens::add(const Tokens& other, std::size_t words) {
  add({other.few.data(), other.few.data() + other.few.size(), nullptr}, words);
  if (other.bits.empty()) return;
  to_bits(words);
  for (std::size_t i = 0; i < words; ++i) bits[i] |= other.bits[i];
}

// Has few branches that depend on the bits: these are scattered, so branches are mispredicted,
// which took most of the time. A list is compacted by writing each element and moving on
// only past those that stay.
std::vector<Id> take_tokens(std::span<std::uint32_t> row) {
  constexpr std::size_t kBlock = 16, kChunk = 256 * kBlock;  // words; a block is one cache line
  std::array<std::uint64_t, kChunk / 2 + 1> pairs;           // of words that have bits
  std::array<Id, kChunk / 2 + 1> first;                      // token of each
  std::vector<Id> tokens;
  for (std::size_t from = 0; from < row.size(); from += kChunk) {
    std::size_t filled = 0;
    const std::size_t end = std::min(from + kChunk, row.size());
    for (std::size_t at = from; at < end; at += kBlock) {
      std::array<std::uint64_t, kBlock / 2> block{};
      const std::size_t length = std::min(kBlock, end - at);
      if (length == kBlock && std::endian::native == std::endian::little) {
        std::memcpy(block.data(), row.data() + at, sizeof block);
      } else {
        for (std::size_t i = 0; i < length; ++i)
          block[i / 2] |= std::uint64_t{row[at + i]} << (i % 2 * 32);
      }
      std::uint64_t any = 0;
      for (const std::uint64_t pair : block) any |= pair;
      if (!any) continue;
      for (std::size_t i = 0; i < block.size(); ++i) {
        pairs[filled] = block[i];
        first[filled] = static_cast<Id>((at + 2 * i) * 32);
        filled += block[i] != 0;
      }
      std::fill_n(row.begin() + static_cast<std::ptrdiff_t>(at), length, 0);
    }
    tokens.reserve(tokens.size() + filled + filled / 4);
    while (filled > 0) {  // the lowest bit of each pair that has one left
      const std::size_t count = std::exchange(filled, 0), known = tokens.size();
      tokens.resize(known + count);
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t pair = pairs[i];
        tokens[known + i] = first[i] + std::countr_zero(pair);
        pairs[filled] = pair & (pair - 1);
        first[filled] = first[i];
        filled += pairs[filled] != 0;
      }
    }
  }
  return tokens;
}

std::size_t Vocabulary::nbytes() const {
  std::size_t n =
      whole_.trie.nbytes() + plain_.nbytes() + other_.nbytes() + closing_.nbytes() +
      holding_quotes_.trie.nbytes() + usable_.size() + is_plain_.size() +
      many_.size() * words() * 4 +
      (many_at_.size() + below_at_.size() + spelled_first_.size() + 2 * spelled_.size()) * 4 +
      below_.size() * sizeof below_[0] + quoted_beyond_.size() * sizeof quoted_beyond_[0] +
      chars_.size() * 2 + short_.size() * words() * 4;
  for (const std::string& t : tokens_) n += sizeof t + (t.size() > 15 ? t.size() + 1 : 0);
  return n + quoted_.trie.nbytes();
}

}  // namespace guard
