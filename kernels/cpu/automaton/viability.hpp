// Viability: what may come next in a frame such that a completion remains.
//
// For a due value that is a goal for each type and alternative, for an object the keys, for an
// array whether another item may come. What was found lies in the frame's cache. Keys are looked
// into one by one, when they are asked for: objects have thousands. Throws Missing and Limit; a
// call that ends early leaves nothing half done. Guarded by the isolate's lock.
#pragma once
#include <string>
#include <unordered_set>

#include "automaton/levels.hpp"

namespace guard {

class Viability {
 public:
  Viability(Constraints& constraints, Levels& levels, const Options& options)
      : constraints_(constraints), goals_(constraints.goals), levels_(levels), options_(options) {}

  // A list: for each alternative the goal under which a value of this type has a completion,
  // kFalse: none.
  Id vital(const Frame& f, Type type);
  const std::vector<Id>& list(Id vital) const { return lists_[vital].ids; }
  // The goal, for numbers such that what decides between literals is spelled so that each of them
  // or its negation can read it: not every set of numbers has exponents
  // (docs/reference/keywords.md).
  Id legible(const Frame& f, Id goal, const Parts& parts, Type type);

  // Of an object.
  Writable& writable(const Frame& f);
  bool may_come(const Frame& f, std::int32_t name);  // this name of the table
  bool any_may_come(const Frame& f);                 // some key
  Keys keys_of(const Frame& f);                      // holds references to the frame

  // In the schema's order: is it too late for this name of the table?
  bool is_past(const Frame& f, std::int32_t name) const {
    if (!options_.schema_order) return false;
    const std::int32_t rank = levels_.rank(f.level, name);
    return rank != kInf && rank <= f.rank;
  }

  bool may_have_more(const Frame& f);  // of an array: another item

  // While it lives the undeclared keys are noted of which somebody asks whether they were written:
  // what is found is the same for all others.
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
  bool is_viable(const Frame& f, Id residual);  // once the due value has ended
  Id viable_after(
      const Frame& f, Id residual,
      Id base);  // the goal under which the due value, which meets the base, leaves it viable
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
