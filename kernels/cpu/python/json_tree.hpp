// A JSON value read once from Python, as one array: the private copy of a schema.
//
// The walks over a schema (validate_fast, scan_fast, lower_fast) read this array. Python objects of
// it are made when somebody asks for them, which most schemas never see: copying dictionaries and
// looking keywords up in them takes longer than everything else that a small schema needs.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "python/keyword_codes.hpp"

namespace guard {

class JsonTree {
 public:
  using Index = std::uint32_t;
  enum class Kind : std::uint8_t {
    Null,
    False,
    True,
    Integer,  // of 64 bits
    Long,     // any other; its text is in hexadecimal
    Float,
    Text,
    OddText,  // with a lone surrogate, which UTF-8 can't encode
    Other,    // of a type of Python's own, such as Decimal; a number without an end, or too long
    List,
    Object
  };
  // A value, after those before it and its container's. A container's values follow it.
  struct Node {
    Kind kind = Kind::Null;
    Keyword word = 0;          // of its key
    bool has_odd_key = false;  // its key is an OddText
    Index end = 0;             // the node after its subtree
    std::uint32_t at = 0;      // of a scalar, where its bytes begin in written()
    std::uint32_t size = 0;    // how many these are; of a container, how many values it has
    std::uint32_t key_at = 0, key_size = 0;  // the bytes of its key, where its container has keys
  };
  enum Met { kId = 1, kOldId = 2, kSchema = 4, kAnchor = 8, kRoot = 16 };

  JsonTree() = default;
  JsonTree(const JsonTree&) = delete;
  ~JsonTree();  // with the GIL

  const Node& operator[](Index i) const { return nodes_[i]; }
  Index size() const { return static_cast<Index>(nodes_.size()); }
  // The words (Met) that it has below its root; anchors anywhere; and any of the first three at it.
  int met() const { return met_; }
  // Its content as bytes: a letter for each value and key, then a number of eight bytes, which of a
  // text is its size, then the text. Two values have the same bytes if they have the same keys in
  // the same order, and items of the same types that are equal; not so where there are Others.
  std::string_view written() const { return {written_.data.get(), written_.size}; }
  // How many values it has, 64 bytes of texts or of an object's keys counting as another.
  std::size_t weight() const;
  bool is_whole() const { return others_.empty(); }  // whether written() tells all of it

  std::string_view bytes(Index i) const { return bytes_from(nodes_[i].at, nodes_[i].size); }
  std::string_view bytes_from(std::uint32_t at, std::uint32_t size) const {
    return {written_.data.get() + at, size};
  }
  // All that written() says of a scalar that is no Other: equal for equal values of one type.
  std::string_view said(Index i) const {
    constexpr std::uint32_t kNumber = 1 + sizeof(std::int64_t);
    const Node& n = nodes_[i];
    switch (n.kind) {
      case Kind::Null:
      case Kind::False:
      case Kind::True: return bytes_from(n.at, 1);
      case Kind::Integer:
      case Kind::Float: return bytes_from(n.at - 1, kNumber);
      default: return bytes_from(n.at - kNumber, kNumber + n.size + (n.kind == Kind::Long));
    }
  }
  std::string_view key(Index i) const { return bytes_from(nodes_[i].key_at, nodes_[i].key_size); }
  std::int64_t integer(Index i) const { return number_at<std::int64_t>(nodes_[i].at); }
  double real(Index i) const { return number_at<double>(nodes_[i].at); }
  bool is_boolean(Index i) const {
    return nodes_[i].kind == Kind::True || nodes_[i].kind == Kind::False;
  }
  bool is_object(Index i) const { return nodes_[i].kind == Kind::Object; }
  bool is_list(Index i) const { return nodes_[i].kind == Kind::List; }
  // A member of an object by its keyword, or 0, which is none's.
  Index member(Index object, Keyword word) const {
    for (Index i = object + 1, end = nodes_[object].end; i < end; i = nodes_[i].end)
      if (nodes_[i].word == word) return i;
    return 0;
  }

  // As Python objects, with the GIL. Containers are the same ones each time: they are made all at
  // once when the first is asked for.
  nanobind::object value(Index i) const;
  nanobind::object copy(Index i) const;  // made for this call
  nanobind::object key_object(Index i) const;
  // The node of a container that value() returned, by its address, or kNone.
  static constexpr Index kNone = 0xffffffff;
  Index index_of(const void* object) const;

 private:
  friend class TreeReader;
  struct Objects {
    std::vector<nanobind::object> by_node;  // of containers, whatever becomes of these in Python
    std::vector<std::pair<const void*, Index>> nodes;  // by address, sorted

    void add(Index i, const nanobind::object& container) {
      by_node[i] = container;
      nodes.emplace_back(container.ptr(), i);
    }
  };

  template <class Number>
  Number number_at(std::uint32_t at) const {
    Number out;
    std::memcpy(&out, written_.data.get() + at, sizeof out);
    return out;
  }
  const Objects& objects() const;
  nanobind::object scalar(Index i) const;
  nanobind::object made(Index i, Objects* out) const;

  // Bytes that grow without being cleared first.
  struct Bytes {
    std::unique_ptr<char[]> data;
    std::size_t size = 0, room = 0;

    char* grow(std::size_t by) {  // room for so many more, which count from now on
      if (size + by > room) {
        room = std::max(2 * room, size + by);
        auto more = std::make_unique_for_overwrite<char[]>(room);
        if (size) std::memcpy(more.get(), data.get(), size);
        data = std::move(more);
      }
      size += by;
      return data.get() + size - by;
    }
  };

  std::vector<Node> nodes_;
  Bytes written_;
  std::vector<PyObject*> others_;
  int met_ = 0;
  mutable std::atomic<Objects*> objects_ = nullptr;
};

void bind_json_tree(nanobind::module_& module);  // adds JsonTree

}  // namespace guard
