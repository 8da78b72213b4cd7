// Whether a format can be read in one way only, as far as its values are concerned: before a value
// begins, and behind a number.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

// Throws Limit{"format"} where a byte could begin a value as well as go on with the text, where two
// values could begin, or where a number could go on as the text behind it. Explores the states of
// all texts: O(states x 256), and kMostChecked of them at most.
void check_format(Engine& engine);

// The points from which nothing leads to the end, and the exits whose value nothing meets (~exit).
// Only these arcs and exits are looked into; of the others it is known that they have a text.
// O(points x arcs), at worst.
std::vector<Id> dead_parts(Engine& engine, const std::vector<Id>& arcs,
                           const std::vector<Id>& exits);

}  // namespace guard
