// Rows: masks as they were made, for matchers that come to where one was before.
//
// A row is filed under its engine and the key of its configuration (automaton/state_key.cpp: equal
// keys, equal masks); rows of equal content are one. A row never changes, and whoever reads one
// holds it: so reading takes no lock, and all rows may be forgotten at any time. A key that came
// once is only noted, for most never come again. O(words) a row; the tables are guarded by the
// isolate's lock.
#pragma once
#include <memory>

#include "support/base.hpp"

namespace guard {

class MaskRow {
 public:
  MaskRow() = default;
  MaskRow(const std::uint32_t* row, std::size_t words) { assign(row, words); }
  void assign(const std::uint32_t* row, std::size_t words);
  void write(std::uint32_t* row) const;  // all words
  bool operator==(const MaskRow&) const = default;
  std::size_t hash() const;
  std::size_t nbytes() const { return sizeof *this + few_.capacity() * 4 + bits_.capacity() * 4; }

 private:
  static constexpr std::size_t kMostFew = 512;
  std::size_t words_ = 0;
  std::vector<Id> few_;  // its tokens, where they are so few that to clear a row and to set them is
                         // less than to copy it
  std::vector<std::uint32_t> bits_;  // all words, where they are not
};

class MaskRows {  // of one vocabulary
 public:
  MaskRows(std::size_t words, std::size_t nbytes) : words_(words), most_(nbytes) {}
  std::shared_ptr<const MaskRow> find(const std::string& key) const;  // null: not known
  std::shared_ptr<const MaskRow> keep(
      const std::string& key, const std::uint32_t* row);  // null: the key came for the first time
  void limit(std::size_t nbytes) {
    most_ = nbytes;
  }  // of what is remembered; beyond it all is forgotten
  std::size_t nbytes() const { return held_; }

 private:
  void make_room();
  std::shared_ptr<const MaskRow> interned(const std::uint32_t* row);
  std::size_t words_, most_, held_ = 0;
  std::unordered_map<std::string, std::shared_ptr<const MaskRow>> by_key_;
  std::unordered_map<std::size_t, std::shared_ptr<const MaskRow>> by_content_;  // by hash
};

}  // namespace guard
