#include "automaton/viability.hpp"

#include <algorithm>

namespace guard {

// ---- values -------------------------------------------------------------------------------------

bool Viability::is_viable(const Frame& f, Id residual) {
  return f.kind == Kind::Object ? constraints_.members.viable(residual, keys_of(f))
                                : constraints_.arrays.viable(residual, f.count + 1);
}

Id Viability::viable_after(const Frame& f, Id residual, Id base) {
  if (f.kind == Kind::Array) return constraints_.unique.viable_after(residual, f.count + 1, base);
  return is_viable(f, residual) ? kTrue : kFalse;
}

Id Viability::legible(const Frame& f, Id goal, const Parts& parts, Type type) {
  if (type != Type::Number || goal == kFalse) return goal;
  if (options_.spelling == Spelling::Canonical && is_compared(f)) {
    const Id some = goals_.among(
        {constraints_.lexicon.parse("0")});  // a goal that names any number has no exponents
    // `some` or not `some` admits every value, but a goal that names a number has no exponents.
    goal = goals_.conj(goal, goals_.any_goal({some, goals_.negate(some)}));
  }
  // The values of a literal that is only a list of values, or the negation of such a literal.
  const auto listed_alone = [this](Id literal) -> const std::vector<Id>* {
    const Id node = literal >> 1;
    if (node >= kInternal) return &goals_.values_in(goals_.goal({node << 1}));
    if (!goals_.is_defined(node)) return nullptr;
    const std::vector<Atom>& atoms = goals_.atoms(node);
    const bool is_list = atoms.size() == 1 && (atoms[0].op == Op::Const || atoms[0].op == Op::Enum);
    return is_list ? &atoms[0].values : nullptr;
  };
  std::vector<Id> values;  // constants of all literals, handled together: one by one they would
                           // split the numbers into ever more intervals
  std::vector<Id> all = goals_.literals(goal);  // likewise, since there may be thousands
  for (Id l : parts.tracked) {
    if (constraints_.scalars.reads_alike(goal, l)) continue;
    if (const std::vector<Id>* listed = listed_alone(l); listed && !listed->empty()) {
      values.insert(values.end(), listed->begin(), listed->end());
      continue;
    }
    const Id either = goals_.any_goal({goals_.goal({l}), goals_.goal({l ^ 1})});
    all.insert(all.end(), goals_.literals(either).begin(), goals_.literals(either).end());
  }
  goal = goals_.goal(std::move(all));
  sort_unique(&values);
  if (const Id listed = goals_.among(std::move(values)); listed != kFalse)
    goal = goals_.conj(goal, goals_.any_goal({listed, goals_.negate(listed)}));
  return goal;
}

// Memoises the result of a search by (open, base), since most types have the same result.
template <class Search>
Id Viability::decided(const Frame& f, Id open, Id base, const Search& search) {
  // A linked list suffices, since a frame has few alternatives. It is allocated in the frame's
  // arena.
  for (const Decided* d = f.cache().decided; d; d = d->before)
    if (d->open == open && d->base == base) return d->goal;
  const Id goal = search();
  f.cache().decided = f.arena->make(Decided{f.cache().decided, open, base, goal});
  return goal;
}

Id Viability::vital(const Frame& f, Type type) {
  // The slot is written last, so it stays unknown if Missing or Limit is thrown. The reference
  // stays valid, because a cache never moves.
  Id& slot = f.cache().vital[static_cast<std::size_t>(type)];
  if (slot >= 0) return slot;
  const Parts& parts = levels_.parts(f.due, type);
  Few<Id, 8> out;
  for (const Part& part : parts.list) try {
      Id goal = part.vital ? part.base : kFalse;
      if (goal != kFalse && !parts.plain) {
        const Id base = f.records ? goals_.conj(part.base, goals_.of_type(type)) : part.base;
        const auto search = [&] {
          return constraints_.partial.vital(
              part.open, part.base, [&](Id residual) { return viable_after(f, residual, base); });
        };
        const Id decides = f.records ? search() : decided(f, part.open, part.base, search);
        const Id bare = goal;
        goal = legible(f, goals_.conj(goal, decides), parts, type);
        // The base has values of this type, or else the part would not be listed; the added
        // restrictions may exclude all of them.
        if (goal != bare && !constraints_.inhabitance.inhabited(goal, type)) goal = kFalse;
      }
      out.push_back(parts.plain ? legible(f, goal, parts, type) : goal);
    } catch (Limit& limit) {
      goals_.blame(&limit, node_of(goals_.literals(part.base)));
      throw;
    }
  const Id id = interned(&lists_, out);
  f.cache().vital[static_cast<std::size_t>(type)] = id;
  return id;
}

// ---- keys ---------------------------------------------------------------------------------------

Keys Viability::keys_of(const Frame& f) {
  Keys out;
  out.count = f.count;
  // An object without members needs no callbacks: empty functions mean that no key was written.
  if (f.count == 0) return out;
  const Frame* frame = &f;
  out.is_open = [this, frame](Id name) {
    const auto at = frame->names->at.find(name);
    return at == frame->names->at.end() ||
           (!bit(frame->seen, at->second) && !is_past(*frame, at->second));
  };
  out.is_seen = [frame](Id name) {
    const auto at = frame->names->at.find(name);
    return at != frame->names->at.end() && bit(frame->seen, at->second);
  };
  out.is_taken = [this, frame](std::string_view key) {
    // A result that is memoised by the frame's keys must record the keys that it depends on.
    note(key);
    const auto& names = frame->names->texts;
    const auto at = std::lower_bound(names.begin(), names.end(), key);
    if (at == names.end() || *at != key) return is_extra(*frame, key);
    const std::int32_t i = static_cast<std::int32_t>(at - names.begin());
    return bit(frame->seen, i) || is_past(*frame, i);
  };
  return out;
}

// `required`: the least rank, in the schema's order, of the alternative's keys that must still
// come; kInf: none.
bool Viability::class_may_come(const Frame& f, const Alternative& alternative, std::int32_t cls,
                               std::int32_t name, std::int32_t required) {
  const ObjectInfo& info = levels_.info(f.level);
  const KeyClass& keys = info.cls(cls);
  const Shape& shape = constraints_.objects[alternative.shape];
  const std::int32_t rank = name >= 0 ? levels_.rank(f.level, name) : kInf;
  if (options_.schema_order && rank > required) return false;
  const Id base = constraints_.objects.base_of(shape, keys);
  // A plain alternative has no keyword that depends on other members, so a key may come if its
  // value has an instance.
  const bool plain =
      constraints_.objects.is_plain(alternative.shape) && (shape.lo <= f.count + 1 || info.plain);
  if (plain) return constraints_.inhabitance.inhabited(base);
  if (f.count + 1 > shape.hi || !constraints_.inhabitance.inhabited(base)) return false;
  // The frame after the key. The frame and its bits are local variables; `leads_on` must not be
  // called after they are gone.
  Frame next = f.next(*f.arena);
  next.count = f.count + 1;
  next.rank = options_.schema_order ? std::max(f.rank, rank) : f.rank;
  std::vector<std::uint64_t> seen(words_for(levels_.names(f.level).names.size()), 0);
  if (f.seen) std::copy(f.seen, f.seen + seen.size(), seen.begin());
  if (name >= 0) seen[static_cast<std::size_t>(name >> 6)] |= 1ull << (name & 63);
  next.seen = seen.data();
  const auto leads_on = [&](Id shape, Id base) {
    return constraints_.partial.possible(constraints_.partial.open_member(shape, keys, true), base,
                                         [&](Id residual) { return is_viable(next, residual); });
  };
  // If this key decides a `oneOf`, tries first with only the remaining branches. This is faster,
  // and suffices if the answer is yes or the narrowed shape is exact.
  if (keys.name >= 0)
    if (const auto [few, exact] = constraints_.objects.narrowed(alternative.shape, keys.name);
        few != alternative.shape) {
      const Id narrow = constraints_.objects.base_of(constraints_.objects[few], keys);
      if (few != kNever && constraints_.inhabitance.inhabited(narrow) && leads_on(few, narrow))
        return true;
      if (exact) return false;
    }
  return leads_on(alternative.shape, base);
}

bool Viability::may_write(const Frame& f, std::int32_t cls, std::int32_t name) {
  const Level& level = levels_[f.level];
  const std::int32_t* required = f.cache().writable->required;
  // Alternatives that are not vital only report whether the value meets them; they do not make a
  // key allowed.
  for (std::size_t a = 0; a < level.alternatives.size(); ++a)
    if (level.alternatives[a].vital &&
        class_may_come(f, level.alternatives[a], cls, name, required[a]))
      return true;
  return false;
}

bool Viability::may_come(const Frame& f, std::int32_t name) {
  Writable& w = writable(f);
  const std::uint64_t mask = 1ull << (name & 63);
  // `known` is set after may_write(), which may throw. The words are in the arena and do not move.
  std::uint64_t &known = w.known[name >> 6], &yes = w.names[name >> 6];
  if (known & mask) return yes & mask;
  const std::int32_t cls = levels_.info(f.level).class_of[static_cast<std::size_t>(name)];
  if (cls >= 0 && !bit(f.seen, name) && !is_past(f, name) && may_write(f, cls, name)) yes |= mask;
  known |= mask;
  return yes & mask;
}

bool Viability::any_may_come(const Frame& f) {
  Writable& w = writable(f);
  if (w.any >= 0) return w.any;
  // Checks first what is known without the names, of which there may be thousands.
  bool any = w.text != Texts::kDead;
  const std::int32_t n = static_cast<std::int32_t>(levels_.names(f.level).names.size());
  for (std::int32_t i = 0; i < n && !any; ++i) any = may_come(f, i);
  w.any = any;
  return any;
}

// The automaton of the keys of these classes, given as pairs of class and language; with `every`,
// also of all other texts.
Viability::Opened Viability::open_keys(std::span<const Id> classes, bool every) {
  // Memoised: many configurations open the same classes, and the start of an automaton is
  // expensive.
  if (const auto found = opened_[every].find(classes); found != opened_[every].end())
    return found->second;
  std::vector<Labelled> list;
  if (every) list.push_back({Langs::kAll, 0, kInf, kEveryClass});
  for (std::size_t i = 0; i < classes.size(); i += 2)
    list.push_back({classes[i + 1], 0, kInf, classes[i], every});
  Opened out{0, 0};
  out.state = constraints_.lexicon.texts.start(list, options_.spelling, &out.spec, Use::Key);
  return opened_[every][{classes.begin(), classes.end()}] = out;
}

// The result is allocated in the frame's arena, and may_come() fills it further. It is put into the
// cache before it is complete, because may_write() reads `required` there. `undo` removes it if
// anything throws.
Writable& Viability::writable(const Frame& f) {
  if (f.cache().writable) return *f.cache().writable;
  const Level& level = levels_[f.level];
  const ObjectInfo& info = levels_.info(f.level);
  const NameTable& names = levels_.names(f.level);
  const std::size_t words = words_for(names.names.size());
  auto* required = static_cast<std::int32_t*>(
      f.arena->allocate(level.alternatives.size() * sizeof(std::int32_t) + 1));
  std::fill(required, required + level.alternatives.size(), kInf);
  if (options_.schema_order) {
    const NamesIndex& at = levels_.index(f.level);
    for (std::size_t a = 0; a < level.alternatives.size(); ++a)
      // In the schema's order, no key may come after one that is still required.
      for (const Id name : constraints_.objects.must(level.alternatives[a].shape)) {
        const auto i = at.at.find(name);
        if (i != at.at.end() && !bit(f.seen, i->second))
          required[a] = std::min(required[a], names.ranks[static_cast<std::size_t>(i->second)]);
      }
  }
  auto* bits = static_cast<std::uint64_t*>(f.arena->allocate(2 * words * 8));
  std::fill(bits, bits + 2 * words, 0);
  Writable* out = f.arena->make(Writable{bits, bits + words, required, Texts::kDead, 0, -1});
  struct Undo {  // removes an incomplete result if anything throws
    Frame::Cache& cache;
    bool done = false;
    ~Undo() {
      if (!done) cache.writable = nullptr;
    }
  } undo{f.cache()};
  f.cache().writable = out;
  Few<Id, 16> classes;  // pairs of class and language
  for (std::int32_t c : info.text_classes)
    if (may_write(f, c, -1)) classes.push_back(c), classes.push_back(info.cls(c).lang);
  if (!classes.empty()) {
    // If all classes may come, together they contain every text except the names. Then every text
    // continues, and the classes only classify it.
    const bool every =
        classes.size() == 2 * info.text_classes.size() && info.text_classes.size() > 1;
    const Opened opened = open_keys(classes, every);
    out->text = opened.state, out->spec = opened.spec;
  }
  undo.done = true;
  return *out;
}

// ---- items --------------------------------------------------------------------------------------

bool Viability::may_have_more(const Frame& f) {
  signed char& more = f.cache().more;
  if (more >= 0) return more;
  const Level level = levels_[f.level];
  bool ok = false;
  if (level.records) {
    for (const Alternative& a : level.alternatives)
      if (a.vital && constraints_.unique.has_room(a.shape, f.count)) {
        f.cache().more = true;
        return true;
      }
    // With compared items, the values told to the level decide. So the item's goals are computed
    // for a frame in which the item has begun. It is allocated in the arena, because its cache is.
    Frame next = f.next(*f.arena);
    next.due = levels_.due_item(f.level, f.count);
    for (int t = 0; t < kTypes && !ok; ++t)
      for (Id goal : list(vital(*f.arena->make(next), static_cast<Type>(t))))
        ok = ok || goal != kFalse;
    f.cache().more = ok;
    return ok;
  }
  for (const Alternative& a : level.alternatives) {
    if (!a.vital || f.count >= constraints_.arrays[a.shape].hi) continue;
    // Index 0: a row is the rest of an array, so its next item is always its first.
    const Id base = constraints_.arrays.base_of(constraints_.arrays[a.shape], 0);
    ok = constraints_.inhabitance.inhabited(base) &&
         (constraints_.arrays.is_plain(a.shape) ||
          constraints_.partial.possible(constraints_.partial.open_item(a.shape, true), base,
                                        [&](Id residual) { return is_viable(f, residual); }));
    if (ok) break;
  }
  f.cache().more = ok;
  return ok;
}

}  // namespace guard
