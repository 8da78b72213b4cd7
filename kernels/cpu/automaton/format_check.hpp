// Checks of a format: whether values are unambiguous, at their beginning and after numbers; and
// which parts are dead.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

// Throws Limit{"format"} where a byte can begin a value and also continue the text, where two
// values can begin, or where a byte can continue a number and also begin the text after it.
// Explores the states of all texts: O(states x bytes that go on), with at most kMostChecked states.
// The isolate's lock must be held.
void check_format(Engine& engine);

// The points that can't reach the end, and the exits whose goal has no value (as ~exit). Only the
// given arcs and exits are examined; the others are known to have a text. O(points x arcs) at
// worst. The isolate's lock must be held.
std::vector<Id> dead_parts(Engine& engine, const std::vector<Id>& arcs,
                           const std::vector<Id>& exits);

}  // namespace guard
