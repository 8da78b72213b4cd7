#include "masks/mask_cache.hpp"

#include <cstring>

namespace guard {

namespace {
bool has(const std::uint32_t* row, Id token) { return row[token >> 5] >> (token & 31) & 1; }

std::size_t hash_of(const LexemeKey& key, Id vocabulary) {
  std::size_t h = static_cast<std::size_t>(vocabulary) << 8 | static_cast<std::size_t>(key.lex);
  for (Id id : {key.state, key.spec, key.decoder, key.chars, key.lo, key.hi, key.depth})
    h = mix(h, static_cast<std::size_t>(id));
  return h;
}

KeptRows::Slot* slot_of(const KeptRows& rows, std::size_t hash, const auto& is_it) {
  std::size_t at = hash & (rows.size - 1);
  while (rows.slots[at].row && !(rows.slots[at].hash == hash && is_it(*rows.slots[at].row)))
    at = (at + 1) & (rows.size - 1);
  return &rows.slots[at];
}
}  // namespace

void MaskRow::write(std::uint32_t* row, std::size_t words) const {
  const bool copies = all || (sets > 0 && !of[0]->bits.empty());
  if (copies)
    std::memcpy(row, all ? all : of[0]->bits.data(), words * 4);
  else
    std::memset(row, 0, words * 4);
  for (std::size_t i = copies; i < sets; ++i) of[i]->add_to(row);
  for (std::size_t i = 0; i < in; ++i) row[ids[i] >> 5] |= 1u << (ids[i] & 31);
  for (std::size_t i = in; i < in + out; ++i) row[ids[i] >> 5] &= ~(1u << (ids[i] & 31));
}

KeptRow* MaskRows::find(const Frame& frame, const LexemeKey& key, Id vocabulary) {
  if (!frame.rows) return nullptr;
  return slot_of(*frame.rows, hash_of(key, vocabulary),
                 [&](const KeptRow& row) { return row.key == key && row.vocabulary == vocabulary; })
      ->row;
}

const KeptRow* MaskRows::keep(FrameStore& store, const Frame& frame, const LexemeKey& key,
                              const Vocabulary& vocabulary, const std::uint32_t* row,
                              const RowLog& log, std::int64_t enough) {
  KeptRow* known = find(frame, key, vocabulary.id());
  if (known && known->is_made) {
    known->enough = std::min(known->enough, enough);
    return known;
  }
  if (store.nbytes() > vocabulary.most_rows) return nullptr;
  const std::size_t words = vocabulary.words();
  const bool is_small = log.is_whole && log.count <= words, is_made = is_small || known;
  MaskRow made;
  if (is_small) {
    made = listed(store, row, log);
  } else if (is_made) {
    auto* all = static_cast<std::uint32_t*>(store.arena.allocate(words * 4));
    std::memcpy(all, row, words * 4);
    made.all = all;
  }
  if (!known) add(store, frame, known = store.arena.make(KeptRow{vocabulary.id(), key}));
  if (!is_made) return nullptr;
  known->row = made, known->is_made = true, known->enough = enough;
  return known;
}

// The sets as they were joined, and what became of the single tokens in the end. A set of all words
// comes first, since it is copied.
MaskRow MaskRows::listed(FrameStore& store, const std::uint32_t* row, const RowLog& log) {
  MaskRow out;
  auto** of = static_cast<const Tokens**>(store.arena.allocate(log.sets * sizeof(const Tokens*)));
  for (std::size_t i = 0; i < log.sets; ++i) {
    store.own(log.of[i], log.of[i]->nbytes());
    of[i] = log.of[i].get();
    if (!of[i]->bits.empty()) std::swap(of[0], of[i]);
  }
  auto* ids = static_cast<Id*>(store.arena.allocate(log.count * sizeof(Id)));
  const std::uint32_t* base = log.sets > 0 && !of[0]->bits.empty() ? of[0]->bits.data() : nullptr;
  for (std::size_t i = 0; i < log.count; ++i)
    if (const Id t = log.ids[i]; has(row, t) && !(base && has(base, t))) ids[out.in++] = t;
  const bool is_known = log.sets == (base ? 1 : 0);  // what the sets contain
  for (std::size_t i = 0; i < log.count; ++i)
    if (const Id t = log.ids[i]; !has(row, t) && (!is_known || (base && has(base, t))))
      ids[out.in + out.out++] = t;
  out.of = of, out.ids = ids, out.sets = static_cast<std::uint32_t>(log.sets);
  return out;
}

// The table at most half full is replaced by one of twice its size, and stays in the arena.
void MaskRows::add(FrameStore& store, const Frame& frame, KeptRow* row) {
  constexpr std::uint32_t kLeast = 2;
  const KeptRows* before = frame.rows;
  if (!before || before->count * 2 >= before->size) {
    const std::uint32_t size = before ? before->size * 2 : kLeast;
    auto* slots = static_cast<KeptRows::Slot*>(store.arena.allocate(size * sizeof(KeptRows::Slot)));
    std::fill(slots, slots + size, KeptRows::Slot{0, nullptr});
    KeptRows* const rows = store.arena.make(KeptRows{size, before ? before->count : 0, slots});
    const auto never = [](const KeptRow&) { return false; };
    for (std::uint32_t i = 0; before && i < before->size; ++i)
      if (before->slots[i].row) *slot_of(*rows, before->slots[i].hash, never) = before->slots[i];
    frame.rows = rows;
  }
  const std::size_t hash = hash_of(row->key, row->vocabulary);
  *slot_of(*frame.rows, hash, [](const KeptRow&) { return false; }) = {hash, row};
  ++frame.rows->count;
}

}  // namespace guard
