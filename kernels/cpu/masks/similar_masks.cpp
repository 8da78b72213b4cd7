// Masks of a text that are made from the mask of a similar one. See lexeme_masks.hpp.

#include <algorithm>

#include "masks/token_reading.hpp"

namespace guard {

Id LexemeMasks::after(Texts& texts, Id state, Id token) const {
  for (char b : v_.tokens_[static_cast<std::size_t>(token)])
    if ((state = texts.step(state, static_cast<std::uint8_t>(b))) == Texts::kDead) break;
  return state;
}

// The tokens inside of a text whose mask includes that of `other`: starts from the latter and tries
// the remaining tokens that any string allows.
std::shared_ptr<const Tokens> LexemeMasks::inside_like(Texts& texts, Id state, Id other) {
  const std::shared_ptr<const Tokens> any = text(texts, texts.free(state), false, v_.whole_, 0).all,
                                      known = text(texts, other, false, v_.whole_, 0).all;
  if (known == any) return known;
  std::vector<std::uint32_t> row(words());
  known->add_to(row.data());
  bool same = true;
  any->each([&](Id token) {
    kernel_clock.tick();
    std::uint32_t& word = row[static_cast<std::size_t>(token >> 5)];
    if (word >> (token & 31) & 1) return;
    if (after(texts, state, token) == Texts::kDead) return;
    word |= 1u << (token & 31), same = false;
  });
  if (same) return known;
  Tokens out;
  out.bits = std::move(row);
  return std::make_shared<Tokens>(std::move(out));
}

std::int64_t LexemeMasks::rest(Texts& texts, LexemeMask& mask) {
  if (mask.rest != -2) return mask.rest;
  if (mask.unread != Texts::kDead) {
    Draft draft(words(), false, true);
    Reading reading{v_, texts, false, draft, false, false};
    read_plain(reading, mask.unread);
    sort_unique(&draft.ends);
    mask.ends.assign(draft.ends.begin(), draft.ends.end()), mask.unread = Texts::kDead;
    held_ += mask.ends.size() * sizeof(Id);
  }
  std::int64_t all = 0;
  for (std::size_t i = 0; i < mask.ends.size() && all >= 0; ++i) {
    const std::int64_t rest = texts.near(mask.ends[i]);
    all = rest < 0 ? -1 : std::max(all, rest);
  }
  return mask.rest = all;
}

// A bound on repetitions that no token can reach does not distinguish states: `[a-z]{1,63}` is read
// as `[a-z]+`, once for all of its first thirty states. Consider a token with n characters, after
// which m more suffice to end. The two languages agree on it if no bound is below n + m. Returns
// false if the relaxed mask does not apply.
bool LexemeMasks::read_relaxed(Texts& texts, Id state, const Suffixes& among, std::int32_t node,
                               Draft* draft) {
  std::int32_t most = kInf;
  const Id relaxed = texts.relaxed(state, &most);
  const bool whole = &among == &v_.whole_ && node == 0;
  const std::int32_t longest =
      whole ? std::max(Vocabulary::kShort, v_.before_quote_) : among.trie.longest();
  if (relaxed == state || longest > most || texts.goes_on(relaxed) != Texts::kDead) return false;
  LexemeMask& mask = text(texts, relaxed, false, among, node);
  if (rest(texts, mask) < 0 || longest + mask.rest > most) return false;
  draft->known = mask.all;
  draft->rest = whole ? mask.rest : -1;
  for (const Exit& exit : mask.exits) draft->left.push_back(exit);
  draft->exit_bytes = mask.exit_bytes;
  draft->known_odd = mask.odd, draft->escaped = mask.escaped, draft->listed = mask.listed;
  if (!whole) return true;
  std::vector<Id> longest_tokens, out;
  const auto note = [&](Id t) {
    kernel_clock.tick();
    if (v_.chars(t) + mask.rest > most) longest_tokens.push_back(t);
  };
  const Tokens& inside = *mask.all;
  for (Id t : inside.few) note(t);
  for (Id t : inside.bits.empty() ? std::vector<Id>{} : v_.long_)
    if (inside.bits[static_cast<std::size_t>(t) / 32] >> (t % 32) & 1) note(t);
  // Many share their beginnings, and so the states on the way.
  constexpr std::size_t kFew = 16;
  const bool are_few = longest_tokens.size() <= kFew;
  for (Id t : longest_tokens) {
    const Id at =
        are_few && v_.is_plain(t) ? texts.after(state, v_.bytes(t)) : after(texts, state, t);
    if (at == Texts::kDead) {
      out.push_back(t);
    } else if (draft->rest >= 0) {
      const std::int64_t rest = texts.near(at);
      draft->rest = rest < 0 ? -1 : std::max(draft->rest, rest);
    }
  }
  if (out.empty()) return true;
  Tokens all = *mask.all;
  all.to_bits(words());
  for (Id t : out) all.bits[static_cast<std::size_t>(t) / 32] &= ~(1u << (t % 32));
  draft->known = std::make_shared<Tokens>(std::move(all));
  return true;
}

// The tokens inside of more than kCut characters.
const LexemeMask::Long& LexemeMasks::longer(LexemeMask& mask) {
  constexpr std::size_t kFew = 64;
  if (mask.longer) return *mask.longer;
  auto found = std::make_unique<LexemeMask::Long>();
  const auto& shorter = v_.short_[kCut];
  std::vector<Id>& tokens = found->tokens;
  if (mask.all->bits.empty()) {
    for (Id t : mask.all->few)
      if (v_.chars(t) > kCut) tokens.push_back(t);
  } else {
    for (std::size_t i = 0; i < words() && tokens.size() <= kFew; ++i)
      for (std::uint32_t left = mask.all->bits[i] & ~shorter[i]; left; left &= left - 1)
        tokens.push_back(static_cast<Id>(i * 32) + std::countr_zero(left));
  }
  found->are_few = tokens.size() <= kFew;
  if (!found->are_few) std::vector<Id>().swap(tokens);
  held_ += sizeof *found + tokens.size() * sizeof(Id);
  mask.longer = std::move(found);
  return *mask.longer;
}

// Which short tokens stay in a text depends on its next characters only: `[0-9a-f]{40}` is read as
// `[0-9a-f]{6}` and anything behind, once for all states that are not near its end. Where a longer
// token stays in the text, it stays in that one, too: the few that do are tried one by one. Tokens
// that end the text further on are read in the state itself, if there may be any. A mask that only
// one state has asked for is not made. Returns false if the cut mask does not apply.
bool LexemeMasks::read_cut(Reading& reading, Id state) {
  constexpr std::int32_t kBegun = kCut + 1;  // a short token may have begun one more character
  Texts& texts = reading.texts;
  const Id cut = texts.cut(state, kBegun);
  if (cut == Texts::kDead || cut == state) return false;
  if (const Id again = texts.cut(cut, kBegun); again != Texts::kDead && again != cut) return false;
  if (!slot(&texts_, v_.whole_, cut, 0) && cuts_.try_emplace(cut, true).second) return false;
  LexemeMask& mask = text(texts, cut, false, v_.whole_, 0);
  if (!longer(mask).are_few) return false;
  std::vector<Id> out;
  for (Id t : longer(mask).tokens) {
    kernel_clock.tick();
    if (after(texts, state, t) == Texts::kDead) out.push_back(t);
  }
  Draft& draft = reading.draft;
  draft.known = mask.all;
  if (!out.empty()) {
    Tokens all = *mask.all;
    if (all.bits.empty())
      std::erase_if(all.few, [&](Id t) {
        return v_.chars(t) > kCut && std::find(out.begin(), out.end(), t) != out.end();
      });
    else
      for (Id t : out) all.remove(t);
    draft.known = std::make_shared<const Tokens>(std::move(all));
  }
  draft.unread = state;
  if (mask.exit_bytes > kBegun) {
    reading.read(v_.closing_, 0, 0, {state, 0});
  } else {
    for (const Exit& exit : mask.exits) draft.left.push_back(exit);
    draft.exit_bytes = mask.exit_bytes;
  }
  return true;
}

}  // namespace guard
