// The texts of the value at hand, where they are a closed choice: what may be scored as a whole.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

// The texts from here to the value's end, sorted: quotations with the quote that ends them; or
// numbers of a finite set, with null where that may come, too. None: the choice is not closed, or
// of more than `most`. O(characters of all of them).
std::vector<std::string> closed_texts(Engine& engine, const Config& at, std::size_t most);

}  // namespace guard
