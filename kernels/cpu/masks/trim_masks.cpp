// Lexeme masks: what is freed when they exceed their limit.
//
// Second chance (clock algorithm): a hand goes round over all entries, drops those that were not
// used since it last came by, and marks the others as unused. Each mask that is filled moves the
// hand a little, since freeing everything at once would delay one mask by milliseconds. Bytes are
// counted again on the way, since parts that masks share may have been freed with other masks.
#include "masks/lexeme_masks.hpp"

namespace guard {

namespace {
constexpr int kEntries = 64;  // that the hand meets at once
constexpr int kEmpty = 64;    // empty places take as long as one entry

// Looks at the next entries of a table from `at` on; drop(entry) says which are erased. False:
// others are left.
template <class Map, class Drop>
bool look_on(Map& map, std::size_t* at, int* left, Drop drop) {
  for (int empty = 0; *at < map.bucket_count(); ++*at) {
    if (*left <= 0) return false;
    bool met = false;
    for (auto entry = map.begin(*at); entry != map.end(*at);) {
      const auto& [key, value] = *entry++;
      const auto found = map.find(key);
      met = true, --*left;
      if (drop(found->second)) map.erase(found);
    }
    if (!met && ++empty % kEmpty == 0) --*left;
  }
  return true;
}
}  // namespace

void LexemeMasks::trim() {
  if (hand_.table < 0) {
    if (held_ <= v_.most_masks / part_) return;
    hand_ = {0, 0, 0, held_};
    cuts_.clear();
  }
  int left = kEntries, table = 0;
  const auto at_table = [&](auto look) {  // false: it is not done
    if (table++ < hand_.table) return true;
    if (!look()) return false;
    ++hand_.table, hand_.at = 0;
    return true;
  };
  const auto drops = [&](bool& used, std::size_t nbytes) {
    if (!used) return true;
    used = false, hand_.found += nbytes;
    return false;
  };
  const auto in_map = [&](auto& map, auto nbytes) {
    return at_table([&] {
      return look_on(map, &hand_.at, &left,
                     [&](auto& value) { return drops(value.used, nbytes(value)); });
    });
  };
  const auto in_masks = [&](Masks& masks) {
    const auto drop = [&](Slot& mask) { return !mask || drops(mask->used, mask->nbytes()); };
    return at_table([&] {
             for (; hand_.at < masks.whole.size(); ++hand_.at) {
               if (left <= 0) return false;
               Slot& mask = masks.whole[hand_.at];
               left -= mask || hand_.at % kEmpty == 0;
               if (drop(mask)) mask = nullptr;
             }
             return true;
           }) &&
           at_table([&] { return look_on(masks.others, &hand_.at, &left, drop); });
  };
  const auto itself = [](const auto& value) { return value.nbytes(); };
  const bool is_round =
      in_masks(texts_) && in_masks(detailed_) && in_masks(numbers_) && in_map(gaps_, itself) &&
      in_map(loops_, itself) && in_map(arounds_, itself) &&
      in_map(splits_, [](const Split& split) { return sizeof split; }) &&
      in_map(scalars_, [](const Scalar& scalar) { return scalar.tokens->nbytes(); }) &&
      at_table([&] {
        return look_on(suffixes_, &hand_.at, &left, [&](const auto& suffixes) {
          const std::shared_ptr<const Suffixes> found = suffixes.lock();
          if (found) hand_.found += found->trie.nbytes();
          return !found;
        });
      });
  if (!is_round) return;
  held_ = hand_.found + (held_ - hand_.before);  // and what was made since the hand set out
  hand_.table = -1;
}

}  // namespace guard
