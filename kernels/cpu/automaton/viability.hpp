// Viability: the members, items and values that may come next in a frame such that a completion
// remains.
//
// The answer is, for a due value, a goal for each type and alternative; for an object, the keys;
// for an array, whether another item may come. Results are kept in the frame's cache. Keys are
// examined one by one, on demand, since objects may have thousands. Throws Missing and Limit, and
// then changes nothing. The isolate's lock must be held.
#pragma once
#include <string>
#include <unordered_set>

#include "automaton/levels.hpp"

namespace guard {

class Viability {
 public:
  Viability(Constraints& constraints, Levels& levels, const Options& options)
      : constraints_(constraints), goals_(constraints.goals), levels_(levels), options_(options) {}

  // The id of a list: for each alternative, the goal under which a value of this type has a
  // completion, or kFalse.
  Id vital(const Frame& f, Type type);
  const std::vector<Id>& list(Id vital) const { return lists_[vital].ids; }
  // The goal. For numbers, it is restricted to spellings that all literals to be decided, or their
  // negations, can read: not every set of numbers has exponents (docs/reference/keywords.md).
  Id legible(const Frame& f, Id goal, const Parts& parts, Type type);

  // Of an object.
  Writable& writable(const Frame& f);
  bool may_come(const Frame& f, std::int32_t name);  // this name of the table
  bool any_may_come(const Frame& f);                 // some key
  Keys keys_of(const Frame& f);  // the result refers to the frame, which must outlive it

  // Is it too late for this name of the table, by the schema's order?
  bool is_past(const Frame& f, std::int32_t name) const {
    if (!options_.schema_order) return false;
    const std::int32_t rank = levels_.rank(f.level, name);
    return rank != kInf && rank <= f.rank;
  }

  bool may_have_more(const Frame& f);  // may another item come? Requires an array

  // While it lives, records the undeclared keys that a computation asks about (whether they were
  // written): its result is the same for all others.
  class Asking {
   public:
    explicit Asking(Viability& of) : of_(of), outer_(of.asked_) { of.asked_ = &keys; }
    ~Asking() {
      of_.asked_ = outer_;
      if (outer_) outer_->merge(keys);
    }
    Asking(const Asking&) = delete;
    std::unordered_set<std::string> keys;

   private:
    Viability& of_;
    std::unordered_set<std::string>* outer_;
  };
  bool is_noted() const { return asked_ != nullptr; }
  void note(std::string_view key) {
    if (asked_) asked_->insert(std::string(key));
  }
  std::size_t nbytes() const { return (opened_[0].size() + opened_[1].size()) * 96; }

 private:
  bool is_viable(const Frame& f, Id residual);  // after the due value
  Id viable_after(
      const Frame& f, Id residual,
      Id base);  // the goal, within `base`, under which the due value leaves the residual viable
  template <class Search>
  Id decided(const Frame& f, Id open, Id base, const Search& search);
  bool may_write(const Frame& f, std::int32_t cls, std::int32_t name);
  bool class_may_come(const Frame& f, const Alternative& alternative, std::int32_t cls,
                      std::int32_t name, std::int32_t required);
  struct Opened {  // a lexeme at its start
    Id state, spec;
  };
  Opened open_keys(std::span<const Id> classes, bool every);
  Constraints& constraints_;
  Goals& goals_;
  Levels& levels_;
  const Options& options_;
  Interner<IdSet> lists_;      // see vital
  ListMap<Opened> opened_[2];  // see open_keys
  std::unordered_set<std::string>* asked_ = nullptr;
};

}  // namespace guard
