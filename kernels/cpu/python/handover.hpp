// How the GIL goes from one thread in the middle of a call to another.
//
// CPython lets a thread that waits for the GIL sleep. A thread that gives the GIL up for a few
// microseconds has it back before the sleeper is awake, so that two threads take turns of
// milliseconds, whatever they could do at once. Here a thread waits awake first, for as long as a
// few calls take; and it lets one that wakes up go first.
//
// What is known of other threads is a hint, for they get the GIL and give it up elsewhere, too. So
// all waits are bounded, and nobody waits where it does not pay: with one thread, with one core, or
// for a while after too many waits were in vain, as they are with more threads than cores. Where
// Python has no GIL, nothing waits.
#pragma once

namespace guard {

class Handover {
 public:
  // Around PyEval_SaveThread().
  static void before_giving();
  static void after_giving();
  // Around PyEval_RestoreThread().
  static void before_taking();
  static void after_taking();
  // Whether another thread is there to whom the GIL goes in less than a microsecond. Then it is
  // worth giving up for short work. Requires the GIL, and may give it up.
  static bool is_quick();
  static void forget_others();  // in a forked child
};

}  // namespace guard
