// Words: the texts of a language one by one, the cheapest first.
//
// What an object under construction still costs depends on which new keys are cheapest: the next
// texts of a class of keys that were not written yet. A best-first search with the exact rest
// (Langs::cheapest) as its guide, made as far as it is asked for and kept: a word costs its length,
// and one branch for each character. Guarded by the isolate's lock.
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
  const Word* at(
      Id lang,
      std::size_t i);  // the i-th; null when the language has no more. The pointer stays valid

 private:
  struct Letter {
    std::int32_t before;  // index of the letter before, -1: none
    std::uint32_t c;
  };
  struct Edge {  // a way on from a language: characters [lo, hi] that cost alike, or its end (next
                 // is kNone)
    std::int64_t bytes, rest;  // of such a character; of the cheapest text through it
    Id next;
    std::uint32_t lo, hi;
  };
  struct Branch {  // one way on that was not taken yet; those behind it wait until it was
    std::int64_t bytes, rest;  // written before it; of the cheapest text through it
    std::int32_t before;       // the letter before
    const std::vector<Edge>* edges;
    std::uint32_t edge, c;  // the edge, and its character that is next
    std::size_t age = 0;
    bool operator<(const Branch& o)
        const {  // on top: the cheapest, of those the nearest to its end, then the oldest
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
