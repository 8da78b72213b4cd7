#include "lexers/decimal.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace guard {

namespace natural {

namespace {
using U128 = unsigned __int128;
constexpr std::size_t kSmall = 18;  // digits of a number that fits a word even with one digit more

std::uint64_t word(const Natural& a) {  // requires at most kSmall digits
  std::uint64_t n = 0;
  for (char c : a) n = n * 10 + static_cast<unsigned>(c - '0');
  return n;
}
Natural text(std::uint64_t n) { return n == 0 ? Natural{} : std::to_string(n); }
}  // namespace

int compare(const Natural& a, const Natural& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  const int c = a.compare(b);
  return c < 0 ? -1 : c > 0;
}

Natural trimmed(std::string digits) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

Natural shifted(const Natural& a, std::int32_t zeros) {
  return a.empty() ? a : a + std::string(static_cast<std::size_t>(zeros), '0');
}

Natural plus(Natural a, const Natural& b) {
  if (a.size() < b.size()) return plus(b, a);
  int carry = 0;
  for (std::size_t i = 0; i < a.size() && (i < b.size() || carry); ++i) {
    char& x = a[a.size() - 1 - i];
    const int sum = x - '0' + (i < b.size() ? b[b.size() - 1 - i] - '0' : 0) + carry;
    carry = sum >= 10;
    x = static_cast<char>('0' + sum - 10 * carry);
  }
  if (carry) a.insert(a.begin(), '1');
  return a;
}

Natural minus(Natural a, const Natural& b) {
  int borrow = 0;
  for (std::size_t i = 0; i < a.size() && (i < b.size() || borrow); ++i) {
    char& x = a[a.size() - 1 - i];
    const int rest = x - '0' - (i < b.size() ? b[b.size() - 1 - i] - '0' : 0) - borrow;
    borrow = rest < 0;
    x = static_cast<char>('0' + rest + 10 * borrow);
  }
  return trimmed(std::move(a));
}

Natural times(const Natural& a, const Natural& b) {
  std::vector<std::uint32_t> sums(a.size() + b.size(), 0);  // least digit first
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b.size(); ++j)
      sums[a.size() + b.size() - 2 - i - j] +=
          static_cast<std::uint32_t>((a[i] - '0') * (b[j] - '0'));
  std::string out(sums.size(), '0');
  std::uint32_t carry = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    carry += sums[i];
    out[out.size() - 1 - i] = static_cast<char>('0' + carry % 10);
    carry /= 10;
  }
  return trimmed(std::move(out));
}

Natural divided(const Natural& a, const Natural& m, Natural* rest) {
  Natural quotient;
  if (m.size() <= kSmall) {
    const std::uint64_t n = word(m);
    std::uint64_t r = 0;
    for (char c : a) {
      r = r * 10 + static_cast<unsigned>(c - '0');
      quotient.push_back(static_cast<char>('0' + r / n));
      r %= n;
    }
    *rest = text(r);
    return trimmed(std::move(quotient));
  }
  rest->clear();
  for (char c : a) {
    if (c != '0' || !rest->empty()) rest->push_back(c);
    char digit = '0';
    for (; compare(*rest, m) >= 0; ++digit) *rest = minus(std::move(*rest), m);
    quotient.push_back(digit);
  }
  return trimmed(std::move(quotient));
}

Natural mod(const Natural& a, const Natural& m) {
  if (compare(a, m) < 0) return a;
  if (m.size() <= kSmall) {
    const std::uint64_t n = word(m);
    std::uint64_t r = 0;
    for (char c : a) r = (r * 10 + static_cast<unsigned>(c - '0')) % n;
    return text(r);
  }
  Natural rest;
  divided(a, m, &rest);
  return rest;
}

Natural gcd(Natural a, Natural b) {
  while (!b.empty()) {
    a = mod(a, b);
    std::swap(a, b);
  }
  return a;
}

Natural lcm(const Natural& a, const Natural& b) {
  Natural none;
  return times(divided(a, gcd(a, b), &none), b);
}

Natural ceiled(const Natural& a, const Natural& m) {
  if (m == "1") return a;
  const Natural r = mod(a, m);
  return r.empty() ? a : plus(a, minus(m, r));
}

}  // namespace natural

Decimal decimal(std::string digits, std::int32_t exp, bool negative) {
  digits = natural::trimmed(std::move(digits));
  while (!digits.empty() && digits.back() == '0') digits.pop_back(), ++exp;
  if (digits.empty()) return {};
  return {negative, std::move(digits), exp};
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.digits.empty() || b.digits.empty() || a.negative != b.negative) {
    const int sa = a.digits.empty() ? 0
                   : a.negative     ? -1
                                    : 1,
              sb = b.digits.empty() ? 0
                   : b.negative     ? -1
                                    : 1;
    return sa < sb ? -1 : sa > sb;
  }
  int c = point_of(a) != point_of(b) ? (point_of(a) < point_of(b) ? -1 : 1)
                                     : a.digits.compare(b.digits);  // neither has trailing zeros
  c = c < 0 ? -1 : c > 0;
  return a.negative ? -c : c;
}

std::int32_t decimals(const Decimal& d) { return d.digits.empty() ? 0 : std::max(0, -d.exp); }
std::int32_t point_of(const Decimal& d) {
  return static_cast<std::int32_t>(d.digits.size()) + d.exp;
}
std::int32_t whole_digits(const Decimal& d) {
  return d.digits.empty() ? 0 : std::max(0, point_of(d));
}

bool is_multiple(const Decimal& v, const Decimal& m) {
  if (v.digits.empty()) return true;
  if (decimals(v) > decimals(m)) return false;
  bool exact;
  const std::int32_t scale = decimals(m);
  return natural::mod(at_scale(v, scale, &exact), at_scale(m, scale, &exact)).empty();
}

Decimal lcm(const Decimal& a, const Decimal& b) {
  if (a == b) return a;
  bool exact;
  const std::int32_t scale = std::max(decimals(a), decimals(b));
  return decimal(natural::lcm(at_scale(a, scale, &exact), at_scale(b, scale, &exact)), -scale,
                 false);
}

Natural at_scale(const Decimal& d, std::int32_t scale, bool* exact) {
  const std::int32_t e = d.exp + scale;
  *exact = true;
  if (d.digits.empty()) return {};
  if (e >= 0) return natural::shifted(d.digits, e);
  *exact = false;
  if (static_cast<std::int32_t>(d.digits.size()) <= -e) return {};
  return d.digits.substr(0, d.digits.size() - static_cast<std::size_t>(-e));
}

Natural first_at(const Decimal& d, bool beyond, std::int32_t scale) {
  bool exact;
  Natural n = at_scale(d, scale, &exact);
  return !exact || beyond ? natural::plus(std::move(n), "1") : n;
}

bool last_at(const Decimal& d, bool beyond, std::int32_t scale, Natural* out) {
  bool exact;
  *out = at_scale(d, scale, &exact);
  if (!exact || !beyond) return true;
  if (out->empty()) return false;
  *out = natural::minus(std::move(*out), "1");
  return true;
}

bool neighbours(const Decimal& d, Decimal* below, Decimal* above) {
  const std::string text = d.digits + "e" + std::to_string(d.exp);
  double value = 0;
  if (d.digits.empty() ||
      std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{})
    return false;
  const auto read = [](double x, Decimal* out) {
    char buffer[40];
    const auto end =
        std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::scientific).ptr;
    const std::string_view all(buffer, static_cast<std::size_t>(end - buffer));  // d.ddde[-+]dd
    const std::size_t e = all.find('e');
    std::int32_t exp = 0;
    std::from_chars(all.data() + e + 1 + (all[e + 1] == '+'), all.data() + all.size(), exp);
    std::string digits(all.substr(0, 1));
    if (e > 2) digits += all.substr(2, e - 2), exp -= static_cast<std::int32_t>(e) - 2;
    *out = decimal(std::move(digits), exp, false);
  };
  const double up = std::nextafter(value, HUGE_VAL), down = std::nextafter(value, 0.0);
  if (std::isinf(up) || down == 0) return false;
  read(down, below);
  read(up, above);
  return true;
}

}  // namespace guard
