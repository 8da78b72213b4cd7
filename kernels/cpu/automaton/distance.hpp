// Distances: the bytes of a completion, which are the rest of the lexeme, then for each frame the
// rest of what is aimed at there.
//
// exactly() is the length of a shortest completion, or of one that is short enough. on_sight()
// tells it, or a bound, without a search where the members of the objects around don't hang on each
// other: what is behind a value is then the same whatever the value. Every number is in bytes; -1:
// there is no way, -2: not known. What was found lies in the frames' caches. Guarded by the
// isolate's lock.
#pragma once
#include "automaton/stepper.hpp"

namespace guard {

class Distances {
 public:
  Distances(Constraints& constraints, Levels& levels, Viability& viability, KeyReader& keys,
            Stepper& stepper, const Options& options, const Format* format);

  // To the end, counting the end-of-sequence token as one. Within a limit the least number need not
  // be found: any number up to the limit that surely suffices is an answer; -1: none does.
  std::int64_t exactly(const Config& at, std::int64_t limit);
  struct Sight {
    std::int64_t bytes = -1;  // the distance, or a bound from above; -1: neither can be told
    bool is_exact = false;
  };
  Sight on_sight(const Config& at);

  // Ways to write the due value: labels that it is to have, and bytes from behind it to the end of
  // everything when it has them. Of hundreds of ways the first ones, and of the others with `all`.
  const Targets& options(const Frame& f, Type type, bool all = false);
  // From behind the value that is due to the end of everything, whatever the value; -1: it hangs on
  // the value.
  std::int64_t behind_value(const Frame& f);
  std::int64_t tail(const Frame& f);  // the same, whatever value of its class it is
  // A bound from below: to the end of everything from between the members, or from the first one.
  std::int64_t least_rest(const Frame& f);
  // Is it an object whose members don't hang on each other, in number or in what they are?
  bool is_even(const Frame& f);
  // Of an even object, from behind the closing quote of this name (-1: of another key) of the
  // class. -2: more than the value's goal matters.
  std::int64_t behind_key(const Frame& f, std::int32_t cls, std::int32_t name);
  std::int64_t most_named(Id level),
      most_other(Id level);  // of the dearest member that has a name, with its key; of the dearest
                             // value behind another key

 private:
  struct Aim {  // a Target while it is being found
    std::vector<Id> ids;
    Id goal;
    std::int64_t tail;
  };
  const Targets& keep(const Frame& f, Type type, const std::vector<Aim>& list, bool is_cut = false);
  const Targets* lasting(const Frame& f, const std::vector<Aim>& list, bool is_cut = false);
  // What could be aimed at in an open container: alternatives of its level that are all to be met
  // at its end, and bytes from there.
  const Targets& targets(const Frame& f);
  std::vector<Aim> aimed_at(const Frame& f, const Targets& options);
  std::int64_t bytes_left(const Config& at, std::int64_t limit);
  std::int64_t scalar_distance(const Config& at);
  std::int64_t value_distance(const Frame& f, std::int64_t limit);
  std::int64_t number_distance(const Config& at, const Target& option);
  std::int64_t key_distance(const Config& at, std::int64_t limit);
  std::int64_t after_key(const Frame& f, std::int32_t cls, std::int32_t name, std::int64_t limit);
  // Of a format: from a point of the net to the end of everything, and behind an exit.
  std::int64_t behind_point(Id point);
  std::int64_t behind_exit(Id exit);
  void measure_format();
  std::int64_t raw_distance(const Config& at);
  std::int64_t behind_arc(Id arc);
  struct KeyEnds;
  std::int64_t least_members(const Frame& f);
  std::int64_t member_cost(Id level, std::int32_t cls);  // of the cheapest value behind a key of
                                                         // the class, in a level of one alternative
  std::int64_t value_bytes(Id level, std::int32_t cls);  // the same; -2: more than its goal matters
  const Word* new_key(const Frame& f, std::int32_t cls);

  Constraints& constraints_;
  Goals& goals_;
  Levels& levels_;
  Viability& viability_;
  KeyReader& keys_;
  Stepper& stepper_;
  const Options& options_;
  const Format* format_;
  std::vector<std::int64_t> behind_points_, exit_costs_;  // empty: not yet
  Texts& texts_;
  Numbers& numbers_;
  struct MemberCosts {                    // of an object's level
    std::vector<std::int64_t> values;     // by class; -3: not yet
    std::int64_t named = -2, other = -2;  // see most_named; -2: not yet
  };
  MemberCosts& costs(Id level);
  ById<MemberCosts> costs_;
};

}  // namespace guard
