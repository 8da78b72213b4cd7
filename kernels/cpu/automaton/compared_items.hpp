// ComparedItems: arrays and objects that must not become one of the values written before them
// (uniqueItems).
//
// Told to its level each such value is a clause, so that a hundred of them are slow. But mostly the
// level need not know: as long as more ways to go on remain than there are such values, whatever
// comes next, none of them forbids anything. So the frame keeps them, less those that differ in
// what has been written; and only where the next member or item could be the last in which they can
// differ the few that are left are told to the level. A distance has it all told from the beginning
// of the item: Stepper::told reads the text again. Guarded by the isolate's lock.
#pragma once
#include "automaton/levels.hpp"

namespace guard {

class ComparedItems {
 public:
  ComparedItems(Constraints& constraints, Levels& levels, const Options& options)
      : constraints_(constraints), goals_(constraints.goals), levels_(levels), options_(options) {}
  bool may_wait(
      const Frame& f);  // may the values be kept back until behind the next member or item?
  // The values of the goal, which lists them, that are of this type; null: there are none.
  const Barred* barred_in(Id among, Type type, Arena& arena);
  // Leaves those that agree with the member or item that was just written, and tells them to the
  // level of `next` where they can't wait.
  void narrow(const Frame& f, Id value, Frame* next, Arena& arena);
  // The item behind the mark; `last` is its last byte where the text lacks it, -1: it does not.
  Id value_of(const KeyText* text, const KeyText* mark, int last);

 private:
  Id with_barred(const Frame& f, Id level, const Barred& barred);
  Constraints& constraints_;
  Goals& goals_;
  Levels& levels_;
  const Options& options_;
};

}  // namespace guard
