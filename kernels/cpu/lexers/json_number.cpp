#include "lexers/json_number.hpp"

#include <algorithm>
#include <tuple>

#include "support/distances.hpp"

namespace guard {

namespace {
constexpr std::int32_t kMaxDigits = 5000;   // digits of a constraint's number, written out
constexpr std::size_t kMaxModulus = 10000;  // remainders that states tell apart
// Of kRun consecutive points of a lattice, at least one is a multiple of none of `kMaxExcluded`
// given numbers, if the lattice has any such point (Jacobsthal's function of 38 primes is 492).
constexpr int kRun = 500;
constexpr std::size_t kMaxExcluded = 38;

constexpr std::int32_t kGreatest = 307;  // canonical exponent: with any digits a double holds it
constexpr std::int64_t kUnknown = -2;

}  // namespace

// ---- pieces -------------------------------------------------------------------------------------

std::size_t Piece::hash() const {
  std::size_t h = mix(mix(lo.hash(), hi.hash()),
                      has_lo | has_hi << 1 | lo_open << 2 | hi_open << 3 | written << 4);
  for (const auto* list : {&multiples, &not_multiples, &not_values})
    for (const Decimal& d : *list) h = mix(h, d.hash() + 1);
  return h;
}

bool Numbers::merge(const Piece& a, const Piece& b, Piece* out) {
  Piece p = a;
  if (b.has_lo && (!p.has_lo || compare(b.lo, p.lo) > 0 || (compare(b.lo, p.lo) == 0 && b.lo_open)))
    p.has_lo = true, p.lo = b.lo, p.lo_open = b.lo_open;
  if (b.has_hi && (!p.has_hi || compare(b.hi, p.hi) < 0 || (compare(b.hi, p.hi) == 0 && b.hi_open)))
    p.has_hi = true, p.hi = b.hi, p.hi_open = b.hi_open;
  if (a.written && b.written && a.written != b.written) return false;
  p.written = a.written | b.written;
  for (const Decimal& m : b.multiples) {
    if (p.multiples.empty())
      p.multiples.push_back(m);
    else
      p.multiples[0] = lcm(p.multiples[0], m);
    if (whole_digits(p.multiples[0]) + decimals(p.multiples[0]) > kMaxDigits)
      throw Limit{"digits", -1,
                  "the least common multiple of multipleOf has more than 5,000 digits"};
  }
  const auto unite = [](std::vector<Decimal>* into, const std::vector<Decimal>& from) {
    into->insert(into->end(), from.begin(), from.end());
    std::sort(into->begin(), into->end(),
              [](const Decimal& x, const Decimal& y) { return compare(x, y) < 0; });
    into->erase(std::unique(into->begin(), into->end()), into->end());
  };
  unite(&p.not_multiples, b.not_multiples);
  unite(&p.not_values, b.not_values);
  for (const Decimal& v : p.not_values) {
    p.lo_open = p.lo_open || (p.has_lo && v == p.lo);
    p.hi_open = p.hi_open || (p.has_hi && v == p.hi);
  }
  if (p.has_lo && p.has_hi) {
    const int c = compare(p.lo, p.hi);
    if (c > 0 || (c == 0 && (p.lo_open || p.hi_open))) return false;
  }
  std::erase_if(p.not_values, [&p](const Decimal& v) {  // excluded already
    return (p.has_lo && compare(v, p.lo) <= 0) || (p.has_hi && compare(v, p.hi) >= 0) ||
           (!p.multiples.empty() && !is_multiple(v, p.multiples[0]));
  });
  for (const Decimal& m : p.not_multiples)
    if (!p.multiples.empty() && is_multiple(p.multiples[0], m)) return false;
  *out = std::move(p);
  return true;
}

bool Numbers::covers(const Piece& a, const Piece& b) {
  const auto within = [](const std::vector<Decimal>& x, const std::vector<Decimal>& y) {
    return std::all_of(x.begin(), x.end(), [&y](const Decimal& d) {
      return std::find(y.begin(), y.end(), d) != y.end();
    });
  };
  const auto lo = [&] {
    const int c = compare(a.lo, b.lo);
    return c < 0 || (c == 0 && (!a.lo_open || b.lo_open));
  };
  const auto hi = [&] {
    const int c = compare(a.hi, b.hi);
    return c > 0 || (c == 0 && (!a.hi_open || b.hi_open));
  };
  return (!a.has_lo || (b.has_lo && lo())) && (!a.has_hi || (b.has_hi && hi())) &&
         within(a.multiples, b.multiples) && within(a.not_multiples, b.not_multiples) &&
         within(a.not_values, b.not_values) && (!a.written || a.written == b.written);
}

bool Numbers::list(Id id, std::size_t cap, std::vector<Decimal>* out) {
  const Piece& p = pieces_[id];
  // The values are finitely many only between two bounds and on a lattice. A single point needs
  // none.
  if (!p.has_lo || !p.has_hi || (p.multiples.empty() && !(p.lo == p.hi))) return false;
  Core core;
  core.piece = id;
  core.spelling = Spelling::Any;
  const std::int32_t scale = p.multiples.empty() ? decimals(p.lo) : decimals(p.multiples[0]);
  for (const bool negative : {true, false}) {
    Side& s = side(id, Spelling::Any, negative);
    core.negative = negative;
    if (!s.possible || grid(s, scale).none) continue;
    const Natural step = grid(s, scale).step;
    Natural q = natural::ceiled(s.has_lo ? first_at(s.lo, s.lo_open, scale) : Natural{}, step),
            last;
    if (!last_at(s.hi, s.hi_open, scale, &last)) continue;
    for (; natural::compare(q, last) <= 0; q = natural::plus(std::move(q), step)) {
      if (out->size() > cap) return false;
      // Zero is listed once, without a sign.
      if (meets(s, core, q, q, false, scale) && !(negative && q.empty()))
        out->push_back(decimal(q, -scale, negative));
    }
  }
  return out->size() <= cap;
}

void Numbers::some(Id id, Spelling spelling, std::size_t n, std::vector<Decimal>* out) {
  const Piece p = pieces_[id];
  std::int32_t whole = 0, fine = 0;
  for (const auto* list : {&p.multiples, &p.not_multiples, &p.not_values})
    for (const Decimal& d : *list) fine = std::max(fine, decimals(d));
  for (const Decimal* d : {&p.lo, &p.hi})
    whole = std::max(whole, whole_digits(*d)), fine = std::max(fine, decimals(*d));
  const std::size_t given = out->size();
  const std::int32_t finest =
      spelling == Spelling::Canonical ? std::max(fine + 2, 15 - whole) : fine + 6;
  for (std::int32_t places = p.multiples.empty() ? 0 : finest;
       places <= finest && out->size() - given < n; ++places) {
    out->resize(given);  // starts over: numbers of up to `places` decimals include those of fewer
    for (const bool negative : {false, true}) {
      Piece window, part;
      window.has_lo = window.has_hi = true;
      // The window has two bounds, so that list() ends: 0, and a power of ten beyond all bounds.
      // Where the piece has no lattice, the window adds that of numbers with `places` decimals.
      (negative ? window.lo : window.hi) = {negative, "1", whole + 20};
      if (p.multiples.empty() && !(p.has_lo && p.has_hi && p.lo == p.hi))
        window.multiples.push_back({false, "1", -places});
      if (!merge(p, window, &part)) continue;
      std::vector<Decimal> found;
      list(piece(std::move(part)), n + p.not_values.size(), &found);
      for (Decimal& v : found) {
        Piece point, with;
        point.has_lo = point.has_hi = true;
        point.lo = point.hi = v;
        const bool known = std::find(out->begin() + static_cast<std::ptrdiff_t>(given), out->end(),
                                     v) != out->end();
        if (out->size() - given < n && !known && merge(p, point, &with) &&
            inhabited(piece(std::move(with)), spelling))
          out->push_back(std::move(v));
      }
    }
  }
}

// ---- one sign of a piece ------------------------------------------------------------------------

Numbers::Side& Numbers::side(Id id, Spelling spelling, bool negative) {
  // The side is stored once it is complete, so that a Limit leaves no unfinished entry. The
  // reference stays valid as long as the tables.
  auto& slot = sides_[id * 4 + static_cast<int>(spelling) * 2 + negative];
  if (slot) return *slot;
  auto made = std::make_unique<Side>();
  Side& s = *made;
  const Piece& p = pieces_[id];
  const bool canonical = spelling == Spelling::Canonical;
  s.piece = &p;
  s.lattice = !p.multiples.empty() || !p.not_multiples.empty();
  for (const auto* list : {&p.multiples, &p.not_multiples})
    for (const Decimal& d : *list) s.coarse = std::max(s.coarse, decimals(d));
  s.whole = p.written == 1 || (!p.multiples.empty() && decimals(p.multiples[0]) == 0);
  std::int32_t whole = 1;
  const auto see = [&](const Decimal& d) {
    whole = std::max(whole, whole_digits(d));
    s.fine = std::max(s.fine, decimals(d));
    if (whole_digits(d) + decimals(d) > kMaxDigits)
      throw Limit{"digits", -1, "a bound on numbers has more than 5,000 digits"};
  };
  if (p.has_lo) see(p.lo);
  if (p.has_hi) see(p.hi);
  for (const auto* list : {&p.multiples, &p.not_multiples, &p.not_values})
    for (const Decimal& d : *list) see(d);
  if (canonical) {
    s.digits = std::max(p.not_multiples.empty() ? 17 : 15, whole + s.fine + 2);
    s.zeros = std::max(p.is_free() ? 6 : 7, s.fine + 2);  // below 1e-7 free numbers have exponents
  }
  // The bounds on the magnitude. For negative numbers they change places.
  s.has_lo = negative ? p.has_hi : p.has_lo, s.has_hi = negative ? p.has_lo : p.has_hi;
  s.lo_open = negative ? p.hi_open : p.lo_open, s.hi_open = negative ? p.lo_open : p.hi_open;
  s.lo = negative ? p.hi : p.lo, s.hi = negative ? p.lo : p.hi;
  if (s.has_hi &&
      ((s.hi.negative != negative && !s.hi.digits.empty()) || (s.hi.digits.empty() && s.hi_open)))
    s.possible = false;
  // A lower bound of the other sign does not restrict this side's magnitudes.
  if (s.has_lo && s.lo.negative != negative && !s.lo.digits.empty())
    s.has_lo = s.lo_open = false, s.lo = {};
  // Every magnitude is at least 0.
  if (s.has_lo && s.lo.digits.empty() && !s.lo_open) s.has_lo = false;
  if (canonical && negative && !s.has_lo) s.has_lo = s.lo_open = true, s.lo = {};  // no -0
  s.lo.negative = s.hi.negative = false;
  Decimal below, above;
  // Canonical spelling keeps a distance of one double from an exclusive bound, so that a reader of
  // doubles can tell the two apart. The same goes for excluded values.
  if (canonical && s.has_lo && s.lo_open && neighbours(s.lo, &below, &above))
    s.lo = above, s.lo_open = false;
  if (canonical && s.has_hi && s.hi_open && neighbours(s.hi, &below, &above))
    s.hi = below, s.hi_open = false;
  if (s.whole) {
    if (s.has_lo) s.lo = decimal(first_at(s.lo, s.lo_open, 0), 0, false), s.lo_open = false;
    Natural last;
    if (s.has_hi && !last_at(s.hi, s.hi_open, 0, &last)) s.possible = false;
    if (s.has_hi) s.hi = decimal(last, 0, false), s.hi_open = false;
  }
  if (s.has_lo && s.has_hi) {
    const int c = compare(s.lo, s.hi);
    if (c > 0 || (c == 0 && (s.lo_open || s.hi_open))) s.possible = false;
  }
  for (const Decimal& v : p.not_values) {
    if (v.negative != negative && !v.digits.empty()) continue;
    Hole hole{v, v};
    hole.lo.negative = hole.hi.negative = false;
    if (canonical) neighbours(v, &hole.lo, &hole.hi);
    s.holes.push_back(std::move(hole));
  }
  // rest_scientific() looks holes up by their digits, everything else by their values.
  const bool by_digits = !canonical && is_scientific(p);
  std::sort(s.holes.begin(), s.holes.end(), [by_digits](const Hole& x, const Hole& y) {
    return by_digits ? std::tie(x.lo.digits, x.lo.exp) < std::tie(y.lo.digits, y.lo.exp)
                     : compare(x.lo, y.lo) < 0;
  });
  // How far searches must look. With one decimal more than all numbers have, there is a number
  // between any two of them.
  s.fine = std::max({s.fine, s.has_lo ? decimals(s.lo) : 0, s.has_hi ? decimals(s.hi) : 0});
  if (s.has_lo) s.reach = whole_digits(s.lo);
  for (const Hole& h : s.holes) {
    s.fine = std::max({s.fine, decimals(h.lo), decimals(h.hi)});
    s.reach = std::max(s.reach, whole_digits(h.hi));
  }
  // grid() does not look `s` up in its slot, which is still empty.
  const Grid& g = grid(s, 0);
  s.reach = std::max(s.reach, static_cast<std::int32_t>(g.step.size()));
  for (const Natural& m : g.without)
    s.reach = std::max(s.reach, static_cast<std::int32_t>(m.size()));
  s.reach += 6;
  slot = std::move(made);
  return *slot;
}

const Numbers::Grid& Numbers::grid(Side& s, std::int32_t scale) const {
  const auto found = s.grids.find(scale);
  if (found != s.grids.end()) return found->second;
  const auto of =
      // n * 10^-scale is a multiple of m if and only if n is a multiple of the result
      [scale](const Decimal& m) {
        bool exact;
        const std::int32_t need = decimals(m);
        if (need <= scale) return at_scale(m, scale, &exact);
        // m has more decimals than the scale: n * 10^(need - scale) must be a multiple of m at m's
        // own scale. So n must be a multiple of that step divided by its gcd with the power of ten.
        const Natural step = at_scale(m, need, &exact), ten = natural::shifted("1", need - scale);
        Natural none;
        return natural::divided(step, natural::gcd(step, ten), &none);
      };
  Grid g;
  g.step = s.piece->multiples.empty() ? Natural{"1"} : of(s.piece->multiples[0]);
  g.modulus = g.step;
  for (const Decimal& m : s.piece->not_multiples) {
    g.without.push_back(of(m));
    g.none = g.none || natural::mod(g.step, g.without.back()).empty();
    if (!g.modulus.empty()) g.modulus = natural::lcm(g.modulus, g.without.back());
    // A modulus that is too large for one state per remainder becomes empty; cores then keep all
    // digits.
    if (g.modulus.size() > 18) g.modulus.clear();
  }
  if (natural::compare(g.modulus, std::to_string(kMaxModulus)) > 0) g.modulus.clear();
  return s.grids.emplace(scale, std::move(g)).first->second;
}

// Whether some n of [lo, hi] makes n * 10^-scale the magnitude of a value of the piece, with the
// core's sign. `no_hi`: n has no upper bound.
bool Numbers::meets(Side& s, const Core& core, Natural lo, Natural hi, bool no_hi,
                    std::int32_t scale) const {
  if (!s.possible) return false;
  // The bounds and holes of a loose core are decided; only the lattice is left.
  if (!core.loose && s.has_lo) {
    Natural first = first_at(s.lo, s.lo_open, scale);
    if (natural::compare(first, lo) > 0) lo = std::move(first);
  }
  if (!core.loose && s.has_hi) {
    Natural last;
    if (!last_at(s.hi, s.hi_open, scale, &last)) return false;
    if (no_hi || natural::compare(last, hi) < 0) hi = std::move(last);
    no_hi = false;
  }
  if (!no_hi && natural::compare(lo, hi) > 0) return false;
  const bool holes = !core.loose && !s.holes.empty();
  if (!s.lattice && !holes) return true;
  const Grid& g = grid(s, scale);
  if (g.none) return false;
  int run = 0;
  for (Natural q = natural::ceiled(lo, g.step); no_hi || natural::compare(q, hi) <= 0;) {
    kernel_clock.tick();
    if (holes) {
      const Decimal v = decimal(q, -scale, false);
      const auto hole = std::partition_point(s.holes.begin(), s.holes.end(),
                                             [&v](const Hole& h) { return h.ends_before(v); });
      if (hole != s.holes.end() && hole->has(v)) {
        // Continue after the hole. There are finitely many holes, so the run may start again.
        q = natural::ceiled(first_at(hole->hi, hole->lo == hole->hi, scale), g.step);
        run = 0;
        continue;
      }
    }
    if (std::none_of(g.without.begin(), g.without.end(),
                     [&q](const Natural& m) { return natural::mod(q, m).empty(); }))
      return true;
    // If any point of the lattice were valid, one of kRun neighbours would be: see kRun.
    if (++run > kRun) {
      if (g.without.size() <= kMaxExcluded) return false;
      throw Limit{"multiples", -1, "a number must be a multiple of none of too many numbers",
                  Op::Multiple};
    }
    q = natural::plus(std::move(q), g.step);
  }
  return false;
}

// The fewest further digits n, from <= n <= to, with which one of the numbers [lo, hi], which have
// `count` digits after the point, becomes a value; -1: none. More digits reach every value that
// fewer digits reach.
std::int32_t Numbers::fraction(Side& s, const Core& core, const Natural& lo, const Natural& hi,
                               std::int32_t count, std::int32_t from, std::int32_t to) const {
  const auto ok = [&](std::int32_t n) {
    return meets(s, core, natural::shifted(lo, n),
                 natural::trimmed(hi + std::string(static_cast<std::size_t>(n), '9')), false,
                 count + n);
  };
  if (from > to) return -1;
  if (ok(from)) return from;
  if (from == to || !ok(to)) return -1;
  // Bisection: ok() is monotone, because a zero may always be appended.
  while (to - from > 1) {
    const std::int32_t middle = from + (to - from) / 2;
    (ok(middle) ? to : from) = middle;
  }
  return to;
}

// ---- what a core may still become ---------------------------------------------------------------

std::int64_t Numbers::rest(const Core& c) {
  kernel_clock.tick();
  Core next = c;
  // Each phase returns the fewest bytes that are missing, or -1 if no value begins so. The core has
  // all that was written; nothing is read here.
  if (c.phase == Start) {
    next.phase = Minus;
    const std::int64_t positive = rest(next);
    next.negative = true;
    return least(positive, sum(1, rest(next)));
  }
  if (c.scientific) return rest_scientific(c);
  const bool canonical = c.spelling == Spelling::Canonical;
  if (c.phase == E) return canonical ? 2 : 1;
  if (c.phase == ESign) return canonical && c.one ? 2 : 1;
  if (c.phase == EDigits) return canonical && c.total < (c.one ? 17 : 8);
  Side& s = side(c.piece, c.spelling, c.negative);
  if (!s.possible) return -1;
  switch (c.phase) {
    case Minus: next.phase = Zero; return least(sum(1, rest_of_zero(s, next)), rest_of_int(s, c));
    case Int: return rest_of_int(s, c);
    case Zero: return rest_of_zero(s, c);
    default: break;
  }
  if (canonical && c.total == 0) return rest_of_zero(s, c);
  std::int32_t to = std::max(s.fine + 1 - c.count, 1);
  if (canonical) to = std::min(to, s.digits - c.total);
  return fraction(s, c, c.digits, c.digits, c.count, c.phase == Dot, to);
}

// The rest of a number whose first digit is not 0: further digits before the point, and a fraction.
std::int64_t Numbers::rest_of_int(Side& s, const Core& c) {
  const bool canonical = c.spelling == Spelling::Canonical, first = c.phase == Minus;
  const std::int32_t size = static_cast<std::int32_t>(c.digits.size());
  std::int32_t from = c.loose ? c.least : s.has_lo ? std::max(whole_digits(s.lo) - size, 0) : 0;
  std::int32_t to = c.loose ? static_cast<std::int32_t>(
                                  std::min<std::int64_t>(c.most, std::int64_t{c.least} + s.reach))
                            : s.reach;
  if (!c.loose && s.has_hi) to = whole_digits(s.hi) - size;
  if (!c.loose && !s.piece->multiples.empty())
    from = std::max(from, whole_digits(s.piece->multiples[0]) - size);
  if (first) from = std::max(from, 1);
  if (canonical) to = std::min(to, s.digits - c.total);
  std::int64_t best = -1;
  for (std::int32_t n = from; n <= to && (best < 0 || n < best); ++n) {
    // With n more digits, the number lies between all zeros (the first digit is not 0) and all
    // nines.
    const Natural lo = first ? natural::shifted("1", n - 1) : natural::shifted(c.digits, n);
    const Natural hi = natural::trimmed(c.digits + std::string(static_cast<std::size_t>(n), '9'));
    std::int32_t after = canonical && s.whole ? 0 : s.piece->written == 1 ? 0 : s.fine + 1;
    if (canonical) after = std::min(after, s.digits - c.total - n);
    const std::int32_t digits = fraction(s, c, lo, hi, 0, s.piece->written == 2, after);
    if (digits >= 0) best = least(best, n + (digits ? 1 + digits : 0));
  }
  return best;
}

// The rest of a number that begins with 0: a point, zeros (canonical spelling limits their number)
// and further digits.
std::int64_t Numbers::rest_of_zero(Side& s, const Core& c) {
  const bool canonical = c.spelling == Spelling::Canonical;
  const bool is_zero = meets(s, c, "", "", false, 0);
  if (is_zero && (c.phase == Frac || (c.phase == Zero && s.piece->written != 2))) return 0;
  if (c.phase == Zero && (s.piece->written == 1 || (canonical && s.whole))) return -1;
  const std::int64_t point = c.phase == Zero;
  if (is_zero) return point + 1;
  if (!canonical)
    return sum(point,
               fraction(s, c, "", "", c.count, c.phase != Frac, std::max(s.fine + 1 - c.count, 1)));
  // Below one. Canonical spelling allows at most s.zeros zeros after the point. With too few zeros,
  // the number lies above the upper bound.
  const std::int32_t from = std::max(c.count, s.has_hi ? -point_of(s.hi) : 0);
  std::int64_t best = -1;
  for (std::int32_t zeros = from; zeros <= s.zeros && (best < 0 || zeros - c.count + 1 < best);
       ++zeros) {
    const std::int32_t digits =
        fraction(s, c, "1", "9", zeros + 1, 0, std::min(std::max(s.fine - zeros, 0), s.digits - 1));
    if (digits >= 0) best = least(best, zeros - c.count + 1 + digits);
  }
  return sum(point, best);
}

// ---- steps --------------------------------------------------------------------------------------

Numbers::Numbers() {
  // Id 0 is kDead in both tables.
  states_.intern({});
  cores_.intern({});
  rest_.push_back(-1);
}

Id Numbers::settled(Core core) {
  if (!core.scientific) loosen(&core);
  // Interned before the search, so that equal cores are searched once, dead or not.
  const Id id = cores_.intern(std::move(core));
  const std::size_t at = static_cast<std::size_t>(id);
  if (at >= rest_.size())
    rest_.resize(at + 1, kUnknown);  // if the search throws a Limit, the entry stays unknown
  if (rest_[at] == kUnknown) rest_[at] = rest(cores_[id]);
  return rest_[at] < 0 ? kDead : id;
}

// Whether a hole overlaps [n, n + 1) * 10^exp.
bool Numbers::touches(const Side& s, const Natural& n, std::int32_t exp) {
  if (s.holes.empty()) return false;
  const Decimal from = decimal(n, exp, false), to = decimal(natural::plus(n, "1"), exp, false);
  const auto hole = std::partition_point(s.holes.begin(), s.holes.end(),
                                         [&from](const Hole& h) { return h.ends_before(from); });
  return hole != s.holes.end() && compare(hole->lo, to) < 0;
}

// Forgets the digits when they no longer matter.
void Numbers::loosen(Core* c) {
  if (c->phase != Int && c->phase != Frac) return;
  Side& s = side(c->piece, c->spelling, c->negative);
  const bool canonical = c->spelling == Spelling::Canonical;
  // A loose core stays loose: further digits never lead back to a bound or a hole.
  if (c->loose) return reduce(s, c);
  if (c->phase == Frac && !canonical && c->count > s.fine + 1 &&
      (c->digits.empty() || c->digits.back() == '0')) {
    if (!c->digits.empty()) c->digits.pop_back();  // zeros beyond all decimals don't matter
    --c->count;
  }
  // Without a modulus the lattice needs all digits, so nothing would be gained.
  if (!s.possible || grid(s, s.coarse).modulus.empty()) return;
  if (c->phase == Frac && canonical && c->total == 0) return;
  // Where all continuations of the digits lie, which are read at 10^-scale: -1 below d, 0 perhaps
  // on both sides, 1 above d, or at d unless `beyond`.
  const auto against = [&](const Decimal& d, std::int32_t scale, bool beyond) {
    bool exact;
    const Natural n = at_scale(d, scale, &exact);
    const int side = natural::compare(c->digits, n);
    return side != 0 ? side : exact && !beyond;
  };
  if (c->phase == Frac) {
    if (s.has_lo && against(s.lo, c->count, s.lo_open) != 1) return;
    if (s.has_hi && against(s.hi, c->count, true) != -1 &&
        !(s.whole && compare(decimal(c->digits, -c->count, false), s.hi) <= 0))
      return;
    if (touches(s, c->digits, -c->count)) return;
    c->loose = true;
    return reduce(s, c);
  }
  const std::int32_t size = static_cast<std::int32_t>(c->digits.size());
  std::int32_t from = 0, to = canonical ? s.digits - c->total : kInf;
  if (s.has_lo) {
    const std::int32_t n = whole_digits(s.lo) - size;
    // Each number n of further digits is compared on its own: with n more, the digits so far move n
    // places to the left.
    const int side = n < 0 ? 1 : against(s.lo, -n, s.lo_open);
    if (side == 0) return;
    from = std::max(side > 0 ? n : n + 1, 0);
  }
  if (s.has_hi) {
    const std::int32_t n = whole_digits(s.hi) - size;
    if (n < 0) return;
    bool exact;
    const int side = natural::compare(c->digits, at_scale(s.hi, -n, &exact));
    const bool last =
        s.whole && natural::compare(c->digits + std::string(static_cast<std::size_t>(n), '9'),
                                    at_scale(s.hi, 0, &exact)) <= 0;
    if (side == 0 && !last) return;
    to = std::min(to, side <= 0 ? n : n - 1);
  }
  if (from > to) return;
  // There must be no hole ahead, at any length that is still possible.
  if (!s.holes.empty())
    for (std::int32_t n = from; n <= std::min(to, whole_digits(s.holes.back().hi) - size); ++n)
      if (touches(s, c->digits, n)) return;
  c->loose = true;
  c->least = from;
  c->most = to;
  reduce(s, c);
}

// Replaces the digits by their remainder under the lattices. Beyond the decimals of the lattices,
// the digits are zeros, or the number is a multiple of none.
void Numbers::reduce(Side& s, Core* c) const {
  if (!s.lattice) {
    c->digits.clear();
    c->count = 0;
    return;
  }
  if (c->count > s.coarse) {
    const std::size_t beyond = static_cast<std::size_t>(c->count - s.coarse);
    const bool zeros =
        c->digits.size() < beyond
            ? c->digits.empty()
            : c->digits.find_first_not_of('0', c->digits.size() - beyond) == std::string::npos;
    c->digits = !zeros              ? Natural{"1"}
                : c->digits.empty() ? Natural{}
                                    : c->digits.substr(0, c->digits.size() - beyond);
    c->count = s.coarse + !zeros;
    if (!zeros) return;
  }
  c->digits = natural::mod(c->digits, grid(s, c->count).modulus);
}

Numbers::Phase Numbers::follow(Phase phase, std::uint8_t byte) {
  const bool digit = byte >= '0' && byte <= '9', e = (byte | 0x20) == 'e';
  switch (phase) {
    case Start:
      if (byte == '-') return Minus;
      [[fallthrough]];
    case Minus: return !digit ? Nothing : byte == '0' ? Zero : Int;
    case Int:
      if (digit) return Int;
      [[fallthrough]];
    case Zero: return byte == '.' ? Dot : e ? E : Nothing;
    case Frac:
      if (e) return E;
      [[fallthrough]];
    case Dot: return digit ? Frac : Nothing;
    case E:
      if (byte == '+' || byte == '-') return ESign;
      [[fallthrough]];
    case ESign:
    case EDigits: return digit ? EDigits : Nothing;
    default: return Nothing;
  }
}

bool Numbers::write(const Core& c, std::uint8_t byte, Core* n) {
  const Piece& p = pieces_[c.piece];
  const bool canonical = c.spelling == Spelling::Canonical, free = p.is_free();
  switch (n->phase) {
    case Minus: n->negative = true; return true;
    case Int:
      n->digits.push_back(static_cast<char>(byte));
      n->digits = natural::trimmed(std::move(n->digits));
      n->total += canonical;
      n->one = canonical && free && c.phase != Int;
      if (canonical && n->total > side(c.piece, c.spelling, c.negative).digits) return false;
      if (!c.loose) return true;
      n->least = std::max(c.least - 1, 0);
      n->most = c.most == kInf ? kInf : c.most - 1;
      return c.most > 0;
    case Dot:
      n->least = n->most = 0;
      if (p.written == 1 || (c.loose && c.least > 0)) return false;
      if (!canonical) return true;
      return !side(c.piece, c.spelling, c.negative).whole &&
             c.total < side(c.piece, c.spelling, c.negative).digits;
    case Frac:
      ++n->count;
      n->digits.push_back(static_cast<char>(byte));
      n->digits = natural::trimmed(std::move(n->digits));
      if (!canonical) return true;
      if (byte == '0' && c.total == 0)
        return n->count <= side(c.piece, c.spelling, c.negative).zeros;
      return ++n->total <= side(c.piece, c.spelling, c.negative).digits;
    // Only a free piece allows an exponent here, so the digits no longer matter.
    case E:
    case ESign:
      if (!free || (canonical && (byte == 'E' || (n->phase == E && !c.one)))) return false;
      n->loose = n->negative = false;  // the digits before the exponent no longer matter
      n->least = n->most = n->total = n->count = 0;
      n->digits.clear();
      n->one = canonical && byte == '+';
      return true;
    case EDigits:
      if (canonical && (c.phase == E || (c.phase == ESign && byte == '0'))) return false;
      if (canonical) n->total = c.total * 10 + (byte - '0');
      if (canonical && c.one && n->total > kGreatest) return false;
      // An exponent has at most three digits: no double needs more.
      return ++n->count <= 3;
    default: return true;
  }
}

// The entry for the transition by a byte, -1 while it is unknown; null if the byte can't occur in a
// number. The pointer stays valid as long as the tables.
Id* Numbers::known_step(Blocks<Steps>* steps, Id from, std::uint8_t byte) {
  static constexpr std::string_view kOther = ".-+eE";
  const bool digit = byte >= '0' && byte <= '9';
  const std::size_t other = digit ? 0 : kOther.find(static_cast<char>(byte));
  if (other == kOther.npos) return nullptr;
  // Blocks do not move, so the caller may intern states before it writes its result.
  while (steps->size() <= static_cast<std::size_t>(from)) steps->push_back({});
  return &(*steps)[static_cast<std::size_t>(from)].to[digit ? byte - '0' : 10 + other];
}

Id Numbers::step_core(Id id, std::uint8_t byte) {
  Id* known = known_step(&core_steps_, id, byte);
  if (!known) return kDead;
  if (*known >= 0) return *known;
  // The reference stays valid, because interning moves nothing.
  const Core& c = cores_[id];
  Core next = c;
  next.phase = follow(c.phase, byte);
  const bool ok = next.phase != Nothing &&
                  (c.scientific ? write_scientific(c, byte, &next) : write(c, byte, &next));
  return *known = ok ? settled(std::move(next)) : kDead;
}

Id Numbers::begin(Id piece, Spelling spelling) {
  Core c;
  c.piece = piece;
  c.spelling = spelling;
  c.scientific = spelling == Spelling::Any && is_scientific(pieces_[piece]);
  return settled(std::move(c));
}

Id Numbers::start(const std::vector<NumberComponent>& components, Spelling spelling) {
  std::vector<std::pair<Id, Id>> cores;
  for (const NumberComponent& k : components) {
    const Id core = begin(k.piece, k.label >= kTracked ? Spelling::Any : spelling);
    if (core != kDead) cores.push_back({core, k.label});
  }
  return keep(std::move(cores));
}

Id Numbers::keep(std::vector<std::pair<Id, Id>> cores) {
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  // Tracked components only report which literals hold; they keep no number alive.
  if (std::all_of(cores.begin(), cores.end(), [](const auto& c) { return c.second >= kTracked; }))
    return kDead;
  return states_.intern({std::move(cores)});
}

Id Numbers::step(Id state, std::uint8_t byte) {
  Id* known = known_step(&state_steps_, state, byte);
  if (!known) return kDead;
  if (*known >= 0) return *known;
  std::vector<std::pair<Id, Id>> cores;
  for (const auto& [core, label] : states_[state].cores)
    if (const Id next = step_core(core, byte); next != kDead) cores.push_back({next, label});
  return *known = keep(std::move(cores));
}

void Numbers::accepted(Id state, Labels* labels) {
  labels->clear();
  for (const auto& [core, label] : states_[state].cores)
    if (rest_[static_cast<std::size_t>(core)] == 0) labels->push_back(label);
  labels->sort_unique();
}

bool Numbers::accepts_any(Id state) {
  const auto& cores = states_[state].cores;
  return std::any_of(cores.begin(), cores.end(), [this](const auto& c) {
    return c.second < kTracked && rest_[static_cast<std::size_t>(c.first)] == 0;
  });
}

}  // namespace guard
