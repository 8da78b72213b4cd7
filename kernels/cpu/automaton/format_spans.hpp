// Spans: the parts of a turn: arcs of the text, values, symbols.
//
// Each stretch of text is read again, from a point of the net to its exit, by a list of threads in
// order of the alternatives (Pike 1987), each with its path. Where a text can be read in several
// ways, the first alternative counts, and a longer arc counts before an ended one.
#pragma once
#include <memory>

#include "automaton/engine.hpp"

namespace guard {

struct FormatSpan {
  enum Kind : std::uint8_t { Arc, Value, Symbol } kind;
  Id what;                 // an arc; an exit
  std::size_t begin, end;  // bytes
};

// The spans of a turn, from its events. Empty parts are left out, except symbols. O(bytes x active
// arcs). The isolate's lock must be held.
std::vector<FormatSpan> spans_of(Engine& engine, const std::vector<FormatEvent>& events,
                                 std::string_view text);

}  // namespace guard
