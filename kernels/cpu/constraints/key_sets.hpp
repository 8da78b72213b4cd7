// KeySets: sets of an object's keys, and the classes into which they divide all keys.
//
// A set is one name, a language, or the rest: what is in none of some names and languages. Sets are
// interned. Classes are computed once for each list of sets that somebody asks for. Guarded by the
// isolate's lock; references stay valid.
#pragma once
#include "constraints/goals.hpp"

namespace guard {

struct KeySet {
  enum Kind : std::uint8_t { One, Lang, Rest } kind = One;  // Rest: in none of names and langs
  Id id = -1;                                               // One: the name; Lang: the language
  std::vector<Id> names, langs;                             // Rest: sorted
  bool operator==(const KeySet&) const = default;
  std::size_t hash() const {
    return mix(mix(mix(kind, static_cast<std::size_t>(id)), hash_of(names)), hash_of(langs));
  }
};

struct Rule {
  Id keys, goal;
  auto operator<=>(const Rule&) const = default;
};

// One class of keys: a name, or the texts of a language that are no name of the shape. Thousands of
// names that thousands of `additionalProperties` don't mean would be a million pairs: all names of
// a kind share one list of what holds it, save what names them.
struct KeyClass {
  Id name = -1;
  Id lang = Langs::kNone;
  Id own = -1;  // the key set of the name alone, where a rule speaks of it
  const std::vector<Id>* wide = nullptr;  // the other key sets that hold it, sorted,
  std::vector<Id> except;                 // but for these, sorted
  Id id = -1;                             // of the name and of what holds it
  bool in(Id keys) const {
    return keys == own || (std::binary_search(wide->begin(), wide->end(), keys) &&
                           !std::binary_search(except.begin(), except.end(), keys));
  }
  // Those of the rules, which are sorted, whose key set holds it.
  template <class F>
  void each(const std::vector<Rule>& rules, F f) const {
    if (wide->size() >= rules.size()) {
      for (const Rule& r : rules)
        if (in(r.keys)) f(r);
      return;
    }
    const auto of = [&](Id keys) {
      for (auto at = std::lower_bound(rules.begin(), rules.end(), Rule{keys, -1});
           at != rules.end() && at->keys == keys; ++at)
        f(*at);
    };
    if (own >= 0) of(own);
    for (Id keys : *wide)
      if (!std::binary_search(except.begin(), except.end(), keys)) of(keys);
  }
};

class KeySets {
 public:
  explicit KeySets(Constraints& all);
  const KeySet& operator[](Id id) const { return key_sets_[id]; }
  Id key_name(Id name) { return key_sets_.intern({KeySet::One, name, {}, {}}); }
  Id key_lang(Id lang) { return key_sets_.intern({KeySet::Lang, lang, {}, {}}); }
  Id key_rest(std::vector<Id> names, std::vector<Id> langs);
  bool holds(Id keys, Id name);
  std::vector<KeyClass> partition(
      std::vector<Id> key_sets);  // the classes of keys that these sets tell apart
  Id key_class(const KeyClass& cls,
               const std::vector<Id>& names);  // the set of a class that is no name, when these are
                                               // the names of its partition

 private:
  Lexicon& lexicon_;
  Interner<KeySet> key_sets_;
  Interner<IdSet> class_ids_, wide_;  // wide_: lists of key sets
  PairMap<bool> holds_;
};

}  // namespace guard
