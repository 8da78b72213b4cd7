#include "lexers/json_string.hpp"

#include <algorithm>

namespace guard {

namespace {
constexpr std::uint32_t kNoChar = kMaxChar + 1;

int hex_value(std::uint8_t byte, Spelling spelling) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F' && spelling == Spelling::Any) return byte - 'A' + 10;
  return -1;
}

std::uint32_t short_escape(std::uint8_t byte, Spelling spelling) {
  switch (byte) {
    case '"': return '"';
    case '\\': return '\\';
    case 'b': return 8;
    case 'f': return 12;
    case 'n': return 10;
    case 'r': return 13;
    case 't': return 9;
    case '/': return spelling == Spelling::Any ? '/' : kNoChar;
    default: return kNoChar;
  }
}

// Code points whose four hex digits begin with the `got` digits of `value`.
Range hex_range(std::uint32_t value, int got) {
  const int shift = 4 * (4 - got);
  return {value << shift, ((value + 1) << shift) - 1};
}

// Calls use(state, characters) for each transition by some of `chars`, until it returns true.
// Returns whether it did.
template <class F>
bool any_by(const LangRow& row, const Ranges& chars, F use) {
  if (chars.empty()) return false;
  std::uint32_t lo = chars.front().lo;
  for (std::size_t i = row.piece(lo); lo <= chars.back().hi; lo = row.upto[i++] + 1)
    if (const Range by{lo, row.upto[i]};
        row.next[i] != Langs::kNone && meets(by, chars) && use(row.next[i], by))
      return true;
  return false;
}

const Ranges kLongEscapes{
    {0, 7}, {11, 11}, {14, 31}};  // in canonical spelling: control characters without a letter
}  // namespace

const Ranges& Texts::possible(const Pending& p, Spelling spelling) {
  const std::uint64_t key = std::uint64_t{p.high} << 40 | std::uint64_t{p.value} << 16 |
                            static_cast<std::uint64_t>(p.got) << 8 |
                            static_cast<std::uint64_t>(p.kind) << 1 | (spelling == Spelling::Any);
  return remember(possible_, key, [&] { return find_possible(p, spelling); });
}

Ranges Texts::find_possible(const Pending& p, Spelling spelling) {
  switch (p.kind) {
    case 1:
      return spelling == Spelling::Any ? writable_chars()
                                       : Ranges{{0, 31}, {'"', '"'}, {'\\', '\\'}};
    case 2: {
      const Range r = hex_range(p.value, p.got);
      if (spelling == Spelling::Canonical) return intersection({r}, kLongEscapes);
      Ranges out = intersection({r}, writable_chars());
      const std::uint32_t lo = std::max(r.lo, 0xD800u), hi = std::min(r.hi, 0xDBFFu);
      if (lo <= hi)
        out.push_back({0x10000 + (lo - 0xD800) * 1024, 0x10000 + (hi - 0xD800) * 1024 + 1023});
      return out;
    }
    case 3: {
      const Range r = p.got < 2 ? Range{0xDC00, 0xDFFF} : hex_range(p.value, p.got - 2);
      const std::uint32_t lo = std::max(r.lo, 0xDC00u), hi = std::min(r.hi, 0xDFFFu),
                          base = 0x10000 + (p.high - 0xD800) * 1024;
      return lo <= hi ? Ranges{{base + lo - 0xDC00, base + hi - 0xDC00}} : Ranges{};
    }
    case 4: {
      const int shift = 6 * p.got;
      const std::uint32_t least = p.high == 2 ? 0x80 : p.high == 3 ? 0x800 : 0x10000;
      const std::uint32_t lo = std::max(p.value << shift, least),
                          hi = std::min(((p.value + 1) << shift) - 1, kMaxChar);
      return lo <= hi ? intersection({{lo, hi}}, writable_chars()) : Ranges{};
    }
    default: return {};
  }
}

std::int64_t Texts::rest_of_char(const Pending& p, const Ranges& chars, Spelling spelling) {
  const bool plane0 = meets({0, 0xFFFF}, chars);
  switch (p.kind) {
    case 1:
      for (const std::uint32_t c : {8u, 9u, 10u, 12u, 13u, 34u, 92u})
        if (meets({c, c}, chars)) return 1;
      if (spelling == Spelling::Any && meets({'/', '/'}, chars)) return 1;
      return plane0 ? 5 : 11;
    case 2: return plane0 ? 4 - p.got : 10 - p.got;
    case 3: return 6 - p.got;
    default: return p.got;
  }
}

// Reads one byte of a character. Sets *to to the new partial character, or *c to the character if
// it is complete (else kNoChar). Returns false if no character continues so.
bool Texts::advance(const Pending& p, std::uint8_t byte, Spelling spelling, Pending* to,
                    std::uint32_t* c) {
  *c = kNoChar;
  *to = {};
  switch (p.kind) {
    case 0:
      if (spelling == Spelling::Raw && byte < 0x80) return *c = byte, true;
      if (byte == '\\') return *to = {1, 0, 0, 0}, true;
      if (byte < 0x20 || byte == '"') return false;
      if (byte < 0x80) return *c = byte, true;
      if (byte < 0xC2 || byte > 0xF4) return false;
      if (byte < 0xE0) return *to = {4, 1, byte & 0x1Fu, 2}, true;
      if (byte < 0xF0) return *to = {4, 2, byte & 0x0Fu, 3}, true;
      return *to = {4, 3, byte & 0x07u, 4}, true;
    case 1:
      if (byte == 'u') return *to = {2, 0, 0, 0}, true;
      *c = short_escape(byte, spelling);
      return *c != kNoChar;
    case 2: {
      const int h = hex_value(byte, spelling);
      if (h < 0) return false;
      const std::uint32_t value = p.value << 4 | static_cast<std::uint32_t>(h);
      if (p.got < 3) return *to = {2, static_cast<std::uint8_t>(p.got + 1), value, 0}, true;
      if (value >= 0xD800 && value <= 0xDBFF && spelling == Spelling::Any)
        return *to = {3, 0, 0, value}, true;
      if (value >= 0xD800 && value <= 0xDFFF) return false;
      if (spelling == Spelling::Canonical && !meets({value, value}, kLongEscapes)) return false;
      return *c = value, true;
    }
    case 3: {
      if (p.got < 2) {
        if (byte != (p.got == 0 ? '\\' : 'u')) return false;
        return *to = {3, static_cast<std::uint8_t>(p.got + 1), 0, p.high}, true;
      }
      const int h = hex_value(byte, spelling);
      if (h < 0) return false;
      const std::uint32_t value = p.value << 4 | static_cast<std::uint32_t>(h);
      if (p.got < 5) return *to = {3, static_cast<std::uint8_t>(p.got + 1), value, p.high}, true;
      if (value < 0xDC00 || value > 0xDFFF) return false;
      return *c = 0x10000 + (p.high - 0xD800) * 1024 + (value - 0xDC00), true;
    }
    case 4: {
      if (byte < 0x80 || byte > 0xBF) return false;
      const std::uint32_t value = p.value << 6 | (byte & 0x3Fu);
      if (p.got == 1) return *c = value, true;
      return *to = {4, static_cast<std::uint8_t>(p.got - 1), value, p.high}, true;
    }
    default: return false;
  }
}

Id Texts::intern(State s) {
  Quick q;
  q.kind = s.pending.kind;
  q.partial = s.pending.kind == 4 ? static_cast<std::uint8_t>(s.pending.high - s.pending.got) : 0;
  q.free = s.pending.kind == 0 && !s.components.empty() &&
           std::all_of(s.components.begin(), s.components.end(),
                       [](const Component& c) { return c.lang == Langs::kAll; });
  if (s.net >= 0 && !s.pending.kind) {
    const Net& net = nets_[s.net];
    for (const Component& c : s.components) {  // in the order of the arcs, so that the first
                                               // alternative wins
      const Id to = net.arcs[static_cast<std::size_t>(c.index)].to;
      const Id exit = ~to;
      if (to < 0 && net.open[static_cast<std::size_t>(exit)] && langs_.accepts(c.lang)) {
        q.open = exit;
        break;
      }
    }
    // An arc that has ended at a point offers no continuation of its own: close() has added the
    // arcs of that point.
    q.alone = q.open >= 0 &&
              std::all_of(s.components.begin(), s.components.end(), [&](const Component& c) {
                const Id to = net.arcs[static_cast<std::size_t>(c.index)].to;
                return langs_.is_over(c.lang) && (to >= 0 || ~to == q.open);
              });
  }
  const Id id = states_.intern(std::move(s));
  while (quick_.size() < states_.size()) quick_.push_back(q);
  return id;
}

Texts::State Texts::after(const State& from) const {
  State to;
  to.spelling = from.spelling;
  to.use = from.use;
  to.net = from.net;
  return to;
}

void Texts::close(State* s) const {
  const Net& net = nets_[s->net];
  std::vector<Component>& list = s->components;
  std::vector<bool> begun;  // by point, once there is one: whether its arcs are in the list
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Id to = net.arcs[static_cast<std::size_t>(list[i].index)].to;
    if (to < 0 || !langs_.accepts(list[i].lang)) continue;
    begun.resize(net.points.size());
    if (begun[static_cast<std::size_t>(to)]) continue;
    begun[static_cast<std::size_t>(to)] = true;
    for (Id arc : net.points[static_cast<std::size_t>(to)])
      list.push_back({net.arcs[static_cast<std::size_t>(arc)].lang, arc});
  }
  std::sort(list.begin(), list.end(), [](const Component& a, const Component& b) {
    return std::pair(a.index, a.lang) < std::pair(b.index, b.lang);
  });
  list.erase(std::unique(list.begin(), list.end()), list.end());  // two paths may have met
  std::erase_if(list, [&](const Component& c) {
    return c.lang == Langs::kEps && net.arcs[static_cast<std::size_t>(c.index)].to >= 0;
  });
}

Id Texts::net_of(Net net) {
  Spec spec;
  for (const Net::Arc& arc : net.arcs)
    spec.bounds.push_back({0, kInf, arc.to < 0 ? ~arc.to : kNoExit});
  const Id id = nets_.intern(std::move(net));
  while (net_specs_.size() < nets_.size()) net_specs_.push_back(specs_.intern(spec));
  return id;
}

Id Texts::enter(Id net, std::span<const Id> points, Id* spec) {
  *spec = net_specs_[static_cast<std::size_t>(net)];
  State s;
  s.spelling = Spelling::Raw;
  s.net = net;
  for (Id point : points)
    for (Id arc : nets_[net].points[static_cast<std::size_t>(point)])
      s.components.push_back({nets_[net].arcs[static_cast<std::size_t>(arc)].lang, arc});
  close(&s);
  return is_alive(s.components) ? intern(std::move(s)) : kDead;
}

const Bytes& Texts::begins(Id state) {
  Quick& q = quick_[static_cast<std::size_t>(state)];
  if (q.begins) return *q.begins;
  const State& from = states_[state];
  Bytes out;
  if (from.pending.kind) out.add(0, 255);
  for (const Component& k : from.components) {
    const LangRow& row = langs_.raw(k.lang);
    for (std::size_t i = 0; i < row.next.size(); ++i) {
      const std::uint32_t lo = i == 0 ? 0 : row.upto[i - 1] + 1;
      if (lo >= 0x80 && out.has(0x80)) break;  // all bytes of other characters were added
      if (!langs_.live(row.next[i]) || !row.is_writable(i)) continue;
      if (lo < 0x80)
        out.add(static_cast<std::uint8_t>(lo),
                static_cast<std::uint8_t>(std::min<std::uint32_t>(row.upto[i], 0x7F)));
      if (row.upto[i] >= 0x80) out.add(0x80, 255);
    }
  }
  return *(q.begins = &begins_.emplace_back(out));
}

const Bytes* Texts::few_next(Id state) {
  constexpr int kFewBytes = 4;
  const std::optional<Bytes>& found = remember(few_next_, state, [&] {
    std::optional<Bytes> out(std::in_place);
    const Bytes among = begins(state);
    for (int byte = among.next(0), n = 0; byte < 256 && out; byte = among.next(byte + 1)) {
      if (step(state, static_cast<std::uint8_t>(byte)) == kDead) continue;
      out->add(static_cast<std::uint8_t>(byte));
      if (++n > kFewBytes) out.reset();
    }
    return out;
  });
  return found ? &*found : nullptr;
}

void Texts::exits(Id state, Labels* exits) const {
  exits->clear();
  const State& s = states_[state];
  if (s.pending.kind || s.net < 0) return;
  for (const Component& c : s.components)
    if (const Id to = nets_[s.net].arcs[static_cast<std::size_t>(c.index)].to;
        to < 0 && langs_.accepts(c.lang))
      exits->push_back(~to);
  exits->sort_unique();
}

Id Texts::start(const std::vector<Labelled>& components, Spelling spelling, Id* spec, Use use) {
  State s;
  s.spelling = spelling;
  s.use = use;
  Spec out;
  for (const Labelled& c : components) {
    const bool bounded = c.lo > 0 || c.hi != kInf;
    if (!langs_.live(c.lang) || (bounded && !langs_.meets(c.lang, c.lo, c.hi))) continue;
    s.components.push_back(
        {c.lang, static_cast<Id>(out.bounds.size()) | (c.tracked ? kTracked : 0)});
    out.bounds.push_back({c.lo, c.hi, c.label});
    out.bounded |= bounded;
  }
  *spec = specs_.intern(std::move(out));
  return is_alive(s.components) ? intern(std::move(s)) : kDead;
}

Id Texts::after_char(const State& from, std::uint32_t c, Range* alike) {
  State to = after(from);
  for (const Component& k : from.components) {
    const LangRow& row = langs_.raw(k.lang);
    const std::size_t piece = row.piece(c);
    const Id next = row.next[piece];
    if (alike)
      *alike = {piece > 0 ? std::max(alike->lo, row.upto[piece - 1] + 1) : alike->lo,
                std::min(alike->hi, row.upto[piece])};
    if (langs_.live(next)) to.components.push_back({next, k.index});
  }
  if (to.net >= 0) close(&to);
  return is_alive(to.components) ? intern(std::move(to)) : kDead;
}

Id Texts::after(Id state, std::string_view text) {
  State now = states_[state];
  for (const char32_t c : decode_utf8(text)) {
    kernel_clock.tick(Op::Pattern);
    State to = after(now);
    for (const Component& k : now.components)
      if (const Id next = langs_.after(k.lang, c); langs_.live(next))
        to.components.push_back({next, k.index});
    if (to.net >= 0) close(&to);
    if (!is_alive(to.components)) return kDead;
    now = std::move(to);
  }
  return intern(std::move(now));
}

// Records where the bytes from `from` to `upto` lead.
void Texts::keep(Id state, std::uint8_t from, std::uint8_t upto, Id to) {
  Quick& q = quick_[static_cast<std::size_t>(state)];
  if (!q.next && q.few < kFew) {
    q.from[q.few] = from, q.upto[q.few] = upto, q.to[q.few++] = to;
    return;
  }
  if (!q.next) {
    tables_.emplace_back().fill(-1);
    q.next = tables_.back().data();
    for (std::size_t i = 0; i < kFew; ++i)
      std::fill(q.next + q.from[i], q.next + q.upto[i] + 1, q.to[i]);
  }
  std::fill(q.next + from, q.next + upto + 1, to);
}

const Ranges& Texts::beyond_ascii() {
  static const Ranges all{{0x80, 0xD7FF}, {0xE000, kMaxChar}};
  return all;
}

Id Texts::common(const State& from, const Ranges& chars) {
  Id out = -1;
  for (const Range& r : chars)
    for (std::uint32_t c = r.lo; c <= r.hi;) {
      Range alike{0, kMaxChar};
      const Id next = after_char(from, c, &alike);
      if (out >= 0 && next != out) return kSplit;
      out = next;
      c = alike.hi + 1;
    }
  return out;
}

// The state inside a UTF-8 character all of whose possible completions lead to one state (see
// Pending, kind 5); kDead if they do not.
Id Texts::any_char(const State& from, Pending pending) {
  const Id next = common(from, possible(pending, from.spelling));
  if (next <= kDead) return kDead;
  State to = states_[next];
  const std::uint32_t lead = pending.high == 3 ? 0xE0 | pending.value : 0xF0 | pending.value;
  const bool first = pending.high > 2 && pending.got + 1u == pending.high;
  to.pending = {5, pending.got,
                first && (lead == 0xE0 || lead == 0xED || lead == 0xF0 || lead == 0xF4) ? lead : 0,
                0};
  return intern(std::move(to));
}

Id Texts::fill(Id state, std::uint8_t byte) {
  kernel_clock.tick(Op::Pattern);
  if (state == kDead) return kDead;
  const State& from = states_[state];
  if (from.pending.kind == 5) {
    const std::uint32_t lead = from.pending.value;
    const std::uint8_t lo = lead == 0xE0   ? 0xA0
                            : lead == 0xF0 ? 0x90
                                           : 0x80,
                       hi = lead == 0xED   ? 0x9F
                            : lead == 0xF4 ? 0x8F
                                           : 0xBF;
    if (byte < lo || byte > hi) return keep(state, byte, byte, kDead), kDead;
    State to = from;
    to.pending = from.pending.got == 1
                     ? Pending{}
                     : Pending{5, static_cast<std::uint8_t>(from.pending.got - 1), 0, 0};
    const Id next = intern(std::move(to));
    return keep(state, lo, hi, next), next;
  }
  if (const Id* by_class = quick_[static_cast<std::size_t>(state)].by_class;
      by_class && byte < 0x80 && class_of(byte) != kNoClass)
    if (const Id next = by_class[class_of(byte)]; next >= 0) {
      const Range& same = classes()[class_of(byte)][0];
      return keep(state, static_cast<std::uint8_t>(same.lo), static_cast<std::uint8_t>(same.hi),
                  next),
             next;
    }
  Pending pending;
  std::uint32_t c;
  Id next = kDead;
  std::uint8_t lo = byte, hi = byte;
  const auto is_ascii = [this](const Component& k) {
    const LangRow& row = langs_.raw(k.lang);
    return !langs_.live(row.next.back()) && row.upto.size() > 1 &&
           row.upto[row.upto.size() - 2] < 0x80;
  };
  if (byte >= 0x80 && from.pending.kind == 0 &&
      std::all_of(from.components.begin(), from.components.end(), is_ascii))
    return keep(state, 0x80, 0xFF, kDead), kDead;
  if (advance(from.pending, byte, from.spelling, &pending, &c)) {
    if (c != kNoChar) {
      Range alike{0, kMaxChar};
      next = after_char(from, c, &alike);
      const Pending at = states_[state].pending;
      const bool raw = states_[state].spelling == Spelling::Raw;
      // Whether the byte completes a character that leads to the same state.
      const auto same = [&](std::uint32_t b) {
        const bool plain = at.kind == 0 && b < 0x80 && b >= alike.lo && b <= alike.hi &&
                           (raw || (b >= 0x20 && b != '"' && b != '\\'));
        const std::uint32_t other = at.value << 6 | (b & 0x3F);
        return plain ||
               (at.kind == 4 && b >= 0x80 && b < 0xC0 && other >= alike.lo && other <= alike.hi);
      };
      while (lo > 0 && same(lo - 1u)) --lo;
      while (hi < 0xFF && same(hi + 1u)) ++hi;
    } else if (next =
                   pending.kind == 4 && from.use != Use::Decoder ? any_char(from, pending) : kDead;
               next == kDead) {
      State to = after(from);
      to.pending = pending;
      const Ranges& chars = possible(pending, from.spelling);
      for (const Component& k : from.components) {
        if (any_by(langs_.raw(k.lang), chars, [this](Id q, Range) { return langs_.live(q); }))
          to.components.push_back(k);
      }
      if (is_alive(to.components)) next = intern(std::move(to));
    } else if (from.pending.kind == 0 && common(from, beyond_ascii()) != kSplit) {
      // All leads of one length lead to one state, but for four whose next byte they restrict.
      constexpr std::array<std::array<std::uint8_t, 2>, 4> kAlike{
          {{0xC2, 0xDF}, {0xE1, 0xEC}, {0xEE, 0xEF}, {0xF1, 0xF3}}};
      for (const auto& [first, last] : kAlike)
        if (byte >= first && byte <= last) lo = first, hi = last;
    }
  }
  keep(state, lo, hi, next);
  return next;
}

Id Texts::fill_class(Id state, std::uint8_t cls) {
  kernel_clock.tick(Op::Pattern);
  if (!quick_[static_cast<std::size_t>(state)].by_class) {
    const std::array<Id, kClasses> table = fill_ascii(state);
    class_tables_.push_back(table);
    quick_[static_cast<std::size_t>(state)].by_class = class_tables_.back().data();
    if (table[cls] != -1) return table[cls];
  }
  const State from = states_[state];
  if (cls >= kBeyond)  // most states don't tell these classes apart
    if (const Id next = common(from, beyond_ascii()); next != kSplit) {
      Id* const by_class = quick_[static_cast<std::size_t>(state)].by_class;
      std::fill(by_class + kBeyond, by_class + kClasses, next);
      return next;
    }
  const Id out = common(from, classes()[cls]);
  return quick_[static_cast<std::size_t>(state)].by_class[cls] = out;
}

// The transitions by all ASCII classes that are one range. They are computed together, since most
// lead to the same few states.
std::array<Id, kClasses> Texts::fill_ascii(Id state) {
  std::array<Id, kClasses> out;
  out.fill(-1);
  const State from = states_[state];
  std::vector<const LangRow*> rows;
  for (const Component& k : from.components) rows.push_back(&langs_.raw(k.lang));
  std::vector<std::pair<std::vector<Id>, Id>> known;
  std::vector<Id> next(rows.size());
  for (std::uint8_t cls = 0; cls < kClasses; ++cls) {
    if (classes()[cls].size() != 1 || classes()[cls][0].hi >= 0x80) continue;
    const Range r = classes()[cls][0];
    bool alike = true;
    for (std::size_t i = 0; i < rows.size() && alike; ++i) {
      const std::size_t piece = rows[i]->piece(r.lo);
      alike = rows[i]->upto[piece] >= r.hi;
      next[i] = rows[i]->next[piece];
    }
    if (!alike) continue;
    auto found =
        std::find_if(known.begin(), known.end(), [&](const auto& k) { return k.first == next; });
    if (found == known.end()) found = known.insert(known.end(), {next, after_char(from, r.lo)});
    out[cls] = found->second;
  }
  return out;
}

std::uint32_t Texts::completes(Id state, std::uint8_t byte) const {
  Pending pending;
  std::uint32_t c;
  return advance(states_[state].pending, byte, states_[state].spelling, &pending, &c) ? c : kNoChar;
}

bool Texts::has_all(Id state) const {
  const std::vector<Component>& components = states_[state].components;
  return std::any_of(components.begin(), components.end(), [](const Component& c) {
    return c.lang == Langs::kAll && c.index < kTracked;
  });
}

bool Texts::is_endless(Id state) {
  signed char& known = states_[state].endless;
  if (known < 0) {
    const std::vector<Component> components = states_[state].components;
    const bool endless =
        has_all(state) || (!components.empty() && std::all_of(components.begin(), components.end(),
                                                              [this](const Component& c) {
                                                                return langs_.is_endless(c.lang);
                                                              }));
    states_[state].endless = endless;
  }
  return states_[state].endless;
}

bool Texts::is_live(Id state, Id spec, std::int64_t read) {
  if (state == kDead) return false;
  if (!specs_[spec].bounded) return true;
  const State& s = states_[state];
  const Ranges chars = s.pending.kind ? possible(s.pending, s.spelling) : Ranges{};
  const int more = s.pending.kind == 5;  // characters that the components have consumed, but `read`
                                         // does not count
  for (const Component& c : s.components) {
    if (c.index >= kTracked) break;
    const Bound& b = specs_[spec].at(c.index);
    const std::int64_t lo = b.lo - read, hi = b.hi == kInf ? kInf : b.hi - read;
    if (hi < more) continue;
    if (!s.pending.kind || more) {
      if (c.lang == Langs::kAll || langs_.meets(c.lang, lo - more, hi == kInf ? kInf : hi - more))
        return true;
      continue;
    }
    if (any_by(langs_.raw(c.lang), chars,
               [&](Id q, Range) { return langs_.meets(q, lo - 1, hi == kInf ? kInf : hi - 1); }))
      return true;
  }
  return false;
}

const std::vector<std::int64_t>& Texts::rests(Id state) {
  return remember(rests_, state, [&] {
    std::vector<std::int64_t> out;
    for (const Component& c : states_[state].components)
      out.push_back(cheapest_of(states_[state], c.lang, 0, kInf));
    return out;
  });
}

std::int64_t Texts::cheapest_of(const State& s, Id lang, std::int64_t lo, std::int64_t hi) {
  if (!s.pending.kind) return langs_.cheapest(lang, lo, hi);
  if (s.pending.kind == 5) {
    const std::int64_t bytes =
        hi > 0 ? langs_.cheapest(lang, lo - 1, hi == kInf ? kInf : hi - 1) : -1;
    return bytes < 0 ? -1 : bytes + s.pending.got;
  }
  const Ranges& chars = possible(s.pending, s.spelling);
  std::int64_t least = -1;
  any_by(langs_.raw(lang), chars, [&](Id q, Range by) {
    const std::int64_t bytes = langs_.cheapest(q, lo - 1, hi == kInf ? kInf : hi - 1);
    if (bytes < 0) return false;
    const std::int64_t all = bytes + rest_of_char(s.pending, intersection({by}, chars), s.spelling);
    if (least < 0 || all < least) least = all;
    return false;
  });
  return least;
}

std::int64_t Texts::cheapest(Id state, Id spec, std::int64_t read, const std::vector<Id>& labels) {
  const State& s = states_[state];
  const Spec& bounds = specs_[spec];
  std::vector<StringPiece> now{{0, kInf, Langs::kAll}};
  for (Id label : labels) {
    const auto [first, last] = std::ranges::equal_range(
        s.components, label, {}, [&](const Component& c) { return bounds.at(c.index).label; });
    std::vector<StringPiece> next;
    for (const StringPiece& p : now)
      for (auto c = first; c != last; ++c) {
        const Bound& b = bounds.at(c->index);
        if (std::max(p.lo, b.lo) <= std::min(p.hi, b.hi))
          next.push_back(
              {std::max(p.lo, b.lo), std::min(p.hi, b.hi), langs_.both({p.lang, c->lang})});
      }
    now = std::move(next);
  }
  std::int64_t least = -1;
  for (const StringPiece& p : now) {
    const std::int64_t bytes =
        cheapest_of(s, p.lang, p.lo - read, p.hi == kInf ? kInf : p.hi - read);
    if (bytes >= 0 && (least < 0 || bytes < least)) least = bytes;
  }
  return least;
}

bool Texts::listed(Id state, std::vector<Langs::Listed>* out) const {
  const State& s = states_[state];
  if (s.pending.kind || s.use != Use::Value || s.net >= 0) return false;
  for (const Component& c : s.components) {
    if (c.index >= kTracked) continue;
    out->push_back(langs_.listed(c.lang));
    if (!out->back().words) return false;
  }
  return true;
}

bool Texts::quoting(Id state, Langs::Quoting* out) {
  const State& s = states_[state];
  return !s.pending.kind && s.use == Use::Value && s.net < 0 && s.components.size() == 1 &&
         langs_.quoting(s.components[0].lang, out);
}

std::int64_t Texts::near(Id state) {
  const State s = states_[state];
  const bool front =
      s.pending.kind != 0 && s.pending.kind != 5;  // whether the components have yet to consume the
                                                   // partial character
  const Ranges chars = front ? possible(s.pending, s.spelling) : Ranges{};
  std::int64_t out = -1;
  const auto least = [&](std::int64_t n) {
    if (n >= 0 && (out < 0 || n < out)) out = n;
  };
  for (const Component& c : s.components) {
    if (c.index >= kTracked) continue;
    if (!front) {
      least(langs_.near(c.lang));
      continue;
    }
    any_by(langs_.raw(c.lang), chars, [&](Id q, Range) {
      if (langs_.live(q)) least(langs_.near(q));
      return false;
    });
  }
  return out < 0 ? -1 : out + (s.pending.kind != 0);
}

bool Texts::may_end(Id state) const {
  const State& s = states_[state];
  return !s.pending.kind &&
         std::any_of(s.components.begin(), s.components.end(), [this](const Component& c) {
           return c.index < kTracked && langs_.accepts(c.lang);
         });
}

void Texts::accepted(Id state, Id spec, std::int64_t read, Labels* labels) {
  labels->clear();
  const State& s = states_[state];
  if (s.pending.kind) return;
  for (const Component& c : s.components) {
    const Bound& b = specs_[spec].at(c.index);
    if (b.lo <= read && (b.hi == kInf || read <= b.hi) && langs_.accepts(c.lang))
      labels->push_back(b.label);
  }
  labels->sort_unique();
}

}  // namespace guard
