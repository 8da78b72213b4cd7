#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

Values::Values(Constraints& all)
    : goals_(all.goals),
      scalars_(all.scalars),
      objects_(all.objects),
      members_(all.members),
      arrays_(all.arrays),
      unique_(all.unique),
      partial_(all.partial),
      inhabitance_(all.inhabitance),
      costs_(all.costs),
      lexicon_(all.lexicon),
      spelling_(all.spelling),
      gap_(all.gap),
      limits_(all.limits),
      depth_(all.depth) {}

std::int64_t Values::value_bytes(Id id) {
  const Value v = lexicon_.values[id];
  std::int64_t n = 2;
  switch (v.kind) {
    case Value::Null:
    case Value::True: return 4;
    case Value::False: return 5;
    case Value::String: return costs_.key_bytes(v.text);
    case Value::Number: {
      const std::int64_t size = static_cast<std::int64_t>(v.number.digits.size()),
                         exp = v.number.exp;
      if (size == 0) return 1;
      return v.number.negative + (exp >= 0 ? size + exp : size > -exp ? size + 1 : 2 - exp);
    }
    case Value::Array:
      for (Id item : v.items) n += value_bytes(item) + 1 + gap_;
      return v.items.empty() ? n : n - 1 - gap_;
    case Value::Object:
      for (const auto& [name, member] : v.members)
        n += costs_.key_bytes(name) + 1 + gap_ + value_bytes(member) + 1 + gap_;
      return v.members.empty() ? n : n - 1 - gap_;
  }
  return n;
}

std::int64_t Values::bytes_among(Id g, std::int32_t n) {
  const std::int32_t size = static_cast<std::int32_t>(
      std::bit_ceil(static_cast<std::uint32_t>(n)));  // to a power of two, for few sizes
  const auto found = bytes_among_.find({g, size});
  if (found != bytes_among_.end()) return found->second;
  // The result includes that of half the size, so it is monotone in n even if the lists differ.
  std::int64_t most = size > 1 ? bytes_among(g, size / 2) : -1;
  const std::vector<Id> list = of(g, static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < list.size() && i < static_cast<std::size_t>(size); ++i)
    most = std::max(most, value_bytes(list[i]));
  if (const Id row = arrays_.of(g); row != kNever && unique_.compares(row))
    most = std::max(most, costs_.of(g));  // the cost of such arrays is itself a bound
  if (!inhabitance_.is_tentative()) bytes_among_[{g, size}] = most;
  return most;
}

struct Values::Listing {
  std::size_t n;
  std::vector<Id> values = {};
  std::unordered_set<Id> seen = {};
  bool is_full() const { return values.size() >= n; }
  void add(Id value) {
    if (!is_full() && seen.insert(value).second) values.push_back(value);
  }
};

const std::vector<Id>& Values::of(Id g, std::size_t n) {
  Listed& known = listed_[g];
  // This listing is in progress further up, so nothing but its values so far is known. A result
  // that uses them depends on that level, and must not be kept for good.
  if (known.level > 0) {
    leans_ = std::min(leans_, known.level);
    return known.values;
  }
  // There are enough values, or fewer than were once asked for; then there are no others.
  if (known.values.size() >= n || known.values.size() < known.asked) return known.values;
  if (n > limits_.alternatives)
    throw Limit{"alternatives", -1,
                "uniqueItems asks for " + std::to_string(n) + " values that differ"};
  struct Busy {
    Values* goals;
    Listed* known;
    int before;
    ~Busy() {
      known->level = 0, --goals->listing_;
      goals->leans_ =
          goals->listing_ == 0
              ? kInf
              : std::min(before, goals->leans_ > goals->listing_ ? kInf : goals->leans_);
    }
  } busy{this, &known, leans_};
  // Rounds: if a round used the values of an unfinished listing and found new values, the goal is
  // listed again. This ends, because each round adds a value and n values are enough. Busy resets
  // the mark, also if an exception is thrown.
  known.level = ++listing_;
  bool again = true;
  while (again) {
    leans_ = kInf;
    Listing out{n};
    list(g, &out);
    again = leans_ <= listing_ && out.values.size() > known.values.size() && out.values.size() < n;
    known.values = std::move(out.values);
  }
  // The list is final only if it used no round of Inhabitance and no unfinished listing further up.
  if (!inhabitance_.in_round() && leans_ >= listing_) known.asked = n;
  return known.values;
}

bool Values::has_values(Id g, std::size_t n) {
  if (g == kTrue) return true;
  // On sight: free strings of up to four characters have more values than any caller asks for. So
  // have numbers without bounds on both sides.
  for (const StringPiece& p : scalars_.string_set(scalars_.strings(g)).pieces)
    if (p.lang == Langs::kAll && p.hi >= 4) return true;
  for (Id id : scalars_.numbers(g)) {
    const Piece& p = lexicon_.numbers.piece(id);
    const bool fine =
        p.multiples.empty() ||
        static_cast<std::int64_t>(p.multiples[0].digits.size()) + p.multiples[0].exp < 8;
    if (fine && !(p.has_lo && p.has_hi)) return true;
  }
  if (lexicon_.langs.count(scalars_.keys_lang(g), static_cast<std::int64_t>(n)) >=
      static_cast<std::int64_t>(n))
    return true;
  return of(g, n).size() >= n;
}

std::size_t Values::count(Id g, Type type, std::size_t most) {
  if (type == Type::Null) return scalars_.literals3(g) & 1;
  Listing out{most};
  if (type == Type::Boolean) {
    const std::uint8_t literals = scalars_.literals3(g);
    return (literals >> 1 & 1) + (literals >> 2 & 1);
  }
  if (type == Type::Number) list_numbers(g, &out);
  if (type == Type::String) list_strings(g, &out);
  if (type == Type::Array) list_arrays(arrays_.of(g), &out);
  if (type == Type::Object) list_objects(objects_.of(g), &out);
  return out.values.size();
}

std::size_t Values::count_objects(Id shape, std::size_t most) {
  Listing out{most};
  list_objects(shape, &out);
  return out.values.size();
}

void Values::list(Id g, Listing* out) {
  const Recursion deeper(&depth_, limits_.depth);
  list_literals(g, out);
  list_numbers(g, out);
  list_strings(g, out);
  if (!out->is_full() && inhabitance_.inhabited(g, Type::Array)) list_arrays(arrays_.of(g), out);
  if (!out->is_full() && inhabitance_.inhabited(g, Type::Object)) list_objects(objects_.of(g), out);
}

void Values::list_literals(Id g, Listing* out) {
  const std::uint8_t literals = scalars_.literals3(g);
  for (const auto& [bit, kind] :
       {std::pair{1, Value::Null}, std::pair{2, Value::True}, std::pair{4, Value::False}}) {
    Value v;
    v.kind = kind;
    if (literals & bit) out->add(lexicon_.values.intern(std::move(v)));
  }
}

void Values::list_numbers(Id g, Listing* out) {
  for (Id p : std::vector<Id>(scalars_.numbers(g))) {
    std::vector<Decimal> found;
    lexicon_.numbers.some(p, spelling_, out->n, &found);
    for (Decimal& d : found) {
      Value v;
      v.kind = Value::Number;
      v.number = std::move(d);
      out->add(lexicon_.values.intern(std::move(v)));
    }
  }
}

void Values::list_strings(Id g, Listing* out) {
  for (const StringPiece& p :
       std::vector<StringPiece>(scalars_.string_set(scalars_.strings(g)).pieces)) {
    std::vector<std::u32string> texts;
    lexicon_.langs.some(p.lang, p.lo, p.hi, out->n - out->values.size(), &texts);
    for (const std::u32string& text : texts) {
      Value v;
      v.kind = Value::String;
      v.text = lexicon_.name(encode_utf8(text));
      out->add(lexicon_.values.intern(std::move(v)));
    }
  }
}

void Values::list_arrays(Id row, Listing* out) {
  struct Part {
    Id row;
    std::vector<Id> items;
  };
  const auto sized = [&](std::int32_t lo, std::int32_t hi) {
    Row r = arrays_[row];
    r.lo = std::max(r.lo, lo);
    r.hi = std::min(r.hi, hi);
    return arrays_.settle(std::move(r));
  };
  // By length, as long as there are arrays of this length or longer.
  for (std::int32_t size = arrays_[row].lo; !out->is_full() && arrays_.viable(sized(size, kInf), 0);
       ++size) {
    tick();
    std::vector<Part> now;
    if (const Id start = sized(size, size); arrays_.viable(start, 0)) now.push_back({start, {}});
    const bool is_there = !now.empty();
    const std::size_t wanted = out->n - out->values.size();
    for (std::int32_t at = 0; at < size; ++at) {
      std::vector<Part> next;
      for (const Part& part : now) {
        const Id base = arrays_.base_of(arrays_[part.row], 0),
                 open = partial_.open_item(part.row, true);
        const Id goal = goals_.conj(base, partial_.vital(open, base, [&](Id after) {
          return unique_.viable_after(after, at + 1, base);
        }));
        const std::vector<Id> taken = arrays_[part.row].unique < 0
                                          ? std::vector<Id>{}
                                          : goals_.values_in(arrays_[part.row].unique);
        // Each prefix that is kept leads to an array, so `wanted` of them are enough. Some of the
        // listed items may be taken already.
        const std::vector<Id> items = of(goal, wanted + taken.size());
        for (std::size_t i = 0; i < items.size() && next.size() < wanted; ++i) {
          if (has(taken, items[i])) continue;
          next.push_back({partial_.residual(open, items[i]), part.items});
          next.back().items.push_back(items[i]);
        }
      }
      now = std::move(next);
    }
    if (is_there && now.empty() && leans()) return;  // the next round knows more items
    for (Part& part : now) {
      Value v;
      v.kind = Value::Array;
      v.items = std::move(part.items);
      out->add(lexicon_.values.intern(std::move(v)));
    }
  }
}

void Values::list_objects(Id shape, Listing* out) {
  struct Key {
    KeyClass cls;
    Id name;
  };
  std::vector<Key> all;  // the names, and as many others as could be needed
  const std::vector<KeyClass>& classes = objects_.own_classes(shape);
  for (const KeyClass& cls : classes)
    if (cls.name >= 0) all.push_back({cls, cls.name});
  const std::size_t names = all.size();
  const auto find = [&](Id name) {
    return std::find_if(all.begin(), all.end(), [&](const Key& k) { return k.name == name; }) -
           all.begin();
  };
  for (const KeyClass& cls : classes) {
    if (cls.name >= 0) continue;
    std::vector<std::u32string> texts;
    lexicon_.langs.some(
        cls.lang, 0, kInf,
        out->n + names + static_cast<std::size_t>(std::min(objects_[shape].lo, 1 << 12)), &texts);
    for (const std::u32string& text : texts)
      if (const Id name = lexicon_.name(encode_utf8(text));
          find(name) == static_cast<std::ptrdiff_t>(all.size()))
        all.push_back({cls, name});
  }
  // A stack of the members that the search below has written so far. `keys` reads it, so a Keys is
  // valid only for the call that it was made for.
  std::vector<std::pair<Id, Id>> members;
  const auto keys = [&](std::size_t from) {
    Keys k;
    k.count = static_cast<std::int32_t>(members.size());
    k.is_open = [&, from](Id name) { return find(name) >= static_cast<std::ptrdiff_t>(from); };
    k.is_seen = [&](Id name) {
      return std::any_of(members.begin(), members.end(),
                         [&](const auto& m) { return m.first == name; });
    };
    return k;
  };
  std::size_t size = 0;
  const std::function<void(std::size_t, Id)> go = [&](std::size_t i, Id at) {
    if (out->is_full()) return;
    const Recursion deeper(&depth_, limits_.depth);
    tick();
    if (i >= names && members.size() == size) {
      if (!members_.done(at, keys(i))) return;
      Value v;
      v.kind = Value::Object;
      v.members = members;
      std::sort(v.members.begin(), v.members.end());
      return out->add(lexicon_.values.intern(std::move(v)));
    }
    if (i == all.size()) return;
    // Names come in their order, each with or without a member. After the names, any of the other
    // keys may come next.
    if (i < names && members_.viable(at, keys(i + 1))) go(i + 1, at);  // without it
    if (members.size() == size) return;
    for (std::size_t key = i; key < (i < names ? i + 1 : all.size()); ++key) {
      const Id base = objects_.base_of(objects_[at], all[key].cls),
               open = partial_.open_member(at, all[key].cls, true);
      if (!inhabitance_.inhabited(base)) continue;
      members.push_back({all[key].name, -1});
      const Id goal = goals_.conj(base, partial_.vital(open, base, [&](Id after) {
        return members_.viable(after, keys(key + 1)) ? kTrue : kFalse;
      }));
      const std::vector<Id> list = of(goal, out->n);
      for (Id v : list) {
        members.back().second = v;
        go(key + 1, partial_.residual(open, v));
      }
      members.pop_back();
    }
  };
  const auto sized = [&](std::int32_t lo, std::int32_t hi) {
    Shape s = objects_[shape];
    s.lo = std::max(s.lo, lo);
    s.hi = std::min(s.hi, hi);
    return objects_.tidy(objects_.settle(std::move(s)));
  };
  for (std::int32_t n = objects_[shape].lo; !out->is_full() && members_.viable(sized(n, kInf), {});
       ++n) {
    tick();
    size = static_cast<std::size_t>(n);
    const Id start = sized(n, n);
    if (!members_.viable(start, {})) continue;
    const std::size_t before = out->values.size();
    go(0, start);
    if (out->values.size() == before && leans()) return;  // the next round knows more members
  }
}

}  // namespace guard
