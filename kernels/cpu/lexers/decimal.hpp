// Decimal: exact decimal numbers, over natural numbers of any size.
//
// A natural number is a string of decimal digits without leading zeros, "" for 0. The bounds of a
// schema are decimal already, and a product with a power of ten only appends zeros. Division takes
// one pass over the digits if the divisor has at most 18 digits; a larger divisor needs long
// division. All functions are pure. Tested against Python's integers and fractions through
// tests/kernels/test_number_languages.py.
#pragma once
#include "support/base.hpp"

namespace guard {

using Natural = std::string;

namespace natural {
int compare(const Natural& a, const Natural& b);
Natural trimmed(std::string digits);                    // without leading zeros
Natural shifted(const Natural& a, std::int32_t zeros);  // a * 10^zeros
Natural plus(Natural a, const Natural& b);
Natural minus(Natural a, const Natural& b);  // requires a >= b
Natural times(const Natural& a, const Natural& b);
Natural divided(const Natural& a, const Natural& m, Natural* rest);  // requires m > 0
Natural mod(const Natural& a, const Natural& m);
Natural gcd(Natural a, Natural b);
Natural lcm(const Natural& a, const Natural& b);     // requires a, b > 0
Natural ceiled(const Natural& a, const Natural& m);  // the least multiple of m that is at least a
}  // namespace natural

struct Decimal {  // (-1)^negative * digits * 10^exp; zero has no digits
  bool negative = false;
  std::string digits;  // no leading or trailing zeros
  std::int32_t exp = 0;
  bool operator==(const Decimal&) const = default;
  std::size_t hash() const {
    return mix(mix(hash_of(digits), static_cast<std::size_t>(exp)), negative);
  }
};
Decimal decimal(std::string digits, std::int32_t exp, bool negative);  // from any digits; removes
                                                                       // the zeros at either end
int compare(const Decimal& a, const Decimal& b);
std::int32_t decimals(const Decimal& d);      // digits after the point, written out
std::int32_t whole_digits(const Decimal& d);  // digits before the point, without leading zeros
std::int32_t point_of(const Decimal& d);      // |d| = 0.digits * 10^point
bool is_multiple(const Decimal& v, const Decimal& m);  // requires m > 0
Decimal lcm(const Decimal& a, const Decimal& b);       // requires a, b > 0

// Magnitudes in units of 10^-scale. at_scale: the greatest n with n * 10^-scale <= |d|; *exact:
// they are equal. first_at: the least n with n * 10^-scale >= |d|, or > |d| if `beyond`. last_at:
// the greatest n with n * 10^-scale <= |d|, or < |d| if `beyond`; false if there is none.
Natural at_scale(const Decimal& d, std::int32_t scale, bool* exact);
Natural first_at(const Decimal& d, bool beyond, std::int32_t scale);
bool last_at(const Decimal& d, bool beyond, std::int32_t scale, Natural* out);

// The shortest decimals of the doubles next below and next above that of |d|. All numbers that are
// read as the same double as |d| lie strictly between them. False if |d| is zero or no double, or
// has no positive finite neighbour on some side.
bool neighbours(const Decimal& d, Decimal* below, Decimal* above);

}  // namespace guard
