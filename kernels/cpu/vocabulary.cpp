#include "vocabulary.hpp"

#include <algorithm>
#include <atomic>
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
constexpr std::string_view kSpaces = " \n\r\t", kStarts = "\"{}[],:-0123456789tfn";
bool may_come(std::string_view text) {  // behind white space
  const std::string_view word = text[0] == 't' ? "true" : text[0] == 'f' ? "false" : text[0] == 'n' ? "null" : "";
  return text.substr(0, word.size()) == word.substr(0, text.size());
}
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
// How a text goes on from behind a key or from before a value, as far as it could be JSON: to the value's end at most, or beyond.
enum class Reach { Never, Within, Beyond };
Reach reach(std::string_view text, bool colon, std::int32_t* deepest) {
  std::size_t i = 0;
  const auto gap = [&] { i = std::min(text.find_first_not_of(kSpaces, i), text.size()); };
  gap();
  if (colon && i < text.size()) {
    if (text[i++] != ':') return Reach::Never;
    gap();
  }
  if (i == text.size()) return Reach::Within;
  if (kStarts.find(text[i]) == kStarts.npos || text[i] == '}' || text[i] == ']' || text[i] == ':' || text[i] == ',') return Reach::Never;
  if (text[i] != '"' && text[i] != '{' && text[i] != '[') {
    if (!may_come(text.substr(i))) return Reach::Never;
    const std::size_t end = text.find_first_of(" \n\r\t\"{}[],:", i);
    return end == text.npos ? Reach::Within : Reach::Beyond;
  }
  bool inside = false;
  std::int32_t depth = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      if (c == '\\')
        ++i;
      else
        inside = c != '"';
    } else if (c == '"') {
      inside = true;
    } else if (c == '{' || c == '[') {
      *deepest = std::max(*deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
    if (depth <= 0 && !inside) return i + 1 >= text.size() ? Reach::Within : Reach::Beyond;
  }
  return Reach::Within;
}
std::atomic<Id> vocabularies{0};
bool is_number_byte(std::uint8_t b) { return (b >= '0' && b <= '9') || b == '.' || b == '-' || b == '+' || b == 'e' || b == 'E'; }
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
  plain_ = Trie(std::move(plain));
  other_ = Trie(std::move(other));
  for (std::int32_t i = 0; i < plain_.size(); ++i)
    if (plain_.end(i) - plain_.begin(i) >= kMany) {
      std::vector<std::uint32_t>& bits = many_[i];
      bits.resize(words());
      for (const Id* t = plain_.begin(i); t != plain_.end(i); ++t) bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
    }
  whole_ = {made_++, Trie(std::move(spelled))};
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

void Tokens::add(const Run& run, std::size_t words) {
  if (bits.empty()) {
    if (few.size() + static_cast<std::size_t>(run.end - run.begin) <= words) {
      few.insert(few.end(), run.begin, run.end);
      return;
    }
    bits.assign(words, 0);
    for (Id t : few) bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
    std::vector<Id>().swap(few);
  }
  if (run.bits)
    for (std::size_t i = 0; i < words; ++i) bits[i] |= run.bits[i];
  else
    for (const Id* t = run.begin; t != run.end; ++t) bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
}

void Tokens::add(const Tokens& other, std::size_t words) {
  add({other.few.data(), other.few.data() + other.few.size(), nullptr}, words);
  if (other.bits.empty()) return;
  if (bits.empty()) {
    bits.assign(words, 0);
    for (Id t : few) bits[static_cast<std::size_t>(t) / 32] |= 1u << (t % 32);
    std::vector<Id>().swap(few);
  }
  for (std::size_t i = 0; i < words; ++i) bits[i] |= other.bits[i];
}

// A mask under construction: tokens by the (state, characters) in which they end or leave.
struct Vocabulary::Draft {
  std::size_t words;
  bool detailed;
  Tokens all;  // of a detailed one the sum of `inside`
  std::shared_ptr<const Tokens> known;  // instead of them
  std::unordered_map<std::uint64_t, std::size_t> at;
  std::vector<Inside> inside;
  std::map<Key, std::vector<Spelled>> exits;
  std::vector<Spelled> odd, escaped, listed;

  void stay(Key key, const Run& run, bool whole) {
    if (run.begin == run.end) return;
    if (!detailed) {
      if (!known) all.add(run, words);
      return;
    }
    const auto [slot, fresh] = at.try_emplace(static_cast<std::uint64_t>(key.first) << 32 | static_cast<std::uint32_t>(key.second), inside.size());
    if (fresh) inside.push_back({key.first, key.second, key.second + !whole, {}});
    inside[slot->second].tokens.add(run, words);
  }
};

LexemeMask& Vocabulary::keep(std::unique_ptr<LexemeMask>& slot, Draft draft) {
  slot = std::make_unique<LexemeMask>();
  for (Inside& group : draft.inside) draft.all.add(group.tokens, words()), group.tokens.few.shrink_to_fit();
  draft.all.few.shrink_to_fit();
  slot->all = draft.known ? draft.known : std::make_shared<Tokens>(std::move(draft.all));
  slot->odd = std::move(draft.odd);
  slot->escaped = std::move(draft.escaped);
  slot->listed = std::move(draft.listed);
  std::sort(draft.inside.begin(), draft.inside.end(), [](const Inside& a, const Inside& b) { return std::pair(a.needs, a.state) < std::pair(b.needs, b.state); });
  slot->inside = std::move(draft.inside);
  for (auto& [key, list] : draft.exits)
    if (!list.empty()) slot->exits.push_back({key.first, key.second, suffixes(std::move(list))});
  held_ += slot->nbytes();
  return *slot;
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

// The tokens in which a string may end.
const Suffixes& Vocabulary::closing() {
  if (closing_) return *closing_;
  std::vector<Spelled> list;
  for (std::size_t t = 0; t < tokens_.size(); ++t) {
    const std::string_view text = tokens_[t];
    const std::size_t quote = text.find('"');
    if (!usable_[t] || quote == text.npos) continue;
    if (quote + 1 == text.size() || may_follow(static_cast<std::uint8_t>(text[quote + 1])) || text.find('\\') != text.npos) list.push_back({text, static_cast<Id>(t)});
  }
  closing_ = std::make_unique<Suffixes>(made_++, Trie(std::move(list)));
  return *closing_;
}

// Tokens read from a state of a text, one by one.
struct Vocabulary::Reading {
  const Vocabulary& vocabulary;
  Texts& texts;
  bool detailed;
  Draft& draft;
  bool key;
  std::vector<Key> path;

  // Those below a node, behind its first `top` bytes.
  void read(const Trie& trie, std::int32_t node, std::int32_t top, Id state) {
    path.assign(static_cast<std::size_t>(trie.longest() - top) + 1, Key{state, 0});
    for (std::int32_t i = node + (trie.depth(node) == top); i < trie.skip(node);) {
      const std::size_t depth = static_cast<std::size_t>(trie.depth(i) - top);
      const auto [from, chars] = path[depth - 1];
      const std::uint8_t byte = trie.byte(i);
      if (byte == '"' && texts.is_whole(from)) {
        if (texts.may_end(from)) leave(trie, i, depth, {from, chars});
        i = trie.skip(i);
        continue;
      }
      const Id next = texts.step(from, byte);
      if (next == Texts::kDead) {
        i = trie.skip(i);
        continue;
      }
      const bool whole = texts.is_whole(next);
      path[depth] = {next, chars + (detailed && whole)};
      draft.stay(path[depth], {trie.begin(i), trie.end(i), nullptr}, whole);
      ++i;
    }
  }

  // The tokens that have their closing quote at node i, `depth` bytes on.
  void leave(const Trie& trie, std::int32_t i, std::size_t depth, Key from) {
    auto& list = draft.exits[from];
    for (std::int32_t j = i; j < trie.skip(i);) {
      const std::size_t length = static_cast<std::size_t>(trie.depth(j) - trie.depth(i));
      if (length == 1 && !may_follow(trie.byte(j))) {
        j = trie.skip(j);
        continue;
      }
      for (const Id* t = trie.begin(j); t != trie.end(j); ++t) {
        const std::string_view token = vocabulary.tokens_[static_cast<std::size_t>(*t)], rest = token.substr(token.size() - length);
        const std::string_view text = token.substr(token.size() - length - depth);
        std::int32_t depth = 0;
        if (key && std::count(rest.begin(), rest.end(), '"') > 1 && reach(rest, true, &depth) == Reach::Beyond) {
          draft.odd.push_back({text, *t});
          continue;
        }
        list.push_back({rest, *t});
        if (!key) continue;
        const std::size_t comma = rest.find(','), quote = rest.find('"');
        if (text.substr(0, depth).find('\\') != text.npos)
          draft.escaped.push_back({text, *t});
        else if (comma != rest.npos && quote != rest.npos && comma < quote)
          draft.listed.push_back({text, *t});
      }
      ++j;
    }
  }

  // One that is plain, behind its first characters.
  void read_alone(Id token, std::int32_t skipped, Key from) {
    std::string_view text = vocabulary.tokens_[static_cast<std::size_t>(token)];
    for (std::int32_t i = 0; i < skipped; ++i) text.remove_prefix(char_length(text));
    for (char b : text) {
      from.first = texts.step(from.first, static_cast<std::uint8_t>(b));
      if (from.first == Texts::kDead) return;
      from.second += detailed && texts.is_whole(from.first);
    }
    draft.stay(from, {&token, &token + 1, nullptr}, true);
  }
};

// All tokens of the vocabulary. Plain ones are read a class at a time, as far as no class is split.
void Vocabulary::read_plain(Reading& reading, Id state) {
  Texts& texts = reading.texts;
  const auto root = [&](std::uint8_t byte) -> bool {  // are the tokens that begin so read by bytes?
    if (byte < 0x80) return class_of(byte) != kNoClass && texts.step_class(state, class_of(byte)) == Texts::kSplit;
    return texts.step_class(state, kBeyond) == Texts::kSplit || texts.step_class(state, kBeyondSpace) == Texts::kSplit || texts.step_class(state, kBeyondLine) == Texts::kSplit;
  };
  for (std::int32_t i = 1; i < whole_.trie.size(); i = whole_.trie.skip(i))
    if (root(whole_.trie.byte(i))) reading.read(whole_.trie, i, 0, state);
  for (std::int32_t i = 1; i < other_.size(); i = other_.skip(i))
    if (!root(other_.byte(i))) reading.read(other_, i, 0, state);
  std::vector<Key> path(static_cast<std::size_t>(plain_.longest()) + 1, Key{state, 0});
  for (std::int32_t i = 1; i < plain_.size();) {
    const std::size_t depth = static_cast<std::size_t>(plain_.depth(i));
    const Key from = path[depth - 1];
    const std::uint8_t cls = plain_.byte(i);
    const Id next = depth == 1 && root(std::min(cls, std::uint8_t{0x80})) ? Texts::kDead : texts.step_class(from.first, cls);
    if (next == Texts::kDead || next == Texts::kSplit) {
      if (next == Texts::kSplit)
        for (const Id* t = plain_.begin(i); t != plain_.subtree_end(i); ++t) reading.read_alone(*t, plain_.depth(i) - 1, from);
      i = plain_.skip(i);
      continue;
    }
    path[depth] = {next, from.second + reading.detailed};
    if (!reading.detailed && texts.is_free(next)) {  // and so is every text behind it
      reading.draft.stay(path[depth], {plain_.begin(i), plain_.subtree_end(i), nullptr}, true);
      i = plain_.skip(i);
      continue;
    }
    const auto many = many_.find(i);
    reading.draft.stay(path[depth], {plain_.begin(i), plain_.end(i), many == many_.end() ? nullptr : many->second.data()}, true);
    ++i;
  }
}

LexemeMask& Vocabulary::text(Texts& texts, Id state, bool detailed, const Suffixes& among, std::int32_t node) {
  auto& slot = (detailed ? detailed_ : texts_)[{among.id, state, node}];
  if (slot) return slot->used = true, *slot;
  Draft draft{words(), detailed, {}, {}, {}, {}, {}, {}, {}, {}};
  // Where every text can go on to an end, the tokens inside are those of any string.
  const bool any = !detailed && &among == &whole_ && node == 0 && texts.goes_on(state) && !texts.is_free(state);
  if (any) draft.known = text(texts, texts.free(state), false, whole_, 0).all;
  Reading reading{*this, texts, detailed, draft, texts.is_exact(state), {}};
  if (any)
    reading.read(closing().trie, 0, 0, state);
  else if (&among == &whole_ && node == 0 && texts.is_whole(state))
    read_plain(reading, state);
  else
    reading.read(among.trie, node, among.trie.depth(node), state);
  return keep(slot, std::move(draft));
}

LexemeMask& Vocabulary::number(Numbers& numbers, Id state) {
  auto& slot = numbers_[{whole_.id, state, 0}];
  if (slot) return slot->used = true, *slot;
  Draft draft{words(), true, {}, {}, {}, {}, {}, {}, {}, {}};
  const Trie& trie = whole_.trie;
  std::vector<Id> path(static_cast<std::size_t>(trie.longest()) + 1, state);
  for (std::int32_t i = 1; i < trie.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
    const Id from = path[depth - 1];
    const std::uint8_t byte = trie.byte(i);
    if (!is_number_byte(byte)) {
      if (depth > 1 && may_follow(byte) && byte != ':' && numbers.accepts_any(from)) {
        auto& list = draft.exits[{from, 0}];
        for (const Id* t = trie.begin(i); t != trie.subtree_end(i); ++t)
          list.push_back({std::string_view(tokens_[static_cast<std::size_t>(*t)]).substr(depth - 1), *t});
      }
      i = trie.skip(i);
      continue;
    }
    const Id next = numbers.step(from, byte);
    if (next == Numbers::kDead) {
      i = trie.skip(i);
      continue;
    }
    path[depth] = next;
    draft.stay({next, 0}, {trie.begin(i), trie.end(i), nullptr}, true);
    ++i;
  }
  return keep(slot, std::move(draft));
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
    std::erase_if(*masks, [](const auto& entry) { return !entry.second || !entry.second->used; });
    for (auto& [_, mask] : *masks) mask->used = false, held_ += mask->nbytes();
  }
  std::erase_if(gaps_, [](const auto& entry) { return !entry.second.used; });
  for (auto& [_, gap] : gaps_) gap.used = false, held_ += gap.nbytes();
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

const Tokens& Vocabulary::at_most(LexemeMask& mask, std::int32_t chars) {
  for (const auto& [n, tokens] : mask.upto)
    if (n == chars) return tokens;
  Tokens upto;
  if (!mask.all->bits.empty()) upto.bits.assign(words(), 0);
  for (const Inside& group : mask.inside) {
    if (group.needs > chars) break;
    if (upto.bits.empty())
      upto.few.insert(upto.few.end(), group.tokens.few.begin(), group.tokens.few.end());
    else
      group.tokens.add_to(upto.bits.data());
  }
  held_ += upto.nbytes();
  mask.upto.emplace_back(chars, std::move(upto));
  return mask.upto.back().second;
}

const std::vector<Inside>& Vocabulary::by_state(LexemeMask& mask) {
  if (!mask.by_state.empty()) return mask.by_state;
  std::vector<const Inside*> groups;
  for (const Inside& group : mask.inside) groups.push_back(&group);
  std::stable_sort(groups.begin(), groups.end(), [](const Inside* a, const Inside* b) { return a->state < b->state; });
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
  return n + exits.capacity() * sizeof exits[0];
}

std::size_t Vocabulary::nbytes() const {
  std::size_t n = whole_.trie.nbytes() + plain_.nbytes() + other_.nbytes() + usable_.size() + many_.size() * words() * 4;
  for (const std::string& t : tokens_) n += sizeof t + (t.size() > 15 ? t.size() + 1 : 0);
  return n + held_ + rows_.nbytes();
}

}  // namespace guard
