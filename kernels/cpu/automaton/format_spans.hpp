// Spans: what each part of a turn was read as: arcs of the text, values, symbols.
//
// A text is read once more, from a point of the net to where it was left: as a list of threads in
// the order of the alternatives (Pike 1987), each with the way that led to it. Where a text can be
// read in several ways the first alternative counts, and what goes on before what ends.
#pragma once
#include <memory>

#include "automaton/engine.hpp"

namespace guard {

struct FormatSpan {
  enum Kind : std::uint8_t { Arc, Value, Symbol } kind;
  Id what;                 // an arc; an exit
  std::size_t begin, end;  // bytes
};

// Of a turn that was read, told by these events. Empty parts are left out, but for symbols. O(bytes
// x arcs under way).
std::vector<FormatSpan> spans_of(Engine& engine, const std::vector<FormatEvent>& events,
                                 std::string_view text);

}  // namespace guard
