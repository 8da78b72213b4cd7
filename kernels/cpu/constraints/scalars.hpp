// Scalars: the null, booleans, strings and numbers that a goal allows.
//
// The goal's formula is evaluated in three Boolean algebras of sets (algebra.hpp): null and
// booleans as three bits, strings as lengths with their languages, numbers as a union of pieces.
// Sets are interned, and have no empty parts. scalars.cpp has strings, numbers.cpp numbers. The
// isolate's lock must be held; references stay valid as long as the engine.
#pragma once
#include "constraints/goals.hpp"

namespace guard {

struct StringSet {  // a union of disjoint intervals of lengths, each with its language; sorted
  std::vector<StringPiece> pieces;
  bool operator==(const StringSet&) const = default;
  std::size_t hash() const {
    std::size_t h = pieces.size();
    for (const auto& p : pieces)
      h = mix(mix(mix(h, static_cast<std::size_t>(p.lo)), static_cast<std::size_t>(p.hi)),
              static_cast<std::size_t>(p.lang));
    return h;
  }
};

class Scalars {
 public:
  explicit Scalars(Constraints& all);
  std::uint8_t literals3(Id goal);          // bit 0 null, bit 1 true, bit 2 false
  Id strings(Id goal);                      // a StringSet
  const std::vector<Id>& numbers(Id goal);  // pieces, a union
  const StringSet& string_set(Id id) const { return string_sets_[id]; }
  Id keys_lang(Id goal);                  // the goal's strings as one language, lengths included
  bool reads_alike(Id goal, Id literal);  // whether the spellings of the goal's numbers do not
                                          // depend on the literal
  bool is_scalar(Id goal);  // whether the goal's own keywords exclude arrays and objects
  // If the goal has few values and all are scalars, lists one id for each and returns true.
  bool few_values(Id goal, std::vector<std::int64_t>* values);

 private:
  static constexpr Id kNoStrings = 0, kNoNumbers = 0;
  struct LiteralAlgebra;
  struct StringAlgebra;
  struct NumberAlgebra;
  Id strings_and(Id a, Id b);
  Id strings_not(Id a);
  Id strings_of(std::vector<StringPiece> pieces);
  Id folded(const std::vector<StringPiece>& pieces);  // as one language
  Id numbers_and(Id a, Id b);
  Id numbers_or(const std::vector<Id>& sets);
  Id number_set(std::vector<Id> pieces);
  void must_be_few(std::size_t intervals) const;
  bool is_point(Id piece)
      const;  // whether it is one value without other conditions, so that equal ones are one piece
  const std::vector<Id>& wide_pieces(Id number_set);  // those that are not points
  static bool is_within(const Decimal& value, const Piece& wide);

  Goals& goals_;
  Lexicon& lexicon_;
  const Spelling spelling_;
  const Limits& limits_;
  Interner<StringSet> string_sets_;
  Interner<IdSet> number_sets_;
  Memo<Id> literals_memo_, strings_memo_, numbers_memo_;              // by literal
  Memo<Id> goal_literals_, goal_strings_, goal_numbers_, keys_lang_;  // by goal
  StableMemo<std::vector<Id>> wide_;                                  // see wide_pieces
};

}  // namespace guard
