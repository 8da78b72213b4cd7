// Words: the texts of a language one by one, the cheapest first.
//
// What an object under construction still costs depends on which new keys are cheapest: the next texts of a class of keys
// that were not written yet. A best-first search with the exact rest (Langs::cheapest) as its guide, made as far as it is asked
// for and kept: a word costs its length, and what branches off on its way. Guarded by the kernel lock.
#pragma once
#include <memory>
#include <queue>

#include "lang.hpp"

namespace guard {

struct Word {
  std::string text;    // UTF-8
  std::int64_t bytes;  // inside quotes, in the cheapest spelling
};

class Words {
 public:
  explicit Words(Langs& langs) : langs_(langs) {}
  const Word* at(Id lang, std::size_t i);  // the i-th; null when the language has no more. The pointer stays valid

 private:
  struct Letter {
    std::int32_t before;  // index of the letter before, -1: none
    std::uint32_t c;
  };
  struct Branch {
    std::int64_t bytes, rest;   // written before it; of the cheapest text through it
    std::int32_t before;        // the letter before
    Id next;                    // the language behind one of the characters [c, end]; kNone: a word ends here
    std::uint32_t c, end;
    std::size_t age = 0;
    bool operator<(const Branch& o) const {  // on top: the cheapest, of those the nearest to its end, then the oldest
      return rest != o.rest ? rest > o.rest : bytes != o.bytes ? bytes < o.bytes : age > o.age;
    }
  };
  struct Search {
    std::deque<Word> words;
    std::vector<Letter> letters;
    std::priority_queue<Branch> open;
    std::size_t age = 0;
  };
  std::vector<Branch> branches(Id lang, std::int32_t before, std::int64_t bytes);
  Langs& langs_;
  std::unordered_map<Id, std::unique_ptr<Search>> searches_;
};

}  // namespace guard
