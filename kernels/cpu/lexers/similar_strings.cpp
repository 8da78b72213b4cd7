// Texts: states that stand for others, and what is known of their ends without a search. See
// json_string.hpp.
#include <algorithm>

#include "lexers/json_string.hpp"

namespace guard {

Id Texts::goes_on(Id state) {
  const State& s = states_[state];
  Id out = Langs::kNone;
  if (!s.pending.kind && s.net < 0)
    for (std::size_t i = 0; i < s.components.size() && out != Langs::kAll; ++i)
      if (s.components[i].index < kTracked)
        if (const Id lang = langs_.goes_on(s.components[i].lang);
            lang == Langs::kAll || out == Langs::kNone)
          out = lang;
  if (out == Langs::kNone) return kDead;
  Id spec;
  return start({{out, 0, kInf, 0}}, s.spelling, &spec, s.use);
}

std::int64_t Texts::enough(Id state, Id spec, std::int64_t read, Id label) const {
  std::int64_t out = -1;
  for (const Component& c : states_[state].components) {
    const Bound& b = specs_[spec].at(c.index);
    if (b.label != label || (c.lang != Langs::kAll && (b.lo > 0 || b.hi != kInf))) continue;
    const std::int64_t bytes =
        c.lang == Langs::kAll ? std::max<std::int64_t>(b.lo - read, 0) : langs_.enough(c.lang);
    if (bytes >= 0 && (out < 0 || bytes + kOneChar < out)) out = bytes + kOneChar;
  }
  return out;
}

Id Texts::free(Id state) {
  Id spec;
  return start({{Langs::kAll, 0, kInf, 0}}, states_[state].spelling, &spec, states_[state].use);
}

Id Texts::relaxed(Id state, std::int32_t* most) {
  State s = states_[state];
  if (s.pending.kind || s.net >= 0) return state;
  for (Component& c : s.components) c.lang = langs_.relaxed(c.lang, most);
  return *most == kInf ? state : intern(std::move(s));
}

Id Texts::cut(Id state, std::int32_t chars) {
  const State& from = states_[state];
  if (from.pending.kind || from.net >= 0 || from.use != Use::Value) return kDead;
  State s = from;
  Langs::Cut how;
  for (Component& c : s.components) c.lang = langs_.cut(c.lang, chars, &how);
  return how.counts ? intern(std::move(s)) : kDead;
}

}  // namespace guard
