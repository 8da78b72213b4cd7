// Mask cache: whole masks by state key, for matchers that reach an equivalent configuration.
//
// A row's key is that of its engine and configuration (automaton/state_key.cpp: equal keys, equal
// masks); rows of equal content are shared. Rows are immutable and have shared owners, so reading
// one takes no lock, and the cache may drop all of them at any time. The first time, a key is only
// recorded, since most keys never come again. O(words) a row. The isolate's lock must be held for
// MaskRows, but not to read a row.
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
  std::vector<Id> few_;  // its tokens, if they are so few that clearing a row and setting them is
                         // faster than a copy
  std::vector<std::uint32_t> bits_;  // all words, otherwise
};

class MaskRows {  // of one vocabulary
 public:
  struct Known {
    std::shared_ptr<const MaskRow> row;  // null: there is none
    std::int64_t enough = kNoBudget;     // the least budget for which it is known to be the row
  };
  static constexpr std::int64_t kNoBudget = std::numeric_limits<std::int64_t>::max();
  MaskRows(std::size_t words, std::size_t nbytes) : words_(words), most_(nbytes) {}
  Known find(const std::string& key) const;
  // Keeps a row that is valid without a budget, and for budgets of at least `enough`. Where the key
  // is new it is only recorded, and there is no row.
  Known keep(const std::string& key, const std::uint32_t* row, std::int64_t enough);
  void limit(std::size_t nbytes) {
    most_ = nbytes;
  }  // of the cache, in bytes; beyond the limit all rows are dropped
  std::size_t nbytes() const { return held_; }

 private:
  void make_room();
  std::shared_ptr<const MaskRow> interned(const std::uint32_t* row);
  std::size_t words_, most_, held_ = 0;
  std::unordered_map<std::string, Known> by_key_;
  std::unordered_map<std::size_t, std::shared_ptr<const MaskRow>> by_content_;  // by hash
};

}  // namespace guard
