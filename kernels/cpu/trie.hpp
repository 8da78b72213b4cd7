// Trie: the tokens of a vocabulary by their bytes, in preorder.
//
// Node i spells one more byte than its parent; its subtree is the nodes [i, skip(i)), so that a walk is one loop over an
// array that jumps over what cannot match. Several tokens may spell the same bytes. A suffix trie has the same form and
// holds what is left of the tokens that leave a lexeme. Immutable; read by any thread.
#pragma once
#include <algorithm>

#include "base.hpp"

namespace guard {

struct Spelled {
  std::string_view bytes;
  Id token;
};

class Trie {
 public:
  Trie() : Trie(std::vector<Spelled>{}) {}
  explicit Trie(std::vector<Spelled> tokens);  // O(total bytes); the empty text is the root, node 0
  std::int32_t size() const { return static_cast<std::int32_t>(skip_.size()); }
  std::int32_t skip(std::int32_t node) const { return skip_[static_cast<std::size_t>(node)]; }
  std::int32_t depth(std::int32_t node) const { return depth_[static_cast<std::size_t>(node)]; }
  std::uint8_t byte(std::int32_t node) const { return byte_[static_cast<std::size_t>(node)]; }
  // The tokens that end at this node, and those of its whole subtree.
  const Id* begin(std::int32_t node) const { return tokens_.data() + first_[static_cast<std::size_t>(node)]; }
  const Id* end(std::int32_t node) const { return tokens_.data() + first_[static_cast<std::size_t>(node) + 1]; }
  const Id* subtree_end(std::int32_t node) const { return tokens_.data() + first_[static_cast<std::size_t>(skip(node))]; }
  std::int32_t longest() const { return longest_; }
  std::size_t nbytes() const { return skip_.size() * 11 + tokens_.size() * 4; }

 private:
  std::vector<std::int32_t> skip_, first_;
  std::vector<std::uint16_t> depth_;
  std::vector<std::uint8_t> byte_;
  std::vector<Id> tokens_;
  std::int32_t longest_ = 0;
};

inline Trie::Trie(std::vector<Spelled> tokens) {
  std::sort(tokens.begin(), tokens.end(), [](const Spelled& a, const Spelled& b) {
    const int c = a.bytes.compare(b.bytes);
    return c < 0 || (c == 0 && a.token < b.token);
  });
  std::vector<std::int32_t> path{0};
  const auto open = [this](std::uint8_t byte, std::size_t depth) {
    skip_.push_back(0);
    first_.push_back(static_cast<std::int32_t>(tokens_.size()));
    depth_.push_back(static_cast<std::uint16_t>(depth));
    byte_.push_back(byte);
  };
  open(0, 0);
  std::string_view last;
  for (const Spelled& t : tokens) {
    std::size_t common = 0;
    while (common < last.size() && common < t.bytes.size() && last[common] == t.bytes[common]) ++common;
    for (; path.size() > common + 1; path.pop_back()) skip_[static_cast<std::size_t>(path.back())] = size();
    for (std::size_t i = common; i < t.bytes.size(); ++i) {
      path.push_back(size());
      open(static_cast<std::uint8_t>(t.bytes[i]), i + 1);
    }
    tokens_.push_back(t.token);
    longest_ = std::max(longest_, static_cast<std::int32_t>(t.bytes.size()));
    last = t.bytes;
  }
  for (std::int32_t node : path) skip_[static_cast<std::size_t>(node)] = size();
  first_.push_back(static_cast<std::int32_t>(tokens_.size()));
}

}  // namespace guard
