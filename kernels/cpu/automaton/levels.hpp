// Levels: the alternatives of one open container, and the facts that depend on them alone.
//
// A level is the set of live alternatives of a container, as an item set is of an LR parser. Each
// alternative has the set of the parent's labels that it serves, so n parents and m children never
// make n x m alternatives. An object's level also has the table of the names in its schema. A due
// is the position of the next value: a level, with the class of its key or the item's number. The
// value is read for several labels at once (Parts): one for each vital alternative, with the goal
// under which it has a completion; and one for each tracked literal, which only reports whether the
// value meets it. Levels, tables, dues and label sets are interned, and facts are memoised. The
// isolate's lock must be held; references stay valid as long as the engine.
#pragma once
#include <deque>
#include <memory>

#include "automaton/frames.hpp"
#include "automaton/key_order.hpp"

namespace guard {

struct Alternative {
  Id shape;    // a Shape, or a Row
  Id parents;  // an IdSet: labels of the parent's due value
  bool vital;  // if false, it only reports whether the value meets the shape
  auto operator<=>(const Alternative&) const = default;
};
struct Level {
  Kind kind;
  Id table;  // a NameTable, for objects
  std::vector<Alternative> alternatives;
  bool records = false;  // whether this array's items are compared with each other
  bool operator==(const Level&) const = default;
  std::size_t hash() const {
    std::size_t h = mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(table));
    for (const Alternative& a : alternatives)
      h = mix(mix(h, static_cast<std::size_t>(a.shape)), static_cast<std::size_t>(a.parents));
    return h;
  }
};
struct NameTable {  // the names of one object, sorted by UTF-8 bytes
  std::vector<Id> names;
  std::vector<std::int32_t> ranks;  // in the schema's order; kInf: it has no rank
  bool operator==(const NameTable&) const = default;
  std::size_t hash() const { return mix(hash_of(names), hash_of(ranks)); }
};
struct ObjectInfo {
  const std::vector<KeyClass>* classes = nullptr;
  std::vector<std::int32_t> class_of;  // by name of the table; -1: no class
  std::vector<std::int32_t> text_classes;
  std::vector<std::uint64_t> asked_bits;  // one bit for each name: do some alternatives require it?
  std::vector<std::int32_t> asked;        // those names
  std::vector<std::int64_t> key_bytes;    // by name of the table, quotes included
  bool plain = true;                      // whether there is one alternative, which no key changes
  bool bare = true;                       // whether no count and no unnamed existential is required
  const KeyClass& cls(std::int32_t c) const { return (*classes)[static_cast<std::size_t>(c)]; }
  bool is_asked(std::int32_t name) const { return bit(asked_bits.data(), name); }
};
// Is it an object whose members are independent of each other, in number and in content?
inline bool is_even(const ObjectInfo& info, const Frame& f) {
  return f.kind == Kind::Object && !f.records && !f.barred && info.plain && info.bare;
}
struct Due {
  Kind kind;
  Id level;          // of a root: the front end's node
  std::int32_t cls;  // the key's class; for an array that records, the number of items
  bool operator==(const Due&) const = default;
  std::size_t hash() const {
    return mix(mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(level)),
               static_cast<std::size_t>(cls));
  }
};
struct Part {                   // one alternative's part in the value that is being written
  Id base = kFalse, open = -1;  // no value of the type: kFalse, and `open` is not set
  bool vital = true;
  Id barred = kFalse;  // values that the base does not exclude, because the item is compared while
                       // it is being written
  bool decides = false;  // whether the cost of the rest depends on each literal, so that negations
                         // are tracked, too
  Id apart = -1;  // then this literal is tracked, too: the value is none of the part's reserved
                  // singles
};
struct Parts {  // label i < list.size() is of list[i]; label list.size() + j is of tracked[j]
  std::vector<Part> list;
  std::vector<Id> tracked;  // literals
  std::vector<Id> singles;  // values that are tracked because the cost of the rest depends on them
  bool plain = false;       // whether every value leaves a completion
  std::vector<std::pair<Id, Id>>
      labels;  // (literal, label) of each tracked literal, sorted: there may be thousands
  Id label(Id literal) const;  // -1: it is not tracked
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
               Id order);  // order -1: keys may come in any order
  Id of_array(std::vector<Alternative> alternatives);
  // Adds an alternative, merged with one of the same shape.
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
  // Appends the undefined nodes that a mask before the due value needs, as far as known, once: if
  // they are not defined then, the mask throws Missing.
  void add_missing(Id due, std::vector<Id>* nodes);
  // Whether the due value's own `type` tells that it can't be of this type. False: look further.
  bool excludes(Id due, Type type);
  // The goal of a member's value, if nothing else of the object affects the value; else -1.
  Id value_goal(Id due);

  Id labels(std::span<const Id> ids) { return interned(&sets_, ids); }  // a set of labels, sorted
  const std::vector<Id>& labels(Id set) const { return sets_[set].ids; }
  // Does one of the labels belong to an alternative, rather than to a tracked literal? Requires
  // sorted labels.
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
  std::vector<char> looked_;     // by due: were its nodes asked for?
  std::vector<Id> value_goals_;  // by due; -2: unknown
};

}  // namespace guard
