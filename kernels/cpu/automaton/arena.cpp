#include "automaton/arena.hpp"

namespace guard {

void* Arena::allocate(std::size_t bytes) {
  bytes = (bytes + 15) & ~std::size_t{15};
  if (bytes > kBlock / 4) {
    large_.emplace_back(bytes);
    nbytes_ += bytes;
    return large_.back().bytes.get();
  }
  while (left_ < bytes) {
    const std::size_t size = block_ == 0 ? kFirst : kBlock;
    if (block_ == blocks_.size()) blocks_.emplace_back(size), nbytes_ += size;
    end_ = blocks_[block_++].bytes.get() + size;
    left_ = size;
  }
  void* at = end_ - left_;
  left_ -= bytes;
  return at;
}

void Arena::clear() {
  large_.clear();
  while (blocks_.size() > 64) blocks_.pop_back();
  nbytes_ = blocks_.empty() ? 0 : kFirst + (blocks_.size() - 1) * kBlock;
  left_ = block_ = 0;
}

}  // namespace guard
