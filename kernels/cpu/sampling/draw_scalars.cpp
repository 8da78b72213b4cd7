// Sampler: strings and numbers, drawn from choices. See sampler.hpp.
#include <algorithm>
#include <cmath>

#include "sampling/sampler.hpp"

namespace guard {

namespace {
// Characters that often break software: the ends of ranges in each plane, characters that must be
// escaped, invisible characters, and characters that change the text's direction.
constexpr std::uint32_t kOdd[] = {
    ' ',     '"',     '\\',    '/',     '\'',    '<',     0,       '\t',    '\n',
    '\r',    0x1F,    0x7F,    0x80,    0x85,    0xA0,    0xDF,    0xE9,    0xFF,
    0x130,   0x301,   0x3A3,   0x5D0,   0x7FF,   0x800,   0x660,   0x200B,  0x200D,
    0x202E,  0x2028,  0x2029,  0xFB01,  0xFEFF,  0xFFFD,  0xFFFF,  0xD7FF,  0xE000,
    0x10000, 0x1F600, 0x1F1E6, 0x20000, 0x2FFFF, 0x30000, 0xE0001, 0xF0000, kMaxChar};
// The subset that all dialects of regular expressions treat alike: no letters, digits, white space
// or line ends.
constexpr std::uint32_t kUnlikeWords[] = {
    '!',    '"',    '#',    '\'',   '*',    '+',     '/',     '<',     '?',     '\\',
    '^',    '|',    0,      7,      0x7F,   0x80,    0xA9,    0xD7,    0x200B,  0x200D,
    0x202E, 0x20AC, 0xFFFD, 0xFFFF, 0xE000, 0x1F600, 0x2FFFF, 0xE0001, 0xF0000, kMaxChar};
// Ranges of characters, the simplest first.
constexpr Range kPlain[] = {{'a', 'z'},         {'0', '9'},   {'A', 'Z'},    {'_', '_'},
                            {'-', '.'},         {' ', '~'},   {0xA1, 0x2FF}, {0x300, 0xD7FF},
                            {0xE000, kMaxChar}, {'\t', '\n'}, {0, 0x1F},     {0x7F, 0xA0}};

int plainness(std::uint32_t lo, std::uint32_t hi, std::uint32_t* first) {
  for (std::size_t i = 0; i < std::size(kPlain); ++i)
    if (lo <= kPlain[i].hi && kPlain[i].lo <= hi)
      return *first = std::max(lo, kPlain[i].lo), static_cast<int>(i);
  return -1;  // surrogates
}

std::uint32_t plain_character(std::size_t i) {
  static constexpr std::string_view kCommon =
      "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ _-.,:/";
  return static_cast<std::uint8_t>(kCommon[i % kCommon.size()]);
}

void append_json(std::string* out, std::uint32_t c) {
  static const char* digits = "0123456789abcdef";
  switch (c) {
    case '"': *out += "\\\""; return;
    case '\\': *out += "\\\\"; return;
    case 8: *out += "\\b"; return;
    case 9: *out += "\\t"; return;
    case 10: *out += "\\n"; return;
    case 12: *out += "\\f"; return;
    case 13: *out += "\\r"; return;
    default: break;
  }
  if (c < 0x20) {
    *out += "\\u00";
    out->push_back(digits[c >> 4]);
    out->push_back(digits[c & 15]);
    return;
  }
  const char32_t one = c;
  *out += encode_utf8(std::u32string_view(&one, 1));
}

using Wide = __int128;
// v / 10^scale as decimal text.
std::string written(Wide v, int scale) {
  const bool negative = v < 0;
  if (negative) v = -v;
  std::string digits;
  for (; v > 0; v /= 10) digits.push_back(static_cast<char>('0' + static_cast<int>(v % 10)));
  while (static_cast<int>(digits.size()) <= scale) digits.push_back('0');
  std::reverse(digits.begin(), digits.end());
  std::string whole = digits.substr(0, digits.size() - static_cast<std::size_t>(scale)),
              fraction = digits.substr(digits.size() - static_cast<std::size_t>(scale));
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (negative && (whole != "0" || !fraction.empty())) whole.insert(whole.begin(), '-');
  return fraction.empty() ? whole : whole + "." + fraction;
}
constexpr int kMostDigits = 29;  // so that a three-byte choice times a range fits into a Wide
// Computes d * 10^scale, rounded towards zero. False if the result has more than kMostDigits
// digits.
bool scaled(const Decimal& d, int scale, Wide* out) {
  if (d.digits.empty()) return *out = 0, true;
  const int zeros = d.exp + scale, whole = static_cast<int>(d.digits.size()) + zeros;
  if (whole > kMostDigits) return false;
  Wide v = 0;
  for (int i = 0; i < whole; ++i)
    v = v * 10 +
        (i < static_cast<int>(d.digits.size()) ? d.digits[static_cast<std::size_t>(i)] - '0' : 0);
  *out = d.negative ? -v : v;
  return true;
}
double approximate(const Decimal& d) {
  return d.digits.empty()
             ? 0
             : (d.negative ? -1 : 1) *
                   std::strtod((d.digits + "e" + std::to_string(d.exp)).c_str(), nullptr);
}
Wide floored(Wide a, Wide m) { return a >= 0 ? a / m : -((-a + m - 1) / m); }
}  // namespace

std::string json_of(std::string_view utf8) {
  std::string out;
  for (char32_t c : decode_utf8(utf8)) append_json(&out, c);
  return out;
}

std::string Sampler::string_of(Id goal, bool simplest) {
  const std::vector<StringPiece> pieces =
      constraints_.scalars.string_set(constraints_.scalars.strings(goal)).pieces;
  if (pieces.empty()) return "";
  std::vector<std::int64_t> weights;
  if (!simplest && pieces.size() > 1)
    for (const StringPiece& p : pieces) weights.push_back(variety(p.lang));
  const StringPiece& p = pieces[weights.empty() ? 0 : pick_weighted(weights)];
  return text_of(p.lang, p.lo, p.hi, simplest);
}

// A text of the language with lo to hi characters, escaped as between JSON quotes. Each character
// uses one choice. A low choice ends the text if it may end here. A high first choice selects a
// length near the maximum.
std::string Sampler::text_of(Id lang, std::int32_t lo, std::int32_t hi, bool simplest) {
  constexpr std::int64_t kMost = 2000;
  constexpr std::int64_t kLong =
      100;  // a text that exceeds the wanted length by so many characters is closed
  constexpr std::uint8_t kEmpty = 8, kEnd = 32, kAgain = 96, kOddly = 160, kMore = 224,
                         kAlmost = 244, kFull = 248;
  constexpr int kSteady =
      16;  // up to this surplus, each larger choice adds one character; beyond it, twelve
  constexpr std::int64_t kAgainUpTo =
      48;  // after the unit's end, characters before this position are drawn from its choices again
  constexpr std::int64_t kRun =
      56;  // the longest run of one forced character, in which the only choice is where to end
  const bool plainest =
      simplest || is_unit_over() || static_cast<std::uint8_t>(choices_[unit_][at_]) == 0;
  // Formats like date-time have long texts with parts that a short unit never reaches, such as
  // fractions of seconds and offsets. `again` derives more choices from those of the unit.
  const std::size_t unit = unit_;
  const bool again =
      !plainest && lang != Langs::kAll && static_cast<std::uint8_t>(choices_[unit][at_]) >= kAgain;
  std::int64_t wanted = lo;
  std::string* keep = nullptr;
  if (plainest) {
    next();
    std::string& known = simplest_texts_[{lang, lo, hi}];
    if (!known.empty()) return known;
    keep = &known;
  } else if (const std::uint8_t size = static_cast<std::uint8_t>(choices_[unit_][at_]);
             size >= kMore) {
    next();
    const int more =
        size -
        kMore;  // Only the largest choices give the longest texts, so shrinking shortens them.
    const bool is_bounded = hi != kInf && hi <= kMost;
    wanted = is_bounded && size >= kFull ? hi
             : is_bounded && size >= kAlmost
                 ? std::max(lo, hi - 1)
                 : lo + (more <= kSteady ? more : kSteady + (more - kSteady) * 12);
    wanted = std::min<std::int64_t>(wanted, hi);
  }
  std::string out;
  Id at = lang;
  for (std::int64_t written = 0; written < std::max<std::int64_t>(lo, 2 * kMost); ++written) {
    const bool ends = written >= wanted && langs_.accepts(at);
    const bool over = is_unit_over() && (!again || written >= kAgainUpTo || langs_.accepts(at));
    const bool closing = written >= wanted && (plainest || over || written > wanted + kLong);
    const std::vector<Edge> edges =
        at == Langs::kAll || written == hi
            ? std::vector<Edge>()
            : edges_of(at, lo - written - 1, hi == kInf ? kInf : hi - written - 1, closing);
    if (!ends && edges.size() == 1 && edges[0].is_one()) {  // there is no choice
      at = edges[0].next;
      append_json(&out, edges[0].first);
      continue;
    }
    const std::uint8_t choice = plainest                  ? 0
                                : over || !is_unit_over() ? next()
                                                          : once_more(unit, written);
    if (written == hi || (ends && choice < (written == 0 ? kEmpty : kEnd))) break;
    if (edges.size() == 1 && edges[0].is_one() && !plainest && !closing) {
      // A run of one character: one choice determines its length, since a separate choice for each
      // character would make nearly all runs short.
      wanted = written + 1 + (choice - kEmpty) * kRun / (256 - kEmpty);
    }
    if (at == Langs::kAll) {
      append_json(&out, choice >= kOddly         ? kOdd[(choice - kOddly) % std::size(kOdd)]
                        : !ends || choice < kEnd ? plain_character(ends ? 0 : choice)
                                                 : plain_character(choice - kEnd));
      continue;
    }
    if (edges.empty()) break;
    std::vector<std::int64_t> upto;  // cumulative weights
    for (const Edge& e : edges)
      upto.push_back((upto.empty() ? 0 : upto.back()) + (closing ? 1 : variety(e)));
    const auto way = std::upper_bound(upto.begin(), upto.end(), choice * upto.back() >> 8);
    const Edge& e = edges[static_cast<std::size_t>(way - upto.begin())];
    at = e.next;
    append_json(&out, plainest ? e.first : character(e, choice, choice >= kOddly));
  }
  if (keep) *keep = out;
  return out;
}

// The transitions after which a text of lo to hi characters remains, the plainest first. With
// `closing`, only those to a shortest text.
std::vector<Sampler::Edge> Sampler::edges_of(Id lang, std::int64_t lo, std::int64_t hi,
                                             bool closing) {
  std::vector<Edge> edges;
  const LangRow row = langs_.row(lang);
  std::uint32_t from = 0;
  std::int64_t least = -1;
  for (std::size_t i = 0; i < row.next.size(); from = row.upto[i++] + 1) {
    const Id to = row.next[i];
    std::uint32_t first;
    const int plain = to == Langs::kNone ? -1 : plainness(from, row.upto[i], &first);
    if (plain < 0) continue;
    auto known =
        std::find_if(edges.begin(), edges.end(), [to](const Edge& e) { return e.next == to; });
    if (known == edges.end()) {
      if (!langs_.meets(to, lo, hi)) continue;
      if (closing) {
        const std::int64_t rest = langs_.shortest(to);
        if (least >= 0 && rest > least) continue;
        if (rest < least) edges.clear();
        least = rest;
      }
      edges.push_back({plain, first, to, {}});
      known = std::prev(edges.end());
    } else if (plain < known->plain) {
      known->plain = plain, known->first = first;
    }
    known->ranges.push_back({from, row.upto[i]});
  }
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return std::pair(a.plain, a.first) < std::pair(b.plain, b.first);
  });
  return edges;
}

std::int64_t Sampler::variety(const Edge& e) {
  std::int64_t chars = 0;
  for (const Range& r : e.ranges) chars += r.hi - r.lo + 1;
  return chars >= kMany ? kMany : std::min(kMany, chars * variety(e.next));
}

std::uint32_t Sampler::character(const Edge& e, std::size_t choice, bool odd) {
  if (e.is_one()) return e.first;
  if (odd) {
    std::vector<std::uint32_t> some{e.first};
    for (std::uint32_t c : kUnlikeWords)
      if (std::any_of(e.ranges.begin(), e.ranges.end(),
                      [c](const Range& r) { return r.lo <= c && c <= r.hi; }))
        some.push_back(c);
    if (some.size() > 1) return some[choice % some.size()];
  }
  const auto range = std::find_if(e.ranges.begin(), e.ranges.end(), [&](const Range& r) {
    return r.lo <= e.first && e.first <= r.hi;
  });
  return e.first + static_cast<std::uint32_t>(
                       choice % (std::min(range->hi, kPlain[e.plain].hi) - e.first + 1));
}

std::string Sampler::simplest_number(Id piece) {
  std::string& known = simplest_numbers_[piece];
  if (!known.empty()) return known;
  Numbers& numbers = engine_.lexicon().numbers;
  Id state = number_states_.try_emplace(piece, 0).first->second;
  const auto rest = [&](Id s) {
    std::int64_t least = -1;
    numbers.cheapest(
        s, [&](Id, std::int64_t bytes) { least = least < 0 ? bytes : std::min(least, bytes); });
    return least;
  };
  std::string out;
  while (out.size() < 400 && (out.empty() || !numbers.accepts_any(state))) {
    Id best = Numbers::kDead;
    std::int64_t least = -1;
    char byte = 0;
    for (const char b : std::string_view("0123456789.-e+")) {
      const Id to = numbers.step(state, static_cast<std::uint8_t>(b));
      if (to == Numbers::kDead) continue;
      const std::int64_t bytes = rest(to);
      if (bytes >= 0 && (least < 0 || bytes < least)) least = bytes, best = to, byte = b;
    }
    if (best == Numbers::kDead) break;
    state = best;
    out.push_back(byte);
  }
  return known = out;
}

bool Sampler::is_number(Id state, std::string_view text) {
  Numbers& numbers = engine_.lexicon().numbers;
  for (char byte : text) {
    state = numbers.step(state, static_cast<std::uint8_t>(byte));
    if (state == Numbers::kDead) return false;
  }
  return numbers.accepts_any(state);
}

std::string Sampler::number_of(Id goal, bool simplest) {
  Numbers& numbers = engine_.lexicon().numbers;
  const std::vector<Id> pieces = constraints_.scalars.numbers(goal);
  if (pieces.empty()) return "0";
  const auto start = [&](Id piece) {
    const auto [at, fresh] = number_states_.try_emplace(piece, 0);
    if (fresh)
      at->second = numbers.start({{piece, 0}}, engine_.options.spelling == Spelling::Any
                                                   ? Spelling::Any
                                                   : constraints_.spelling);
    return at->second;
  };
  if (simplest) {
    std::string best;
    for (Id piece : pieces) {
      start(piece);
      std::string text = simplest_number(piece);
      if (best.empty() || text.size() < best.size()) best = std::move(text);
    }
    return best;
  }
  std::vector<std::int64_t> weights;
  for (Id id : pieces) {
    const Piece& p = numbers.piece(id);
    weights.push_back(p.has_lo && p.has_hi && p.lo == p.hi ? 1 : kMany);
  }
  const Id piece = pieces[pieces.size() == 1 ? 0 : pick_weighted(weights)];
  const Id state = start(piece);
  const std::string drawn = drawn_number(numbers.piece(piece), state);
  return drawn.empty() ? simplest_number(piece) : drawn;
}

// A number of the piece, determined by the choices; "" leaves it to simplest_number().
std::string Sampler::drawn_number(const Piece& piece, Id state) {
  constexpr std::uint8_t kSmall = 128;  // a smaller size means the same in most modes, so shrinking
                                        // can also lower the mode
  const std::uint8_t mode = next(), size = next();
  if (mode == 0) return "";
  constexpr int kFinest = 12;  // most digits after the point; longer bounds are cut to so many
  const bool whole_only = !piece.multiples.empty();
  int scale = 0;
  for (const auto* list : {&piece.multiples, &piece.not_multiples})
    for (const Decimal& d : *list) scale = std::max(scale, decimals(d));
  if (piece.has_lo) scale = std::max(scale, std::min(decimals(piece.lo), kFinest));
  if (piece.has_hi) scale = std::max(scale, std::min(decimals(piece.hi), kFinest));
  const double least = approximate(piece.lo), greatest = approximate(piece.hi);
  const bool is_bounded = piece.has_lo && piece.has_hi,
             narrow = is_bounded && greatest - least < 20,  // few of them are whole
      none_whole = is_bounded && std::floor(greatest) < std::ceil(least);
  const bool fraction = !whole_only && (narrow ? mode % 8 != 0 || none_whole : mode % 4 == 3),
             fine = fraction && (narrow ? mode % 2 == 1 : mode % 8 == 7);
  const int more =
      !fraction ? 0
                : std::clamp(kFinest - scale, 0,
                             fine ? 5 : 2);  // digits of the fraction, beyond those of the bounds
  scale += more;
  Wide lo = 0, hi = 0, unit = 1;
  for (int i = 0; i < scale - more; ++i) unit *= 10;
  bool exact = scale <= kFinest;
  if (exact && whole_only) exact = scaled(piece.multiples[0], scale, &unit);
  if (exact && fraction) unit = 1;
  if (!exact || unit <= 0) return "";
  // A bound too large to scale counts as absent; candidates beyond it are rejected below.
  const bool has_lo = piece.has_lo && scaled(piece.lo, scale, &lo),
             has_hi = piece.has_hi && scaled(piece.hi, scale, &hi);
  // The least and the greatest number of the grid within the bounds. If any number is allowed, a
  // bound that is not on the grid is itself a candidate.
  const Wide first = -floored(-lo, unit), last = floored(hi, unit);
  Wide low = first * unit, high = last * unit;
  if (has_lo && piece.lo_open && low == lo) low += unit;
  if (has_hi && piece.hi_open && high == hi) high -= unit;
  std::vector<std::string> tries;
  const auto add = [&](Wide v) { tries.push_back(written(v, scale)); };
  const bool between = has_lo && has_hi && high > low;
  Wide step = fine                          ? size * Wide{389}
              : mode % 4 == 1               ? size % 10
              : mode % 8 == 6 && size >= 64 ? (size - 63) * Wide{37} + 63
                                            : size;
  if (between) step %= (high - low) / unit + 1;
  if (between && ((mode >= 64 && mode < 96) || (mode >= 128 && mode < 192))) {  // anywhere
    Wide at = size;
    for (int i = 0; i < 2; ++i) at = at << 8 | next();
    add(low + at * ((high - low) / unit + 1) / (Wide{1} << 24) * unit);
  } else if (mode < 48) {  // near zero
    Wide zero = has_lo && lo > 0 ? low : has_hi && hi < 0 ? high : 0;
    add(has_hi && hi <= 0 ? zero - step * unit : zero + step * unit);
    add(zero);
  } else if (mode < 96 && has_lo) {
    if (!whole_only && !piece.lo_open && mode < 60) add(lo);
    add(low + (mode < 60 ? 0 : step * unit));
    add(low);
  } else if (mode < 144 && has_hi) {
    const bool at_end = mode < (has_lo ? 108 : 60);
    if (!whole_only && !piece.hi_open && at_end) add(hi);
    add(high - (at_end ? 0 : step * unit));
    add(high);
  } else if (mode < 192) {
    add((has_lo ? low : has_hi ? high : 0) + (has_hi ? -1 : 1) * step * unit);
    add(-step * unit);
    add(step * unit);
  } else if (mode < 224) {
    static const std::string_view kBig[] = {"127",
                                            "128",
                                            "255",
                                            "256",
                                            "32767",
                                            "32768",
                                            "65535",
                                            "65536",
                                            "2147483647",
                                            "2147483648",
                                            "4294967295",
                                            "4294967296",
                                            "9007199254740991",
                                            "9007199254740992",
                                            "9007199254740993",
                                            "99999999999999999",
                                            "0.1",
                                            "0.5",
                                            "0.30000000000000004",
                                            "123456.789",
                                            "1e-7",
                                            "1e+22",
                                            "1.5e+300",
                                            "5e-324"};
    std::string text(kBig[size % std::size(kBig)]);
    if (mode & 1) text.insert(text.begin(), '-');
    if (size >= kSmall) tries.push_back(text);
    add((mode & 1 ? -1 : 1) * step * unit);
    add(step * unit);
  } else {
    add(-step * unit);
    add(step * unit);
  }
  // If none of these is in the range: candidates near the bounds, inside of the range.
  if (has_lo) add(low + step * unit);
  if (has_hi) add(high - step * unit);
  if (!piece.not_multiples.empty())  // or next to the excluded multiples
    for (int i = 1; i < 8; ++i)
      add((has_lo ? low : has_hi ? high : 0) + (has_hi && !has_lo ? -1 : 1) * (step + i) * unit);
  // Doubles can represent few decimal multiples exactly. Prefers candidates that a reader of
  // doubles also takes for multiples.
  const double grid =
      whole_only && scale > 0 ? static_cast<double>(unit) / std::pow(10.0, scale) : 0;
  if (grid != 0)
    for (int i = 2; i < 12; ++i) add(low + i * unit), add(-i * unit), add(i * unit);
  for (const bool strict : {true, false}) {
    if (!strict && grid == 0) break;
    for (const std::string& text : tries) {
      if (strict && grid != 0) {
        const double q = std::strtod(text.c_str(), nullptr) / grid;
        if (q != std::floor(q)) continue;
      }
      if (is_number(state, text)) return text;
    }
  }
  return "";
}

}  // namespace guard
