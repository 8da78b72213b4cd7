// Whether a format can be read in one way only, as far as its values are concerned: before a value
// begins, and behind a number.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

// Throws Limit{"format"} where a byte could begin a value as well as go on with the text, where two
// values could begin, or where a number could go on as the text behind it. Explores the states of
// all texts: O(states x 256), and kMostChecked of them at most.
void check_format(Engine& engine);

}  // namespace guard
