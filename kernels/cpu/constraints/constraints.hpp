// Constraints: which values satisfy one compiled schema. Goals, what each of them requires of every
// JSON type, and queries about them.
//
// The parts are mutually recursive: a goal has a value if its objects have members whose goals have
// values, and so on. Each part's members name the other parts that it uses. They are best read in
// this order:
// - goals: sets of signed schema nodes
// - scalars: null, booleans, strings, numbers
// - key_sets: sets and classes of keys
// - objects: shapes of objects
// - members: whether an object can still be completed
// - arrays: rows, the shapes of arrays
// - unique: arrays whose items are compared
// - partial: a shape or a row while a value is being written
// - inhabitance: whether a goal has a value
// - costs: the fewest bytes of a goal's values
// - values: a goal's values, listed
//
// The theory was tested against a slow reference in Python; see docs/explanation/engine.md. The
// isolate's lock must be held for everything here. The parts live as long as their Constraints,
// which the engine owns; the lexicon outlives both.
#pragma once
#include "constraints/array.hpp"
#include "constraints/enumerate_values.hpp"
#include "constraints/inhabitance.hpp"
#include "constraints/min_cost.hpp"
#include "constraints/object_viability.hpp"
#include "constraints/partial_value.hpp"
#include "constraints/scalars.hpp"
#include "constraints/unique_items.hpp"

namespace guard {

struct Constraints {
  Constraints(Lexicon& in, Spelling how, const Limits& most, std::int32_t gap_bytes)
      : lexicon(in), spelling(how), limits(most), gap(gap_bytes) {}
  Constraints(const Constraints&) = delete;  // its parts refer to each other

  Lexicon& lexicon;
  const Spelling spelling;
  const Limits limits;
  const std::int32_t gap;  // bytes of white space that must follow `:` and `,`
  int depth = 0;           // depth of the present recursion

  Goals goals{*this};
  Scalars scalars{*this};
  KeySets key_sets{*this};
  Objects objects{*this};
  ObjectViability members{*this};
  Arrays arrays{*this};
  UniqueItems unique{*this};
  PartialValues partial{*this};
  Inhabitance inhabitance{*this};
  MinCosts costs{*this};
  Values values{*this};

  Id conjunction(const std::vector<Id>& shapes, bool array) {
    return array ? arrays.conjunction(shapes) : objects.tidy(objects.conjunction(shapes));
  }
  [[nodiscard]] Clock::Running start_clock() const {
    return {limits.seconds, nullptr, limits.states, limits.memory, kernel_clock.watch()};
  }
  std::size_t nbytes() const {
    return goals.nbytes() + objects.nbytes() + arrays.nbytes() + partial.nbytes();
  }
  std::size_t size() const { return goals.size() + objects.size() + arrays.size(); }
};

}  // namespace guard
