// Values: read from JSON text, and listed of goals. See constraint.hpp.
//
// A goal's values are listed until there are enough of them: strings, arrays and objects by their size, at each step never more
// beginnings than values are wanted, for each of them leads to another one. A goal inside of itself is listed by
// rounds: what is known of it so far, until nothing new is found.
#include "constraints/algebra.hpp"

namespace guard {

namespace {
constexpr int kMaxNesting = 2000;  // of a value that is compared with others

struct Reader {
  Lexicon* lexicon;
  std::string_view text;
  std::size_t at = 0;
  int depth = 0;

  void space() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
  }
  Id value() {
    const Recursion deeper(&depth, kMaxNesting);
    space();
    Value v;
    switch (text[at]) {
      case 'n': v.kind = Value::Null, at += 4; break;
      case 't': v.kind = Value::True, at += 4; break;
      case 'f': v.kind = Value::False, at += 5; break;
      case '"': v.kind = Value::String, v.text = lexicon->name(string()); break;
      case '[':
        v.kind = Value::Array;
        members(']', [&] { v.items.push_back(value()); });
        break;
      case '{':
        v.kind = Value::Object;
        members('}', [&] {
          const Id name = lexicon->name(string());
          space();
          ++at;  // the colon
          v.members.emplace_back(name, value());
        });
        std::sort(v.members.begin(), v.members.end());
        break;
      default: v.kind = Value::Number, v.number = number();
    }
    return lexicon->values.intern(std::move(v));
  }
  template <class F>
  void members(char end, F read) {
    ++at;
    for (space(); text[at] != end; space()) {
      if (text[at] == ',') ++at, space();
      read();
    }
    ++at;
  }
  std::uint32_t hex() {
    std::uint32_t c = 0;
    for (int i = 0; i < 4; ++i) {
      const char d = text[at++];
      c = c * 16 + static_cast<std::uint32_t>(d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
    }
    return c;
  }
  std::string string() {
    std::string out;
    for (++at; text[at] != '"';) {
      const char c = text[at++];
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      const char e = text[at++];
      if (e == 'u') {
        std::uint32_t code = hex();
        if (code >= 0xD800 && code < 0xDC00) at += 2, code = 0x10000 + ((code - 0xD800) << 10) + (hex() - 0xDC00);
        const char32_t one = code;
        out += encode_utf8(std::u32string_view(&one, 1));
      } else {
        const std::string_view from = "bfnrt", to = "\b\f\n\r\t";
        const std::size_t i = from.find(e);
        out.push_back(i == from.npos ? e : to[i]);
      }
    }
    ++at;
    return out;
  }
  Decimal number() {
    Decimal d;
    const auto digits = [&](bool fraction) {
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
        d.digits.push_back(text[at]);
        d.exp -= fraction;
      }
    };
    if (text[at] == '-') d.negative = true, ++at;
    digits(false);
    if (at < text.size() && text[at] == '.') ++at, digits(true);
    if (at < text.size() && (text[at] | 32) == 'e') {
      ++at;
      const bool down = text[at] == '-';
      if (down || text[at] == '+') ++at;
      std::int32_t e = 0;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) e = e * 10 + (text[at] - '0');
      d.exp += down ? -e : e;
    }
    d.digits.erase(0, std::min(d.digits.find_first_not_of('0'), d.digits.size()));
    while (!d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), ++d.exp;
    return d.digits.empty() ? Decimal{} : d;
  }
};
}  // namespace

Id Lexicon::parse(std::string_view text) { return Reader{this, text}.value(); }

std::int64_t Goals::value_bytes(Id id) {
  const Value v = lexicon_.values[id];
  std::int64_t n = 2;
  switch (v.kind) {
    case Value::Null:
    case Value::True: return 4;
    case Value::False: return 5;
    case Value::String: return key_bytes(v.text);
    case Value::Number: {
      const std::int64_t size = static_cast<std::int64_t>(v.number.digits.size()), exp = v.number.exp;
      if (size == 0) return 1;
      return v.number.negative + (exp >= 0 ? size + exp : size > -exp ? size + 1 : 2 - exp);
    }
    case Value::Array:
      for (Id item : v.items) n += value_bytes(item) + 1 + gap_;
      return v.items.empty() ? n : n - 1 - gap_;
    case Value::Object:
      for (const auto& [name, member] : v.members) n += key_bytes(name) + 1 + gap_ + value_bytes(member) + 1 + gap_;
      return v.members.empty() ? n : n - 1 - gap_;
  }
  return n;
}

std::int64_t Goals::bytes_among(Id g, std::int32_t n) {
  const std::int32_t size = static_cast<std::int32_t>(std::bit_ceil(static_cast<std::uint32_t>(n)));  // few sizes, each at least the one before
  const auto found = bytes_among_.find({g, size});
  if (found != bytes_among_.end()) return found->second;
  std::int64_t most = size > 1 ? bytes_among(g, size / 2) : -1;
  const std::vector<Id> list = values(g, static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < list.size() && i < static_cast<std::size_t>(size); ++i) most = std::max(most, value_bytes(list[i]));
  if (const Id row = array(g); row != kNever && compares(row)) most = std::max(most, cost(g));  // which is a bound itself
  if (!is_tentative()) bytes_among_[{g, size}] = most;
  return most;
}

struct Goals::Listing {
  std::size_t n;
  std::vector<Id> values = {};
  std::unordered_set<Id> seen = {};
  bool is_full() const { return values.size() >= n; }
  void add(Id value) {
    if (!is_full() && seen.insert(value).second) values.push_back(value);
  }
};

const std::vector<Id>& Goals::values(Id g, std::size_t n) {
  Listed& known = listed_[g];
  if (known.level > 0) {
    leans_ = std::min(leans_, known.level);
    return known.values;
  }
  if (known.values.size() >= n || known.values.size() < known.asked) return known.values;
  if (n > limits_.alternatives) throw Limit{"alternatives", -1, "uniqueItems asks for " + std::to_string(n) + " values that differ"};
  struct Busy {
    Goals* goals;
    Listed* known;
    int before;
    ~Busy() {
      known->level = 0, --goals->listing_;
      goals->leans_ = goals->listing_ == 0 ? kInf : std::min(before, goals->leans_ > goals->listing_ ? kInf : goals->leans_);
    }
  } busy{this, &known, leans_};
  known.level = ++listing_;
  bool again = true;
  while (again) {
    leans_ = kInf;
    Listing out{n};
    list(g, &out);
    again = leans_ <= listing_ && out.values.size() > known.values.size() && out.values.size() < n;
    known.values = std::move(out.values);
  }
  if (!in_round_ && leans_ >= listing_) known.asked = n;
  return known.values;
}

bool Goals::has_values(Id g, std::size_t n) {
  if (g == kTrue) return true;
  for (const StringPiece& p : string_sets_[strings(g)].pieces)
    if (p.lang == Langs::kAll && p.hi >= 4) return true;
  for (Id id : numbers(g)) {
    const Piece& p = lexicon_.numbers.piece(id);
    const bool fine = p.multiples.empty() || static_cast<std::int64_t>(p.multiples[0].digits.size()) + p.multiples[0].exp < 8;
    if (fine && !(p.has_lo && p.has_hi)) return true;
  }
  if (lexicon_.langs.count(keys_lang(g), static_cast<std::int64_t>(n)) >= static_cast<std::int64_t>(n)) return true;
  return values(g, n).size() >= n;
}

void Goals::list(Id g, Listing* out) {
  const Recursion deeper(&depth_, limits_.depth);
  const auto add = [&](Value v) { out->add(lexicon_.values.intern(std::move(v))); };
  const std::uint8_t literals = literals3(g);
  for (const auto& [bit, kind] : {std::pair{1, Value::Null}, std::pair{2, Value::True}, std::pair{4, Value::False}}) {
    Value v;
    v.kind = kind;
    if (literals & bit) add(std::move(v));
  }
  for (Id p : std::vector<Id>(numbers(g))) {
    std::vector<Decimal> found;
    lexicon_.numbers.some(p, spelling_, out->n, &found);
    for (Decimal& d : found) {
      Value v;
      v.kind = Value::Number;
      v.number = std::move(d);
      add(std::move(v));
    }
  }
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[strings(g)].pieces)) {
    std::vector<std::u32string> texts;
    lexicon_.langs.some(p.lang, p.lo, p.hi, out->n - out->values.size(), &texts);
    for (const std::u32string& text : texts) {
      Value v;
      v.kind = Value::String;
      v.text = lexicon_.name(encode_utf8(text));
      add(std::move(v));
    }
  }
  if (!out->is_full() && inhabited(g, Type::Array)) list_arrays(array(g), out);
  if (!out->is_full() && inhabited(g, Type::Object)) list_objects(object(g), out);
}

void Goals::list_arrays(Id row, Listing* out) {
  struct Part {
    Id row;
    std::vector<Id> items;
  };
  const auto sized = [&](std::int32_t lo, std::int32_t hi) {
    Row r = rows_[row];
    r.lo = std::max(r.lo, lo);
    r.hi = std::min(r.hi, hi);
    return settle_row(std::move(r));
  };
  for (std::int32_t size = rows_[row].lo; !out->is_full() && viable_row(sized(size, kInf), 0); ++size) {
    std::vector<Part> now;
    if (const Id start = sized(size, size); viable_row(start, 0)) now.push_back({start, {}});
    const std::size_t wanted = out->n - out->values.size();
    for (std::int32_t at = 0; at < size; ++at) {
      std::vector<Part> next;
      for (const Part& part : now) {
        const Id base = base_of(rows_[part.row], 0), open = open_item(part.row, true);
        const Id goal = conj(base, vital(open, base, [&](Id after) { return viable_after(after, at + 1, base); }));
        const std::vector<Id> taken = rows_[part.row].unique < 0 ? std::vector<Id>{} : values_in(rows_[part.row].unique);
        const std::vector<Id> items = values(goal, wanted + taken.size());
        for (std::size_t i = 0; i < items.size() && next.size() < wanted; ++i) {
          if (has(taken, items[i])) continue;
          next.push_back({residual(open, items[i]), part.items});
          next.back().items.push_back(items[i]);
        }
      }
      now = std::move(next);
    }
    for (Part& part : now) {
      Value v;
      v.kind = Value::Array;
      v.items = std::move(part.items);
      out->add(lexicon_.values.intern(std::move(v)));
    }
  }
}

void Goals::list_objects(Id shape, Listing* out) {
  struct Key {
    KeyClass cls;
    Id name;
  };
  std::vector<Key> all;  // the names, and as many others as could be needed
  const std::vector<KeyClass>& classes = own_classes(shape);
  for (const KeyClass& cls : classes)
    if (cls.name >= 0) all.push_back({cls, cls.name});
  const std::size_t names = all.size();
  const auto find = [&](Id name) { return std::find_if(all.begin(), all.end(), [&](const Key& k) { return k.name == name; }) - all.begin(); };
  for (const KeyClass& cls : classes) {
    if (cls.name >= 0) continue;
    std::vector<std::u32string> texts;
    lexicon_.langs.some(cls.lang, 0, kInf, out->n + names + static_cast<std::size_t>(std::min(shapes_[shape].lo, 1 << 12)), &texts);
    for (const std::u32string& text : texts)
      if (const Id name = lexicon_.name(encode_utf8(text)); find(name) == static_cast<std::ptrdiff_t>(all.size())) all.push_back({cls, name});
  }
  std::vector<std::pair<Id, Id>> members;
  const auto keys = [&](std::size_t from) {
    Keys k;
    k.count = static_cast<std::int32_t>(members.size());
    k.is_open = [&, from](Id name) { return find(name) >= static_cast<std::ptrdiff_t>(from); };
    k.is_seen = [&](Id name) { return std::any_of(members.begin(), members.end(), [&](const auto& m) { return m.first == name; }); };
    return k;
  };
  std::size_t size = 0;
  const std::function<void(std::size_t, Id)> go = [&](std::size_t i, Id at) {
    if (out->is_full()) return;
    const Recursion deeper(&depth_, limits_.depth);
    tick();
    if (i >= names && members.size() == size) {
      if (!done(at, keys(i))) return;
      Value v;
      v.kind = Value::Object;
      v.members = members;
      std::sort(v.members.begin(), v.members.end());
      return out->add(lexicon_.values.intern(std::move(v)));
    }
    if (i == all.size()) return;
    if (i < names && viable(at, keys(i + 1))) go(i + 1, at);  // without it
    if (members.size() == size) return;
    for (std::size_t key = i; key < (i < names ? i + 1 : all.size()); ++key) {
      const Id base = base_of(shapes_[at], all[key].cls), open = open_member(at, all[key].cls, true);
      if (!inhabited(base)) continue;
      members.push_back({all[key].name, -1});
      const Id goal = conj(base, vital(open, base, [&](Id after) { return viable(after, keys(key + 1)) ? kTrue : kFalse; }));
      const std::vector<Id> list = values(goal, out->n);
      for (Id v : list) {
        members.back().second = v;
        go(key + 1, residual(open, v));
      }
      members.pop_back();
    }
  };
  const auto sized = [&](std::int32_t lo, std::int32_t hi) {
    Shape s = shapes_[shape];
    s.lo = std::max(s.lo, lo);
    s.hi = std::min(s.hi, hi);
    return tidy(settle(std::move(s)));
  };
  for (std::int32_t n = shapes_[shape].lo; !out->is_full() && viable(sized(n, kInf), {}); ++n) {
    size = static_cast<std::size_t>(n);
    if (const Id start = sized(n, n); viable(start, {})) go(0, start);
  }
}

}  // namespace guard
