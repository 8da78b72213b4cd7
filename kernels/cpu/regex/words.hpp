// Words: the texts of a language one by one, the cheapest first.
//
// The cost of an object's rest depends on the cheapest new keys: the next texts of a class of keys
// that were not written yet. They are found by an A* search, with the exact remaining cost
// (Langs::cheapest) as its heuristic. The search is lazy, and its state is kept. A word costs its
// length, and one branch for each character. The isolate's lock must be held.
#pragma once
#include <memory>
#include <queue>

#include "regex/regex.hpp"

namespace guard {

struct Word {
  std::string text;    // UTF-8
  std::int64_t bytes;  // inside quotes, in the cheapest spelling
};

class Words {
 public:
  explicit Words(Langs& langs) : langs_(langs) {}
  const Word* at(Id lang,
                 std::size_t i);  // the i-th word, or null when there are no more. The pointer
                                  // stays valid as long as this object

 private:
  struct Letter {
    std::int32_t before;  // index of the letter before, -1: none
    std::uint32_t c;
  };
  struct Edge {  // a transition of a language: characters [lo, hi] of equal cost, or its end (next
                 // is kNone)
    std::int64_t bytes, rest;  // bytes of such a character, and of the cheapest text through it
    Id next;
    std::uint32_t lo, hi;
  };
  struct Branch {  // an unexplored transition; its successors are added once it is taken
    std::int64_t bytes, rest;  // bytes before it, and of the cheapest text through it
    std::int32_t before;       // the letter before
    const std::vector<Edge>* edges;
    std::uint32_t edge, c;  // the edge, and its next character
    std::size_t age = 0;
    bool operator<(const Branch& o)
        const {  // on top is the cheapest, then the one nearest to its end, then the oldest
      return rest != o.rest ? rest > o.rest : bytes != o.bytes ? bytes < o.bytes : age > o.age;
    }
  };
  struct Search {
    std::deque<Word> words;
    std::vector<Letter> letters;
    std::priority_queue<Branch> open;
    std::size_t age = 0;
  };
  const std::vector<Edge>& edges(Id lang);  // the cheapest first. The reference stays valid
  Langs& langs_;
  std::unordered_map<Id, std::vector<Edge>> edges_;
  std::unordered_map<Id, std::unique_ptr<Search>> searches_;
};

}  // namespace guard
