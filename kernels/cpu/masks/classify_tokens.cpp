// Computes the mask of a lexeme's state when it is first needed, by reading the vocabulary's tokens
// from that state. See lexeme_masks.hpp.

#include <algorithm>

#include "masks/token_reading.hpp"

namespace guard {

namespace {
using Key = std::pair<Id, std::int32_t>;  // (state, characters)
const Bytes kNumber{"0123456789.-+eE"}, kNumberOrEnd{"0123456789.-+eE,}] \n\r\t"};
}  // namespace

LexemeMask& LexemeMasks::keep(Slot& slot, Draft draft) {
  auto made = std::make_unique<LexemeMask>();
  for (Inside& group : draft.inside)
    draft.all.add(group.tokens, words()), group.tokens.few.shrink_to_fit();
  draft.all.few.shrink_to_fit();
  made->all = draft.known ? draft.known : part_of_rows(std::move(draft.all), words());
  std::sort(draft.ends.begin(), draft.ends.end());
  draft.ends.erase(std::unique(draft.ends.begin(), draft.ends.end()), draft.ends.end());
  made->ends.assign(draft.ends.begin(), draft.ends.end());
  made->rest = draft.rest, made->unread = draft.unread;
  made->exit_bytes = draft.exit_bytes;
  made->odd = draft.odd.empty() ? draft.known_odd : suffixes(std::move(draft.odd));
  made->escaped = std::move(draft.escaped);
  made->listed = std::move(draft.listed);
  std::sort(draft.inside.begin(), draft.inside.end(), [](const Inside& a, const Inside& b) {
    return std::pair(a.state, a.chars) < std::pair(b.state, b.chars);
  });
  made->inside = std::move(draft.inside);
  made->exits = std::move(draft.left);
  for (auto& [key, list] : draft.exits)
    if (!list.empty()) made->exits.push_back({key.first, key.second, suffixes(std::move(list))});
  held_ += made->nbytes();
  slot = std::move(made);
  return *slot;
}

// For raw text that nearly all characters leave in one state, as free text up to a trigger: only
// the tokens with other characters are read. Returns false if it is not such a text.
bool LexemeMasks::read_around(Reading& reading, Id state) {
  constexpr std::size_t kMost = 8;
  Texts& texts = reading.texts;
  const Id loop = texts.beyond(state);
  if (loop <= Texts::kDead || texts.open(loop) >= 0 || texts.beyond(loop) != loop) return false;
  std::string leaving,
      apart;  // characters that leave the loop, and those that lead elsewhere first
  for (std::uint8_t byte = 0; byte < 0x80 && leaving.size() + apart.size() <= kMost; ++byte) {
    const Id next = texts.step(loop, byte);
    if (next != loop) leaving += static_cast<char>(byte);
    if (texts.step(state, byte) != next) apart += static_cast<char>(byte);
  }
  if (leaving.size() + apart.size() > kMost) return false;
  Around& around = this->around(texts, loop, leaving, apart);
  Draft& draft = reading.draft;
  reading.loop = loop, reading.loops = &around.plain;
  reading.read(around.others, 0, 0, {loop, 0});
  reading.loop = Texts::kDead;
  for (const char& c : apart)
    if (const std::int32_t i = v_.whole_.trie.find(0, {&c, 1}); i >= 0)
      reading.read(v_.whole_.trie, i, 0, {state, 0});
  if (reading.detailed) {
    Tokens all = around.all;
    for (Id t : around.partial) {
      all.remove(t);
      Id at = loop;
      for (char b : v_.raw_bytes(t)) at = texts.step(at, static_cast<std::uint8_t>(b));
      draft.stay({at, v_.chars(t)}, {&t, &t + 1, nullptr}, false);
    }
    draft.stay_alike(loop, all, {});
  } else if (around.row && draft.all.bits.empty() && draft.all.few == around.more) {
    draft.known = around.row;
  } else {
    Tokens row = around.all;
    row.add(draft.all, words());
    draft.known = std::make_shared<const Tokens>(std::move(row));
    if (draft.all.bits.empty()) around.more = draft.all.few, around.row = draft.known;
  }
  return true;
}

// For a finite list of texts: finds tokens by walking the list and the trie together. A state is
// computed only where a text may end, where an escape may begin, or where `detailed` distinguishes
// states. Returns false if the texts are not listed.
bool LexemeMasks::read_listed(Reading& reading, Id state, const Trie& trie, std::int32_t node) {
  std::vector<Langs::Listed> lists;
  if (!reading.texts.listed(state, &lists)) return false;
  struct Part {  // words [begin, end), which share the characters up to a node
    std::int32_t node;
    std::size_t begin, end;
  };
  const std::size_t top = static_cast<std::size_t>(trie.depth(node));
  // `marks`: nodes of closing quotes and of backslashes, with the text before each. `ends`: nodes
  // of tokens, with their text.
  std::vector<std::pair<std::int32_t, std::u32string_view>> marks, ends;
  std::vector<Part> todo;
  Tokens& all = reading.draft.all;
  for (const auto& list : lists) {
    const WordList& words = *list.words;  // clang before 16 captures no structured bindings
    const std::size_t behind = list.depth;
    for (todo.push_back({node, list.begin, list.end}); !todo.empty();) {
      const std::int32_t at = todo.back().node;
      std::size_t i = todo.back().begin;
      const std::size_t end = todo.back().end;
      todo.pop_back();
      const std::size_t length = static_cast<std::size_t>(trie.depth(at)) - top;
      const auto below = [&](char byte) { return trie.find(at, {&byte, 1}); };
      const auto mark = [&](char byte) {
        if (const std::int32_t child = below(byte); child >= 0)
          marks.push_back({child, words[i].substr(behind, length)});
      };
      mark('\\');
      if (words[i].size() == behind + length) mark('"'), ++i;
      while (i < end) {
        const std::size_t first = i;
        const char32_t c = words[i][behind + length];
        while (i < end && words[i][behind + length] == c) ++i;
        const std::int32_t child = below(static_cast<char>(c));
        if (child < 0) continue;
        if (!reading.detailed)
          all.add({trie.begin(child), trie.end(child), nullptr}, this->words());
        else if (trie.begin(child) != trie.end(child))
          ends.push_back({child, words[first].substr(behind, length + 1)});
        if (trie.skip(child) > child + 1) todo.push_back({child, first, i});
      }
    }
  }
  if (lists.size() > 1) sort_unique(&marks), sort_unique(&ends), sort_unique(&all.few);
  const auto behind = [&](std::u32string_view text) {
    Id at = state;
    for (char32_t c : text) at = reading.texts.step(at, static_cast<std::uint8_t>(c));
    return Key{at, reading.detailed ? static_cast<std::int32_t>(text.size()) : 0};
  };
  for (const auto& [at, text] : ends)
    reading.draft.stay(behind(text), {trie.begin(at), trie.end(at), nullptr}, true);
  for (const auto& [at, text] : marks) {
    Key from = behind(text);
    if (trie.byte(at) == '"') {
      reading.leave(trie, at, text.size() + 1, from);
    } else if (from.first = reading.texts.step(from.first, '\\'); from.first != Texts::kDead) {
      const Tokens::Run run{trie.begin(at), trie.end(at), nullptr};
      reading.detailed ? reading.draft.stay(from, run, false) : all.add(run, this->words());
      reading.read(trie, at, trie.depth(at), from);
    }
  }
  reading.draft.rest = -1;
  return true;
}

// For quotations of one text: walks all places of the text down the trie together. As with lists, a
// state is computed only where a quotation may end or an escape may begin. Returns false if the
// language has no quotations, or if `detailed` distinguishes states.
bool LexemeMasks::read_quoted(Reading& reading, Id state, const Trie& trie, std::int32_t node) {
  Langs::Quoting all_places;
  if (reading.detailed || !reading.texts.quoting(state, &all_places)) return false;
  Langs& langs = reading.texts.langs();
  struct Part {  // places after which the same characters were read, down to a node
    std::int32_t node;
    Langs::Quoting at;
  };
  // Nodes of closing quotes and of backslashes, with the text before each.
  std::vector<std::pair<std::int32_t, std::u32string_view>> marks;
  std::vector<Part> todo{{node, all_places}};
  Tokens& all = reading.draft.all;
  std::int64_t rest = 0;
  const auto take = [&](std::int32_t at, const Langs::Quoting& to, bool whole) {
    if (trie.begin(at) == trie.end(at)) return;
    rest = std::max<std::int64_t>(rest, langs.to_an_end(to) + !whole);
    all.add({trie.begin(at), trie.end(at), nullptr}, words());
  };
  while (!todo.empty()) {
    const auto [at, from] = todo.back();
    todo.pop_back();
    const std::int32_t place = from.from->places[static_cast<std::size_t>(from.lo)];
    const std::u32string_view text =
        std::u32string_view(from.from->text)
            .substr(static_cast<std::size_t>(place) + static_cast<std::size_t>(all_places.depth),
                    static_cast<std::size_t>(from.depth - all_places.depth));
    const auto mark = [&, at = at](char byte) {
      if (const std::int32_t child = trie.find(at, {&byte, 1}); child >= 0)
        marks.push_back({child, text});
    };
    mark('\\');
    if (langs.may_end(from)) mark('"');
    Langs::split(from, [&, at = at, from = from](char32_t c, std::int32_t lo, std::int32_t hi) {
      kernel_clock.tick();
      if (c < 0x20 || c == '"' || c == '\\') return;  // JSON spells it as an escape
      Langs::Quoting to{from.from, from.depth + 1, lo, hi, from.others};
      if (to.others != Langs::kAll) {
        to.others = langs.row(to.others).at(c);
        if (to.others == Langs::kNone) return;
      }
      const std::string bytes = encode_utf8(std::u32string_view(&c, 1));
      std::int32_t child = trie.find(at, {bytes.data(), 1});
      if (child < 0 || (to.others != Langs::kAll && langs.to_an_end(to) < 0)) return;
      for (std::size_t i = 1; child >= 0 && i < bytes.size(); ++i) {
        take(child, to, false);
        child = trie.find(child, {bytes.data() + i, 1});
      }
      if (child < 0) return;
      take(child, to, true);
      if (trie.skip(child) > child + 1) todo.push_back({child, to});
    });
  }
  sort_unique(&all.few);  // different characters may share their first bytes
  const auto behind = [&](std::u32string_view text) {
    Id now = state;
    for (char b : encode_utf8(text)) now = reading.texts.step(now, static_cast<std::uint8_t>(b));
    return Key{now, 0};
  };
  reading.draft.rest = rest;
  for (const auto& [at, text] : marks) {
    Key from = behind(text);
    if (trie.byte(at) == '"') {
      reading.leave(trie, at, encode_utf8(text).size() + 1, from);
    } else if (from.first = reading.texts.step(from.first, '\\'); from.first != Texts::kDead) {
      all.add({trie.begin(at), trie.end(at), nullptr}, words());
      reading.read(trie, at, trie.depth(at), from);
      reading.draft.rest = -1;
    }
  }
  return true;
}

LexemeMask& LexemeMasks::text(Texts& texts, Id state, bool detailed, const Suffixes& among,
                              std::int32_t node) {
  Slot& slot = this->slot(detailed ? &detailed_ : &texts_, among, state, node);
  if (slot) return slot->used = true, *slot;
  const bool whole = &among == &v_.whole_ && node == 0 && texts.is_whole(state);
  Draft draft(words(), detailed, whole);
  // If every text of another state is a prefix of an accepted text, its tokens are inside. Only few
  // tokens of any string are missing from them.
  const Id wide = !detailed && whole && !texts.is_free(state) && !texts.is_raw(state)
                      ? texts.goes_on(state)
                      : Texts::kDead;
  const bool any = wide != Texts::kDead && wide != state;
  if (any) draft.known = inside_like(texts, state, wide), draft.rest = -1;
  Reading reading{v_, texts, detailed, draft, texts.is_key(state), texts.is_raw(state)};
  if (any) {
    reading.read(v_.closing_, 0, 0, {state, 0});
  } else if (!read_listed(reading, state, among.trie, node) &&
             !read_quoted(reading, state, among.trie, node) &&
             (detailed || !((whole && read_cut(reading, state)) ||
                            read_relaxed(texts, state, among, node, &draft)))) {
    if (!whole)
      reading.read(among.trie, node, among.trie.depth(node), {state, 0});
    else if (!reading.raw || !read_around(reading, state))
      read_plain(reading, state);
  }
  return keep(slot, std::move(draft));
}

LexemeMask& LexemeMasks::number(Numbers& numbers, Id state) {
  Slot& slot = this->slot(&numbers_, v_.whole_, state, 0);
  if (slot) return slot->used = true, *slot;
  Draft draft(words(), true, false);
  const Trie& trie = v_.whole_.trie;
  struct Part {  // a node's children, and the state that its bytes lead to
    Children children;
    Id from;
  };
  std::vector<Part> path{{Children(trie, 0, &kNumber), state}};
  while (!path.empty()) {
    const std::int32_t i = path.back().children.next();
    if (i < 0) {
      path.pop_back();
      continue;
    }
    const Id from = path.back().from;
    const std::uint8_t byte = trie.byte(i);
    if (!kNumber.has(byte)) {
      if (!numbers.accepts_any(from)) continue;
      auto& list = draft.exits[{from, 0}];
      const std::size_t before = static_cast<std::size_t>(trie.depth(i)) - 1;
      for (const Id* t = trie.begin(i); t != trie.subtree_end(i); ++t)
        list.push_back(
            {std::string_view(v_.tokens_[static_cast<std::size_t>(*t)]).substr(before), *t});
      continue;
    }
    kernel_clock.tick();
    const Id next = numbers.step(from, byte);
    if (next == Numbers::kDead) continue;
    draft.stay({next, 0}, {trie.begin(i), trie.end(i), nullptr}, true);
    if (trie.skip(i) > i + 1) path.push_back({Children(trie, i, &kNumberOrEnd), next});
  }
  return keep(slot, std::move(draft));
}

}  // namespace guard
