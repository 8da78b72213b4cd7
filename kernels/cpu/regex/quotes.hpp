// Iteration over the substrings of a text that may be quoted. Each place is followed only as far as
// the other languages of the intersection accept it.
//
// use(place, end) is called for each substring that all languages accept, and returns how to
// continue. O(bytes followed); each byte ticks the clock. Requires the isolate's lock.
#pragma once
#include "regex/regex.hpp"

namespace guard {

template <class F>
void Langs::each_quoted(const Quoting& q, F use) {
  const Quotable& from = *q.from;
  for (std::int32_t i = q.lo; i < q.hi; ++i) {
    const std::int32_t place = from.places[static_cast<std::size_t>(i)];
    const std::int32_t limit = from.limits[static_cast<std::size_t>(place)];
    Id state = q.others;
    for (std::int32_t at = place + q.depth; state != kNone; ++at) {
      kernel_clock.tick(Op::Pattern);
      if (at > place && from.ends[static_cast<std::size_t>(at)] && accepts(state)) {
        const Then then = use(place, at);
        if (then == Then::Stop) return;
        if (then == Then::NextPlace) break;
      }
      if (at >= limit) break;
      if (state != kAll) state = row(state).at(from.text[static_cast<std::size_t>(at)]);
    }
  }
}

}  // namespace guard
