#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

// ---- null and booleans --------------------------------------------------------------------------

Scalars::Scalars(Constraints& all)
    : goals_(all.goals), lexicon_(all.lexicon), spelling_(all.spelling), limits_(all.limits) {
  string_sets_.intern({});  // kNoStrings
  number_sets_.intern({});  // kNoNumbers
}

// A set of null (1), true (2), false (4).
struct Scalars::LiteralAlgebra {
  Scalars* g;
  Id top() const { return 7; }
  Id bottom() const { return 0; }
  Id all(const std::vector<Id>& list) const {
    Id out = 7;
    for (Id x : list) out &= x;
    return out;
  }
  Id any(const std::vector<Id>& list) const {
    Id out = 0;
    for (Id x : list) out |= x;
    return out;
  }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const {
    return one_of(*this, yes, no, sign);
  }
  Id values(const std::vector<Id>& list, bool sign) const {
    Id out = 0;
    for (Id v : list) {
      const Value::Kind k = g->lexicon_.values[v].kind;
      out |= k == Value::Null ? 1 : k == Value::True ? 2 : k == Value::False ? 4 : 0;
    }
    return sign ? out : 7 & ~out;
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    const Id out =
        a.op == Op::Type ? (a.lo & types::kNull ? 1 : 0) | (a.lo & types::kBoolean ? 6 : 0) : 7;
    return sign ? out : 7 & ~out;
  }
};

std::uint8_t Scalars::literals3(Id g) {
  if (goals_.excludes(g, types::kNull | types::kBoolean)) return 0;
  const auto found = goal_literals_.find(g);
  if (found != goal_literals_.end()) return static_cast<std::uint8_t>(found->second);
  Id out = 7;
  for (Id l : std::vector<Id>(goals_.literals(g)))
    out &= goals_.walk(LiteralAlgebra{this}, &literals_memo_, l);
  goal_literals_[g] = out;
  return static_cast<std::uint8_t>(out);
}

// ---- strings ------------------------------------------------------------------------------------

Id Scalars::strings_of(std::vector<StringPiece> pieces) {
  StringSet out;
  for (const StringPiece& p : pieces) {
    if (p.lo > p.hi || p.lang == Langs::kNone) continue;
    // Pieces are sorted by length and do not overlap; neighbours of one language become one piece.
    if (!out.pieces.empty() && out.pieces.back().lang == p.lang && out.pieces.back().hi + 1 == p.lo)
      out.pieces.back().hi = p.hi;
    else
      out.pieces.push_back(p);
  }
  return string_sets_.intern(std::move(out));
}

Id Scalars::strings_not(Id a) {
  std::vector<StringPiece> out;
  // `at`: the first length that is not covered yet; 64 bits, because it may pass kInf.
  std::int64_t at = 0;
  const std::vector<StringPiece> pieces = string_sets_[a].pieces;
  for (const StringPiece& p : pieces) {
    if (at < p.lo) out.push_back({static_cast<std::int32_t>(at), p.lo - 1, Langs::kAll});
    out.push_back({p.lo, p.hi, lexicon_.langs.no(p.lang)});
    at = static_cast<std::int64_t>(p.hi) + 1;
  }
  if (at <= kInf) out.push_back({static_cast<std::int32_t>(at), kInf, Langs::kAll});
  return strings_of(std::move(out));
}

Id Scalars::strings_and(Id a, Id b) {
  if (a == b) return a;
  std::vector<StringPiece> out;
  const std::vector<StringPiece> x = string_sets_[a].pieces, y = string_sets_[b].pieces;
  for (std::size_t i = 0, j = 0; i < x.size() && j < y.size();) {
    const std::int32_t lo = std::max(x[i].lo, y[j].lo), hi = std::min(x[i].hi, y[j].hi);
    if (lo <= hi) out.push_back({lo, hi, lexicon_.langs.both({x[i].lang, y[j].lang})});
    // Merges two sorted lists: the piece that ends first is done.
    x[i].hi < y[j].hi ? ++i : ++j;
  }
  return strings_of(std::move(out));
}

struct Scalars::StringAlgebra {
  Scalars* g;
  Id top() const { return g->strings_of({{0, kInf, Langs::kAll}}); }
  Id bottom() const { return g->strings_of({}); }
  Id all(const std::vector<Id>& list) const {
    return joined(
        list, top(), [this](Id x) { return g->string_sets_[x].pieces.size(); },
        [this](Id a, Id b) { return g->strings_and(a, b); });
  }
  Id any(std::vector<Id> list) const {
    for (Id& x : list) x = g->strings_not(x);
    return g->strings_not(all(list));
  }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const {
    return one_of(*this, yes, no, sign);
  }
  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<std::string_view> words;
    words.reserve(list.size());
    for (Id v : list)
      if (const Value& value = g->lexicon_.values[v]; value.kind == Value::String)
        words.push_back(g->lexicon_.names[value.text].text);
    const Id lang = g->lexicon_.langs.words(WordList::of_utf8(std::move(words)));
    return signed_of(g->strings_of({{0, kInf, lang}}), sign);
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    switch (a.op) {
      case Op::Type: return ((a.lo & types::kString) != 0) == sign ? top() : bottom();
      case Op::Length: return signed_of(g->strings_of({{a.lo, a.hi, Langs::kAll}}), sign);
      case Op::Pattern:
      case Op::Format: return signed_of(g->strings_of({{0, kInf, a.langs[0]}}), sign);
      default: return sign ? top() : bottom();
    }
  }
  Id signed_of(Id set, bool sign) const { return sign ? set : g->strings_not(set); }
};

Id Scalars::strings(Id g) {
  if (goals_.excludes(g, types::kString)) return kNoStrings;
  const auto found = goal_strings_.find(g);
  if (found != goal_strings_.end()) return found->second;
  const StringAlgebra algebra{this};
  std::vector<Id> parts;
  for (Id l : std::vector<Id>(goals_.literals(g)))
    parts.push_back(goals_.walk(algebra, &strings_memo_, l));
  const Id out = algebra.all(parts);
  std::vector<StringPiece> kept;
  Langs& langs = lexicon_.langs;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[out].pieces))
    if (langs.live(p.lang) &&
        (p.lang == Langs::kAll || (p.lo == 0 && p.hi == kInf) || langs.meets(p.lang, p.lo, p.hi)))
      kept.push_back(p);
  // Languages with quotations have few texts: all pieces are folded into one language, lengths
  // included.
  if (std::any_of(kept.begin(), kept.end(),
                  [&](const StringPiece& p) { return langs.has_quotes(p.lang); })) {
    const Id lang = folded(kept);
    return goal_strings_[g] = langs.live(lang) ? strings_of({{0, kInf, lang}}) : kNoStrings;
  }
  return goal_strings_[g] = strings_of(std::move(kept));
}

Id Scalars::keys_lang(Id g) {
  const auto found = keys_lang_.find(g);
  if (found != keys_lang_.end()) return found->second;
  return keys_lang_[g] = folded(std::vector<StringPiece>(string_sets_[strings(g)].pieces));
}

Id Scalars::folded(const std::vector<StringPiece>& pieces) {
  Langs& langs = lexicon_.langs;
  std::vector<Id> parts;
  for (const StringPiece& p : pieces)
    parts.push_back(p.lo == 0 && p.hi == kInf ? p.lang
                                              : langs.both({p.lang, langs.of_length(p.lo, p.hi)}));
  return langs.alt(parts);
}

}  // namespace guard
