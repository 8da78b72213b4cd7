// The parts of a text that may be quoted, one by one, each as far as other languages go along with
// it.
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
