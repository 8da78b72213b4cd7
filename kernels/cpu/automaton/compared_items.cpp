#include "automaton/compared_items.hpp"

#include <algorithm>

namespace guard {

Id ComparedItems::value_of(const KeyText* text, const KeyText* mark, int last) {
  std::string bytes;
  if (last >= 0) bytes.push_back(static_cast<char>(last));
  for (; text != mark; text = text->before) bytes.push_back(static_cast<char>(text->byte));
  // The list starts at the text's last byte, so the byte before the value comes last.
  bytes.pop_back();  // the bracket or comma
  std::reverse(bytes.begin(), bytes.end());
  return constraints_.lexicon.parse(bytes);
}

bool ComparedItems::may_wait(const Frame& f) {
  // May the level be told later, because every next member or item leaves a way to differ? True
  // only if this is certain: telling too early costs time, telling too late could lead to a dead
  // end.
  const std::vector<Alternative>& alternatives = levels_[f.level].alternatives;
  if (alternatives.size() != 1) return false;
  const Id shape = alternatives[0].shape;
  const std::size_t values = static_cast<std::size_t>(f.barred->size);
  if (f.kind == Kind::Array) {
    const Row row = constraints_.arrays[shape];
    if (constraints_.unique.compares(shape) || !row.some.empty() || !row.counts.empty() ||
        !row.clauses.empty())
      return false;
    // All items from `edge` on are alike. If each place up to it has a value and the array has no
    // maximum length, an array longer than all the values is always possible.
    std::int32_t edge = 0;
    for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
    bool endless = row.hi == kInf;
    for (std::int32_t i = 0; i <= edge && endless; ++i)
      endless = constraints_.inhabitance.inhabited(constraints_.arrays.base_of(row, i));
    // Otherwise, one more required item suffices that has more values than are barred.
    for (std::int32_t i = 1; !endless && i <= edge + 1 && f.count + i < row.lo; ++i)
      if (constraints_.values.has_values(constraints_.arrays.base_of(row, i), values + 1))
        return true;
    return endless;
  }
  const Shape s = constraints_.objects[shape];
  if (!s.clauses.empty() || std::any_of(s.some.begin(), s.some.end(), [&](const Rule& r) {
        return constraints_.key_sets[r.keys].kind != KeySet::One;
      }))
    return false;
  const std::vector<KeyClass>& classes = constraints_.objects.own_classes(shape);
  for (const KeyClass& cls : classes)
    if (cls.name < 0 && constraints_.inhabitance.inhabited(constraints_.objects.base_of(s, cls)))
      // An open object: of infinitely many undeclared keys, one is in none of the values.
      return s.hi == kInf && constraints_.lexicon.langs.is_endless(cls.lang);
  // A closed object: a required member that has more values than are barred must certainly remain
  // unwritten after the next step.
  std::vector<std::int32_t> roomy;
  std::int32_t first = kInf;
  for (const KeyClass& cls : classes) {
    const auto is_it = [&](const Rule& r) { return constraints_.key_sets[r.keys].id == cls.name; };
    if (cls.name < 0 || std::none_of(s.some.begin(), s.some.end(), is_it)) continue;
    const std::int32_t at = f.names->at.at(cls.name),
                       rank = options_.schema_order ? levels_.rank(f.level, at) : kInf;
    if (bit(f.seen, at)) continue;
    first = std::min(first, rank);
    if (constraints_.values.has_values(constraints_.objects.base_of(s, cls), values + 1))
      roomy.push_back(rank);
  }
  // One of them may be written next with an equal value; then another one must remain.
  return roomy.size() > 1 || (roomy.size() == 1 && roomy[0] > first);
}

const Barred* ComparedItems::barred_in(Id among, Type type, Arena& arena) {
  const std::vector<Id>& all = goals_.values_in(among);
  auto* ids = static_cast<Id*>(arena.allocate(sizeof(Id) * all.size()));
  std::int32_t n = 0;
  for (Id v : all)
    if (constraints_.lexicon.values[v].kind == (type == Type::Array ? Value::Array : Value::Object))
      ids[n++] = v;
  return n > 0 ? arena.make(Barred{n, ids}) : nullptr;
}

// The frame's level after all these values are told to it. The members or items so far must agree
// with all of them.
Id ComparedItems::with_barred(const Frame& f, Id id, const Barred& barred) {
  const Level level = levels_[id];
  std::vector<Id> values(static_cast<std::size_t>(barred.size));
  std::copy_n(barred.values, barred.size, values.begin());
  const Id differs = goals_.negate(goals_.among(std::move(values)));
  const bool array = f.kind == Kind::Array;
  Id rest = array ? constraints_.arrays.of(differs) : constraints_.objects.of(differs);
  const Value value = constraints_.lexicon.values[barred.values[0]];
  // The condition "differs from all values" is advanced by what was written so far, which equals
  // the first value's members or items, and those of all the others.
  for (std::int32_t i = 0; array && i < f.count; ++i)
    rest = constraints_.partial.residual(constraints_.partial.open_item(rest, false),
                                         value.items[static_cast<std::size_t>(i)]);
  for (const auto& [name, member] : value.members) {
    const auto at = f.names->at.find(name);
    // A member of the value that is not written yet is skipped.
    if (at == f.names->at.end() || !bit(f.seen, at->second)) continue;
    const std::vector<KeyClass>& classes = constraints_.objects.own_classes(rest);
    const auto cls = std::find_if(classes.begin(), classes.end(),
                                  [name = name](const KeyClass& c) { return c.name == name; });
    if (cls != classes.end())
      rest = constraints_.partial.residual(constraints_.partial.open_member(rest, *cls, false),
                                           member);
  }
  const Alternative& a = level.alternatives[0];
  return levels_.intern({level.kind,
                         level.table,
                         {{constraints_.conjunction({a.shape, rest}, array), a.parents, a.vital}},
                         level.records});
}

void ComparedItems::narrow(const Frame& f, Id value, Frame* next, Arena& arena) {
  auto* ids =
      static_cast<Id*>(arena.allocate(sizeof(Id) * static_cast<std::size_t>(f.barred->size)));
  std::int32_t n = 0;
  const Id key = f.kind == Kind::Object ? f.key : -1;
  for (std::int32_t i = 0; i < f.barred->size; ++i) {
    const Value& v = constraints_.lexicon.values[f.barred->values[i]];
    bool same;
    if (f.kind == Kind::Array) {
      // `f.count` items precede the one just written, so this is its index.
      same = static_cast<std::int32_t>(v.items.size()) > f.count &&
             v.items[static_cast<std::size_t>(f.count)] == value;
    } else {
      same = std::binary_search(v.members.begin(), v.members.end(), std::pair{key, value});
    }
    if (same) ids[n++] = f.barred->values[i];
  }
  next->barred = n > 0 ? arena.make(Barred{n, ids}) : nullptr;
  if (n == 0) return;
  if (!next->waits || may_wait(*next)) return;
  next->level = with_barred(*next, next->level, *next->barred);
  next->waits = false;
}

}  // namespace guard
