#include "masks/lexeme_masks.hpp"

#include <algorithm>

#include "lexers/outline.hpp"

namespace guard {

LexemeMasks::LexemeMasks(std::shared_ptr<const Vocabulary> vocabulary, std::size_t part)
    : v_(*vocabulary), held_by_(vocabulary), part_(part) {}

LexemeMasks::Slot& LexemeMasks::slot(Masks* masks, const Suffixes& among, Id state,
                                     std::int32_t node) {
  if (&among != &v_.whole_ || node != 0 || masks == &detailed_)
    return masks->others[{among.id, state, node}];
  while (masks->whole.size() <= static_cast<std::size_t>(state)) masks->whole.push_back(nullptr);
  return masks->whole[static_cast<std::size_t>(state)];
}

std::shared_ptr<const Suffixes> LexemeMasks::suffixes(std::vector<Spelled> list) {
  // Keyed by content: the tokens, and the number of remaining bytes of each. For one vocabulary
  // this determines the bytes, so a trie is built only if there is no equal one. The table holds
  // weak references; the masks own the tries.
  Content content;
  content.reserve(list.size());
  for (const Spelled& s : list)
    content.push_back(static_cast<std::uint64_t>(s.token) << 32 | s.bytes.size());
  if (const auto known = suffixes_.find(content); known != suffixes_.end())
    if (std::shared_ptr<const Suffixes> found = known->second.lock()) return found;
  auto made = std::make_shared<Suffixes>(Suffixes{made_++, Trie(std::move(list))});
  suffixes_.insert_or_assign(std::move(content), made);
  held_ += made->trie.nbytes();
  return made;
}

Gap LexemeMasks::read_gap(const Trie& trie, std::int32_t node) const {
  Gap gap;
  // The subtree in pre-order: skip(i) is the first node after the subtree of i.
  const std::int32_t top = trie.depth(node);
  for (std::int32_t i = node + 1; i < trie.skip(node);) {
    kernel_clock.tick();
    const std::int32_t space = trie.depth(i) - top;
    if (kSpaces.find(static_cast<char>(trie.byte(i))) != kSpaces.npos) {
      gap.longest = std::max(gap.longest, space);
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
        gap.tokens.push_back({space, {{}, *t}});
      ++i;
      continue;
    }
    const std::int32_t end = trie.skip(i);
    // No JSON token has this byte after white space, so none of the tokens below may come.
    if (kStarts.find(static_cast<char>(trie.byte(i))) == kStarts.npos) i = end;
    for (; i < end; ++i)
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
        if (const std::string_view text = v_.bytes(*t),
            rest = text.substr(text.size() -
                               static_cast<std::size_t>(trie.depth(i) - top - space + 1));
            may_come(rest))
          gap.tokens.push_back({space - 1, {rest, *t}});
  }
  if (gap.longest == 0) std::vector<Gap::Begun>().swap(gap.tokens);
  return gap;
}

const GapMask* LexemeMasks::gap(const Suffixes& among, std::int32_t node, std::int32_t room) {
  // Bytes are added to `held_` once the object is complete. The reference stays valid:
  // unordered_map does not move its entries, and trim() runs between fills only.
  Gap& gap = remember(gaps_, std::pair{among.id, node}, [&] {
    Gap made = read_gap(among.trie, node);
    held_ += made.nbytes();
    return made;
  });
  gap.used = true;
  if (gap.longest == 0) return nullptr;
  room = std::min(room, gap.longest);
  // A deque keeps pointers to its entries valid as it grows.
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
  Tokens tokens(std::move(all), words());
  if (tokens.few.size() > words() / 64) tokens.to_bits(words());  // it is a part of many masks
  gap.upto.push_back(
      {room, {std::make_shared<const Tokens>(std::move(tokens)), suffixes(std::move(rest))}});
  held_ += gap.upto.back().second.all->nbytes();
  return &gap.upto.back().second;
}

const Split& LexemeMasks::split(const Suffixes& among, std::int32_t node, bool colon) {
  Split& split = remember(splits_, std::pair{among.id, node * 2 + colon},
                          [&] { return read_split(among.trie, node, colon); });
  split.used = true;
  return split;
}

Split LexemeMasks::read_split(const Trie& trie, std::int32_t node, bool colon) {
  Split split;
  std::vector<Spelled> within, beyond;
  for (std::int32_t i = node + 1; i < trie.skip(node);) {
    kernel_clock.tick();
    const Id* first = trie.begin(i);  // a token of the subtree; all share the path to i
    const std::size_t length = static_cast<std::size_t>(trie.depth(i) - trie.depth(node));
    // While the subtree has one token only, or all its tokens share a prefix, they are read
    // together: `rest` is the prefix that all of them share.
    std::int32_t end = i + 1;
    while (trie.begin(end) == first && end < trie.skip(i)) ++end;
    const std::string_view rest =
        v_.end_of(*first, trie.depth(end - 1) - trie.depth(node)).substr(0, length);
    const Reach found = reach(rest, colon, &split.deepest);
    if (found == Reach::Within) {
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t) within.push_back({rest, *t});
      ++i;
      continue;
    }
    for (end = trie.skip(i); found == Reach::Beyond && i < end; ++i)
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
        beyond.push_back({v_.end_of(*t, trie.depth(i) - trie.depth(node)), *t});
    i = end;
  }
  split.within = suffixes(std::move(within));
  split.beyond = suffixes(std::move(beyond));
  held_ += sizeof split;
  return split;
}

std::shared_ptr<const Tokens> LexemeMasks::scalar(std::span<const Id> key) {
  const auto found = scalars_.find(key);
  if (found == scalars_.end()) return nullptr;
  found->second.used = true;
  return found->second.tokens;
}

void LexemeMasks::keep_scalar(std::span<const Id> key, std::shared_ptr<const Tokens> tokens) {
  held_ += tokens->nbytes() + key.size() * sizeof(Id);
  scalars_.insert_or_assign({key.begin(), key.end()}, Scalar{std::move(tokens)});
}

const LexemeMasks::Loop& LexemeMasks::loop(std::int32_t node, const Bytes& classes) {
  Loop& found = remember(loops_, LoopKey{node, classes}, [&] {
    Loop loop;
    const Trie& plain = v_.plain_;
    if (are_many(static_cast<std::size_t>(plain.subtree_end(node) - plain.end(node)), words()))
      loop.tokens.to_bits(words());
    for (std::int32_t i = node + 1; i < plain.skip(node);) {
      const std::uint8_t cls = plain.byte(i);
      if (!classes.has(cls)) {
        loop.leaving.push_back({cls, i});
        i = plain.skip(i);
        continue;
      }
      if (plain.begin(i) != plain.end(i)) {
        loop.tokens.add(v_.run_of(i), words());
        loop.lengths.add(static_cast<std::uint8_t>(std::min(plain.depth(i), 255)));
      }
      ++i;
    }
    std::ranges::sort(loop.leaving);
    held_ += loop.nbytes();
    return loop;
  });
  found.used = true;
  return found;
}

// Tokens that begin with a character of `apart` are left out.
LexemeMasks::Around& LexemeMasks::around(Texts& texts, Id state, const std::string& leaving,
                                         const std::string& apart) {
  Around& found = remember(arounds_, leaving + '\xFF' + apart, [&] {
    Around made;
    made.all.bits.assign(words(), 0);
    std::vector<Spelled> others;
    const Trie& trie = v_.whole_.trie;
    std::vector<Id> path(static_cast<std::size_t>(trie.longest()) + 1, state);
    for (std::int32_t i = 1; i < trie.size();) {
      kernel_clock.tick();
      const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
      const char byte = static_cast<char>(trie.byte(i));
      const bool is_apart = depth == 1 && apart.find(byte) != apart.npos,
                 leaves = path[depth - 1] == state && leaving.find(byte) != leaving.npos;
      for (std::int32_t j = i; leaves && !is_apart && j < trie.skip(i); ++j)
        for (const Id* t = trie.begin(j); t != trie.end(j); ++t)
          others.push_back({v_.end_of(*t, trie.depth(j) - trie.depth(i) + 1), *t});
      const Id next = leaves || is_apart ? Texts::kDead : texts.step(path[depth - 1], trie.byte(i));
      if (next == Texts::kDead) {
        i = trie.skip(i);
        continue;
      }
      path[depth] = next;
      made.all.add({trie.begin(i), trie.end(i), nullptr}, words());
      if (next != state) made.partial.insert(made.partial.end(), trie.begin(i), trie.end(i));
      ++i;
    }
    made.others = Trie(std::move(others));
    made.plain.assign(static_cast<std::size_t>(made.others.size()), 1);
    std::vector<std::int32_t> above(static_cast<std::size_t>(made.others.longest()) + 1);
    for (std::int32_t i = 1; i < made.others.size(); ++i) {
      const std::size_t depth = static_cast<std::size_t>(made.others.depth(i));
      above[depth] = i;
      const char byte = static_cast<char>(made.others.byte(i));
      for (std::size_t d = 0; d < depth && (byte < 0 || leaving.find(byte) != leaving.npos); ++d)
        made.plain[static_cast<std::size_t>(above[d])] = 0;
    }
    held_ += made.nbytes();
    return made;
  });
  found.used = true;
  return found;
}

std::size_t Gap::nbytes() const {
  std::size_t n = sizeof *this + tokens.capacity() * sizeof tokens[0];
  for (const auto& [_, mask] : upto) n += mask.all->nbytes();
  return n;
}

void LexemeMasks::add_lengths(const Inside& group,
                              const std::function<bool(std::int32_t)>& is_wanted,
                              std::uint32_t* row) const {
  // is_wanted() is called once for each length that occurs, not for each token. Lengths of 255 and
  // more share one class, and their tokens are checked one by one.
  std::array<bool, 255> wanted{};
  std::int32_t upto = Vocabulary::kShort + 1;  // the least length that is not wanted
  bool all = true, some = false, mixed = false;
  for (std::int32_t n = group.lengths.next(0); n < 255; n = group.lengths.next(n + 1)) {
    const bool yes = wanted[static_cast<std::size_t>(n)] = is_wanted(n);
    if (!yes) upto = std::min(upto, n);
    all &= yes, some |= yes, mixed |= yes && n <= Vocabulary::kShort && n > upto;
  }
  const bool open = group.lengths.has(255);
  if (!open && !some) return;
  if (!open && all) return group.tokens.add_to(row);
  const auto take = [&](Id t) {
    const std::int32_t n = v_.chars(t);
    if (n < 255 ? wanted[static_cast<std::size_t>(n)] : is_wanted(n)) row[t >> 5] |= 1u << (t & 31);
  };
  if (group.tokens.bits.empty() || mixed) return group.tokens.each(take);
  // If exactly the lengths below `upto` are wanted, takes whole words from the rows that were made
  // with the vocabulary: short_[n] has the tokens of at most n characters.
  for (std::size_t i = 0; upto > 0 && i < words(); ++i)
    row[i] |= group.tokens.bits[i] & v_.short_[static_cast<std::size_t>(upto - 1)][i];
  for (Id t : v_.long_)
    if (group.tokens.bits[static_cast<std::size_t>(t) / 32] >> (t % 32) & 1) take(t);
}

// Requires the mask of a free text.
std::shared_ptr<const Tokens> LexemeMasks::at_most(LexemeMask& mask, std::int32_t chars) {
  for (const auto& [n, tokens] : mask.upto)
    if (n == chars) return tokens;
  std::vector<std::uint32_t> row(words());
  for (const Inside& group : mask.inside) {
    const std::int32_t most =
        chars - !group.whole;  // an incomplete last character counts as one more
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
  mask.upto.emplace_back(chars, std::make_shared<const Tokens>(std::move(upto)));
  return mask.upto.back().second;
}

const std::vector<Inside>& LexemeMasks::by_state(LexemeMask& mask) {
  if (!mask.by_state.empty()) return mask.by_state;
  // There is nothing to merge: groups from the start of a lexeme are distinguished by state alone.
  if (mask.inside.empty() || mask.inside[0].chars == kItsOwn) return mask.inside;
  std::vector<Inside> out;
  std::vector<const Inside*> groups;
  for (const Inside& group : mask.inside) groups.push_back(&group);
  for (std::size_t i = 0, j = 0; i < groups.size(); i = j) {
    while (j < groups.size() && groups[j]->state == groups[i]->state) ++j;
    Inside& all = out.emplace_back(*groups[i]);
    if (j == i + 1) continue;
    if (std::all_of(groups.begin() + static_cast<std::ptrdiff_t>(i),
                    groups.begin() + static_cast<std::ptrdiff_t>(j),
                    [](const Inside* g) { return g->tokens.bits.empty(); })) {
      for (std::size_t k = i + 1; k < j; ++k)
        all.tokens.few.insert(all.tokens.few.end(), groups[k]->tokens.few.begin(),
                              groups[k]->tokens.few.end());
      all.tokens = Tokens(std::move(all.tokens.few), words());
    } else {
      all.tokens = Tokens();
      all.tokens.bits.assign(words(), 0);
      for (std::size_t k = i; k < j; ++k) groups[k]->tokens.add_to(all.tokens.bits.data());
    }
  }
  for (const Inside& group : out) held_ += sizeof group + group.tokens.nbytes();
  return mask.by_state = std::move(out);
}

std::size_t LexemeMask::nbytes() const {
  std::size_t n =
      sizeof *this + all->nbytes() + (escaped.capacity() + listed.capacity()) * sizeof(Spelled);
  for (const auto& [_, tokens] : upto) n += tokens->nbytes();
  for (const auto* groups : {&inside, &by_state})
    for (const Inside& g : *groups) n += sizeof g + g.tokens.nbytes();
  if (longer) n += sizeof *longer + longer->tokens.size() * sizeof(Id);
  return n + exits.capacity() * sizeof exits[0] + ends.capacity() * sizeof ends[0];
}

}  // namespace guard
