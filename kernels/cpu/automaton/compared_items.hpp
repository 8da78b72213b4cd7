// ComparedItems: arrays and objects that must differ from values written before them (uniqueItems).
//
// In a level each such value would be a clause, and a hundred of them are slow. Mostly the level
// does not need them: while there are more continuations than such values, whatever comes next, no
// value excludes anything. So the frame keeps the values, minus those that already differ from the
// text. Only where the next member or item may be the last chance to differ are the remaining few
// added to the level ("told"). Distances need all of them told from the item's beginning, so
// Stepper::told reads the text again. The isolate's lock must be held.
#pragma once
#include "automaton/levels.hpp"

namespace guard {

class ComparedItems {
 public:
  ComparedItems(Constraints& constraints, Levels& levels, const Options& options)
      : constraints_(constraints), goals_(constraints.goals), levels_(levels), options_(options) {}
  bool may_wait(
      const Frame& f);  // may the level do without the values until after the next member or item?
  // The values of this type in a goal that lists its values; null: there are none. Allocated in the
  // arena.
  const Barred* barred_in(Id among, Type type, Arena& arena);
  // Keeps only the values that agree with the member or item just written, and adds them to the
  // level of `next` where they can't wait.
  void narrow(const Frame& f, Id value, Frame* next, Arena& arena);
  // The value of the item after the mark. `last` is its last byte if the text lacks it, else -1.
  Id value_of(const KeyText* text, const KeyText* mark, int last);

 private:
  Id with_barred(const Frame& f, Id level, const Barred& barred);
  Constraints& constraints_;
  Goals& goals_;
  Levels& levels_;
  const Options& options_;
};

}  // namespace guard
