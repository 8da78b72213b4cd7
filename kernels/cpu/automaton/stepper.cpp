#include "automaton/stepper.hpp"

#include <algorithm>

#include "automaton/whitespace.hpp"

namespace guard {

Stepper::Stepper(Constraints& constraints, KeyOrder& orders, Levels& levels, Viability& viability,
                 KeyReader& keys, FrameMaker& frames, const Options& options, Id root,
                 const Format* format)
    : constraints_(constraints),
      goals_(constraints.goals),
      orders_(orders),
      levels_(levels),
      viability_(viability),
      keys_(keys),
      frames_(frames),
      options_(options),
      compared_(constraints, levels, options),
      root_(root),
      format_(format),
      texts_(constraints.lexicon.texts),
      numbers_(constraints.lexicon.numbers) {}

Config Stepper::start(Arena& arena) {
  Config c;
  if (format_) {
    Frame below;
    below.kind = Kind::Format;
    c = at_point(below, 0, false, arena);
    return c.state != Texts::kDead && commit(&c, false, arena) ? c : Config{};
  }
  const Id root = goals_.goal_of(root_);
  bool any =
      false;  // by types, not on sight, so that compile() also examines the root's members' goals
  for (int t = 0; t < kTypes && !any; ++t)
    any = constraints_.inhabitance.inhabited(root, static_cast<Type>(t));
  if (!any) return c;
  Frame f;
  f.arena = &arena;
  f.due = levels_.due_root(root_);
  if (options_.schema_order) f.order = orders_.of_root(root_);
  c.top = frames_.make({nullptr, Phase::Value, f.due, f.order}, f, arena);
  return c;
}

// ---- text around values
// --------------------------------------------------------------------------

Config Stepper::at_point(const Frame& below, Id point, bool is_behind, Arena& arena) {
  tell(FormatEvent::Text, point, is_behind);
  Frame f = below.next(arena);
  f.level = point;
  Config c;
  c.top = frames_.make({&below, Phase::Value, point, -1}, f, arena);
  c.lex = Lex::Raw;
  c.state = texts_.enter(format_->net, points_of(point), &c.spec);
  return c;
}

bool Stepper::commit(Config* at, bool is_behind, Arena& arena) {
  if (texts_.commit(at->state) >= 0) *at = opened(*at, arena, is_behind);
  return true;
}

Config Stepper::opened(const Config& at, Arena& arena, bool is_behind) {
  const Id id = texts_.open(at.state);
  if (id < 0) return {};
  tell(FormatEvent::Value, id, is_behind);
  const FormatExit& exit = format_->exit(id);
  Frame below = at.top->next(arena);
  below.level = exit.next;
  Frame f;
  f.arena = &arena;
  f.parent = frames_.make({at.top, Phase::First, exit.next, -1}, below, arena);
  f.due = levels_.due_root(exit.what);
  if (options_.schema_order) f.order = orders_.of_root(exit.what);
  Config c;
  c.top = frames_.make({f.parent, Phase::Value, f.due, f.order}, f, arena);
  return c;
}

void Stepper::exits(const Config& at, Labels* exits) {
  exits->clear();
  if (!format_ || !at.top || at.finished) return;
  if (at.lex == Lex::Raw) return texts_.exits(at.state, exits);
  if (at.lex != Lex::Number || at.top->kind != Kind::Root || !numbers_.accepts_any(at.state))
    return;
  Id spec;
  texts_.exits(texts_.enter(format_->net, at.top->parent->level, &spec), exits);
}

bool Stepper::take(const Config& from, Id exit, Config* to, Arena& arena) {
  const Frame& below = from.lex == Lex::Raw ? *from.top : *from.top->parent;
  if (from.lex != Lex::Raw)
    tell(FormatEvent::Text, below.level, false);  // between a number and the symbol
  tell(FormatEvent::Symbol, exit, false);
  Labels there;
  exits(from, &there);
  std::vector<Id> points;
  for (const FormatExit& taken = format_->exit(exit); Id id : there)
    if (const FormatExit& e = format_->exit(id); e.kind == taken.kind && e.what == taken.what)
      points.push_back(e.next);
  *to = at_point(below, joined(std::move(points)), false, arena);
  return to->state != Texts::kDead && commit(to, false, arena);
}

Id Stepper::joined(std::vector<Id> points) {
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  if (points.size() == 1) return points[0];
  return static_cast<Id>(texts_.net(format_->net).points.size()) +
         joints_.intern({std::move(points)});
}

std::span<const Id> Stepper::points_of(const Id& point) const {
  const Id n = static_cast<Id>(texts_.net(format_->net).points.size());
  return point < n ? std::span(&point, 1) : std::span(joints_[point - n].points);
}

// ---- a value begins -----------------------------------------------------------------------------

// Requires a frame whose value is due (f.due >= 0), between lexemes, and the isolate's lock.
// Results are kept in the frame's cache, so another token of the mask that begins a value here
// costs a look-up. `to` may be incomplete if the result is false.
bool Stepper::begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  Type type;
  int literal = -1;
  switch (byte) {
    case '"': type = Type::String; break;
    case '{': type = Type::Object; break;
    case '[': type = Type::Array; break;
    case 'n': type = Type::Null, literal = 0; break;
    case 't': type = Type::Boolean, literal = 1; break;
    case 'f': type = Type::Boolean, literal = 2; break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': type = Type::Number; break;
    default: return false;
  }
  const auto begin_scalar = [&](const Scalar& scalar) {
    *to = Config{};
    to->top = &f;
    to->lex = type == Type::String ? Lex::Text : Lex::Number;
    to->spec = scalar.spec;
    to->state = type == Type::String ? scalar.state : numbers_.step(scalar.state, byte);
    if (type == Type::Number && scalar.tracked) to->key = arena.make(KeyText{nullptr, byte});
    return to->state != 0;
  };
  if (f.cache().never >> static_cast<int>(type) & 1) return false;
  Scalar& scalar = f.cache().scalars[static_cast<std::size_t>(type)];
  if (scalar.state >= 0) return begin_scalar(scalar);
  const auto never = [&] {
    f.cache().never |= static_cast<std::uint8_t>(1 << static_cast<int>(type));
    return false;
  };
  if (levels_.excludes(f.due, type)) return never();
  const Id vital = viability_.vital(f, type);
  const std::vector<Id>& goals = viability_.list(vital);
  Cases cases;
  for (std::size_t i = 0; i < goals.size(); ++i)
    if (goals[i] != kFalse) cases.push_back({static_cast<Id>(i), goals[i]});
  const std::size_t alive = cases.size();
  if (alive == 0) return never();
  const Parts& parts = levels_.parts(f.due, type);
  for (std::size_t i = 0; i < parts.tracked.size(); ++i)
    cases.push_back({static_cast<Id>(goals.size() + i), goals_.goal({parts.tracked[i]})});
  *to = Config{};
  to->top = &f;
  if (literal >= 0) {
    Labels labels;
    for (const Case& c : cases)
      if (constraints_.scalars.literals3(c.goal) >> literal & 1) labels.push_back(c.label);
    if (!levels_.is_alive(f, labels)) return false;
    to->lex = Lex::Literal;
    to->state = literal;
    to->chars = 1;
    to->labels = levels_.labels(labels);
    return true;
  }
  if (type == Type::Object || type == Type::Array) {
    to->top = open_container(from, type, vital, cases, alive, arena);
    return true;
  }
  const std::array key{f.due, static_cast<Id>(type), vital};
  auto found = opened_.find(std::span<const Id>(key));
  if (found == opened_.end())
    found =
        opened_
            .emplace(std::vector<Id>(key.begin(), key.end()),
                     type == Type::String ? open_string(cases, alive) : open_number(cases, alive))
            .first;
  return begin_scalar(scalar = {found->second.state, found->second.spec, !parts.tracked.empty()});
}

Stepper::Opened Stepper::open_string(const Cases& cases, std::size_t alive) {
  std::vector<Labelled> list;
  for (std::size_t i = 0; i < cases.size(); ++i)
    for (const StringPiece& p : std::vector<StringPiece>(
             constraints_.scalars.string_set(constraints_.scalars.strings(cases[i].goal)).pieces))
      list.push_back({p.lang, p.lo, p.hi, cases[i].label, i >= alive});
  Opened out{0, 0};
  out.state = texts_.start(list, options_.spelling, &out.spec);
  return out;
}

// Labels are positions in the list, so that equal sets of numbers share one automaton.
Stepper::Opened Stepper::open_number(const Cases& cases, std::size_t alive) {
  std::vector<NumberComponent> list;
  std::vector<Id> labels;
  const auto add = [&](Id goal, Id label) {
    for (Id p : std::vector<Id>(constraints_.scalars.numbers(goal))) list.push_back({p, label});
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (i < alive) {
      labels.push_back(cases[i].label);
      add(cases[i].goal, static_cast<Id>(i));
    }
    // Adds the literal intersected with each goal: within the goal's bounds it may allow exponents
    // that it does not allow alone.
    for (std::size_t j = 0; i >= alive && j < alive; ++j)
      add(goals_.conj(cases[j].goal, cases[i].goal),
          Numbers::kTracked + static_cast<Id>(i - alive));
  }
  return {numbers_.start(list, options_.spelling), levels_.labels(labels)};
}

// The distinct shapes of the cases become the alternatives of the child frame.
const Frame* Stepper::open_container(const Config& from, Type type, Id vital, const Cases& cases,
                                     std::size_t alive, Arena& arena) {
  const Frame& f = *from.top;
  const Parts& parts = levels_.parts(f.due, type);
  Frame child;
  child.arena = &arena;
  child.parent = &f;
  child.depth = f.depth + 1;
  child.kind = type == Type::Object ? Kind::Object : Kind::Array;
  child.phase = Phase::First;
  child.mark = child.begun = from.text;
  if (options_.schema_order)
    child.order = f.kind == Kind::Root     ? f.order
                  : f.kind == Kind::Object ? orders_.of_member(f.order, f.key)
                                           : orders_.of_item(f.order, f.count);
  const auto open = [&](bool tells) {
    const std::vector<Id> key{f.due, static_cast<Id>(type), vital, child.order, tells};
    const auto found = children_.find(key);
    if (found != children_.end()) {
      child.level = found->second;
    } else {
      std::vector<Alternative> alternatives;
      for (std::size_t i = 0; i < cases.size(); ++i) {
        const auto [label, met] = cases[i];
        const Id goal =
            tells && i < alive
                ? goals_.conj(met,
                              goals_.negate(parts.list[static_cast<std::size_t>(label)].barred))
                : met;
        const Id shape =
            type == Type::Object ? constraints_.objects.of(goal) : constraints_.arrays.of(goal);
        if (shape != kNever)
          levels_.add(&alternatives, {shape, levels_.labels(std::array{label}), i < alive});
      }
      std::sort(alternatives.begin(), alternatives.end());
      child.level = type == Type::Object ? levels_.of_object(alternatives, child.order)
                                         : levels_.of_array(std::move(alternatives));
      children_[key] = child.level;
    }
    if (child.kind == Kind::Object) child.names = &levels_.index(child.level);
    if (child.kind == Kind::Array) child.due = levels_.due_item(child.level, 0);
    child.records = f.records || levels_[child.level].records;
  };
  const Id barred = parts.list.size() == 1 ? parts.list[0].barred : kFalse;
  open(tells_ && barred != kFalse);
  if (barred != kFalse) child.barred = compared_.barred_in(barred, type, arena);
  child.waits = !tells_ && child.barred && compared_.may_wait(child);
  if (!tells_ && child.barred && !child.waits) open(true);
  return frames_.make({&f, child.phase, child.level, child.order}, child, arena);
}

// ---- a value ends -------------------------------------------------------------------------------

// Requires a container whose last value, if any, has ended. The resulting labels are those of the
// parent's due value: each alternative that is complete contributes the labels in its `parents`.
bool Stepper::close(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  const Level& level = levels_[f.level];
  Labels labels;
  bool alive = false;
  const Keys keys = f.kind == Kind::Object ? viability_.keys_of(f) : Keys{};
  for (std::int32_t i = 0; f.barred && i < f.barred->size; ++i) {
    const Value& v = constraints_.lexicon.values[f.barred->values[i]];
    if (static_cast<std::int32_t>(v.kind == Value::Array ? v.items.size() : v.members.size()) ==
        f.count)
      return false;
  }
  for (const Alternative& a : level.alternatives) {
    if (f.kind == Kind::Object ? !constraints_.members.done(a.shape, keys)
                               : !constraints_.arrays.done(a.shape, f.count))
      continue;
    for (Id parent : levels_.labels(a.parents)) labels.push_back(parent);
    alive = alive || a.vital;
  }
  if (!alive) return false;
  labels.sort_unique();
  return ended(*f.parent, type_of(f), labels, from.text, byte, to, arena);
}

bool Stepper::end_number(const Config& from, Config* to, Arena& arena) {
  Labels positions, labels;
  numbers_.accepted(from.state, &positions);
  if (positions.empty() || positions[0] >= Numbers::kTracked) return false;
  const Frame& f = *from.top;
  const Id width = static_cast<Id>(levels_.width(f));
  for (Id p : positions)
    labels.push_back(p < Numbers::kTracked ? levels_.labels(from.spec)[static_cast<std::size_t>(p)]
                                           : width + p - Numbers::kTracked);
  return ended(f, Type::Number, labels, from.text, -1, to, arena);
}

// `f` is the frame of the value, and `labels` must be sorted. The text is read again only if the
// value is compared with others, because then its identity matters.
bool Stepper::ended(const Frame& f, Type type, std::span<const Id> labels, const KeyText* text,
                    int last, Config* to, Arena& arena) {
  if (!levels_.is_alive(f, labels)) return false;
  if (f.kind == Kind::Root && f.parent) {
    const bool is_behind = type != Type::Number;
    *to = at_point(*f.parent, f.parent->level, is_behind, arena);
    return to->state != Texts::kDead && commit(to, is_behind, arena);
  }
  const bool compared = f.kind == Kind::Array && levels_[f.level].records && &f != forgets_;
  *to = Config{};
  to->text = text;
  const Id value = compared || f.barred ? compared_.value_of(text, f.mark, last) : -1;
  to->top = after_value(f, type, labels, compared ? value : -1, arena);
  if (f.barred) {
    Frame next = to->top->next(arena);
    compared_.narrow(f, value, &next, arena);
    to->top = arena.make(next);
  }
  return true;
}

bool Stepper::are_items_alike(const Frame& f, bool opening) {
  const Level& level = levels_[f.level];
  return f.kind == Kind::Array && level.records && !f.barred && !f.parent->records &&
         level.alternatives.size() == 1 &&
         constraints_.unique.has_room(level.alternatives[0].shape, f.count, 1,
                                      opening ? goals_.of_type(Type::String) : kTrue);
}

// The number of items from which on their number does not matter; kInf: it always matters.
std::int32_t Stepper::last_count(const Frame& f) {
  const auto found = last_counts_.find({f.level, f.order});
  if (found != last_counts_.end()) return found->second;
  std::int32_t out = 1;
  std::vector<Id> todo;
  for (const Alternative& a : levels_[f.level].alternatives) todo.push_back(a.shape);
  std::unordered_set<Id> known(todo.begin(), todo.end());
  while (!todo.empty()) {
    const Row& row = constraints_.arrays[todo.back()];  // its spans count from the due item
    todo.pop_back();
    out = std::max(out, row.hi == kInf ? row.lo : kInf);
    for (const Clause& c : row.clauses)
      for (Id d : c)
        if (known.insert(d).second) todo.push_back(d);
  }
  if (f.order >= 0)
    for (Id n : orders_.in_place(f.order))
      for (const Atom& a : goals_.atoms(n))
        if (a.op == Op::Items) out = std::max({out, a.lo, a.hi == kInf ? 0 : a.hi});
  return last_counts_[{f.level, f.order}] = out;
}

// The next level depends only on the due, the type, the labels and the compared value, and is
// memoised by them. The frame is made anew in `arena` and keeps everything else of `f`. Everything
// that may throw precedes the write to the memo.
const Frame* Stepper::after_value(const Frame& f, Type type, std::span<const Id> labels, Id value,
                                  Arena& arena) {
  Frame next = f.next(arena);
  next.due = -1;
  if (f.kind == Kind::Root) {
    next.phase = Phase::End;
    return frames_.make({&f, next.phase, -1, -1}, next, arena);
  }
  next.phase = Phase::After;
  if (f.kind == Kind::Array) ++next.count;
  const auto at_level = [&](Id level) {
    next.level = level;
    next.records = f.parent->records || levels_[level].records;
    if (f.kind == Kind::Array && !next.records && !next.barred)
      next.count = std::min(next.count, last_count(next));
    return frames_.make({&f, next.phase, level, -1}, next, arena);
  };
  Few<Id, 12> key{f.due, static_cast<Id>(type), value};
  for (Id label : labels) key.push_back(label);
  const auto found = after_.find(std::span<const Id>(key));
  if (found != after_.end()) return at_level(found->second);
  const Parts& parts = levels_.parts(f.due, type);
  const Level level = levels_[f.level];
  const auto survives = [&](std::size_t label) {
    return std::binary_search(labels.begin(), labels.end(), static_cast<Id>(label));
  };
  std::vector<Alternative> alternatives;
  for (std::size_t i = 0; i < parts.list.size(); ++i) {
    const Part& part = parts.list[i];
    if (part.base == kFalse || (part.vital && !survives(i))) continue;
    std::vector<Id> literals = constraints_.partial.undecided(part.open);
    for (Id& l : literals) l ^= !survives(static_cast<std::size_t>(parts.label(l)));
    Id shape = constraints_.partial.fold(constraints_.partial.decide(part.open, literals), false);
    if (value >= 0) shape = constraints_.unique.with_value(shape, value);
    if (shape != kNever)
      levels_.add(&alternatives, {shape, level.alternatives[i].parents, part.vital});
  }
  std::sort(alternatives.begin(), alternatives.end());
  const Id id = f.kind == Kind::Array
                    ? levels_.of_array(std::move(alternatives))
                    : levels_.intern({level.kind, level.table, std::move(alternatives)});
  after_[{key.begin(), key.end()}] = id;
  return at_level(id);
}

// Reads the text again from the outermost container that waits. Frames are allocated in `arena`,
// which must outlive the result. `tells_` is restored even if something throws.
Config Stepper::told(const Config& at, Arena& arena) {
  const Frame* first = nullptr;
  for (const Frame* f = at.top; f; f = f->parent)
    if (f->waits) first = f;
  if (!first) return at;
  std::string text;
  for (const KeyText* k = at.text; k != first->begun; k = k->before)
    text.push_back(static_cast<char>(k->byte));
  struct Telling {
    bool* tells;
    bool before;
    ~Telling() { *tells = before; }
  } telling{&tells_, std::exchange(tells_, true)};
  Config now, next;
  now.top = first->parent;
  now.text = first->begun;
  now.gap = 1;  // as after a comma in spaced text
  for (auto byte = text.rbegin(); byte != text.rend(); ++byte, now = next)
    if (!step(now, static_cast<std::uint8_t>(*byte), &next, arena)) return {};
  return now;
}

// ---- step ---------------------------------------------------------------------------------------

// `to` must not be `from`. The frames of the result are in `arena`, or shared with `from`.
bool Stepper::step(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  if (!advance(from, byte, to, arena)) return false;
  to->text = to->top->records ? arena.make(KeyText{from.text, byte}) : nullptr;
  return true;
}

bool Stepper::advance(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  switch (from.lex) {
    case Lex::Text: {
      if (byte == '"' && texts_.is_whole(from.state)) {
        Labels labels;
        texts_.accepted(from.state, from.spec, from.chars, &labels);
        return ended(*from.top, Type::String, labels, from.text, byte, to, arena);
      }
      const Id next = texts_.step(from.state, byte);
      if (next == Texts::kDead) return false;
      *to = from;
      to->state = next;
      to->chars += texts_.is_whole(next);
      return !texts_.spec(from.spec).bounded || texts_.is_live(next, from.spec, to->chars);
    }
    case Lex::Key: return keys_.step(from, byte, to, arena);
    case Lex::Number: {
      if ((byte >= '0' && byte <= '9') || byte == '.' || byte == 'e' || byte == 'E' ||
          byte == '-' || byte == '+') {
        const Id next = numbers_.step(from.state, byte);
        if (next == Numbers::kDead) return false;
        *to = from;
        to->state = next;
        if (from.key) to->key = arena.make(KeyText{from.key, byte});
        return true;
      }
      Config after;
      return end_number(from, &after, arena) && advance(after, byte, to, arena);
    }
    case Lex::Literal: {
      const std::string_view word = kLiterals[from.state];
      if (byte != static_cast<std::uint8_t>(word[static_cast<std::size_t>(from.chars)]))
        return false;
      if (from.chars + 1 == static_cast<std::int32_t>(word.size()))
        return ended(*from.top, from.state == 0 ? Type::Null : Type::Boolean,
                     levels_.labels(from.labels), from.text, byte, to, arena);
      *to = from;
      ++to->chars;
      return true;
    }
    case Lex::Raw: {
      const Id next = texts_.step(from.state, byte);
      if (next == Texts::kDead) {
        const Config value = opened(from, arena);
        return value.top && advance(value, byte, to, arena);
      }
      *to = from;
      to->state = next;
      return commit(to, true, arena);
    }
    case Lex::None: break;
  }
  return advance_between(from, byte, to, arena);
}

bool Stepper::advance_between(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  if (is_space(byte)) {
    const std::int32_t gap = gap_after(options_, f, from.gap, byte);
    if (gap < 0) return false;
    *to = from;
    to->gap = gap;
    return true;
  }
  if (!gap_is_done(options_, f, from.gap)) return false;
  const auto move = [&](Phase phase) {
    Frame next = f.next(arena);
    next.phase = phase;
    if (f.kind == Kind::Array) next.due = levels_.due_item(f.level, f.count);
    next.mark = from.text;
    *to = Config{};
    to->top = frames_.make({&f, phase, -1, -1}, next, arena);
    return true;
  };
  switch (f.phase) {
    case Phase::Value: return begin_value(from, byte, to, arena);
    case Phase::Colon: return byte == ':' && move(Phase::Value);
    case Phase::First:
      if (f.kind == Kind::Array)
        return byte == ']' ? close(from, byte, to, arena) : begin_value(from, byte, to, arena);
      if (byte == '}') return close(from, byte, to, arena);
      [[fallthrough]];
    case Phase::Key:
      if (byte != '"' || !viability_.any_may_come(f)) return false;
      *to = keys_.begin(f);
      return true;
    case Phase::After:
      if (byte == (f.kind == Kind::Object ? '}' : ']')) return close(from, byte, to, arena);
      if (byte != ',') return false;
      return f.kind == Kind::Object ? viability_.any_may_come(f) && move(Phase::Key)
                                    : viability_.may_have_more(f) && move(Phase::Value);
    case Phase::End: return false;
  }
  return false;
}

bool Stepper::can_stop(const Config& at) {
  if (at.finished) return true;
  if (!at.top) return false;
  if (format_) {
    Labels found;
    exits(at, &found);
    return std::any_of(found.begin(), found.end(),
                       [this](Id exit) { return format_->exit(exit).kind == FormatExit::End; });
  }
  if (at.lex == Lex::None) return at.top->phase == Phase::End;
  return at.lex == Lex::Number && at.top->kind == Kind::Root && numbers_.accepts_any(at.state);
}

}  // namespace guard
