// Net: the text of a format, as a finite-state network. Arcs join points; an arc is a language, and
// leads to a point or to an exit.
//
// A net describes the text around a format's values: literals, free text up to a trigger, patterns.
// A text is read along all arcs at once; where an arc's language may end, the arcs of its target
// point begin too. An open exit leads to a value. It is taken at once if nothing else can follow,
// otherwise by the first byte that continues no text. Immutable. A net is read as a state of Texts
// (json_string.hpp), whose components are arcs.
#pragma once
#include "regex/regex.hpp"

namespace guard {

struct Net {
  struct Arc {
    Id lang;
    Id to;  // a point; below 0: the exit ~to
    bool operator==(const Arc&) const = default;
  };
  std::vector<std::vector<Id>>
      points;  // by point, the arcs that leave it, in the order of the alternatives
  std::vector<Arc> arcs;
  std::vector<char> open;  // by exit
  bool operator==(const Net&) const = default;
  std::size_t hash() const {
    std::size_t h = arcs.size();
    for (const Arc& a : arcs)
      h = mix(mix(h, static_cast<std::size_t>(a.lang)), static_cast<std::size_t>(a.to));
    for (const std::vector<Id>& p : points) h = mix(h, hash_of(p));
    return h;
  }
};

}  // namespace guard
