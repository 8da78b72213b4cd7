#include "sampling/sampler.hpp"

#include <algorithm>
#include <cmath>

namespace guard {

namespace {
// Characters at which software breaks: in each plane, ends of ranges, what must be escaped, what is invisible or turns text around.
constexpr std::uint32_t kOdd[] = {' ',    '"',    '\\',   '/',    '\'',   '<',    0,       '\t',    '\n',    '\r',    0x1F,    0x7F,    0x80,    0x85,   0xA0,
                                  0xDF,   0xE9,   0xFF,   0x130,  0x301,  0x3A3,  0x5D0,   0x7FF,   0x800,   0x660,   0x200B,  0x200D,  0x202E,  0x2028, 0x2029,
                                  0xFB01, 0xFEFF, 0xFFFD, 0xFFFF, 0xD7FF, 0xE000, 0x10000, 0x1F600, 0x1F1E6, 0x20000, 0x2FFFF, 0x30000, 0xE0001, 0xF0000, kMaxChar};
// Of these those of which all dialects of regular expressions think alike: neither letters, digits nor white space, nor ends of lines.
constexpr std::uint32_t kUnlikeWords[] = {'!',    '"',    '#',    '\'',   '*',    '+',    '/',    '<',    '?',     '\\',    '^',    '|',     0,       7,
                                          0x7F,   0x80,   0xA9,   0xD7,   0x200B, 0x200D, 0x202E, 0x20AC, 0xFFFD, 0xFFFF, 0xE000, 0x1F600, 0x2FFFF, 0xE0001, 0xF0000, kMaxChar};
// Groups of characters, the simplest first.
constexpr Range kPlain[] = {{'a', 'z'}, {'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'-', '.'}, {' ', '~'}, {0xA1, 0x2FF}, {0x300, 0xD7FF}, {0xE000, kMaxChar}, {'\t', '\n'}, {0, 0x1F}, {0x7F, 0xA0}};

int plainness(std::uint32_t lo, std::uint32_t hi, std::uint32_t* first) {
  for (std::size_t i = 0; i < std::size(kPlain); ++i)
    if (lo <= kPlain[i].hi && kPlain[i].lo <= hi) return *first = std::max(lo, kPlain[i].lo), static_cast<int>(i);
  return -1;  // surrogates
}

std::uint32_t plain_character(std::size_t i) {
  static constexpr std::string_view kCommon = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ _-.,:/";
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
std::string json_of(std::string_view utf8) {
  std::string out;
  for (char32_t c : decode_utf8(utf8)) append_json(&out, c);
  return out;
}

using Wide = __int128;
// v / 10^scale, written out.
std::string written(Wide v, int scale) {
  const bool negative = v < 0;
  if (negative) v = -v;
  std::string digits;
  for (; v > 0; v /= 10) digits.push_back(static_cast<char>('0' + static_cast<int>(v % 10)));
  while (static_cast<int>(digits.size()) <= scale) digits.push_back('0');
  std::reverse(digits.begin(), digits.end());
  std::string whole = digits.substr(0, digits.size() - static_cast<std::size_t>(scale)), fraction = digits.substr(digits.size() - static_cast<std::size_t>(scale));
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (negative && (whole != "0" || !fraction.empty())) whole.insert(whole.begin(), '-');
  return fraction.empty() ? whole : whole + "." + fraction;
}
// d * 10^scale, where it is a whole number of at most 18 digits.
bool scaled(const Decimal& d, int scale, Wide* out) {
  if (d.digits.empty()) return *out = 0, true;
  const int zeros = d.exp + scale;
  if (zeros < 0 || static_cast<int>(d.digits.size()) + zeros > 18) return false;
  Wide v = 0;
  for (char c : d.digits) v = v * 10 + (c - '0');
  for (int i = 0; i < zeros; ++i) v *= 10;
  *out = d.negative ? -v : v;
  return true;
}
double approximate(const Decimal& d) { return d.digits.empty() ? 0 : (d.negative ? -1 : 1) * std::strtod((d.digits + "e" + std::to_string(d.exp)).c_str(), nullptr); }
Wide floored(Wide a, Wide m) { return a >= 0 ? a / m : -((-a + m - 1) / m); }
}  // namespace

// ---- choices and bytes ----------------------------------------------------------------------------------------------

std::uint8_t Sampler::next() {
  if (spent() || at_ == choices_[unit_].size()) return 0;
  return static_cast<std::uint8_t>(choices_[unit_][at_++]);
}

std::uint8_t Sampler::once_more(std::size_t unit, std::int64_t written) const {
  const std::string_view choices = choices_[unit];
  const auto at = static_cast<std::size_t>(written);
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(choices[at % choices.size()]) * 167u + at * 59u);
}

void Sampler::begin_unit() {
  if (unit_ < choices_.size()) ++unit_;
  at_ = 0;
}

std::size_t Sampler::pick(std::size_t n) {
  if (n < 2) return 0;
  std::size_t value = next();
  if (n <= 256) return value * n >> 8;
  value = value << 8 | next();
  return value * n >> 16;
}

void Sampler::put(const Config& to, char byte) {
  now_ = to;
  text_.push_back(byte);
}

bool Sampler::put(char byte) {
  Config to;
  if (!engine_.step(now_, static_cast<std::uint8_t>(byte), &to, arena_)) return false;
  put(to, byte);
  return true;
}

bool Sampler::put(std::string_view bytes) {
  const Config before = now_;
  const std::size_t size = text_.size();
  for (char byte : bytes)
    if (!put(byte)) {
      now_ = before;
      text_.resize(size);
      return false;
    }
  return true;
}

bool Sampler::nudge() {
  const std::int64_t left = engine_.distance(now_);
  Config best;
  int byte = -1;
  std::int64_t least = left;
  for (int b = 0x20; b < 256; ++b) {
    Config to;
    if (!engine_.step(now_, static_cast<std::uint8_t>(b), &to, arena_)) continue;
    const std::int64_t then = engine_.distance(to);
    if (then < 0 || then >= least) continue;
    least = then, best = to, byte = b;
    if (then == left - 1) break;
  }
  if (byte < 0) return false;
  put(best, static_cast<char>(byte));
  return true;
}

bool Sampler::is_nearer(const Config& to) {
  const std::vector<Engine::Alternative>& alternatives = engine_.levels_[now_.top->level].alternatives;
  return alternatives.size() == 1 || engine_.distance(to) < engine_.distance(now_);
}

bool Sampler::finish(const Frame* until) {
  while (true) {
    if (now_.lex == Lex::None && now_.top->parent == until->parent && (now_.top->phase == Phase::After || now_.top->phase == Phase::End)) return true;
    if (engine_.can_stop(now_)) return true;
    if (!nudge()) return false;
  }
}

bool Sampler::sample(std::vector<std::string_view> choices, std::string* text, std::size_t* used) {
  choices_ = std::move(choices);
  unit_ = at_ = 0;
  text_.clear();
  arena_.clear();
  now_ = engine_.start(arena_);
  if (!now_.top) return false;
  deep_ = next() >= 240;
  const Frame* root = now_.top;
  if (!value()) finish(root);
  *text = text_;
  *used = unit_;
  return true;
}

// ---- values ---------------------------------------------------------------------------------------------------------

// Are there more than a few values of a type? Objects and arrays are thought to have.
bool Sampler::is_rich(const std::vector<Way>& ways, Type type) {
  constexpr std::int64_t kHandful = 16;
  if (type < Type::Number) return false;
  if (type != Type::String) return true;
  std::int64_t texts = 0;
  for (const Way& way : ways)
    if (way.type == type)
      for (const StringPiece& p : goals_.string_set(goals_.strings(way.goal)).pieces) texts += langs_.count(p.lang, kHandful);
  return texts >= kHandful;
}

// Brings one of the ways to the front: first a type, then one of its alternatives.
void Sampler::choose(std::vector<Way>* ways, std::int32_t depth) {
  std::vector<Type> types;
  for (const Way& way : *ways)
    if (types.empty() || types.back() != way.type) types.push_back(way.type);
  if (types.empty()) return;
  if (deep_ && depth < kDeep && types.back() >= Type::Array) std::erase_if(types, [](Type t) { return t < Type::Array; });
  const std::size_t n_types = types.size();
  for (int more = 0; more < 2; ++more)
    for (std::size_t i = 0; i < n_types; ++i)
      if (is_rich(*ways, types[i])) types.push_back(types[i]);  // of which there is more to see
  const Type type = types[pick(types.size())];
  const auto is_it = [type](const Way& way) { return way.type == type; };
  const auto first = std::find_if(ways->begin(), ways->end(), is_it);
  const std::size_t n = static_cast<std::size_t>(std::count_if(ways->begin(), ways->end(), is_it));
  // The alternatives of an object or array are told apart while it is written.
  const auto chosen = first + static_cast<std::ptrdiff_t>(type < Type::Array ? pick(n) : 0);
  std::rotate(ways->begin(), chosen, chosen + 1);
}

bool Sampler::value() {
  const Frame* f = now_.top;
  std::vector<Way> ways;
  const bool simplest = spent();
  if (simplest && !engine_.parts(f->due, Type::Object).plain) {  // what comes later hangs on the value
    for (int t = 0; t < kTypes; ++t) {
      const Targets& options = engine_.options(*f, static_cast<Type>(t));
      for (std::int32_t i = 0; i < options.size; ++i) {
        const std::int64_t cost = goals_.cost(options.list[i].goal, static_cast<Type>(t));
        if (cost >= 0 && options.list[i].tail >= 0) ways.push_back({cost + options.list[i].tail, static_cast<Type>(t), options.list[i].goal});
      }
    }
    std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.cost < b.cost; });
  } else {
    for (int t = 0; t < kTypes; ++t) {
      const Type type = static_cast<Type>(t);
      std::vector<Id> live;  // of the alternatives
      for (Id goal : engine_.lists_[engine_.vital(*f, type)].ids)
        if (goal != Goals::kFalse && goals_.inhabited(goal, type) && std::find(live.begin(), live.end(), goal) == live.end()) live.push_back(goal);
      for (Id goal : live) ways.push_back({simplest ? goals_.cost(goal, type) : 0, type, goal});
    }
    if (simplest) std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.cost < b.cost; });
    else choose(&ways, f->depth);
  }
  for (const Way& way : ways) {
    if (way.type == Type::Object ? object() : way.type == Type::Array ? array() : scalar(way.type, way.goal, simplest)) return true;
  }
  return false;
}

bool Sampler::scalar(Type type, Id goal, bool simplest) {
  switch (type) {
    case Type::Null: return put("null");
    case Type::Boolean: {
      const std::uint8_t may = goals_.literals3(goal);
      const bool first = may & 4, both = (may & 6) == 6;
      const std::string_view words[] = {"false", "true"};
      const std::size_t i = both ? (simplest ? 0 : pick(2)) : first ? 0 : 1;
      return put(words[i]) || put(words[1 - i]);
    }
    case Type::Number: {
      const Config before = now_;
      const std::size_t size = text_.size();
      for (const bool plain : {simplest, true}) {
        Config after;
        if (put(number_of(goal, plain)) && engine_.end_number(now_, &after, arena_)) return now_ = after, true;
        now_ = before;
        text_.resize(size);
      }
      return false;
    }
    case Type::String: return put('"' + string_of(goal, simplest) + '"') || (!simplest && put('"' + string_of(goal, true) + '"'));
    default: return false;
  }
}

// ---- strings --------------------------------------------------------------------------------------------------------

std::string Sampler::string_of(Id goal, bool simplest) {
  const std::vector<StringPiece> pieces = goals_.string_set(goals_.strings(goal)).pieces;
  if (pieces.empty()) return "";
  const StringPiece& p = pieces[simplest ? 0 : pick(pieces.size())];
  return text_of(p.lang, p.lo, p.hi, simplest);
}

// A text of the language with lo to hi characters, as JSON writes it between quotes. Each character takes one choice; a low one
// ends the text where it may end, a high one at its start leads to the most characters there may be.
std::string Sampler::text_of(Id lang, std::int32_t lo, std::int32_t hi, bool simplest) {
  constexpr std::int64_t kMost = 2000;
  constexpr std::int64_t kLong = 100;  // characters from which on a text that has none to reach is brought to its end
  constexpr std::uint8_t kEmpty = 8, kEnd = 32, kAgain = 96, kOddly = 160, kMore = 224, kAlmost = 244, kFull = 248;
  constexpr int kSteady = 16;  // characters more than there must be: up to here each choice is one more
  constexpr std::int64_t kAgainUpTo = 48;  // characters that are chosen by a unit's choices once more where it is over
  const bool plainest = simplest || is_unit_over() || static_cast<std::uint8_t>(choices_[unit_][at_]) == 0;
  // What a format makes long has parts that a short unit never reaches: fractions of seconds, offsets.
  const std::size_t unit = unit_;
  const bool again = !plainest && lang != Langs::kAll && static_cast<std::uint8_t>(choices_[unit][at_]) >= kAgain;
  std::int64_t wanted = lo;
  std::string* keep = nullptr;
  if (plainest) {
    next();
    std::string& known = simplest_texts_[{lang, lo, hi}];
    if (!known.empty()) return known;
    keep = &known;
  } else if (const std::uint8_t size = static_cast<std::uint8_t>(choices_[unit_][at_]); size >= kMore) {
    next();
    const int more = size - kMore;  // The longest come of the last choices alone, so that a length shrinks by itself.
    const bool is_bounded = hi != kInf && hi <= kMost;
    wanted = is_bounded && size >= kFull ? hi : is_bounded && size >= kAlmost ? std::max(lo, hi - 1) : lo + (more <= kSteady ? more : kSteady + (more - kSteady) * 12);
    wanted = std::min<std::int64_t>(wanted, hi);
  }
  std::string out;
  Id at = lang;
  for (std::int64_t written = 0; written < std::max<std::int64_t>(lo, 2 * kMost); ++written) {
    const bool ends = written >= wanted && langs_.accepts(at);
    const bool over = is_unit_over() && (!again || written >= kAgainUpTo || langs_.accepts(at));
    const std::uint8_t choice = plainest ? 0 : over || !is_unit_over() ? next() : once_more(unit, written);
    if (written == hi || (ends && choice < (written == 0 ? kEmpty : kEnd))) break;
    if (at == Langs::kAll) {
      append_json(&out, choice < kEnd ? 'a' : choice < kOddly ? plain_character(choice - kEnd) : kOdd[(choice - kOddly) % std::size(kOdd)]);
      continue;
    }
    const bool closing = written >= wanted && (plainest || over || written > wanted + kLong);
    const std::vector<Edge> edges = edges_of(at, lo - written - 1, hi == kInf ? kInf : hi - written - 1, closing);
    if (edges.empty()) break;
    const Edge& e = edges[choice * edges.size() >> 8];
    at = e.next;
    append_json(&out, plainest ? e.first : character(e, choice, choice >= kOddly));
  }
  if (keep) *keep = out;
  return out;
}

// The ways on from a language from which lo to hi characters end a text, the plainest first; of those, when closing, the shortest.
std::vector<Sampler::Edge> Sampler::edges_of(Id lang, std::int64_t lo, std::int64_t hi, bool closing) {
  std::vector<Edge> edges;
  const LangRow row = langs_.row(lang);
  std::uint32_t from = 0;
  std::int64_t least = -1;
  for (std::size_t i = 0; i < row.next.size(); from = row.upto[i++] + 1) {
    const Id to = row.next[i];
    std::uint32_t first;
    const int plain = to == Langs::kNone ? -1 : plainness(from, row.upto[i], &first);
    if (plain < 0) continue;
    auto known = std::find_if(edges.begin(), edges.end(), [to](const Edge& e) { return e.next == to; });
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
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return std::pair(a.plain, a.first) < std::pair(b.plain, b.first); });
  return edges;
}

std::uint32_t Sampler::character(const Edge& e, std::size_t choice, bool odd) {
  if (e.ranges.size() == 1 && e.ranges[0].lo == e.ranges[0].hi) return e.first;
  if (odd) {
    std::vector<std::uint32_t> some{e.first};
    for (std::uint32_t c : kUnlikeWords)
      if (std::any_of(e.ranges.begin(), e.ranges.end(), [c](const Range& r) { return r.lo <= c && c <= r.hi; })) some.push_back(c);
    return some[choice % some.size()];
  }
  const auto range = std::find_if(e.ranges.begin(), e.ranges.end(), [&](const Range& r) { return r.lo <= e.first && e.first <= r.hi; });
  return e.first + static_cast<std::uint32_t>(choice % (std::min(range->hi, kPlain[e.plain].hi) - e.first + 1));
}

// ---- numbers --------------------------------------------------------------------------------------------------------

std::string Sampler::simplest_number(Id piece) {
  std::string& known = simplest_numbers_[piece];
  if (!known.empty()) return known;
  Numbers& numbers = engine_.numbers_;
  Id state = number_states_.try_emplace(piece, 0).first->second;
  const auto rest = [&](Id s) {
    std::int64_t least = -1;
    numbers.cheapest(s, [&](Id, std::int64_t bytes) { least = least < 0 ? bytes : std::min(least, bytes); });
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
  Numbers& numbers = engine_.numbers_;
  for (char byte : text) {
    state = numbers.step(state, static_cast<std::uint8_t>(byte));
    if (state == Numbers::kDead) return false;
  }
  return numbers.accepts_any(state);
}

std::string Sampler::number_of(Id goal, bool simplest) {
  Numbers& numbers = engine_.numbers_;
  const std::vector<Id> pieces = goals_.numbers(goal);
  if (pieces.empty()) return "0";
  const auto start = [&](Id piece) {
    const auto [at, fresh] = number_states_.try_emplace(piece, 0);
    if (fresh) at->second = numbers.start({{piece, 0}}, engine_.options().spelling == Spelling::Any ? Spelling::Any : goals_.spelling());
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
  const Id piece = pieces[pick(pieces.size())];
  const Id state = start(piece);
  const std::string drawn = drawn_number(numbers.piece(piece), state);
  return drawn.empty() ? simplest_number(piece) : drawn;
}

// A number of the piece as the choices have it; "" where that is left to the simplest.
std::string Sampler::drawn_number(const Piece& piece, Id state) {
  constexpr std::uint8_t kSmall = 128;  // Below it a size means the same in most modes, so that a mode is lowered by itself when it shrinks.
  const std::uint8_t mode = next(), size = next();
  if (mode == 0) return "";
  const bool whole_only = !piece.multiples.empty();
  int scale = 0;
  for (const auto* list : {&piece.multiples, &piece.not_multiples})
    for (const Decimal& d : *list) scale = std::max(scale, decimals(d));
  if (piece.has_lo) scale = std::max(scale, decimals(piece.lo));
  if (piece.has_hi) scale = std::max(scale, decimals(piece.hi));
  const bool narrow = piece.has_lo && piece.has_hi && std::abs(approximate(piece.hi) - approximate(piece.lo)) < 20;  // few of them are whole
  const bool fraction = !whole_only && (narrow ? mode % 8 != 0 : mode % 4 == 3), fine = fraction && (narrow ? mode % 2 == 1 : mode % 8 == 7);
  const int more = !fraction ? 0 : std::clamp(12 - scale, 0, fine ? 5 : 2);  // digits of the fraction, beyond those of the bounds
  scale += more;
  Wide lo = 0, hi = 0, unit = 1;
  for (int i = 0; i < scale - more; ++i) unit *= 10;
  bool exact = scale <= 12;
  if (exact && whole_only) exact = scaled(piece.multiples[0], scale, &unit);
  if (exact && fraction) unit = 1;
  if (exact && piece.has_lo) exact = scaled(piece.lo, scale, &lo);
  if (exact && piece.has_hi) exact = scaled(piece.hi, scale, &hi);
  if (!exact || unit <= 0) return "";
  // The least and the greatest number of the grid; a bound that is not on it is taken as it is where any number may be.
  const Wide first = -floored(-lo, unit), last = floored(hi, unit);
  Wide low = first * unit, high = last * unit;
  if (piece.has_lo && piece.lo_open && low == lo) low += unit;
  if (piece.has_hi && piece.hi_open && high == hi) high -= unit;
  std::vector<std::string> tries;
  const auto add = [&](Wide v) { tries.push_back(written(v, scale)); };
  const bool between = piece.has_lo && piece.has_hi && high > low;
  Wide step = fine ? size * Wide{389} : mode % 4 == 1 ? size % 10 : mode % 8 == 6 && size >= 64 ? (size - 63) * Wide{37} + 63 : size;
  if (between) step %= (high - low) / unit + 1;
  if (between && ((mode >= 64 && mode < 96) || (mode >= 128 && mode < 192))) {  // anywhere
    Wide at = size;
    for (int i = 0; i < 2; ++i) at = at << 8 | next();
    add(low + at * ((high - low) / unit + 1) / (Wide{1} << 24) * unit);
  } else if (mode < 48) {  // near zero
    Wide zero = piece.has_lo && lo > 0 ? low : piece.has_hi && hi < 0 ? high : 0;
    add(piece.has_hi && hi <= 0 ? zero - step * unit : zero + step * unit);
    add(zero);
  } else if (mode < 96 && piece.has_lo) {
    if (!whole_only && !piece.lo_open && mode < 60) add(lo);
    add(low + (mode < 60 ? 0 : step * unit));
    add(low);
  } else if (mode < 144 && piece.has_hi) {
    if (!whole_only && !piece.hi_open && mode < 108) add(hi);
    add(high - (mode < 108 ? 0 : step * unit));
    add(high);
  } else if (mode < 192) {
    add((piece.has_lo ? low : piece.has_hi ? high : 0) + (piece.has_hi ? -1 : 1) * step * unit);
    add(-step * unit);
    add(step * unit);
  } else if (mode < 224) {
    static const std::string_view kBig[] = {"127", "128", "255", "256", "32767", "32768", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
                                            "9007199254740991", "9007199254740992", "9007199254740993", "99999999999999999", "0.1", "0.5", "0.30000000000000004", "123456.789", "1e-7", "1e+22", "1.5e+300", "5e-324"};
    std::string text(kBig[size % std::size(kBig)]);
    if (mode & 1) text.insert(text.begin(), '-');
    if (size >= kSmall) tries.push_back(text);
    add((mode & 1 ? -1 : 1) * step * unit);
    add(step * unit);
  } else {
    add(-step * unit);
    add(step * unit);
    add(low + step * unit);
    add(high - step * unit);
  }
  // Of a lattice of decimals, doubles mostly hold neither the numbers nor the step: those are better of which a reader of doubles thinks alike.
  const double grid = whole_only && scale > 0 ? static_cast<double>(unit) / std::pow(10.0, scale) : 0;
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

// ---- objects --------------------------------------------------------------------------------------------------------

const std::vector<std::int32_t>& Sampler::by_rank(Id table) {
  const auto [at, fresh] = by_rank_.try_emplace(table);
  if (fresh) {
    const Engine::Names& names = engine_.names_[table];
    for (std::size_t i = 0; i < names.names.size(); ++i) at->second.push_back(static_cast<std::int32_t>(i));
    std::stable_sort(at->second.begin(), at->second.end(), [&](std::int32_t a, std::int32_t b) { return names.ranks[static_cast<std::size_t>(a)] < names.ranks[static_cast<std::size_t>(b)]; });
  }
  return at->second;
}

bool Sampler::write_name(std::int32_t name) {
  const Frame& f = *now_.top;
  const std::string_view text = f.names->texts[static_cast<std::size_t>(name)];
  if (f.records) return put('"' + json_of(text) + "\":");
  // As if its bytes had been read: nothing else can come of them.
  Config key, to;
  key.top = &f;
  key.lex = Lex::Key;
  key.state = Texts::kDead;
  key.decoder = engine_.decoder_;
  key.lo = name, key.hi = name + 1;
  key.depth = static_cast<std::int32_t>(text.size());
  if (!engine_.step(key, '"', &to, arena_)) return false;
  text_ += '"' + json_of(text);
  put(to, '"');
  return put(':');
}

bool Sampler::write_new_key(bool simplest) {
  const Frame& f = *now_.top;
  const Writable& w = engine_.writable(f);
  if (w.text == Texts::kDead) return false;
  const std::vector<Component> classes = engine_.texts_.components(w.text);
  if (classes.empty()) return false;
  const Id lang = classes[simplest ? 0 : pick(classes.size())].lang;
  if (!simplest) {
    const std::string text = text_of(lang, 0, kInf, false);
    // Where a pattern holds but for ends of lines, dialects of regular expressions differ: such a key is not written but in need.
    const bool is_clear = lang == Langs::kAll || langs_.row(lang).at('\r') == langs_.row(lang).at(0x85);
    if (is_clear && put('"' + text + "\":")) return true;
  }
  for (std::size_t i = 0; i < 64; ++i) {
    const Word* word = goals_.lexicon().words.at(lang, i);
    if (!word) return false;
    if (put('"' + json_of(word->text) + "\":")) return true;
  }
  return false;
}

// A further member, with its comma. `stopped`: nothing was written, for the object may end here.
// Where few names may be left out each has a unit, whose first choice says whether it is there, so that a member is left out by lowering
// it. Where many may, a unit's first choice means one of them, or the next that may come behind it.
bool Sampler::member(const Plan& plan, std::size_t members, bool* stopped) {
  *stopped = false;
  Config closed;
  const bool closes = engine_.step(now_, '}', &closed, arena_);
  const bool first = now_.top->phase == Phase::First;
  const bool is_over = plan.least == kNothing || (plan.one && members > 0);
  const auto close = [&] {
    put(closed, '}');
    return *stopped = true;
  };
  if (closes && is_over && (!spent() || is_nearer(closed))) return close();
  std::uint8_t choice = 0;
  if (!plan.few) {
    begin_unit();
    choice = next();
  }
  const bool stop = is_over || (!plan.few && !plan.all && choice < (members == 0 ? kStop / 3 : kStop));
  if (closes && (spent() ? is_nearer(closed) : stop)) return close();
  if (!engine_.any_is_writable(*now_.top)) return closes && close();
  const Config before = now_;
  const std::size_t size = text_.size();
  if (!first && !put(',')) return closes && close();
  const Frame& f = *now_.top;
  const Engine::ObjectInfo& info = engine_.info(f.level);
  const Engine::Names& names = engine_.names_[engine_.levels_[f.level].table];
  const std::vector<std::int32_t>& ranked = by_rank(engine_.levels_[f.level].table);
  const bool may_be_new = engine_.writable(f).text != Texts::kDead;
  std::size_t skip = plan.few || plan.all || stop ? 0 : (choice - kStop) * (plan.optional + may_be_new) / (256u - kStop);
  std::vector<std::int32_t> passed, asked;
  std::int32_t chosen = -1;
  for (const std::int32_t i : ranked) {
    const std::int32_t rank = names.ranks[static_cast<std::size_t>(i)];
    const bool is_asked = info.is_asked[static_cast<std::size_t>(i)];
    const bool is_before = !is_asked && skip > 0;
    skip -= is_before;
    if ((rank != kInf && rank <= f.rank) || (f.seen && (f.seen[i >> 6] >> (i & 63) & 1))) continue;
    if (!is_asked || !info.plain) {
      if (spent() || (stop && !is_asked)) {
        if (is_asked && engine_.name_is_writable(f, i)) asked.push_back(i);
        continue;
      }
      bool is_there = !is_before;
      if (plan.few) {
        begin_unit();
        is_there = next() >= plan.least;
      } else if (is_asked) {
        is_there = pick(2) == 0;
      }
      if (!is_there) {
        (is_asked ? asked : passed).push_back(i);
        continue;
      }
    } else if (plan.few) {
      begin_unit();
      next();
    }
    if (!engine_.name_is_writable(f, i)) continue;
    chosen = i;
    break;
  }
  const bool simplest = spent();
  if (plan.few && chosen < 0) {
    begin_unit();
    choice = next();
  }
  if (chosen >= 0 && write_name(chosen)) return true;
  if (simplest && closes) {  // the units ended here
    now_ = before;
    text_.resize(size);
    if (is_nearer(closed)) return close();
    if (!first && !put(',')) return false;
  }
  if (!simplest) {
    // Behind the last name: a key that the schema does not name, or the end.
    if (!stop && (!plan.few || choice >= (ranked.empty() ? kNewAlone : kNew)) && write_new_key(false)) return true;
    if (closes) {
      now_ = before;
      text_.resize(size);
      return close();
    }
    for (const auto* list : {&asked, &passed})
      for (const std::int32_t i : *list)
        if (engine_.name_is_writable(f, i) && write_name(i)) return true;
  }
  // The nearest to the end.
  const Config here = now_;
  const std::size_t length = text_.size();
  Config best;
  std::string text;
  std::int64_t least = -1;
  const auto weigh = [&] {
    const std::int64_t left = asked.size() == 1 && least < 0 ? 0 : engine_.distance(now_);
    if (left >= 0 && (least < 0 || left < least)) least = left, best = now_, text = text_.substr(length);
    now_ = here;
    text_.resize(length);
  };
  if (asked.empty())
    for (const std::int32_t i : ranked) {
      if (asked.size() == 64) break;
      if (engine_.name_is_writable(f, i)) asked.push_back(i);
    }
  for (const std::int32_t i : asked)
    if (write_name(i)) weigh();
  if ((asked.empty() || least < 0) && write_new_key(true)) weigh();
  if (least < 0) {
    now_ = before;
    text_.resize(size);
    return false;
  }
  now_ = best;
  text_ += text;
  return true;
}

bool Sampler::object() {
  const Frame* outer = now_.top;
  if (!put('{')) return false;
  constexpr std::uint8_t kBare = 6, kHalf = 24, kOne = 208, kAll = 224;
  const std::uint8_t choice = next();
  const Engine::ObjectInfo& info = engine_.info(now_.top->level);
  Plan plan;
  plan.all = choice >= kAll;
  plan.one = deep_ || (choice >= kOne && choice < kAll);
  plan.optional = info.plain ? info.is_asked.size() - static_cast<std::size_t>(std::count(info.is_asked.begin(), info.is_asked.end(), 1)) : info.is_asked.size();
  plan.few = plan.optional <= kFew;
  plan.least = choice < kBare ? kNothing : choice < kHalf ? 120 : plan.all ? 1 : kThere;
  for (std::size_t members = 0;; ++members) {
    bool stopped;
    if (!member(plan, members, &stopped)) return finish(outer);
    if (stopped) return true;
    if (!value()) return finish(outer);
  }
}

// ---- arrays ---------------------------------------------------------------------------------------------------------

bool Sampler::array() {
  const Frame* outer = now_.top;
  if (!put('[')) return false;
  std::int32_t hi = 0;
  for (const Engine::Alternative& a : engine_.levels_[now_.top->level].alternatives) hi = std::max(hi, goals_.row(a.shape).hi);
  constexpr int kEmpty = 24, kFull = 236;
  const int plan = next();
  // Items behind those that there must be. The choice is their number, and no unit says that they end, so that any unit does for any item.
  std::int32_t more = plan >= kFull ? (hi <= 64 ? hi : 12) : plan < kEmpty ? 0 : deep_ ? 1 : 1 + (plan - kEmpty) * (plan - kEmpty) / 2800;
  while (true) {
    const Frame& f = *now_.top;
    Config closed;
    const bool closes = engine_.step(now_, ']', &closed, arena_);
    if (closes && !spent()) {
      if (more > 0) begin_unit();
      if (more-- <= 0) {
        put(closed, ']');
        return true;
      }
    } else {
      begin_unit();
    }
    if (closes && spent() && is_nearer(closed)) {
      put(closed, ']');
      return true;
    }
    const Config before = now_;
    const std::size_t size = text_.size();
    const bool more = f.phase == Phase::First || put(',');
    if (more && value()) continue;
    now_ = before;
    text_.resize(size);
    if (!closes) return finish(outer);
    put(closed, ']');
    return true;
  }
}

}  // namespace guard
