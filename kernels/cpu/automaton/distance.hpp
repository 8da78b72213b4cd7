// Distances: bytes of a shortest completion: those of the lexeme's rest, then of each frame's rest.
//
// exactly() is the length of a shortest completion, or of one that is short enough. on_sight()
// returns it, or a bound, without a search, if the members of the objects around are independent:
// the rest after a value is then the same for every value. All numbers are in bytes; -1: there is
// no completion, -2: unknown. Results are kept in the frames' caches. The isolate's lock must be
// held. Throws Missing and Limit.
#pragma once
#include "automaton/stepper.hpp"

namespace guard {

class Distances {
 public:
  Distances(Constraints& constraints, Levels& levels, Viability& viability, KeyReader& keys,
            Stepper& stepper, const Options& options, const Format* format);

  // The distance to the end, with the end-of-sequence token as one byte. With a limit, the result
  // may be any number up to the limit that suffices, not the least; -1: there is none.
  std::int64_t exactly(const Config& at, std::int64_t limit);
  struct Sight {
    std::int64_t bytes = -1;  // the distance, or an upper bound; -1: unknown
    bool is_exact = false;
  };
  Sight on_sight(const Config& at);

  // Options for the due value: labels that it may have, each with the bytes from after the value to
  // the end of the text in that case. If there are hundreds, only the first ones, or with `all`
  // every one. Valid as long as the frame.
  const Targets& options(const Frame& f, Type type, bool all = false);
  // The bytes from after the due value to the end of the text, if they are the same for every
  // value; -1: they depend on the value.
  std::int64_t behind_value(const Frame& f);
  std::int64_t tail(const Frame& f);  // the same, for any value of its class
  // A lower bound of the bytes to the end of the text, from between two members, or from before the
  // first.
  std::int64_t least_rest(const Frame& f);
  // Is it an object whose members are independent of each other, in number and in content?
  bool is_even(const Frame& f);
  // For an even object, the bytes from after the closing quote of this name (-1: of another key) of
  // the class. -2: the distance depends on more than the value's goal.
  std::int64_t behind_key(const Frame& f, std::int32_t cls, std::int32_t name);
  std::int64_t most_named(Id level),
      most_other(Id level);  // bytes of the longest member with a name, key included; of the
                             // longest value of another key

 private:
  struct Aim {  // a Target under construction
    std::vector<Id> ids;
    Id goal;
    std::int64_t tail;
  };
  const Targets& keep(const Frame& f, Type type, const std::vector<Aim>& list, bool is_cut = false);
  const Targets* lasting(const Frame& f, const std::vector<Aim>& list, bool is_cut = false);
  // The targets in an open container: sets of alternatives of its level to be met at its end, each
  // with the bytes from there.
  const Targets& targets(const Frame& f);
  std::vector<Aim> aimed_at(const Frame& f, const Targets& options);
  // For each of these labels, which are sorted, the first alternative that serves it; -1: none
  // does.
  std::vector<Id> serving(const Level& level, const std::vector<Id>& asked);
  std::int64_t bytes_left(const Config& at, std::int64_t limit);
  std::int64_t scalar_distance(const Config& at);
  std::int64_t value_distance(const Frame& f, std::int64_t limit);
  std::int64_t number_distance(const Config& at, const Target& option);
  std::int64_t key_distance(const Config& at, std::int64_t limit);
  std::int64_t after_key(const Frame& f, std::int32_t cls, std::int32_t name, std::int64_t limit);
  // For a format: from a point of the net, and from after an exit, to the end of the text.
  std::int64_t behind_point(Id point);
  std::int64_t behind_exit(Id exit);
  void measure_format();
  std::int64_t raw_distance(const Config& at);
  std::int64_t behind_arc(Id arc);
  struct KeyEnds;
  Id left_of(const Frame& f, const Target& target, std::optional<Id> beside = {});
  bool exceeds_with(const Frame& f, std::int32_t name, std::int64_t most);
  std::int64_t least_members(const Frame& f);
  std::int64_t member_cost(Id level, std::int32_t cls);  // of the shortest value for a key of the
                                                         // class, in a level of one alternative
  std::int64_t value_bytes(Id level,
                           std::int32_t cls);  // the same; -2: it depends on more than the goal
  const Word* new_key(const Frame& f, std::int32_t cls);

  Constraints& constraints_;
  Goals& goals_;
  Levels& levels_;
  Viability& viability_;
  KeyReader& keys_;
  Stepper& stepper_;
  const Options& options_;
  const Format* format_;
  std::vector<std::int64_t> behind_points_, exit_costs_;  // empty: not computed
  Texts& texts_;
  Numbers& numbers_;
  struct MemberCosts {                    // of an object's level
    std::vector<std::int64_t> values;     // by class; -3: not computed
    std::int64_t named = -2, other = -2;  // see most_named; -2: not computed
  };
  MemberCosts& costs(Id level);
  ById<MemberCosts> costs_;
};

}  // namespace guard
