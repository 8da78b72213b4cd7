// Net: text that may go on in several ways: points, joined by arcs, each a language, that lead to a
// point or out of the net.
//
// It is what a format says of the text around its values: literals, free text up to a trigger,
// patterns. A text is read along all arcs at once; where the language of an arc may end, the arcs
// of the point that it leads to begin, too. An exit that is open leads to something that is
// spelled, a value: it is taken at once where nothing else can follow, and else by the first byte
// that no text goes on with. Immutable; read as a state of Texts (json_string.hpp), whose
// components are arcs.
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
      points;  // of each the arcs that leave it, the first alternative first
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
