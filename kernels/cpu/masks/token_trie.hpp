// Trie: the tokens of a vocabulary by their bytes, in preorder.
//
// Node i spells one more byte than its parent. Its subtree is the nodes [i, skip(i)), so a walk is
// one loop over an array that skips subtrees that cannot match. Several tokens may have the same
// bytes. A suffix trie has the same form, for the remaining bytes of tokens that leave a lexeme.
// Siblings lie far apart, so a node with several children has a list of them with their bytes, and
// one with many a table by byte, for walks that know which bytes may come.
// Immutable, so thread-safe. Does not own the tokens' bytes, which are only read by the
// constructor.
#pragma once
#include <algorithm>
#include <array>
#include <deque>
#include <span>

#include "support/base.hpp"
#include "support/bytes.hpp"

namespace guard {

struct Spelled {
  std::string_view bytes;
  Id token;
};

class Trie {
 public:
  Trie() : Trie(std::vector<Spelled>{}) {}
  explicit Trie(std::vector<Spelled> tokens);  // O(total bytes); the empty text is the root, node 0
  std::int32_t size() const { return static_cast<std::int32_t>(nodes_.size()) - 1; }
  std::int32_t skip(std::int32_t node) const { return at(node).skip; }
  std::int32_t depth(std::int32_t node) const { return at(node).depth; }
  std::uint8_t byte(std::int32_t node) const { return at(node).byte; }
  // The tokens that end at this node, and those of its whole subtree.
  const Id* begin(std::int32_t node) const { return tokens_.data() + at(node).first; }
  const Id* end(std::int32_t node) const { return tokens_.data() + at(node + 1).first; }
  const Id* subtree_end(std::int32_t node) const { return tokens_.data() + at(skip(node)).first; }
  std::int32_t find(std::int32_t node, std::string_view bytes)
      const;  // the node that the bytes lead to from this one; -1: none
  std::int32_t longest() const { return longest_; }
  std::size_t nbytes() const {
    return nodes_.size() * sizeof nodes_[0] + tokens_.size() * 4 +
           children_.size() * sizeof children_[0] + few_.size() * sizeof few_[0];
  }
  bool is_wide(std::int32_t node) const { return at(node).few == kWide; }
  std::int32_t child(std::int32_t node, std::uint8_t byte) const {
    return children_[static_cast<std::size_t>(at(node).below)].at[byte];
  }  // requires a wide node; -1: it has no such child
  const Bytes& bytes_of(std::int32_t node) const {
    return children_[static_cast<std::size_t>(at(node).below)].bytes;
  }  // of a wide node's children
  struct Child {
    std::int32_t node;
    std::uint8_t byte;
  };
  std::int32_t child_at(std::int32_t node, std::uint8_t byte) const {
    if (is_wide(node)) return child(node, byte);
    for (const Child& c : few(node))
      if (c.byte == byte) return c.node;
    return -1;
  }  // -1: it has no such child
  // Loads a node ahead of its use, or the list of its children.
  void load(std::int32_t node) const { __builtin_prefetch(&at(node)); }
  void load_children(std::int32_t node) const {
    if (!is_wide(node)) __builtin_prefetch(few(node).data());
  }
  // The children of a node that is not wide, in order.
  std::span<const Child> few(std::int32_t node) const {
    const Node& n = at(node);
    return {few_.data() + n.below, n.few};
  }

 private:
  static constexpr std::size_t kWide = 16;
  struct Node {  // all that a walk needs of a node is in one cache line
    std::int32_t skip = 0, first = 0;
    std::int32_t below = 0;  // where its children begin in few_; of a wide one, its children_
    std::uint16_t depth = 0;
    std::uint8_t byte = 0, few = 0;  // its byte; its children, kWide: a wide one
  };
  const Node& at(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)]; }
  Node& at(std::int32_t node) { return nodes_[static_cast<std::size_t>(node)]; }
  std::vector<Node> nodes_;  // and one behind the last, where the tokens end
  std::vector<Id> tokens_;
  struct ByByte {  // a node's children
    std::array<std::int32_t, 256> at;
    Bytes bytes;
  };
  std::deque<ByByte> children_;
  std::vector<Child> few_;
  std::int32_t longest_ = 0;
};

inline std::int32_t Trie::find(std::int32_t node, std::string_view bytes) const {
  for (char b : bytes) {
    node = child_at(node, static_cast<std::uint8_t>(b));
    if (node < 0) return -1;
  }
  return node;
}

class Children {  // iterates over a node's children, in order: all (null), or those whose byte is
                  // in the set. The trie must outlive it
 public:
  Children(const Trie& trie, std::int32_t node, const Bytes* among) : trie_(&trie), node_(node) {
    if (trie.is_wide(node)) {
      among_ = trie.bytes_of(node);
      if (among) among_.keep(*among);
      next_ = 0;
      return;
    }
    all_ = !among;
    if (among) among_ = *among;
    few_ = trie.few(node);
  }
  std::int32_t next() {  // -1: none is left
    if (next_ >= 0) {
      next_ = among_.next(next_);
      return next_ < 256 ? trie_->child(node_, static_cast<std::uint8_t>(next_++)) : -1;
    }
    while (!few_.empty()) {
      const Trie::Child child = few_.front();
      few_ = few_.subspan(1);
      if (all_ || among_.has(child.byte)) return child.node;
    }
    return -1;
  }

 private:
  const Trie* trie_;
  std::int32_t node_, next_ = -1;  // a wide node, and a byte
  bool all_ = false;
  std::span<const Trie::Child> few_;
  Bytes among_;
};

inline Trie::Trie(std::vector<Spelled> tokens) {
  std::sort(tokens.begin(), tokens.end(), [](const Spelled& a, const Spelled& b) {
    const int c = a.bytes.compare(b.bytes);
    return c < 0 || (c == 0 && a.token < b.token);
  });
  std::vector<std::int32_t> path{0};
  const auto open = [this](std::uint8_t byte, std::size_t depth) {
    nodes_.push_back(
        {0, static_cast<std::int32_t>(tokens_.size()), 0, static_cast<std::uint16_t>(depth), byte});
  };
  open(0, 0);
  std::string_view last;
  for (const Spelled& t : tokens) {
    std::size_t common = 0;
    while (common < last.size() && common < t.bytes.size() && last[common] == t.bytes[common])
      ++common;
    for (; path.size() > common + 1; path.pop_back())
      at(path.back()).skip = static_cast<std::int32_t>(nodes_.size());
    for (std::size_t i = common; i < t.bytes.size(); ++i) {
      path.push_back(static_cast<std::int32_t>(nodes_.size()));
      open(static_cast<std::uint8_t>(t.bytes[i]), i + 1);
    }
    tokens_.push_back(t.token);
    longest_ = std::max(longest_, static_cast<std::int32_t>(t.bytes.size()));
    last = t.bytes;
  }
  for (std::int32_t node : path) at(node).skip = static_cast<std::int32_t>(nodes_.size());
  open(0, 0);  // behind the last
  few_.reserve(nodes_.size());
  for (std::int32_t node = 0; node < size(); ++node) {
    std::size_t n = 0;
    for (std::int32_t child = node + 1; child < skip(node) && n < kWide; child = skip(child)) ++n;
    at(node).few = static_cast<std::uint8_t>(n);
    if (n < kWide) {
      at(node).below = static_cast<std::int32_t>(few_.size());
      for (std::int32_t child = node + 1; child < skip(node); child = skip(child))
        few_.push_back({child, byte(child)});
      continue;
    }
    at(node).few = kWide;
    at(node).below = static_cast<std::int32_t>(children_.size());
    ByByte& all = children_.emplace_back();
    all.at.fill(-1);
    for (std::int32_t child = node + 1; child < skip(node); child = skip(child))
      all.at[byte(child)] = child, all.bytes.add(byte(child));
  }
}

}  // namespace guard
