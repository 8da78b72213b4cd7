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
  void add(std::uint8_t first, std::uint8_t last) {
    for (std::size_t i = first >> 6; i <= static_cast<std::size_t>(last >> 6); ++i) {
      const int lo = i == static_cast<std::size_t>(first >> 6) ? first & 63 : 0,
                hi = i == static_cast<std::size_t>(last >> 6) ? last & 63 : 63;
      words_[i] |= (~0ull >> (63 - hi + lo)) << lo;
    }
  }
  void keep(const Bytes& others) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= others.words_[i];
  }
  void remove(std::uint8_t byte) { words_[byte >> 6] &= ~(1ull << (byte & 63)); }
  bool has(std::uint8_t byte) const { return words_[byte >> 6] >> (byte & 63) & 1; }
  std::size_t size() const {
    std::size_t n = 0;
    for (std::uint64_t word : words_) n += static_cast<std::size_t>(std::popcount(word));
    return n;
  }
  bool operator==(const Bytes&) const = default;
  const std::array<std::uint64_t, 4>& words() const { return words_; }
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
