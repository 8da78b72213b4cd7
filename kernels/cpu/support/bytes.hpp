// Bytes: a set of bytes. All operations are O(1).
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace guard {

class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::string_view bytes) {
    for (char b : bytes) add(static_cast<std::uint8_t>(b));
  }
  void add(std::uint8_t byte) { words_[byte >> 6] |= 1ull << (byte & 63); }
  void add(const Bytes& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  void remove(std::uint8_t byte) { words_[byte >> 6] &= ~(1ull << (byte & 63)); }
  void remove_controls() { words_[0] &= ~0xffffffffull; }  // those below a space
  bool has(std::uint8_t byte) const { return words_[byte >> 6] >> (byte & 63) & 1; }
  int next(int from) const {  // the least member of at least `from`; 256: there is none
    for (; from < 256; from = (from | 63) + 1)
      if (const std::uint64_t left = words_[static_cast<std::size_t>(from) >> 6] >> (from & 63))
        return from + std::countr_zero(left);
    return 256;
  }

 private:
  std::array<std::uint64_t, 4> words_{};
};

}  // namespace guard
