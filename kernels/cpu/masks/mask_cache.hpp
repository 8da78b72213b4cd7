// Mask cache: whole masks, kept with the frames of a store for all matchers that come there.
//
// Equal frames and lexemes mean equal masks. Most masks are one cached set of tokens and a few
// exceptions, and are kept as such; of a mask that takes all its words, only the key is kept at
// first, since most never come again. Masks live as long as the frame's store, which each matcher
// in it owns, and do not change. So reading one takes no lock; all else needs the isolate's.
#pragma once
#include <array>
#include <memory>

#include "automaton/frame_store.hpp"
#include "automaton/state_key.hpp"
#include "masks/vocabulary.hpp"

namespace guard {

using TokensOwner = std::shared_ptr<const Tokens>;

// How a row was made: shared sets of tokens, and the single ones that changed it.
struct RowLog {
  static constexpr std::size_t kSets = 8, kFew = 16, kMost = 512;
  std::size_t sets = 0, count = 0;
  bool is_whole = true;  // whether that is all
  std::array<TokensOwner, kSets> of;
  std::array<Id, kMost> ids;
  void begin() {
    while (sets > 0) of[--sets] = nullptr;
    count = 0, is_whole = true;
  }
  void add(Id token) {
    if (count < kMost)
      ids[count++] = token;
    else
      is_whole = false;
  }
  void add(const Tokens& tokens) {
    for (Id t : tokens.few) add(t);
    is_whole = is_whole && tokens.bits.empty();
  }
  void add(const TokensOwner& tokens) {
    if ((tokens->bits.empty() && tokens->few.size() <= kFew) || sets == kSets)
      add(*tokens);
    else
      of[sets++] = tokens;
  }
};

struct MaskRow {  // the union of sets, and single tokens that are in it, or are not
  const Tokens* const* of = nullptr;
  const Id* ids = nullptr;  // those that are in it come first
  std::uint32_t sets = 0, in = 0, out = 0;
  const std::uint32_t* all = nullptr;  // all words, in place of these
  void write(std::uint32_t* row, std::size_t words) const;
};

struct KeptRow {
  Id vocabulary;
  LexemeKey key;
  bool is_made = false;                                            // else only its key was kept
  std::int64_t enough = std::numeric_limits<std::int64_t>::max();  // the least budget for which it
                                                                   // is known to be the row
  MaskRow row = {};
};

struct KeptRows {  // of a frame: a hash table with linear probing
  struct Slot {
    std::size_t hash;
    KeptRow* row;  // null: the slot is free
  };
  std::uint32_t size, count;  // slots, a power of two; rows
  Slot* slots;
};

class MaskRows {
 public:
  static KeptRow* find(const Frame& frame, const LexemeKey& key, Id vocabulary);  // null: none
  // Keeps a row that is valid without a budget, and for budgets of at least `enough`. Null: it is
  // not kept, or only its key.
  static const KeptRow* keep(FrameStore& store, const Frame& frame, const LexemeKey& key,
                             const Vocabulary& vocabulary, const std::uint32_t* row,
                             const RowLog& log, std::int64_t enough);

 private:
  static MaskRow listed(FrameStore& store, const std::uint32_t* row, const RowLog& log);
  static void add(FrameStore& store, const Frame& frame, KeptRow* row);
};

// The row of one matcher, whose memory is used again.
class OwnRow {
 public:
  const MaskRow* assign(const std::uint32_t* row, std::size_t words) {
    words_.assign(row, row + words);
    row_.all = words_.data();
    return &row_;
  }

 private:
  MaskRow row_;
  MatcherVector<std::uint32_t> words_;
};

}  // namespace guard
