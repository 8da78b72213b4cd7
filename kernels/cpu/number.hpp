// Number: JSON numbers under exact decimal constraints, as a byte automaton whose viability is arithmetic.
//
// A constraint is a piece: an interval, a lattice (multipleOf), excluded lattices and excluded values, in decimals, never
// doubles. A core is a piece and what has been written of the number. While the digits still touch a bound they are kept
// (as text); once every continuation of a given length is inside, only how many digits may follow is kept, so that
// the automaton of a bounded integer stays small. A state is a list of (core, label), like a text's components.
//
// Spellings. Any: every RFC 8259 spelling, exponents of at most three digits, and none where a value must be an integer, a
// multiple or an excluded one. Bounds alone stay regular with them: what matters of 0.d1d2d3... * 10^E is E, and how the digits
// compare with those of either bound (`scientific` cores). Canonical: no leading minus on zero, no fraction on an integer, at most
// 17 digits, 15 under bounds (more only where the bounds themselves have more), an exponent only when the
// constraint is empty and the magnitude is >= 1e17 or < 1e-7, written as ECMAScript writes it (e+17, e-8).
// Costs: a step is O(digits), memoised for each core. Tested against fractions in tests/kernels.
#pragma once
#include "text.hpp"

namespace guard {

struct Decimal {  // (-1)^negative * digits * 10^exp; zero has no digits
  bool negative = false;
  std::string digits;  // no leading or trailing zeros
  std::int32_t exp = 0;
  bool operator==(const Decimal&) const = default;
  std::size_t hash() const { return mix(mix(std::hash<std::string>{}(digits), static_cast<std::size_t>(exp)), negative); }
};
int compare(const Decimal& a, const Decimal& b);

struct Piece {
  bool has_lo = false, has_hi = false, lo_open = false, hi_open = false;
  Decimal lo, hi;
  std::vector<Decimal> multiples;      // at most one after merge(): the least common multiple
  std::vector<Decimal> not_multiples;  // sorted
  std::vector<Decimal> not_values;     // sorted
  std::uint8_t written = 0;            // draft 4: 1 without fraction and exponent, 2 with one of them
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
  Numbers() { states_.intern({}); cores_.intern({}); }
  Id piece(Piece p) { return pieces_.intern(std::move(p)); }
  const Piece& piece(Id id) const { return pieces_[id]; }
  static bool merge(const Piece& a, const Piece& b, Piece* out);  // the intersection; false when it is empty on sight
  static bool covers(const Piece& a, const Piece& b);             // is b certainly inside of a?
  bool inhabited(Id piece, Spelling spelling);
  // Every value of the piece, when they are few: false when there may be more than cap.
  bool list(Id piece, std::size_t cap, std::vector<Decimal>* out);

  // The state after no byte; step() takes the first byte, too.
  Id start(const std::vector<NumberComponent>& components, Spelling spelling);
  Id step(Id state, std::uint8_t byte);  // kDead when no number goes on so
  static constexpr Id kTracked = 1 << 20;  // labels from here tell what a number meets, but keep no state alive
  void accepted(Id state, std::vector<Id>* labels);
  bool accepts_any(Id state);
  template <class F>
  void cheapest(Id state, F best) {  // best(label, bytes to the end)
    const std::vector<std::pair<Id, Id>> cores = states_[state].cores;
    for (const auto& [core, label] : cores) best(label, finish(core));
  }
  std::size_t size() const { return states_.size(); }

 private:
  enum Phase : std::uint8_t { Start, Minus, Zero, Int, Dot, Frac, E, ESign, EDigits };
  struct Core {
    Id piece = -1;
    Spelling spelling = Spelling::Canonical;
    Phase phase = Start;
    bool negative = false;
    bool loose = false;           // inside of every bound: `more` and not the digits decide
    bool one = false;             // canonical, free: one digit before the point, not zero; scientific: a negative exponent
    bool scientific = false;      // 0.d1d2... * 10^point: `least`, `most` say how the digits compare with the bounds'
    std::int32_t point = 0;
    std::int32_t least = 0, most = 0;  // loose Int: how many more digits before the point
    std::int32_t total = 0;       // significant digits so far (canonical); in EDigits: the exponent
    std::int32_t count = 0;       // EDigits: digits; Frac exact: digits after the point; leading zeros when total = 0
    std::string digits;           // exact: all digits without leading zeros
    bool operator==(const Core&) const = default;
    std::size_t hash() const {
      std::size_t h = std::hash<std::string>{}(digits);
      for (std::int32_t x : {piece, static_cast<std::int32_t>(phase), least, most, total, count, point}) h = mix(h, static_cast<std::size_t>(x));
      return mix(h, static_cast<std::size_t>(spelling) | negative << 1 | loose << 2 | one << 4 | scientific << 5);
    }
  };
  struct State {
    std::vector<std::pair<Id, Id>> cores;  // (core, label)
    bool operator==(const State&) const = default;
    std::size_t hash() const {
      std::size_t h = cores.size();
      for (const auto& [c, l] : cores) h = mix(mix(h, static_cast<std::size_t>(c)), static_cast<std::size_t>(l));
      return h;
    }
  };
  struct Room {  // how many digits a piece lets canonical spelling write
    std::int32_t total, before, zeros, decimals;
  };
  struct Interval {  // of magnitudes, for one sign
    bool possible = true, has_lo = false, has_hi = false, lo_open = false, hi_open = false;
    Decimal lo, hi;
  };
  Room room(Id piece, Spelling spelling) const;
  Interval magnitudes(const Core& core) const;
  Id keep(State sorted);
  Id step_core(Id core, std::uint8_t byte);
  Id loosened(Core core);
  bool is_scientific(Id piece, Spelling spelling) const;
  Id step_scientific(const Core& core, std::uint8_t byte);
  bool viable_scientific(const Core& core) const;
  bool fits_at(const Core& core, const Interval& in, std::int64_t exponent, bool whole) const;
  bool viable(const Core& core);
  bool done(const Core& core);
  bool meets(const Core& core, const std::string& lo, const std::string& hi, bool no_hi, std::int32_t scale);
  bool is_value(const Piece& p, const Decimal& v) const;
  std::int64_t finish(Id core);

  Interner<Piece> pieces_;
  Interner<Core> cores_;
  Interner<State> states_;
  std::unordered_map<std::int64_t, Id> core_step_, state_step_;
  std::unordered_map<Id, std::int64_t> finish_;
  std::unordered_map<Id, Room> rooms_;
};

}  // namespace guard
