// The remaining texts of the current value if it is a closed choice, to be scored as a whole.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

// The texts from here to the value's end, sorted: quotations with their closing quote, or the
// numbers of a finite set, and null if it may come, too. Empty if the choice is not closed or has
// more than `most` texts. O(characters of all texts).
std::vector<std::string> closed_texts(Engine& engine, const Config& at, std::size_t most);

}  // namespace guard
