// The reading of tokens from a state of a text, which makes a mask of a lexeme. See
// lexeme_masks.hpp.
#pragma once
#include <algorithm>
#include <map>

#include "lexers/outline.hpp"
#include "masks/lexeme_masks.hpp"

namespace guard {

// A mask under construction: tokens grouped by the (state, characters) in which they end inside of
// the lexeme or leave it.
struct LexemeMasks::Draft {
  using Key = std::pair<Id, std::int32_t>;  // (state, characters)
  std::size_t words;
  bool detailed;
  Tokens all;                           // if detailed, the union of `inside`
  std::shared_ptr<const Tokens> known;  // if set, replaces `all`
  bool own;  // whether the number of characters is recorded for each token
  Draft(std::size_t row, bool apart, bool by_token) : words(row), detailed(apart), own(by_token) {}
  std::unordered_map<std::uint64_t, std::size_t> at;
  std::uint64_t last = ~std::uint64_t{0};  // the last key in `at`
  std::size_t slot = 0;
  std::vector<Inside> inside;
  std::vector<Id> ends;
  std::array<Id, 64> ended{};  // of `ends`, the last ones by their low bits, as most are repeated
  std::map<Key, std::vector<Spelled>> exits;
  std::vector<Exit> left;  // exits that are already grouped
  std::int64_t rest = -2;  // see LexemeMask
  std::int32_t exit_bytes = 0;
  Id unread = Texts::kDead;
  std::vector<Spelled> odd, escaped, listed;
  std::shared_ptr<const Suffixes> known_odd;  // if `odd` is empty

  void end(Id state) {
    Id& last = ended[static_cast<std::size_t>(state) % ended.size()];
    if (last != state) ends.push_back(last = state);
  }
  void stay(Key key, const Tokens::Run& run, bool whole) {
    if (run.begin == run.end) return;
    if (!detailed) {
      end(key.first);
      if (!known) all.add(run, words);
      return;
    }
    Inside& group = of({key.first, own ? kItsOwn : key.second}, whole);
    group.tokens.add(run, words);
    if (own) group.lengths.add(static_cast<std::uint8_t>(std::min(key.second, 255)));
  }
  Inside& of(Key key, bool whole) {
    const std::uint64_t which =
        static_cast<std::uint64_t>(key.first) << 32 | static_cast<std::uint32_t>(key.second);
    if (which != last) {
      const auto [found, fresh] = at.try_emplace(which, inside.size());
      if (fresh) inside.push_back({key.first, key.second, whole, {}, {}});
      last = which, slot = found->second;
    }
    return inside[slot];
  }
  // Adds all these tokens, in a state to which each of their characters leads back.
  void stay_alike(Id state, const Tokens& tokens, const Bytes& lengths) {
    if (!detailed) return end(state), all.add(tokens, words);
    Inside& group = of({state, kItsOwn}, true);
    group.tokens.add(tokens, words);
    group.lengths.add(lengths);
  }
  // In the same kind of state, adds the plain tokens among these. Requires `own`.
  void stay_free(Id state, const Id* begin, const Id* upto, const Vocabulary& vocabulary) {
    if (!detailed) {
      end(state);
      for (const Id* t = begin; t != upto && !known; ++t)
        if (vocabulary.is_plain(*t)) all.add({t, t + 1, nullptr}, words);
      return;
    }
    Inside& group = of({state, kItsOwn}, true);
    group.tokens.to_bits(words);
    for (const Id* t = begin; t != upto; ++t) {
      if (!vocabulary.is_plain(*t)) continue;
      group.tokens.bits[static_cast<std::size_t>(*t) / 32] |= 1u << (*t % 32);
      group.lengths.add(static_cast<std::uint8_t>(std::min(vocabulary.chars(*t), 255)));
    }
  }
};

// Reads tokens from a state of a text, byte by byte.
struct LexemeMasks::Reading {
  using Key = Draft::Key;
  const Vocabulary& vocabulary;
  Texts& texts;
  bool detailed;
  Draft& draft;
  bool key, raw;
  std::vector<Key> path = {}, plain_path = {};
  Id loop = Texts::kDead;  // a state that keeps to itself below these nodes
  const std::vector<char>* loops = nullptr;

  // Reads the tokens below a node. Their first `top` bytes lead to the state `there`.
  void read(const Trie& trie, std::int32_t node, std::int32_t top, Key there) {
    if (trie.depth(node) == top)
      read_below(trie, node, top, there);
    else
      read_nodes(trie, node, trie.skip(node), top, there);
  }

  // Adds exits for the tokens below node i, at which a value may begin.
  void open(const Trie& trie, std::int32_t i, Key from) {
    auto& list = draft.exits[{from.first, 0}];
    for (std::int32_t j = i + 1; j < trie.skip(i); ++j)
      for (const Id* t = trie.begin(j); t != trie.end(j); ++t)
        list.push_back({vocabulary.end_of(*t, trie.depth(j) - trie.depth(i)), *t});
  }

  // Adds exits for the tokens whose closing quote is node i, `depth` bytes after the start.
  void leave(const Trie& trie, std::int32_t i, std::size_t depth, Key from) {
    auto& list = draft.exits[from];
    draft.exit_bytes = std::max(draft.exit_bytes, static_cast<std::int32_t>(depth) - 1);
    for (std::int32_t j = i; j < trie.skip(i);) {
      const std::size_t length = static_cast<std::size_t>(trie.depth(j) - trie.depth(i));
      if (length == 1 && !may_follow(trie.byte(j))) {
        j = trie.skip(j);
        continue;
      }
      for (const Id* t = trie.begin(j); t != trie.end(j); ++t) {
        const std::string_view token = vocabulary.tokens_[static_cast<std::size_t>(*t)],
                               rest = token.substr(token.size() - length);
        const std::string_view text = token.substr(token.size() - length - depth);
        std::int32_t open = 0;
        if (key && std::count(rest.begin(), rest.end(), '"') > 1 &&
            reach(rest, true, &open) == Reach::Beyond) {
          draft.odd.push_back({text, *t});
          continue;
        }
        list.push_back({rest, *t});
        if (!key) continue;
        if (text.substr(0, depth).find('\\') != text.npos) draft.escaped.push_back({text, *t});
        if (rest.find(',') != rest.npos) draft.listed.push_back({text, *t});
      }
      ++j;
    }
  }

  // The same for plain tokens only; the others are read separately.
  void open_plain(const Trie& trie, std::int32_t i, Key from) {
    auto& list = draft.exits[{from.first, 0}];
    for (std::int32_t j = i + 1; j < trie.skip(i); ++j)
      for (const Id* t = trie.begin(j); t != trie.end(j); ++t)
        if (vocabulary.is_plain(*t))
          list.push_back({vocabulary.end_of(*t, trie.depth(j) - trie.depth(i)), *t});
  }

  // Reads the plain tokens below a node, byte by byte.
  void read_plain(const Trie& trie, std::int32_t node, Key from) {
    each_run(trie, node, from.first, "", [&](std::int32_t begin, std::int32_t end) {
      read_plain_nodes(trie, begin, end, from);
    });
  }

 private:
  static constexpr std::size_t kFewOf = 4;  // few: less than one in so many

  // Calls read(begin, end) for the nodes below this one, whose bytes lead to the state. Where few
  // of many children may follow, it goes from one of these to the next. `more`: bytes that may
  // follow beside those of the state's characters.
  template <class F>
  void each_run(const Trie& trie, std::int32_t node, Id state, std::string_view more, F read) {
    if (trie.is_wide(node)) {
      Bytes some = texts.begins(state);
      some.add(Bytes(more));
      some.keep(trie.bytes_of(node));
      if (some.size() * kFewOf < trie.bytes_of(node).size()) {
        for (int b = some.next(0); b < 256; b = some.next(b + 1)) {
          const std::int32_t child = trie.child(node, static_cast<std::uint8_t>(b));
          read(child, trie.skip(child));
        }
        return;
      }
    }
    read(node + 1, trie.skip(node));
  }

  // Reads the tokens below a node whose bytes from the `top`th on lead to the state.
  void read_below(const Trie& trie, std::int32_t node, std::int32_t top, Key there) {
    each_run(
        trie, node, there.first, raw ? "\\" : "\\\"",
        [&](std::int32_t begin, std::int32_t end) { read_nodes(trie, begin, end, top, there); });
  }

  // The same of the nodes [begin, end), which have one parent.
  void read_nodes(const Trie& trie, std::int32_t begin, std::int32_t end, std::int32_t top,
                  Key there) {
    if (begin == end) return;
    if (path.size() < static_cast<std::size_t>(trie.longest()) + 1)
      path.resize(static_cast<std::size_t>(trie.longest()) + 1);
    path[static_cast<std::size_t>(trie.depth(begin) - top) - 1] = there;
    for (std::int32_t i = begin; i < end;) {
      const std::size_t depth = static_cast<std::size_t>(trie.depth(i) - top);
      const auto [from, chars] = path[depth - 1];
      const std::uint8_t byte = trie.byte(i);
      if (byte == '"' && !raw && texts.is_whole(from)) {
        if (texts.may_end(from)) leave(trie, i, depth, {from, chars});
        i = trie.skip(i);
        continue;
      }
      kernel_clock.tick();
      const Id next = texts.step(from, byte);
      if (next == Texts::kDead) {
        i = trie.skip(i);
        continue;
      }
      const bool whole = texts.is_whole(next);
      const Key to = path[depth] = {next, chars + (detailed && whole)};
      if (next == loop && (*loops)[static_cast<std::size_t>(i)]) {
        draft.stay(to, {trie.begin(i), trie.subtree_end(i), nullptr}, whole);
        i = trie.skip(i);
        continue;
      }
      draft.stay(to, {trie.begin(i), trie.end(i), nullptr}, whole);
      if (raw && texts.open(next) >= 0) {
        open(trie, i, to);
        if (texts.commit(next) >= 0) {
          i = trie.skip(i);
          continue;
        }
      }
      if (!trie.is_wide(i)) {
        ++i;
        continue;
      }
      read_below(trie, i, top, to);
      i = trie.skip(i);
    }
  }

  // The same of the nodes [begin, end), which have one parent.
  void read_plain_nodes(const Trie& trie, std::int32_t begin, std::int32_t end, Key from) {
    if (begin == end) return;
    if (plain_path.size() < static_cast<std::size_t>(trie.longest()) + 1)
      plain_path.resize(static_cast<std::size_t>(trie.longest()) + 1);
    plain_path[static_cast<std::size_t>(trie.depth(begin)) - 1] = from;
    for (std::int32_t i = begin; i < end;) {
      const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
      const auto [before, chars] = plain_path[depth - 1];
      const std::uint8_t byte = trie.byte(i);
      kernel_clock.tick();
      const Id next = byte == '"' || byte == '\\' ? Texts::kDead : texts.step(before, byte);
      if (next == Texts::kDead) {
        i = trie.skip(i);
        continue;
      }
      const bool whole = texts.is_whole(next);
      if (whole && draft.own && texts.is_free(next)) {
        draft.stay_free(next, trie.begin(i), trie.subtree_end(i), vocabulary);
        i = trie.skip(i);
        continue;
      }
      const Key to = plain_path[depth] = {next, chars + whole};
      if (whole) draft.stay(to, {trie.begin(i), trie.end(i), nullptr}, true);
      if (raw && whole && texts.open(next) >= 0) {
        open_plain(trie, i, to);
        if (texts.commit(next) >= 0) {
          i = trie.skip(i);
          continue;
        }
      }
      if (!trie.is_wide(i)) {
        ++i;
        continue;
      }
      read_plain(trie, i, to);
      i = trie.skip(i);
    }
  }
};

}  // namespace guard
