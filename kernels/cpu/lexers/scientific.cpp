// Numbers with exponents, under bounds and excluded values: a finite automaton for all spellings of
// 0.d1d2d3... * 10^E.
//
// The automaton remembers how the digits compare with the digits of either bound, and where the
// point stands; exponents have at most three digits. A value lies inside if its exponent lies
// between those of the bounds, or if it equals that of a bound and the digits compare accordingly.
// The digits are kept while they agree with those of an excluded value, which is a single point:
// any other digit leaves it behind.
#include <algorithm>
#include <cstdlib>

#include "lexers/json_number.hpp"
#include "support/distances.hpp"

namespace guard {

namespace {
constexpr std::int32_t kLess = -1,
                       kGreater = -2;  // how the digits compare with a bound's; from 0 on: so many
                                       // agree
constexpr std::int32_t kMaxExponent = 999;
constexpr std::int32_t kFar = 1 << 28;  // beyond every exponent

std::int32_t compared(std::int32_t before, const Natural& bound, char digit) {
  if (before < 0) return before;
  const std::size_t at = static_cast<std::size_t>(before);
  if (at >= bound.size()) return digit == '0' ? before : kGreater;
  return digit < bound[at] ? kLess : digit > bound[at] ? kGreater : before + 1;
}

// The number of digits of the least exponent in [lo, hi]. -1: there is none of at most three
// digits. Requires lo >= 0.
std::int64_t exponent_digits(std::int32_t lo, std::int32_t hi) {
  return lo > hi || lo > kMaxExponent ? -1 : lo > 99 ? 3 : lo > 9 ? 2 : 1;
}
// The fewest bytes of an exponent that moves the point into [lo, hi]; 0: none is needed; -1: there
// is none.
std::int64_t exponent_bytes(std::int32_t point, std::int32_t lo, std::int32_t hi) {
  if (lo <= point && point <= hi) return 0;
  return point < lo ? sum(1, exponent_digits(lo - point, hi - point))
                    : sum(2, exponent_digits(point - hi, point - lo));
}
Natural without_zeros(Natural digits) {
  while (!digits.empty() && digits.back() == '0') digits.pop_back();
  return digits;
}
Natural first_digits(const Natural& digits, std::int32_t n) {
  Natural out = digits.substr(0, static_cast<std::size_t>(n));
  out.resize(static_cast<std::size_t>(n), '0');
  return out;
}
}  // namespace

bool Numbers::is_scientific(const Piece& p) {
  return !p.is_free() && p.multiples.empty() && p.not_multiples.empty() && p.written == 0;
}

// The fewest further digits, at least `from`, that put the number inside the bounds that have its
// exponent (`at_lo`, `at_hi`); -1: none do.
std::int32_t Numbers::digits_between(const Side& s, const Core& c, bool at_lo, bool at_hi,
                                     std::int32_t from) {
  if ((at_lo && c.least == kLess) || (at_hi && c.most == kGreater)) return -1;
  at_lo = at_lo && c.least != kGreater;
  at_hi = at_hi && c.most != kLess;
  if (!at_lo && !at_hi) return from;
  // All digits so far agree with a bound's. Look for the fewest further digits with which the
  // greatest number below `hi` lies above `lo`.
  const std::int32_t n = std::max(at_lo ? c.least : 0, at_hi ? c.most : 0);
  const Natural& bound = at_lo ? s.lo.digits : s.hi.digits;
  const Natural written = first_digits(bound, n);
  const auto mantissa = [](const Decimal& d) {
    return Decimal{false, d.digits, -static_cast<std::int32_t>(d.digits.size())};
  };
  const Decimal lo = at_lo ? mantissa(s.lo)
                     : n   ? decimal(written, -n, false)
                           : Decimal{false, "1", -1};
  const Decimal hi = at_hi ? mantissa(s.hi) : decimal(natural::plus(written, "1"), -n, false);
  const std::int32_t longest =
      static_cast<std::int32_t>(std::max(lo.digits.size(), hi.digits.size()));
  for (std::int32_t more = from; more <= std::max(longest - n, 0) + 1; ++more) {
    Natural top;
    if (!last_at(hi, !at_hi || s.hi_open, n + more, &top)) continue;
    const int above = compare(decimal(std::move(top), -n - more, false), lo);
    if (above > 0 || (above == 0 && !(at_lo && s.lo_open))) return more;
  }
  return -1;
}

// The exponents with which the number, with at least `from` further digits, can lie inside.
std::vector<Numbers::Exponents> Numbers::exponents(const Side& s, const Core& c,
                                                   std::int32_t from) {
  const bool has_lo = s.has_lo && !s.lo.digits.empty();
  if (s.has_hi && s.hi.digits.empty()) return {};  // only zero is valid
  const std::int32_t lo = has_lo ? point_of(s.lo) : -kFar, hi = s.has_hi ? point_of(s.hi) : kFar;
  std::vector<Exponents> out;
  if (has_lo) out.push_back({lo, lo, digits_between(s, c, true, lo == hi, from)});
  if (lo + 1 < hi) out.push_back({lo + 1, hi - 1, from});
  if (s.has_hi && lo < hi) out.push_back({hi, hi, digits_between(s, c, false, true, from)});
  std::erase_if(out, [](const Exponents& e) { return e.digits < 0; });
  return out;
}

std::int64_t Numbers::rest_scientific(const Core& c) {
  const Side& s = side(c.piece, c.spelling, c.negative);
  if (!s.possible) return -1;
  if (!s.holes.empty() && !c.loose) {
    // The digits may still become those of an excluded value. Search for the fewest bytes that
    // complete a value inside the bounds that is not excluded.
    const auto bounded = [this](Core core) {
      core.loose = true;
      return rest_scientific(core);
    };
    const auto is_hole = [&s](const Core& core) {
      const std::int32_t exponent = core.phase == EDigits ? core.total - 1 : 0;
      const Natural digits = core.total == 0 ? Natural{} : without_zeros(core.digits);
      auto hole = std::partition_point(s.holes.begin(), s.holes.end(),
                                       [&digits](const Hole& h) { return h.lo.digits < digits; });
      for (; hole != s.holes.end() && hole->lo.digits == digits; ++hole)
        if (core.total == 0 || point_of(hole->lo) == core.point + (core.one ? -exponent : exponent))
          return true;
      return false;
    };
    const std::int64_t least = bounded(c);
    if (least < 0) return -1;
    std::size_t longest = s.lo.digits.size() + s.hi.digits.size();
    for (const Hole& h : s.holes) longest = std::max(longest, h.lo.digits.size());
    std::vector<std::vector<std::pair<std::int64_t, Core>>> ways(
        2 * longest + 12);  // by the number of bytes over `least`
    Interner<Core> seen;
    ways[0].push_back({0, c});
    for (std::size_t over = 0; over < ways.size(); ++over)
      while (!ways[over].empty()) {
        const auto [bytes, core] = std::move(ways[over].back());
        ways[over].pop_back();
        const bool ends = bytes == least + static_cast<std::int64_t>(over) && !is_hole(core);
        if (core.loose || ends) return least + static_cast<std::int64_t>(over);
        const std::size_t known = seen.size();
        if (seen.intern(core); seen.size() == known) continue;
        kernel_clock.tick();
        for (const char byte : std::string_view("0123456789.e+-")) {
          Core next = core;
          next.phase = follow(core.phase, static_cast<std::uint8_t>(byte));
          if (next.phase == Nothing ||
              !write_scientific(core, static_cast<std::uint8_t>(byte), &next))
            continue;
          const std::int64_t rest = bounded(next);
          const std::size_t at =
              rest < 0 ? ways.size()
                       : std::max(over, static_cast<std::size_t>(
                                            std::max<std::int64_t>(bytes + 1 + rest - least, 0)));
          if (at < ways.size()) ways[at].push_back({bytes + 1, std::move(next)});
        }
      }
    return -1;
  }
  const bool first = c.phase == Minus;
  std::int64_t best = -1;
  if (first) {
    Core zero = c;
    zero.phase = Zero;
    best = sum(1, rest_scientific(zero));
  } else if (c.total == 0) {
    if (!s.has_lo) return c.phase == Dot || c.phase == E || c.phase == ESign;  // it is zero
    if (c.phase >= E) return -1;
    for (const Exponents& e : exponents(s, c, 1))
      for (const std::int32_t exponent :
           {0, 9, 99, kMaxExponent}) {  // leading zeros, then an exponent for the rest
        const std::int32_t zeros = std::max(e.hi == kFar ? 0 : c.point - e.hi - exponent, 0);
        best = least(best, sum((c.phase == Zero) + zeros + e.digits,
                               exponent_bytes(c.point - zeros, e.lo, e.hi)));
      }
    return best;
  }
  for (const Exponents& e : exponents(s, c, first || c.phase == Dot)) {
    if (c.phase <= Int) {
      for (std::int32_t before = first; before <= e.digits;
           ++before)  // the point after any of the digits
        best = least(best, sum(e.digits + (before < e.digits),
                               exponent_bytes(c.point + before, e.lo, e.hi)));
      for (const std::int32_t exponent :
           {0, 9, 99, kMaxExponent}) {  // or trailing zeros, then an exponent for the rest
        const std::int32_t zeros = std::max(e.lo - c.point - e.digits - exponent, 0);
        best = least(best,
                     sum(e.digits + zeros, exponent_bytes(c.point + e.digits + zeros, e.lo, e.hi)));
      }
    } else if (c.phase <= Frac) {
      best = least(best, sum(e.digits, exponent_bytes(c.point, e.lo, e.hi)));
    } else if (e.digits == 0) {
      if (c.phase == E && e.lo <= c.point && c.point <= e.hi) return 1;
      if (c.phase == E) {
        best = least(best, exponent_bytes(c.point, e.lo, e.hi) < 0
                               ? -1
                               : exponent_bytes(c.point, e.lo, e.hi) - 1);
        continue;
      }
      const std::int32_t lo = std::max(c.one ? c.point - e.hi : e.lo - c.point, 0),
                         hi = c.one ? c.point - e.lo : e.hi - c.point;
      if (c.phase == ESign) best = least(best, exponent_digits(lo, hi));
      std::int32_t from = c.total - 1, to = from;
      for (std::int32_t digits = 0; c.phase == EDigits && c.count + digits <= 3;
           ++digits, from *= 10, to = to * 10 + 9)
        if (std::max(from, lo) <= std::min(to, hi)) best = least(best, digits);
    }
  }
  return best;
}

bool Numbers::write_scientific(const Core& c, std::uint8_t byte, Core* n) {
  const Side& s = side(c.piece, c.spelling, c.negative);
  const auto at = [&s](std::string_view digits) {  // the first hole with at least these digits;
                                                   // holes are sorted by digits
    return std::partition_point(s.holes.begin(), s.holes.end(),
                                [digits](const Hole& h) { return h.lo.digits < digits; });
  };
  const auto is_begun = [&](std::string_view digits) {
    return at(digits) != s.holes.end() && at(digits)->lo.digits.starts_with(digits);
  };
  const auto is_whole = [&](std::string_view digits) {
    return at(digits) != s.holes.end() && at(digits)->lo.digits == digits;
  };
  const auto follow_holes = [&](char digit) {  // keeps the digits while they may be an excluded
                                               // value's, and only the first of the zeros after
                                               // such a value
    Natural& d = n->digits;
    d.push_back(digit);
    while (d.back() == '0' && !is_begun(d) &&
           !is_begun(std::string_view(d).substr(0, d.size() - 1)))
      d.pop_back();
    n->loose = !is_begun(d) && !is_whole(without_zeros(d));
    if (n->loose) d.clear();
  };
  switch (n->phase) {
    case Minus: n->negative = true; return true;
    case Int:
    case Frac: {
      const bool whole = n->phase == Int;
      if (c.total == 0 && byte == '0') {
        --n->point;
      } else {
        n->total = 1;
        if (s.has_lo) n->least = compared(c.least, s.lo.digits, static_cast<char>(byte));
        if (s.has_hi) n->most = compared(c.most, s.hi.digits, static_cast<char>(byte));
        n->point += whole;
        if (!s.holes.empty() && !c.loose) follow_holes(static_cast<char>(byte));
      }
      // Beyond the reach of an exponent of three digits, the exact place of the point does not
      // matter.
      if (std::abs(n->point) <= kMaxExponent + 2) return true;
      std::int32_t lo = 0, hi = 0;
      const auto see = [&](const Decimal& d) {
        lo = std::min(lo, point_of(d)), hi = std::max(hi, point_of(d));
      };
      if (s.has_lo) see(s.lo);
      if (s.has_hi) see(s.hi);
      for (const Hole& h : s.holes) see(h.lo);
      n->point = std::clamp(n->point, lo - kMaxExponent - 2, hi + kMaxExponent + 2);
      return true;
    }
    case E:
      if (s.holes.empty() || c.loose) return true;
      n->digits = without_zeros(c.digits);
      n->loose = !is_whole(n->digits);  // zero has the digits ""
      if (n->loose) n->digits.clear();
      return true;
    case ESign: n->one = byte == '-'; return true;
    case EDigits:  // total: the exponent plus one; 0: the number is zero
      n->count = c.count + 1;
      n->total = c.total == 0 ? 0 : (c.phase == EDigits ? c.total - 1 : 0) * 10 + (byte - '0') + 1;
      return n->count <= 3;
    default: return true;
  }
}

}  // namespace guard
