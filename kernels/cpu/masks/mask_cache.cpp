#include "masks/mask_cache.hpp"

namespace guard {

void MaskRow::assign(const std::uint32_t* row, std::size_t words) {
  words_ = words;
  few_.clear();
  bits_.clear();
  std::array<Id, kMostFew> few;
  // Keeps a list of ids while clearing a row and setting these bits is less work than copying it.
  const std::size_t most = std::min(words / 16, few.size());
  std::size_t count = 0;
  constexpr std::size_t kBlock = 16;  // words that are looked at together, since most are empty
  for (std::size_t from = 0; from < words; from += kBlock) {
    const std::size_t end = std::min(from + kBlock, words);
    std::uint32_t any = 0;
    for (std::size_t i = from; i < end; ++i) any |= row[i];
    if (!any) continue;
    for (std::size_t i = from; i < end; ++i)
      for (std::uint32_t left = row[i]; left; left &= left - 1) {
        if (count == most) {
          bits_.assign(row, row + words);
          return;
        }
        few[count++] = static_cast<Id>(i * 32 + static_cast<std::size_t>(std::countr_zero(left)));
      }
  }
  few_.assign(few.begin(), few.begin() + static_cast<std::ptrdiff_t>(count));
}

void MaskRow::write(std::uint32_t* row) const {
  if (!bits_.empty()) {
    std::memcpy(row, bits_.data(), words_ * 4);
    return;
  }
  std::memset(row, 0, words_ * 4);
  for (Id t : few_) row[t >> 5] |= 1u << (t & 31);
}

std::size_t MaskRow::hash() const {
  constexpr std::size_t kLanes = 8;  // independent lanes, for instruction-level parallelism
  std::array<std::size_t, kLanes> lanes{}, words;
  std::size_t i = 0;
  for (; i + 2 * kLanes <= bits_.size(); i += 2 * kLanes) {
    std::memcpy(words.data(), &bits_[i], sizeof words);
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = mix(lanes[lane], words[lane]);
  }
  std::size_t h = bits_.size();
  for (; i < bits_.size(); ++i) h = mix(h, bits_[i]);
  for (std::size_t lane : lanes) h = mix(h, lane);
  for (Id t : few_) h = mix(h, static_cast<std::size_t>(t));
  return h;
}

MaskRows::Known MaskRows::find(const std::string& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? Known{} : found->second;
}

MaskRows::Known MaskRows::keep(const std::string& key, const std::uint32_t* row,
                               std::int64_t enough) {
  make_room();
  // The first call for a key adds an empty slot, the second one stores the row.
  const auto [slot, fresh] = by_key_.try_emplace(key);
  if (fresh) {
    held_ += sizeof *slot + 32 + slot->first.capacity();  // an estimate of the table's own memory
    return {};
  }
  Known& known = slot->second;
  if (!known.row) known.row = interned(row);
  known.enough = std::min(known.enough, enough);
  return known;
}

std::shared_ptr<const MaskRow> MaskRows::interned(const std::uint32_t* row) {
  auto made = std::make_shared<const MaskRow>(row, words_);
  // Rows with equal hashes are compared. A row that differs in spite of an equal hash is not
  // shared, which is rare.
  const auto& known =
      remember(by_content_, made->hash(), [&] { return held_ += made->nbytes() + 64, made; });
  return *known == *made ? known : made;  // a row with a colliding hash stays unshared
}

void MaskRows::make_room() {
  if (held_ <= most_) return;
  // Discards everything, because a row costs little to make again. Readers own the rows that they
  // use.
  by_key_.clear();
  by_content_.clear();
  held_ = 0;
}

}  // namespace guard
