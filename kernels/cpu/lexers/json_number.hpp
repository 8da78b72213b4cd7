// Number: a byte automaton for JSON numbers under exact decimal constraints. Arithmetic decides
// whether a number can still be completed.
//
// A constraint is a piece: an interval, a lattice (multipleOf), excluded lattices and excluded
// values. A core is a piece and what has been written of the number. A core keeps its digits while
// they may touch a bound or an excluded value. Once every continuation of a given length lies
// inside, it keeps only their remainder under the lattices, and how many digits may follow, so the
// automaton of ordinary constraints is small. rest() computes by arithmetic the fewest bytes that
// complete a core, once for each core; a core that can't be completed is never entered. A state is
// a list of (core, label), like a text's components.
//
// Spellings. Any: every RFC 8259 spelling whose exponent has at most three digits. Exponents are
// not allowed where a value must be an integer or a multiple, or must not be a multiple. With
// bounds and excluded values alone, spellings with exponents are still regular (scientific.cpp).
// Canonical: no leading minus on zero; no fraction where only integers are valid; an exponent only
// if the constraint is empty and the magnitude is >= 1e17 or < 1e-7, written as ECMAScript writes
// it (e+17, e-8); below 1e308, so that a double holds it. At most 17 digits, 15 where a multiple is
// excluded, more where the constraint's own numbers need more. Canonical spelling also avoids
// values that a reader of doubles could take for an excluded value or an exclusive bound. Costs: a
// step is O(digits), memoised for each core; a division by a lattice step of more than 18 digits is
// O(digits^2). Not thread-safe: guarded by the isolate's lock. Tested against fractions in
// tests/kernels/test_number_languages.py.
#pragma once
#include <memory>

#include "lexers/decimal.hpp"
#include "lexers/json_string.hpp"

namespace guard {

struct Piece {
  bool has_lo = false, has_hi = false, lo_open = false, hi_open = false;
  Decimal lo, hi;
  std::vector<Decimal> multiples;      // at most one after merge(): the least common multiple
  std::vector<Decimal> not_multiples;  // sorted
  std::vector<Decimal> not_values;     // sorted
  std::uint8_t written = 0;  // draft 4: 1 requires neither fraction nor exponent, 2 either
  bool operator==(const Piece&) const = default;
  std::size_t hash() const;
  bool is_free() const { return *this == Piece{}; }
};

struct NumberComponent {
  Id piece;
  Id label;
};

class Numbers {
 public:
  static constexpr Id kDead = 0;
  Numbers();
  Id piece(Piece p) { return pieces_.intern(std::move(p)); }
  const Piece& piece(Id id) const { return pieces_[id]; }
  static bool merge(const Piece& a, const Piece& b,
                    Piece* out);  // the intersection; false if it is certainly empty
  static bool covers(const Piece& a, const Piece& b);  // whether b certainly lies inside a
  bool inhabited(Id piece, Spelling spelling) { return begin(piece, spelling) != kDead; }
  // Appends all values of the piece to `out`. Returns false if there may be more than `cap`; `out`
  // is then incomplete.
  bool list(Id piece, std::size_t cap, std::vector<Decimal>* out);

  // Appends n values of the piece that have few digits, or all of them if there are fewer.
  void some(Id piece, Spelling spelling, std::size_t n, std::vector<Decimal>* out);

  // Components with labels from kTracked on report which conditions a number's value meets, in any
  // spelling, but keep no state alive. They can't follow some exponents, so the other components
  // must not allow these (Engine::legible).
  static constexpr Id kTracked = 1 << 20;
  // The state before the first byte, which step() takes.
  Id start(const std::vector<NumberComponent>& components, Spelling spelling);
  Id step(Id state, std::uint8_t byte);  // kDead where no number continues with this byte
  void accepted(Id state, Labels* labels);
  bool accepts_any(Id state);
  template <class F>
  void cheapest(Id state,
                F best) {  // calls best(label, fewest bytes to the end) for each component
    for (const auto& [core, label] : states_[state].cores)
      best(label, rest_[static_cast<std::size_t>(core)]);
  }
  std::size_t size() const { return states_.size(); }

  void seal() { cores_.seal(), states_.seal(), pieces_.seal(); }

 private:
  enum Phase : std::uint8_t { Start, Minus, Zero, Int, Dot, Frac, E, ESign, EDigits, Nothing };
  struct Core {
    Id piece = -1;
    Spelling spelling = Spelling::Canonical;
    Phase phase = Start;
    bool negative = false;
    bool loose = false;  // all bounds and excluded values are decided: `digits` is only a remainder
                         // for the multiples
    bool one = false;    // canonical, free: there is one digit before the point; in exponents,
                         // canonical: the sign is plus, scientific: it is minus
    bool scientific = false;  // the number is 0.d1d2... * 10^point; `least` and `most` say how its
                              // digits compare with the bounds'; `digits` are kept while not loose
    std::int32_t point = 0;
    std::int32_t least = 0, most = 0;  // loose Int: bounds on the further digits before the point
    std::int32_t total = 0;  // canonical: significant digits so far, in EDigits the exponent;
                             // scientific: 0 while the number is zero, else 1, in EDigits the
                             // exponent + 1
    std::int32_t count = 0;  // digits after the point, while they matter; EDigits: of the exponent
    Natural digits;          // all digits, before and after the point
    bool operator==(const Core&) const = default;
    std::size_t hash() const {
      std::size_t h = hash_of(digits);
      for (std::int32_t x :
           {piece, static_cast<std::int32_t>(phase), least, most, total, count, point})
        h = mix(h, static_cast<std::size_t>(x));
      return mix(h, static_cast<std::size_t>(spelling) | negative << 1 | loose << 2 | one << 3 |
                        scientific << 4);
    }
  };
  struct State {
    std::vector<std::pair<Id, Id>> cores;  // (core, label)
    bool operator==(const State&) const = default;
    std::size_t hash() const {
      std::size_t h = cores.size();
      for (const auto& [c, l] : cores)
        h = mix(mix(h, static_cast<std::size_t>(c)), static_cast<std::size_t>(l));
      return h;
    }
  };
  struct Hole {  // an excluded value (lo == hi), or in canonical spelling an open interval, lo <
                 // value < hi, with all numbers that have the same double
    Decimal lo, hi;
    bool ends_before(const Decimal& v) const {
      return lo == hi ? compare(hi, v) < 0 : compare(hi, v) <= 0;
    }
    bool has(const Decimal& v) const {
      return lo == hi ? v == lo : compare(lo, v) < 0 && compare(v, hi) < 0;
    }
  };
  struct Grid {  // the integers n for which n * 10^-scale is allowed: multiples of `step`, but not
                 // of any in `without`
    Natural step;
    std::vector<Natural> without;
    bool none = false;  // no n is allowed
    Natural
        modulus;  // n modulo this decides whether n is allowed; "" if there are too many remainders
  };
  struct Side {  // a piece's constraints on the magnitude, for one sign and spelling
    bool possible = true, has_lo = false, has_hi = false, lo_open = false, hi_open = false,
         whole = false;  // whole: integers only
    Decimal lo, hi;
    std::vector<Hole> holes;  // sorted; scientific: by their digits
    const Piece* piece = nullptr;
    std::int32_t digits = kInf, zeros = kInf;  // canonical: significant digits, zeros behind "0."
    std::int32_t fine = 0, coarse = 0;         // most decimals of all numbers; of the lattices
    std::int32_t reach = 0;  // this many digits go beyond every number here, and beyond a step of
                             // the lattice
    bool lattice = false;
    std::unordered_map<std::int32_t, Grid> grids;  // by scale
  };
  Side& side(Id piece, Spelling spelling, bool negative);
  const Grid& grid(Side& side, std::int32_t scale) const;
  bool meets(Side& s, const Core& core, Natural lo, Natural hi, bool no_hi,
             std::int32_t scale) const;
  std::int32_t fraction(Side& s, const Core& core, const Natural& lo, const Natural& hi,
                        std::int32_t count, std::int32_t from, std::int32_t to) const;
  Id begin(Id piece, Spelling spelling);
  Id keep(std::vector<std::pair<Id, Id>> cores);
  Id step_core(Id core, std::uint8_t byte);
  static Phase follow(Phase phase, std::uint8_t byte);
  bool write(const Core& from, std::uint8_t byte, Core* core);  // false: wrong spelling
  static bool touches(const Side& s, const Natural& n, std::int32_t exp);
  void loosen(Core* core);
  void reduce(Side& s, Core* core) const;
  Id settled(Core core);  // interns the core and computes its rest; kDead if it can't be completed
  std::int64_t rest(const Core& core);
  std::int64_t rest_of_int(Side& s, const Core& core);
  std::int64_t rest_of_zero(Side& s, const Core& core);

  static bool is_scientific(const Piece& p);  // has only bounds and excluded values
  struct Exponents {  // exponents [lo, hi], and how many further digits the number needs with them
    std::int32_t lo, hi, digits;
  };
  static std::int32_t digits_between(const Side& s, const Core& core, bool at_lo, bool at_hi,
                                     std::int32_t from);
  static std::vector<Exponents> exponents(const Side& s, const Core& core, std::int32_t from);
  bool write_scientific(const Core& from, std::uint8_t byte, Core* core);
  std::int64_t rest_scientific(const Core& core);

  Interner<Piece> pieces_;
  Interner<Core> cores_;
  Interner<State> states_;
  std::vector<std::int64_t> rest_;  // by core: the fewest bytes to an end; -1: none
  struct Steps {                    // by digit, then by `.-+eE`; -1: not known
    std::array<Id, 15> to{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  };
  static Id* known_step(Blocks<Steps>* steps, Id from, std::uint8_t byte);
  Blocks<Steps> core_steps_, state_steps_;
  std::unordered_map<Id, std::unique_ptr<Side>> sides_;
};

}  // namespace guard
