#include "automaton/arena.hpp"

namespace guard {

void* Arena::allocate(std::size_t bytes) {
  bytes = (bytes + 15) & ~std::size_t{15};
  if (bytes > kBlock / 4) {
    large_.emplace_back(bytes);
    return large_.back().bytes.get();
  }
  if (left_ < bytes) {
    if (block_ == blocks_.size()) blocks_.emplace_back(kBlock);
    ++block_;
    left_ = kBlock;
  }
  void* at = blocks_[block_ - 1].bytes.get() + kBlock - left_;
  left_ -= bytes;
  return at;
}

void Arena::clear() {
  large_.clear();
  while (blocks_.size() > 64) blocks_.pop_back();
  left_ = block_ = 0;
}

}  // namespace guard
