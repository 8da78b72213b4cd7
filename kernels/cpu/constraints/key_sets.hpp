// KeySets: sets of an object's keys, and the classes into which they divide all keys.
//
// A set is one name, a language, or the complement of some names and languages. Sets are interned.
// Classes are computed once for each list of sets. The isolate's lock must be held; references stay
// valid as long as the engine.
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

// One class of keys: a name, or the texts of a language that are not names of the shape. All names
// of one kind share a list of the sets that contain them (`wide`); each has its exceptions. Where
// thousands of `additionalProperties` exclude thousands of names, one list for each name would have
// millions of entries.
struct KeyClass {
  Id name = -1;
  Id lang = Langs::kNone;
  Id own = -1;                            // the key set of the name alone, if a rule has it
  const std::vector<Id>* wide = nullptr;  // the other key sets that contain it, sorted,
  std::vector<Id> except;                 // except these, sorted
  Id id = -1;                             // interned from the name and the sets that contain it
  bool in(Id keys) const {
    return keys == own || (std::binary_search(wide->begin(), wide->end(), keys) &&
                           !std::binary_search(except.begin(), except.end(), keys));
  }
  // Calls f for each of the rules whose key set contains it. Requires sorted rules.
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
  bool has_patterns(Id keys) const {
    const KeySet& k = key_sets_[keys];
    return !k.langs.empty() || (k.kind == KeySet::Lang && k.id != Langs::kAll);
  }
  std::vector<KeyClass> partition(
      std::vector<Id> key_sets);  // the coarsest classes such that each set is a union of them
  Id key_class(const KeyClass& cls,
               const std::vector<Id>& names);  // the set of a class that is not a name, given the
                                               // names of its partition

 private:
  Lexicon& lexicon_;
  Interner<KeySet> key_sets_;
  Interner<IdSet> class_ids_, wide_;  // wide_: lists of key sets
  PairMemo<bool> holds_;
};

}  // namespace guard
