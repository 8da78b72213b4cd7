#include "number.hpp"

#include <algorithm>

namespace guard {

namespace {
using U128 = unsigned __int128;
constexpr int kCandidates = 500;        // lattice points tried between excluded ones
constexpr std::size_t kMaxFinish = 50000;  // cores of one search for a shortest number

// ---- natural numbers as decimal strings without leading zeros ("" is 0) ---------------------------------------------
int compare(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  const int c = a.compare(b);
  return c < 0 ? -1 : c > 0;
}
std::string trimmed(std::string s) {
  s.erase(0, std::min(s.find_first_not_of('0'), s.size()));
  return s;
}
std::string shifted(const std::string& a, std::int32_t zeros) {
  return a.empty() ? a : a + std::string(static_cast<std::size_t>(zeros), '0');
}
std::string plus(std::string a, std::uint64_t n) {
  std::size_t i = a.size();
  U128 carry = n;
  while (carry > 0) {
    if (i == 0) {
      a.insert(a.begin(), '0');
      i = 1;
    }
    carry += static_cast<unsigned>(a[--i] - '0');
    a[i] = static_cast<char>('0' + static_cast<int>(carry % 10));
    carry /= 10;
  }
  return a;
}
std::string minus_one(std::string a) {  // requires a > 0
  std::size_t i = a.size();
  while (a[--i] == '0') a[i] = '9';
  --a[i];
  return trimmed(std::move(a));
}
std::uint64_t mod(const std::string& a, std::uint64_t m) {
  U128 r = 0;
  for (char c : a) r = (r * 10 + static_cast<unsigned>(c - '0')) % m;
  return static_cast<std::uint64_t>(r);
}
// d * 10^scale, d >= 0: its floor, and whether that is exact.
std::string scaled(const Decimal& d, std::int32_t scale, bool* exact) {
  const std::int64_t e = static_cast<std::int64_t>(d.exp) + scale;
  *exact = true;
  if (d.digits.empty()) return {};
  if (e >= 0) return shifted(d.digits, static_cast<std::int32_t>(e));
  *exact = false;
  if (static_cast<std::int64_t>(d.digits.size()) <= -e) return {};
  return d.digits.substr(0, d.digits.size() - static_cast<std::size_t>(-e));
}
std::int32_t decimals(const Decimal& d) { return d.digits.empty() ? 0 : std::max(0, -d.exp); }
std::int32_t whole_digits(const Decimal& d) {  // before the point
  return d.digits.empty() ? 0 : std::max<std::int32_t>(0, static_cast<std::int32_t>(d.digits.size()) + d.exp);
}
bool fits(const Decimal& d, std::int32_t scale, std::uint64_t* out) {  // |d| * 10^scale, an integer below 10^18?
  const std::int64_t zeros = static_cast<std::int64_t>(d.exp) + scale;
  if (zeros < 0 || static_cast<std::int64_t>(d.digits.size()) + zeros > 18) return false;
  *out = 0;
  for (char c : d.digits) *out = *out * 10 + static_cast<std::uint64_t>(c - '0');
  for (std::int64_t i = 0; i < zeros; ++i) *out *= 10;
  return true;
}
[[noreturn]] void too_fine() {
  throw Limit{"digits", -1, "a multipleOf has more than 18 digits, or its combination with another one has"};
}
bool is_multiple(const Decimal& v, const Decimal& m) {
  if (v.digits.empty()) return true;
  const std::int32_t scale = std::max(decimals(v), decimals(m));
  std::uint64_t step;
  if (!fits(m, scale, &step)) {
    // Scale the divisor only as far as it needs; the value's extra decimals then decide.
    if (decimals(v) > decimals(m)) return false;
    too_fine();
  }
  bool exact;
  return mod(scaled(Decimal{false, v.digits, v.exp}, scale, &exact), step) == 0;
}
Decimal of(std::string digits, std::int32_t exp, bool negative) {
  digits = trimmed(std::move(digits));
  while (!digits.empty() && digits.back() == '0') digits.pop_back(), ++exp;
  if (digits.empty()) return {};
  return {negative, std::move(digits), exp};
}
}  // namespace

int compare(const Decimal& a, const Decimal& b) {
  if (a.digits.empty() || b.digits.empty() || a.negative != b.negative) {
    const int sa = a.digits.empty() ? 0 : a.negative ? -1 : 1, sb = b.digits.empty() ? 0 : b.negative ? -1 : 1;
    return sa < sb ? -1 : sa > sb;
  }
  const std::int64_t la = static_cast<std::int64_t>(a.digits.size()) + a.exp, lb = static_cast<std::int64_t>(b.digits.size()) + b.exp;
  int c = la != lb ? (la < lb ? -1 : 1) : 0;
  for (std::size_t i = 0; c == 0 && i < std::max(a.digits.size(), b.digits.size()); ++i) {
    const char x = i < a.digits.size() ? a.digits[i] : '0', y = i < b.digits.size() ? b.digits[i] : '0';
    c = x < y ? -1 : x > y;
  }
  return a.negative ? -c : c;
}

std::size_t Piece::hash() const {
  std::size_t h = mix(mix(lo.hash(), hi.hash()), has_lo | has_hi << 1 | lo_open << 2 | hi_open << 3 | written << 4);
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
  if (p.has_lo && p.has_hi) {
    const int c = compare(p.lo, p.hi);
    if (c > 0 || (c == 0 && (p.lo_open || p.hi_open))) return false;
  }
  if (a.written && b.written && a.written != b.written) return false;
  p.written = a.written | b.written;
  for (const Decimal& m : b.multiples) {
    if (p.multiples.empty()) {
      p.multiples.push_back(m);
      continue;
    }
    const Decimal& n = p.multiples[0];
    if (m == n) continue;
    const std::int32_t scale = std::max({decimals(m), decimals(n), 0});
    std::uint64_t x, y;
    if (!fits(m, scale, &x) || !fits(n, scale, &y)) too_fine();
    std::uint64_t g = x, r = y;
    while (r) g %= r, std::swap(g, r);
    const U128 least = static_cast<U128>(x / g) * y;
    if (least >= static_cast<U128>(1000000000000000000ull)) too_fine();
    p.multiples[0] = of(std::to_string(static_cast<std::uint64_t>(least)), -scale, false);
  }
  const auto unite = [](std::vector<Decimal>* into, const std::vector<Decimal>& from) {
    into->insert(into->end(), from.begin(), from.end());
    std::sort(into->begin(), into->end(), [](const Decimal& x, const Decimal& y) { return compare(x, y) < 0; });
    into->erase(std::unique(into->begin(), into->end()), into->end());
  };
  unite(&p.not_multiples, b.not_multiples);
  unite(&p.not_values, b.not_values);
  std::erase_if(p.not_values, [&p](const Decimal& v) {  // excluded already
    return (p.has_lo && compare(v, p.lo) < 0) || (p.has_hi && compare(v, p.hi) > 0) || (!p.multiples.empty() && !is_multiple(v, p.multiples[0]));
  });
  for (const Decimal& m : p.not_multiples)
    if (!p.multiples.empty() && is_multiple(p.multiples[0], m)) return false;
  *out = std::move(p);
  return true;
}

bool Numbers::covers(const Piece& a, const Piece& b) {
  const auto within = [](const std::vector<Decimal>& x, const std::vector<Decimal>& y) {
    return std::all_of(x.begin(), x.end(), [&y](const Decimal& d) { return std::find(y.begin(), y.end(), d) != y.end(); });
  };
  const auto lo = [&] { const int c = compare(a.lo, b.lo); return c < 0 || (c == 0 && (!a.lo_open || b.lo_open)); };
  const auto hi = [&] { const int c = compare(a.hi, b.hi); return c > 0 || (c == 0 && (!a.hi_open || b.hi_open)); };
  return (!a.has_lo || (b.has_lo && lo())) && (!a.has_hi || (b.has_hi && hi())) && within(a.multiples, b.multiples) &&
         within(a.not_multiples, b.not_multiples) && within(a.not_values, b.not_values) && (!a.written || a.written == b.written);
}

bool Numbers::is_value(const Piece& p, const Decimal& v) const {
  if (p.has_lo && (compare(v, p.lo) < 0 || (p.lo_open && compare(v, p.lo) == 0))) return false;
  if (p.has_hi && (compare(v, p.hi) > 0 || (p.hi_open && compare(v, p.hi) == 0))) return false;
  for (const Decimal& m : p.multiples)
    if (!is_multiple(v, m)) return false;
  for (const Decimal& m : p.not_multiples)
    if (is_multiple(v, m)) return false;
  return std::find(p.not_values.begin(), p.not_values.end(), v) == p.not_values.end();
}

Numbers::Room Numbers::room(Id id, Spelling spelling) const {
  const Piece& p = pieces_[id];
  std::int32_t whole = 1, fine = 0;
  const auto see = [&](const Decimal& d) {
    whole = std::max(whole, whole_digits(d));
    fine = std::max(fine, decimals(d));
  };
  if (p.has_lo) see(p.lo);
  if (p.has_hi) see(p.hi);
  for (const auto* list : {&p.multiples, &p.not_multiples, &p.not_values})
    for (const Decimal& d : *list) see(d);
  if (spelling == Spelling::Any) return {kInf, kInf, kInf, fine};
  // Two decimals of at most 15 digits are two doubles, in the same order: a reader of doubles keeps the bounds.
  const bool close = (p.has_lo || p.has_hi || !p.not_values.empty()) && p.multiples.empty();
  const std::int32_t total = std::max(close ? 15 : 17, whole + fine + 2);
  std::int32_t step = 0;
  for (const Decimal& d : p.multiples) step = decimals(d);
  return {total, total - step, std::max(7, fine + 2), fine};
}

Numbers::Interval Numbers::magnitudes(const Core& core) const {
  const Piece& p = pieces_[core.piece];
  Interval out;
  const bool neg = core.negative;
  const bool has_lo = neg ? p.has_hi : p.has_lo, has_hi = neg ? p.has_lo : p.has_hi;
  const bool lo_open = neg ? p.hi_open : p.lo_open, hi_open = neg ? p.lo_open : p.hi_open;
  Decimal lo = neg ? p.hi : p.lo, hi = neg ? p.lo : p.hi;
  if (neg && !lo.digits.empty()) lo.negative = !lo.negative;
  if (neg && !hi.digits.empty()) hi.negative = !hi.negative;
  if (has_hi) {
    if (hi.negative || (hi.digits.empty() && hi_open)) return {.possible = false, .lo = {}, .hi = {}};
    out.has_hi = true, out.hi = hi, out.hi_open = hi_open;
  }
  if (has_lo && !lo.negative && (!lo.digits.empty() || lo_open)) out.has_lo = true, out.lo = lo, out.lo_open = lo_open;
  if (neg && core.spelling == Spelling::Canonical && !out.has_lo) out.has_lo = true, out.lo = {}, out.lo_open = true;
  if (out.has_lo && out.has_hi) {
    const int c = compare(out.lo, out.hi);
    out.possible = c < 0 || (c == 0 && !out.lo_open && !out.hi_open);
  }
  return out;
}

// Is some integer in [lo, hi], read at 10^-scale, a value of the piece (with the core's sign)?
bool Numbers::meets(const Core& core, const std::string& lo, const std::string& hi, bool no_hi, std::int32_t scale) {
  const Piece& p = pieces_[core.piece];
  const Interval in = magnitudes(core);
  if (!in.possible) return false;
  std::string a = lo, b = hi;
  bool exact;
  if (in.has_lo) {
    std::string x = scaled(in.lo, scale, &exact);
    if (!exact || in.lo_open) x = plus(std::move(x), 1);
    if (compare(x, a) > 0) a = x;
  }
  if (in.has_hi) {
    std::string y = scaled(in.hi, scale, &exact);
    if (exact && in.hi_open) {
      if (y.empty()) return false;
      y = minus_one(std::move(y));
    }
    if (no_hi || compare(y, b) < 0) b = y;
    no_hi = false;
  }
  if (!no_hi && compare(a, b) > 0) return false;
  if (p.multiples.empty() && p.not_multiples.empty() && p.not_values.empty()) return true;
  std::uint64_t step = 1;
  std::int32_t zeros = 0;  // the lattice is step * 10^zeros
  if (!p.multiples.empty()) {
    const Decimal& m = p.multiples[0];
    const std::int32_t need = decimals(m);
    if (need > scale) {  // only points that scale can write
      if (!fits(m, need, &step)) too_fine();
      std::uint64_t ten = 1;
      if (need - scale > 17) too_fine();
      for (std::int32_t i = scale; i < need; ++i) ten *= 10;
      std::uint64_t g = step, r = ten;
      while (r) g %= r, std::swap(g, r);
      step /= g;  // lcm(step, ten) / ten
    } else {
      if (!fits(m, need, &step)) too_fine();
      zeros = scale - need;
    }
  }
  // a and b in units of 10^zeros
  std::string q = a, last = b;
  if (zeros > 0) {
    const std::size_t z = static_cast<std::size_t>(zeros);
    const bool whole = q.size() <= z ? q.empty() : q.find_first_not_of('0', q.size() - z) == std::string::npos;
    q = q.size() <= z ? std::string{} : q.substr(0, q.size() - z);
    if (!whole) q = plus(std::move(q), 1);
    last = last.size() <= z ? std::string{} : last.substr(0, last.size() - z);
  }
  const std::uint64_t r = mod(q, step);
  if (r) q = plus(std::move(q), step - r);
  const int tries = kCandidates + static_cast<int>(p.not_values.size());
  for (int i = 0; i < tries; ++i, q = plus(std::move(q), step)) {
    if (!no_hi && compare(q, last) > 0) return false;
    const Decimal v = of(shifted(q, zeros), -scale, core.negative);
    bool ok = std::find(p.not_values.begin(), p.not_values.end(), v) == p.not_values.end();
    for (const Decimal& m : p.not_multiples) ok = ok && !is_multiple(v, m);
    if (ok) return true;
  }
  return false;
}

bool Numbers::viable(const Core& core) {
  if (core.scientific) return viable_scientific(core);
  const Room room = this->room(core.piece, core.spelling);
  const bool canonical = core.spelling == Spelling::Canonical;
  const Piece& p = pieces_[core.piece];
  const std::int32_t fine = room.decimals + 2;
  switch (core.phase) {
    case Start: {
      Core sign = core;
      for (const bool negative : {false, true}) {
        sign.negative = negative;
        sign.phase = Minus;
        if (viable(sign)) return true;
      }
      return false;
    }
    case Minus:
    case Zero:
    case Int: {
      if (!magnitudes(core).possible) return false;
      if (core.phase == Zero) {
        if (p.written != 2 && meets(core, "", "", false, 0)) return true;
        if (p.written == 1 || (canonical && p.multiples.size() == 1 && decimals(p.multiples[0]) == 0)) return false;
        return meets(core, p.written != 2 ? "1" : "", std::string(static_cast<std::size_t>(fine), '9'), false, fine);
      }
      if (core.phase == Minus) {  // any digits
        std::int32_t scale = p.written == 1 ? 0 : fine;
        return meets(core, "", "", true, scale);
      }
      const std::int32_t most = canonical ? room.before - core.total : kInf;
      const Interval in = magnitudes(core);
      const std::int32_t reach = std::max({in.has_hi ? whole_digits(in.hi) : 0, in.has_lo ? whole_digits(in.lo) : 0, 1}) + 20;
      for (std::int32_t k = 0; k <= std::min(most, std::max(reach - static_cast<std::int32_t>(core.digits.size()), 0)); ++k) {
        std::int32_t scale = p.written == 1 ? 0 : canonical ? std::min(fine, room.total - core.total - k) : fine;
        const std::string lo = shifted(core.digits, k + scale);
        const std::string hi = minus_one(shifted(plus(core.digits, 1), k + scale));
        if (meets(core, lo, hi, false, scale)) return true;
      }
      return false;
    }
    case Dot:
    case Frac: {
      std::int32_t more = std::max(fine - core.count, 1);  // one digit beyond the bounds' decimals reaches between them
      if (canonical && core.total > 0) more = std::min(more, room.total - core.total);
      if (canonical && core.total == 0 && core.count > room.zeros) return false;
      std::string lo = shifted(core.digits, more), hi = core.digits;
      hi = trimmed(core.digits + std::string(static_cast<std::size_t>(more), '9'));
      if (more == 0 && core.phase == Dot) return false;
      return meets(core, lo, hi, false, core.count + more);
    }
    default:
      return true;
  }
}

bool Numbers::done(const Core& core) {
  if (core.scientific) {
    if (core.phase != Zero && core.phase != Int && core.phase != Frac && core.phase != EDigits) return false;
    const Interval in = magnitudes(core);
    if (!in.possible) return false;
    if (core.total == 0) return !in.has_lo || (in.lo.digits.empty() && !in.lo_open);
    const std::int64_t power = core.phase == EDigits ? core.total - 1 : 0;
    return fits_at(core, in, core.point + (core.one ? -power : power), true);
  }
  const Piece& p = pieces_[core.piece];
  const bool canonical = core.spelling == Spelling::Canonical;
  switch (core.phase) {
    case Zero:
      return p.written != 2 && meets(core, "", "", false, 0);
    case Int:
      if (p.written == 2) return false;
      return core.loose ? core.least == 0 : meets(core, core.digits, core.digits, false, 0);
    case Frac:
      return core.loose || meets(core, core.digits, core.digits, false, core.count);
    case EDigits:
      return !canonical || (core.one ? core.total >= 17 : core.total >= 8);
    default:
      return false;
  }
}

// Forgets the digits when they no longer matter.
Id Numbers::loosened(Core core) {
  const Piece& p = pieces_[core.piece];
  const bool canonical = core.spelling == Spelling::Canonical;
  const bool integer = p.multiples.size() == 1 && p.multiples[0] == Decimal{false, "1", 0};
  if (core.loose || (core.phase != Int && core.phase != Frac) || (!p.multiples.empty() && !integer) || !p.not_multiples.empty() ||
      !p.not_values.empty() || p.written == 2)
    return cores_.intern(std::move(core));
  const Interval in = magnitudes(core);
  const bool whole = integer || p.written == 1;
  const Room room = this->room(core.piece, core.spelling);
  const auto cmp = [](const std::string& x, std::int32_t scale, const Decimal& d) {  // x * 10^-scale against d
    bool exact;
    const std::string y = scaled(d, scale, &exact);
    const int c = compare(x, y);
    return c == 0 && !exact ? -1 : c;
  };
  // -1 outside, 0 partly, 1 inside: the numbers [x, y] * 10^-scale, y left out unless only whole numbers count
  const auto relation = [&](const std::string& x, const std::string& end, std::int32_t scale, bool whole_only) {
    const std::string y = whole_only ? minus_one(end) : end;
    bool above = true, below = true;
    if (in.has_lo) {
      const int at = cmp(x, scale, in.lo), top = cmp(y, scale, in.lo);
      if (whole_only ? top < 0 || (top == 0 && in.lo_open) : top <= 0) return -1;
      above = at > 0 || (at == 0 && !in.lo_open);
    }
    if (in.has_hi) {
      const int at = cmp(x, scale, in.hi), top = cmp(y, scale, in.hi);
      if (at > 0 || (at == 0 && in.hi_open)) return -1;
      below = top < 0 || (top == 0 && (!whole_only || !in.hi_open));
    }
    return above && below ? 1 : 0;
  };
  if (core.phase == Frac) {
    if (whole || relation(core.digits, plus(core.digits, 1), core.count, false) != 1 || (canonical && core.total == 0))
      return cores_.intern(std::move(core));
    core.loose = true;
    core.digits.clear();
    core.count = 0;
    if (!canonical) core.total = 0;
    return cores_.intern(std::move(core));
  }
  std::int32_t least = -1, most = -1;
  const std::int32_t cap = canonical ? room.before - core.total : kInf;
  for (std::int32_t k = 0; k <= cap; ++k) {
    const int r = relation(shifted(core.digits, k), shifted(plus(core.digits, 1), k), 0, whole);
    if (r == 0) return cores_.intern(std::move(core));
    if (r == 1 && least < 0) least = k;
    if (r == 1) most = k;
    if (r == 1 && !in.has_hi) {
      most = cap;
      break;
    }
    if (r == -1 && in.has_hi && cmp(shifted(core.digits, k), 0, in.hi) >= 0) break;
    if (k > 5000) throw Limit{"digits", -1, "a bound on numbers has more than 5,000 digits"};
  }
  if (least < 0) return cores_.intern(std::move(core));
  core.loose = true;
  core.least = least;
  core.most = most;
  core.digits.clear();
  if (!canonical) core.total = 0;
  return cores_.intern(std::move(core));
}

// ---- numbers with exponents under bounds ------------------------------------------------------------------------------

namespace {
constexpr std::int32_t kLess = -1, kGreater = -2;  // else: so many digits agree with the bound's
constexpr std::int32_t kMaxExponent = 999;

std::int32_t point_of(const Decimal& d) { return static_cast<std::int32_t>(d.digits.size()) + d.exp; }  // 0.digits * 10^point
std::int32_t compared(std::int32_t before, const std::string& bound, char digit) {
  if (before < 0) return before;
  const std::size_t at = static_cast<std::size_t>(before);
  if (at >= bound.size()) return digit == '0' ? before : kGreater;
  return digit < bound[at] ? kLess : digit > bound[at] ? kGreater : before + 1;
}
}  // namespace

bool Numbers::is_scientific(Id id, Spelling spelling) const {
  const Piece& p = pieces_[id];
  return spelling == Spelling::Any && !p.is_free() && p.multiples.empty() && p.not_multiples.empty() && p.not_values.empty() && p.written == 0;
}

// Do digits so far, at this exponent, lie within the bounds: as they are (whole), or with some further digits?
bool Numbers::fits_at(const Core& c, const Interval& in, std::int64_t exponent, bool whole) const {
  if (in.has_lo && !in.lo.digits.empty()) {
    const std::int64_t at = point_of(in.lo);
    if (exponent < at) return false;
    if (exponent == at) {
      if (c.least == kLess) return false;
      if (whole && c.least >= 0 && (c.least < static_cast<std::int32_t>(in.lo.digits.size()) || in.lo_open)) return false;
    }
  }
  if (in.has_hi) {
    if (in.hi.digits.empty()) return false;  // the digits are not zero
    const std::int64_t at = point_of(in.hi);
    if (exponent > at) return false;
    if (exponent == at && (c.most == kGreater || (c.most == static_cast<std::int32_t>(in.hi.digits.size()) && in.hi_open))) return false;
  }
  return true;
}

bool Numbers::viable_scientific(const Core& c) const {
  if (c.phase == Start) {
    Core sign = c;
    sign.phase = Minus;
    if (viable_scientific(sign)) return true;
    sign.negative = true;
    return viable_scientific(sign);
  }
  const Interval in = magnitudes(c);
  if (!in.possible) return false;
  const bool zero = !in.has_lo || (in.lo.digits.empty() && !in.lo_open);
  if (c.phase == Minus) return true;
  if (c.total == 0)  // only zeros so far: from there the exponent must still reach
    return zero || (c.phase < E && !(in.has_hi && in.hi.digits.empty()) &&
                    (!in.has_lo || in.lo.digits.empty() || c.point + kMaxExponent >= point_of(in.lo)));
  if (c.phase >= E) {
    const std::int32_t n = c.phase == EDigits ? c.count : 0;
    std::int32_t step = 1;
    for (std::int32_t more = 0; n + more <= 3; ++more, step *= 10) {
      if (n + more == 0) continue;
      for (std::int32_t v = (n ? c.total - 1 : 0) * step, end = v + step; v < end; ++v) {
        if (c.phase != E && !c.one && fits_at(c, in, static_cast<std::int64_t>(c.point) + v, true)) return true;
        if (c.phase != E && c.one && fits_at(c, in, static_cast<std::int64_t>(c.point) - v, true)) return true;
        if (c.phase == E && (fits_at(c, in, static_cast<std::int64_t>(c.point) + v, true) || fits_at(c, in, static_cast<std::int64_t>(c.point) - v, true))) return true;
      }
    }
    return false;
  }
  // Some exponent, and before the point more digits: a decade is whole inside, or it is one that holds a bound.
  const std::int64_t low = static_cast<std::int64_t>(c.point) - kMaxExponent;
  const std::int64_t high = c.phase == Int ? std::numeric_limits<std::int32_t>::max() : static_cast<std::int64_t>(c.point) + kMaxExponent;
  const bool has_lo = in.has_lo && !in.lo.digits.empty();
  const std::int64_t first = std::max(low, has_lo ? static_cast<std::int64_t>(point_of(in.lo)) : low);
  const std::int64_t last = std::min(high, in.has_hi ? static_cast<std::int64_t>(point_of(in.hi)) : high);
  for (const std::int64_t e : {first, first + 1, last - 1, last})
    if (first <= e && e <= last && fits_at(c, in, e, false)) return true;
  return false;
}

Id Numbers::step_scientific(const Core& c, std::uint8_t byte) {
  const bool digit = byte >= '0' && byte <= '9';
  Core n = c;
  const auto write = [&](bool before_point) {
    const Interval in = magnitudes(n);
    if (n.total == 0 && byte == '0') {
      if (!before_point) --n.point;
    } else {
      n.total = 1;
      n.least = in.has_lo ? compared(n.least, in.lo.digits, static_cast<char>(byte)) : 0;
      n.most = in.has_hi ? compared(n.most, in.hi.digits, static_cast<char>(byte)) : 0;
      if (before_point) ++n.point;
    }
    // Beyond what three digits of exponent can mend, further is no farther.
    const std::int32_t lo = std::min(in.has_lo ? point_of(in.lo) : 0, in.has_hi ? point_of(in.hi) : 0) - kMaxExponent - 2;
    const std::int32_t hi = std::max(in.has_lo ? point_of(in.lo) : 0, in.has_hi ? point_of(in.hi) : 0) + kMaxExponent + 2;
    n.point = std::clamp(n.point, lo, hi);
  };
  bool ok = false;
  switch (c.phase) {
    case Start:
      if (byte == '-') {
        n.phase = Minus, n.negative = true, ok = true;
        break;
      }
      [[fallthrough]];
    case Minus:
      if (!digit) break;
      n.phase = byte == '0' ? Zero : Int, ok = true;
      if (byte != '0') write(true);
      break;
    case Zero:
    case Int:
      if (byte == '.') n.phase = Dot, ok = true;
      if ((byte | 0x20) == 'e') n.phase = E, ok = true;
      if (digit && c.phase == Int) write(true), ok = true;
      break;
    case Dot:
    case Frac:
      if (digit) n.phase = Frac, write(false), ok = true;
      if (c.phase == Frac && (byte | 0x20) == 'e') n.phase = E, ok = true;
      break;
    case E:
      if (byte == '+' || byte == '-') {
        n.phase = ESign, n.one = byte == '-', ok = true;
        break;
      }
      [[fallthrough]];
    case ESign:
      if (digit) n.phase = EDigits, n.count = 1, n.total = c.total ? byte - '0' + 1 : 0, ok = true;  // total: the exponent + 1
      break;
    case EDigits:
      if (digit && c.count < 3) n.count = c.count + 1, n.total = c.total ? (c.total - 1) * 10 + (byte - '0') + 1 : 0, ok = true;
      break;
  }
  return ok && viable_scientific(n) ? cores_.intern(std::move(n)) : kDead;
}

Id Numbers::step_core(Id id, std::uint8_t byte) {
  const std::int64_t key = static_cast<std::int64_t>(id) << 8 | byte;
  const auto found = core_step_.find(key);
  if (found != core_step_.end()) return found->second;
  Core c = cores_[id];
  if (c.scientific) return core_step_[key] = step_scientific(c, byte);
  const Piece& p = pieces_[c.piece];
  const bool canonical = c.spelling == Spelling::Canonical, free = p.is_free();
  const bool integer = p.multiples.size() == 1 && p.multiples[0] == Decimal{false, "1", 0};
  const bool integral = p.multiples.size() == 1 && decimals(p.multiples[0]) == 0;  // canonical: no fraction
  const Room room = this->room(c.piece, c.spelling);
  const bool digit = byte >= '0' && byte <= '9';
  bool ok = false;
  Core n = c;
  switch (c.phase) {
    case Start:
      if (byte == '-') {
        n.phase = Minus, n.negative = true, ok = true;
        break;
      }
      [[fallthrough]];
    case Minus:
      if (!digit) break;
      ok = true;
      n.phase = byte == '0' ? Zero : Int;
      if (byte != '0') n.digits = std::string(1, static_cast<char>(byte)), n.total = canonical, n.one = canonical && free;
      break;
    case Zero:
      if (byte == '.') n.phase = Dot, ok = p.written != 1 && !(canonical && integral);
      if (free && !canonical && (byte | 0x20) == 'e') n.phase = E, ok = true;
      break;
    case Int:
      if (digit) {
        n.one = false;
        n.total += canonical;
        if (canonical && n.total > room.before) break;
        if (c.loose) {
          if (c.most == 0) break;
          n.least = std::max(c.least - 1, 0);
          n.most = c.most == kInf ? kInf : c.most - 1;
        } else {
          n.digits.push_back(static_cast<char>(byte));
        }
        ok = true;
      } else if (byte == '.') {
        if (p.written == 1 || (canonical && (integral || c.total >= room.total))) break;
        n.phase = Dot;
        ok = !c.loose || c.least == 0;
        n.least = n.most = 0;
      } else if (free && (canonical ? c.one && byte == 'e' : (byte | 0x20) == 'e')) {
        n.phase = E, ok = true;
      }
      break;
    case Dot:
    case Frac:
      if (digit) {
        n.phase = Frac;
        if (c.loose) {
          if (integer && byte != '0') break;
          if (canonical && ++n.total > room.total) break;
        } else {
          n.count += 1;
          if (byte != '0' || !n.digits.empty()) {
            n.digits.push_back(static_cast<char>(byte));
            if (canonical && ++n.total > room.total) break;
          } else if (canonical && n.count > room.zeros) {
            break;
          }
        }
        ok = true;
      } else if (free && c.phase == Frac && (canonical ? c.one && byte == 'e' : (byte | 0x20) == 'e')) {
        n.phase = E, ok = true;
      }
      break;
    case E:
      if (byte == '+' || byte == '-') {
        n.phase = ESign, n.one = byte == '+', ok = true;
        break;
      }
      if (canonical) break;
      [[fallthrough]];
    case ESign:
      if (!digit || (canonical && byte == '0')) break;
      n.phase = EDigits, n.total = byte - '0', n.count = 1, ok = true;
      break;
    case EDigits:
      if (!digit || c.count == 3) break;
      n.total = c.total * 10 + (byte - '0'), n.count = c.count + 1, ok = true;
      break;
  }
  if (ok && n.phase >= E) {  // what came before no longer matters
    n.loose = n.negative = false;
    n.least = n.most = 0;
    n.digits.clear();
    if (n.phase != EDigits) n.total = n.count = 0;
    if (!canonical) n.total = 0, n.one = false;
  }
  Id next = kDead;
  if (ok && (n.loose || n.phase >= E || viable(n))) next = loosened(std::move(n));
  core_step_[key] = next;
  return next;
}

Id Numbers::start(const std::vector<NumberComponent>& components, Spelling spelling) {
  State s;
  for (const NumberComponent& k : components) {
    Core c;
    c.piece = k.piece;
    c.spelling = spelling;
    c.scientific = is_scientific(k.piece, spelling);
    if (viable(c)) s.cores.push_back({cores_.intern(std::move(c)), k.label});
  }
  std::sort(s.cores.begin(), s.cores.end());
  return keep(std::move(s));
}

Id Numbers::keep(State s) {
  s.cores.erase(std::unique(s.cores.begin(), s.cores.end()), s.cores.end());
  if (std::all_of(s.cores.begin(), s.cores.end(), [](const auto& c) { return c.second >= kTracked; })) return kDead;
  return states_.intern(std::move(s));
}

Id Numbers::step(Id state, std::uint8_t byte) {
  const std::int64_t key = static_cast<std::int64_t>(state) << 8 | byte;
  const auto found = state_step_.find(key);
  if (found != state_step_.end()) return found->second;
  const std::vector<std::pair<Id, Id>> cores = states_[state].cores;
  State s;
  for (const auto& [core, label] : cores) {
    const Id next = step_core(core, byte);
    if (next != kDead) s.cores.push_back({next, label});
  }
  std::sort(s.cores.begin(), s.cores.end());
  const Id next = keep(std::move(s));
  state_step_[key] = next;
  return next;
}

void Numbers::accepted(Id state, std::vector<Id>* labels) {
  labels->clear();
  const std::vector<std::pair<Id, Id>> cores = states_[state].cores;
  for (const auto& [core, label] : cores)
    if (done(cores_[core])) labels->push_back(label);
  std::sort(labels->begin(), labels->end());
  labels->erase(std::unique(labels->begin(), labels->end()), labels->end());
}

bool Numbers::accepts_any(Id state) {
  for (const auto& [core, label] : states_[state].cores)
    if (label < kTracked && done(cores_[core])) return true;
  return false;
}

bool Numbers::inhabited(Id piece, Spelling spelling) {
  Core c;
  c.piece = piece;
  c.spelling = spelling;
  c.scientific = is_scientific(piece, spelling);
  return viable(c);
}

bool Numbers::list(Id id, std::size_t cap, std::vector<Decimal>* out) {
  const Piece& p = pieces_[id];
  if (!p.has_lo || !p.has_hi) return false;
  if (p.lo == p.hi) {
    if (is_value(p, p.lo)) out->push_back(p.lo);
    return true;
  }
  if (p.multiples.empty()) return false;
  const Decimal& m = p.multiples[0];
  const std::int32_t scale = decimals(m);
  std::uint64_t step;
  if (!fits(m, scale, &step)) return false;
  for (const bool negative : {true, false}) {
    Core c;
    c.piece = id;
    c.negative = negative;
    c.spelling = Spelling::Any;
    const Interval in = magnitudes(c);
    if (!in.possible) continue;
    bool exact;
    std::string q = in.has_lo ? scaled(in.lo, scale, &exact) : std::string{};
    const std::uint64_t r = mod(q, step);
    if (r) q = plus(std::move(q), step - r);
    for (; compare(of(q, -scale, false), in.hi) <= 0; q = plus(std::move(q), step)) {
      if (out->size() > cap) return false;
      const Decimal v = of(q, -scale, negative);
      if (is_value(p, v) && !(negative && v.digits.empty())) out->push_back(v);
    }
  }
  return out->size() <= cap;
}

// Bytes of a short way to the end, breadth first: over the digits that matter most, then over all. What was found is remembered
// for every core on the way, so that each of them has a next byte that is one nearer.
std::int64_t Numbers::finish(Id start) {
  const auto found = finish_.find(start);
  if (found != finish_.end()) return found->second;
  std::string some = "019.-e+";
  const Piece& p = pieces_[cores_[start].piece];
  for (const Decimal* d : {&p.lo, &p.hi})
    for (char c : d->digits)
      if (some.find(c) == std::string::npos) some.push_back(c);
  for (const auto& [alphabet, cap] : {std::pair<std::string_view, std::size_t>{some, kMaxFinish / 10}, {"0123456789.-e+", kMaxFinish}}) {
    std::unordered_map<Id, Id> from{{start, -1}};
    std::vector<Id> level{start};
    while (!level.empty() && from.size() <= cap) {
      std::vector<Id> next;
      for (Id q : level) {
        const auto known = finish_.find(q);
        if (known != finish_.end() || done(cores_[q])) {
          std::int64_t back = known != finish_.end() ? known->second : 0;
          for (Id at = q; at >= 0; at = from[at]) finish_.try_emplace(at, back++);
          return finish_[start];
        }
        for (const char b : alphabet) {
          const Id n = step_core(q, static_cast<std::uint8_t>(b));
          if (n != kDead && from.try_emplace(n, q).second) next.push_back(n);
        }
      }
      level = std::move(next);
    }
  }
  throw Limit{"states", -1, "the shortest number under a constraint is too far away"};
}

}  // namespace guard
