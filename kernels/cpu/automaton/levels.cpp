#include "automaton/levels.hpp"

#include <algorithm>
#include <bit>
#include <unordered_set>

namespace guard {

namespace {
std::vector<Id> shapes_of(const std::vector<Alternative>& alternatives) {
  std::vector<Id> out;
  for (const Alternative& a : alternatives) out.push_back(a.shape);
  sort_unique(&out);
  return out;
}
}  // namespace

Id Parts::label(Id literal) const {
  const auto at = std::lower_bound(labels.begin(), labels.end(), std::pair{literal, Id{-1}});
  return at != labels.end() && at->first == literal ? at->second : -1;
}

const NamesIndex& Levels::index(Id level) {
  const Id table = levels_[level].table;
  if (indices_.size() <= static_cast<std::size_t>(table))
    indices_.resize(static_cast<std::size_t>(table) + 1);
  auto& slot = indices_[static_cast<std::size_t>(table)];
  if (!slot) {
    slot = std::make_unique<NamesIndex>();
    const NameTable& names = names_[table];
    for (std::size_t i = 0; i < names.names.size(); ++i) {
      slot->texts.push_back(constraints_.lexicon.names[names.names[i]].text);
      slot->at[names.names[i]] = static_cast<std::int32_t>(i);
    }
  }
  return *slot;
}

Id Levels::of_object(const std::vector<Alternative>& alternatives, Id order) {
  const std::vector<Id> shapes = shapes_of(alternatives);
  std::unordered_map<Id, std::int32_t> ranks;
  for (const KeyClass& c : constraints_.objects.classes(shapes))
    if (c.name >= 0) ranks.emplace(c.name, kInf);
  if (order >= 0) {
    const std::vector<Id>& names = orders_.names(order);
    for (std::size_t i = 0; i < names.size(); ++i) ranks[names[i]] = static_cast<std::int32_t>(i);
  }
  NameTable table;
  for (const auto& [name, _] : ranks) table.names.push_back(name);
  const auto& texts = constraints_.lexicon.names;
  std::sort(table.names.begin(), table.names.end(),
            [&](Id a, Id b) { return texts[a].text < texts[b].text; });
  for (Id name : table.names) table.ranks.push_back(ranks[name]);
  return levels_.intern({Kind::Object, names_.intern(std::move(table)), alternatives});
}

Id Levels::of_array(std::vector<Alternative> alternatives) {
  const bool records =
      std::any_of(alternatives.begin(), alternatives.end(),
                  [this](const Alternative& a) { return constraints_.unique.compares(a.shape); });
  return levels_.intern({Kind::Array, -1, std::move(alternatives), records});
}

void Levels::add(std::vector<Alternative>* list, const Alternative& a) {
  for (Alternative& known : *list) {
    if (known.shape != a.shape) continue;
    std::vector<Id> parents = labels(known.parents);
    parents.insert(parents.end(), labels(a.parents).begin(), labels(a.parents).end());
    sort_unique(&parents);
    known.parents = labels(parents);
    known.vital = known.vital || a.vital;
    return;
  }
  list->push_back(a);
}

// Computed completely before it is stored, since most steps may throw Missing or Limit. `classes`
// points into the constraints' own table, which outlives the level.
const ObjectInfo& Levels::info(Id id) {
  if (const ObjectInfo* found = infos_.find(id)) return *found;
  const Level level = levels_[id];
  ObjectInfo out;
  const std::vector<Id> shapes = shapes_of(level.alternatives);
  out.classes = &constraints_.objects.classes(shapes);
  const NamesIndex& names = index(id);
  out.class_of.assign(names.texts.size(), -1);
  for (std::size_t c = 0; c < out.classes->size(); ++c) {
    const KeyClass& cls = out.cls(static_cast<std::int32_t>(c));
    if (cls.name < 0) {
      out.text_classes.push_back(static_cast<std::int32_t>(c));
    } else {
      const auto at = names.at.find(cls.name);
      if (at != names.at.end())
        out.class_of[static_cast<std::size_t>(at->second)] = static_cast<std::int32_t>(c);
    }
  }
  for (std::size_t i = 0; i < out.class_of.size(); ++i)
    for (std::int32_t c : out.text_classes)
      if (out.class_of[i] < 0 &&
          constraints_.lexicon.in_lang(out.cls(c).lang, names_[level.table].names[i]))
        out.class_of[i] = c;
  out.asked_bits.assign(words_for(names.texts.size()), 0);
  const auto ask = [&out](std::int32_t name) {
    out.asked_bits[static_cast<std::size_t>(name) >> 6] |= std::uint64_t{1} << (name & 63);
  };
  std::vector<Id> todo = shapes;
  std::unordered_set<Id> known(todo.begin(), todo.end());
  while (!todo.empty()) {
    const Shape& s = constraints_.objects[todo.back()];
    todo.pop_back();
    out.bare = out.bare && s.lo == 0;
    for (const Rule& r : s.some) {
      const KeySet& k = constraints_.key_sets[r.keys];
      const auto at = k.kind == KeySet::One ? names.at.find(k.id) : names.at.end();
      if (at != names.at.end()) ask(at->second);
      out.bare = out.bare && at != names.at.end();
    }
    for (const Clause& c : s.clauses)
      for (Id d : c)
        if (known.insert(d).second) todo.push_back(d);
  }
  for (std::size_t i = 0; i < names.texts.size(); ++i) {
    if (const auto name = static_cast<std::int32_t>(i); out.is_asked(name))
      out.asked.push_back(name);
    out.key_bytes.push_back(2 + spelled_bytes(names.texts[i]));
  }
  std::vector<Id> wanted;
  for (const Alternative& a : level.alternatives)
    for (const KeyClass& cls : *out.classes)
      wanted.push_back(constraints_.objects.base_of(constraints_.objects[a.shape], cls));
  goals_.need(wanted);
  out.plain =
      level.alternatives.size() == 1 && constraints_.objects.is_plain(level.alternatives[0].shape);
  if (out.plain && constraints_.objects[level.alternatives[0].shape].lo > 0) {
    const Shape& s = constraints_.objects[level.alternatives[0].shape];
    out.plain = std::any_of(out.text_classes.begin(), out.text_classes.end(), [&](std::int32_t c) {
      return constraints_.inhabitance.inhabited(constraints_.objects.base_of(s, out.cls(c)));
    });
  }
  return infos_.put(id, std::move(out));
}

void Levels::add_missing(Id due, std::vector<Id>* out) {
  if (looked_.size() <= static_cast<std::size_t>(due)) looked_.resize(dues_.size());
  if (looked_[static_cast<std::size_t>(due)]) return;
  looked_[static_cast<std::size_t>(due)] = 1;
  const Due d = dues_[due];
  std::vector<Id> nodes;
  if (d.kind == Kind::Root) {
    nodes.push_back(d.level);
  } else {
    for (const Alternative& a : levels_[d.level].alternatives) {
      if (!a.vital) continue;
      const Id goal = d.kind == Kind::Object
                          ? constraints_.objects.base_of(constraints_.objects[a.shape],
                                                         info(d.level).cls(d.cls))
                          : constraints_.arrays.base_of(constraints_.arrays[a.shape], 0);
      for (Id literal : goals_.literals(goal)) nodes.push_back(literal >> 1);
    }
  }
  Goals::Ahead ahead(nodes);
  if (!goals_.lacking(&ahead).empty()) out->insert(out->end(), nodes.begin(), nodes.end());
}

const Parts& Levels::parts(Id due, Type type) {
  const Id slot = this->slot(due, type);
  if (const Parts* found = parts_.find(slot)) return *found;
  const Due d = dues_[due];
  Parts out;
  if (d.kind == Kind::Root) {
    const Id root = goals_.goal_of(d.level);
    out.list.push_back({constraints_.inhabitance.inhabited(root, type) ? root : kFalse,
                        constraints_.partial.open_both({}, false), true});
    out.plain = true;
    return parts_.put(slot, std::move(out));
  }
  const Level& level = levels_[d.level];
  out.plain = d.kind == Kind::Object && info(d.level).plain;
  std::unordered_set<Id> known;
  const auto track = [&](Id literal) {
    if (known.insert(literal).second) out.tracked.push_back(literal);
  };
  for (const Alternative& a : level.alternatives) {
    Part part;
    part.vital = a.vital;
    if (d.kind == Kind::Object) {
      part.base = a.vital ? constraints_.objects.base_of(constraints_.objects[a.shape],
                                                         info(d.level).cls(d.cls))
                          : kTrue;
    } else {
      part.base = a.vital ? constraints_.unique.item_goal(a.shape) : kTrue;
      const Row& row = constraints_.arrays[a.shape];
      if (level.alternatives.size() == 1 && (type == Type::Array || type == Type::Object) &&
          row.unique > kFalse) {
        const Id bare = goals_.conj(constraints_.arrays.base_of(row, 0), goals_.of_type(type));
        goals_.need({bare});
        if (constraints_.values.has_values(bare,
                                           std::bit_ceil(goals_.values_in(row.unique).size() + 1)))
          part.base = bare, part.barred = row.unique;
      }
    }
    goals_.need({part.base});
    if (!constraints_.inhabitance.inhabited(part.base, type)) part.base = kFalse;
    if (part.base != kFalse) {
      part.open = d.kind == Kind::Object
                      ? constraints_.partial.open_member(a.shape, info(d.level).cls(d.cls), a.vital)
                      : constraints_.partial.open_item(a.shape, a.vital);
      part.open = constraints_.partial.settled(part.open, type);
      if (constraints_.partial.is_never(part.open)) part.base = kFalse;
    }
    if (part.base == kFalse) {
      out.list.push_back({.base = kFalse, .vital = a.vital});
      continue;
    }
    for (Id l : constraints_.partial.undecided(part.open)) track(l);
    if (a.vital && level.records) {
      const Id base = goals_.conj(part.base, goals_.of_type(type));
      part.decides = constraints_.costs.may_get_dearer(a.shape);
      std::vector<Id> singles = constraints_.costs.reserved(a.shape, d.cls);
      std::erase_if(singles, [&](Id v) {
        return !constraints_.inhabitance.inhabited(goals_.conj(base, goals_.among({v})));
      });
      if (!singles.empty()) part.apart = goals_.literals(goals_.negate(goals_.among(singles)))[0];
      if (constraints_.unique.repeats(a.shape)) {
        const Id goal =
            goals_.conj(base, constraints_.partial.vital(part.open, base, [&](Id residual) {
              return constraints_.unique.viable_after(residual, d.cls + 1, base);
            }));
        const std::vector<Id> single = constraints_.unique.single_values(goal);
        singles.insert(singles.end(), single.begin(), single.end());
      }
      out.singles.insert(out.singles.end(), singles.begin(), singles.end());
    }
    out.list.push_back(part);
  }
  sort_unique(&out.singles);
  for (Id v : out.singles) track(goals_.literals(goals_.among({v}))[0]);
  for (const Part& part : out.list) {
    if (part.apart >= 0) track(part.apart);
    if (part.decides)
      for (Id l : constraints_.partial.undecided(part.open)) track(l ^ 1);
  }
  for (Id l : out.tracked)
    out.labels.push_back({l, static_cast<Id>(out.list.size() + out.labels.size())});
  std::sort(out.labels.begin(), out.labels.end());
  if (out.tracked.size() > options_.limits.alternatives)
    throw Limit{"alternatives", -1, "a value decides between too many alternatives"};
  return parts_.put(slot, std::move(out));
}

bool Levels::excludes(Id due, Type type) {
  if (dues_[due].kind != Kind::Object) return false;
  const Id goal = value_goal(due);
  return goal >= 0 && goals_.excludes(goal, bits_of(type));
}

Id Levels::value_goal(Id due) {
  if (value_goals_.size() <= static_cast<std::size_t>(due)) value_goals_.resize(dues_.size(), -2);
  if (const Id known = value_goals_[static_cast<std::size_t>(due)]; known != -2) return known;
  const Id level = dues_[due].level;
  const ObjectInfo& info = this->info(level);
  const Alternative& only = levels_[level].alternatives[0];
  const bool alone = info.plain && only.vital;
  return value_goals_[static_cast<std::size_t>(due)] =
             alone ? constraints_.objects.base_of(constraints_.objects[only.shape],
                                                  info.cls(dues_[due].cls))
                   : -1;
}

}  // namespace guard
