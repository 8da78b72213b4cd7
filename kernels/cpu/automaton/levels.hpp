// Levels: the alternatives of one open container, and what follows from them alone.
//
// A level is the set of the live alternatives inside of a value, each with the set of the parent's
// cases that it serves, so that n parents never multiply m children. Of an object it also has the
// table of the names that it speaks of. A due is the place of a value: a level, with the class of
// its key or the item's number. A value that is due is read in several cases at once (Parts): one
// for each vital alternative, the goal under which it has a completion; and one for each tracked
// literal, which only tells whether the value meets it. Levels, tables, dues and label sets are
// interned; what is known of each is computed once. Guarded by the isolate's lock; references stay
// valid as long as the engine.
#pragma once
#include <deque>
#include <memory>

#include "automaton/frames.hpp"
#include "automaton/key_order.hpp"

namespace guard {

struct Alternative {
  Id shape;    // a Shape, or a Row
  Id parents;  // an IdSet: labels of the parent's due value
  bool vital;  // else it only tells whether the value meets the shape
  auto operator<=>(const Alternative&) const = default;
};
struct Level {
  Kind kind;
  Id table;  // a NameTable, for objects
  std::vector<Alternative> alternatives;
  bool records = false;  // are the items of this array compared with each other?
  bool operator==(const Level&) const = default;
  std::size_t hash() const {
    std::size_t h = mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(table));
    for (const Alternative& a : alternatives)
      h = mix(mix(h, static_cast<std::size_t>(a.shape)), static_cast<std::size_t>(a.parents));
    return h;
  }
};
struct NameTable {  // of one object: sorted by UTF-8 bytes
  std::vector<Id> names;
  std::vector<std::int32_t> ranks;  // in the schema's order; kInf: none
  bool operator==(const NameTable&) const = default;
  std::size_t hash() const { return mix(hash_of(names), hash_of(ranks)); }
};
struct ObjectInfo {
  const std::vector<KeyClass>* classes = nullptr;
  std::vector<std::int32_t> class_of;  // by name of the table; -1: no class
  std::vector<std::int32_t> text_classes;
  std::vector<char> is_asked;           // by name of the table: somewhere it must come
  std::vector<std::int32_t> asked;      // those names
  std::vector<std::int64_t> key_bytes;  // by name of the table: with its quotes
  bool plain = true;                    // one alternative, which no key changes
  bool bare = true;  // nothing asks for a number of members, or for some member of any name
  const KeyClass& cls(std::int32_t c) const { return (*classes)[static_cast<std::size_t>(c)]; }
};
// Is it an object whose members don't hang on each other, in number or in what they are?
inline bool is_even(const ObjectInfo& info, const Frame& f) {
  return f.kind == Kind::Object && !f.records && !f.barred && info.plain && info.bare;
}
struct Due {
  Kind kind;
  Id level;          // of a root: the front end's node
  std::int32_t cls;  // of a key; of an array that records: how many items were written
  bool operator==(const Due&) const = default;
  std::size_t hash() const {
    return mix(mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(level)),
               static_cast<std::size_t>(cls));
  }
};
struct Part {  // of one alternative, while a value is being written
  Id base = kFalse, open = -1;
  bool vital = true;
  Id barred = kFalse;    // what the base should exclude, too, and does not: the item is compared
                         // while it is written
  bool decides = false;  // does the cost of the rest hang on each literal? Then the negations are
                         // tracked, too,
  Id apart = -1;         // and one more: the value is none of the singles that the part reserves
};
struct Parts {  // label i < list.size() is of list[i]; label list.size() + j is of tracked[j]
  std::vector<Part> list;
  std::vector<Id> tracked;  // literals
  std::vector<Id> singles;  // values that are tracked for what the rest will cost behind them
  bool plain = false;       // whatever is written, a completion remains
  std::vector<std::pair<Id, Id>> labels;  // of each tracked literal, sorted: there may be thousands
  Id label(Id literal) const;             // -1: it is not tracked
  bool tracks(Id literal) const { return label(literal) >= 0; }
};

class Levels {
 public:
  Levels(Constraints& constraints, KeyOrder& orders, const Options& options)
      : constraints_(constraints), goals_(constraints.goals), orders_(orders), options_(options) {
    sets_.intern({});
  }

  const Level& operator[](Id level) const { return levels_[level]; }
  Id intern(Level level) { return levels_.intern(std::move(level)); }
  Id of_object(const std::vector<Alternative>& alternatives,
               Id order);  // order -1: keys come in any
  Id of_array(std::vector<Alternative> alternatives);
  // Alternatives that are no longer told apart become one.
  void add(std::vector<Alternative>* list, const Alternative& alternative);

  const NameTable& names(Id level) const { return names_[levels_[level].table]; }  // of an object
  const NamesIndex& index(Id level);                                               // of an object
  std::int32_t rank(Id level, std::int32_t name) const {
    return names(level).ranks[static_cast<std::size_t>(name)];
  }
  const ObjectInfo& info(Id level);  // of an object. Throws Missing

  Id due_root(Id node) { return dues_.intern({Kind::Root, node, 0}); }
  Id due_member(Id level, std::int32_t cls) { return dues_.intern({Kind::Object, level, cls}); }
  Id due_item(Id level, std::int32_t at) {
    return dues_.intern({Kind::Array, level, levels_[level].records ? at : 0});
  }
  const Parts& parts(Id due, Type type);  // throws Missing, and Limit where there are too many
  const Parts* known_parts(Id due, Type type) const { return parts_.find(slot(due, type)); }
  // Nodes without which no mask before the value that is due can be made, as far as that is known;
  // none: all are there.
  void add_missing(Id due, std::vector<Id>* nodes);
  // What the values behind an object's key have in common: their goal, where nothing else of the
  // object decides how such a value may go; -1: something does.
  Id value_goal(Id due);

  Id labels(std::span<const Id> ids) { return interned(&sets_, ids); }  // a set of labels, sorted
  const std::vector<Id>& labels(Id set) const { return sets_[set].ids; }
  // Does one of the labels, which are sorted, belong to an alternative, and not only to a tracked
  // literal?
  bool is_alive(const Frame& f, std::span<const Id> labels) const {
    return !labels.empty() && static_cast<std::size_t>(labels[0]) < width(f);
  }
  std::size_t width(const Frame& f) const {
    return f.kind == Kind::Root ? 1 : levels_[f.level].alternatives.size();
  }  // alternatives of the due value

  std::size_t size() const { return levels_.size(); }
  std::size_t nbytes() const {
    return levels_.size() * 128 + infos_.size() * 256 + parts_.size() * 160 + sets_.size() * 64 +
           names_.size() * 256;
  }

 private:
  static Id slot(Id due, Type type) { return due * kTypes + static_cast<Id>(type); }
  Constraints& constraints_;
  Goals& goals_;
  KeyOrder& orders_;
  const Options& options_;
  Interner<IdSet> sets_;
  Interner<Level> levels_;
  Interner<NameTable> names_;
  Interner<Due> dues_;
  std::deque<std::unique_ptr<NamesIndex>> indices_;  // by table
  ById<ObjectInfo> infos_;
  ById<Parts> parts_;            // by slot
  std::vector<char> looked_;     // by due: is nothing missing?
  std::vector<Id> value_goals_;  // by due; -2: not known
};

}  // namespace guard
