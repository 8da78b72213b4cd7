// Goals and what is asked about them, with nodes defined by hand.
#include <doctest/doctest.h>

#include "constraints/constraints.hpp"

using namespace guard;

namespace {

Atom atom(Op op) {
  return {.op = op, .number = {}, .nodes = {}, .names = {}, .langs = {}, .values = {}, .lists = {}};
}
Atom type(std::int32_t mask) {
  Atom out = atom(Op::Type);
  out.lo = mask;
  return out;
}

struct Schema {
  Clock::Running clock{10, nullptr, Clock::kStates, Clock::kNoMemory, nullptr};
  Lexicon lexicon;
  Constraints constraints{lexicon, Spelling::Canonical, Limits{}, 1};
  Id next = 2;
  Id node(std::vector<Atom> atoms) {
    constraints.goals.define(next, std::move(atoms));
    return next++;
  }
  Id goal(std::vector<Atom> atoms) { return constraints.goals.goal_of(node(std::move(atoms))); }
  Atom required(std::vector<std::string> names) {
    Atom out = atom(Op::Required);
    for (std::string& name : names) out.names.push_back(lexicon.name(std::move(name)));
    return out;
  }
  Atom properties(std::vector<std::pair<std::string, Id>> members) {
    Atom out = atom(Op::Properties);
    for (auto& [name, node] : members)
      out.names.push_back(lexicon.name(name)), out.nodes.push_back(node);
    return out;
  }
  Atom constant(std::string_view json) {
    Atom out = atom(Op::Const);
    out.values.push_back(lexicon.parse(json));
    return out;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Schema, "goals are sets of literals") {
  Goals& goals = constraints.goals;
  const Id a = goal({type(types::kString)}), b = goal({type(types::kNumber)});
  CHECK(goals.conj(a, b) == goals.conj(b, a));
  CHECK(goals.conj(a, goals.negate(a)) == kFalse);
  CHECK(goals.conj(a, kTrue) == a);
  CHECK(goals.negate(goals.negate(a)) == a);
  CHECK(goals.any_goal({a, kFalse}) == a);
}

TEST_CASE_FIXTURE(Schema, "a node that is not defined is missing") {
  const Id unknown = constraints.goals.goal_of(99);
  CHECK_THROWS_AS(constraints.inhabitance.inhabited(unknown), const Missing&);
}

TEST_CASE_FIXTURE(Schema, "a value has one type") {
  const Id both =
      constraints.goals.conj(goal({type(types::kString)}), goal({type(types::kNumber)}));
  CHECK_FALSE(constraints.inhabitance.inhabited(both));
  CHECK(constraints.inhabitance.inhabited(goal({type(types::kNull | types::kArray)}), Type::Array));
}

TEST_CASE_FIXTURE(Schema, "a shortest value is counted in bytes") {
  CHECK(constraints.costs.of(goal({type(types::kBoolean)})) == 4);
  CHECK(constraints.costs.of(goal({constant("\"a\\n\"")})) == 5);
  CHECK(constraints.costs.of(goal({type(types::kObject), required({"id"})})) == 9);  // {"id": 0}
  CHECK(constraints.costs.of(kFalse) == -1);
}

TEST_CASE_FIXTURE(Schema, "a required member that has no value empties the object") {
  const Id never = node({type(types::kString), constant("1")});
  const Id object = goal({type(types::kObject), required({"x"}), properties({{"x", never}})});
  CHECK_FALSE(constraints.inhabitance.inhabited(object));
  CHECK(
      constraints.inhabitance.inhabited(goal({type(types::kObject), properties({{"x", never}})})));
}

TEST_CASE_FIXTURE(Schema, "a schema that needs itself for ever has no value") {
  const Id self = next;
  constraints.goals.define(
      next++, {type(types::kObject), required({"next"}), properties({{"next", self}})});
  CHECK_FALSE(constraints.inhabitance.inhabited(constraints.goals.goal_of(self)));
}

TEST_CASE_FIXTURE(Schema, "a member that was written leaves a residual") {
  const Id text = node({type(types::kString)});
  const Id shape = constraints.objects.of(
      goal({type(types::kObject), required({"x"}), properties({{"x", text}})}));
  CHECK_FALSE(constraints.members.done(shape, {}));
  Keys keys;
  keys.count = 1;
  keys.is_seen = [this](Id name) { return name == lexicon.name("x"); };
  CHECK(constraints.members.done(shape, keys));
}

TEST_CASE_FIXTURE(Schema, "values are listed, the short ones first") {
  Atom list = atom(Op::Enum);
  for (const char* json : {"3", "1", "\"a\""}) list.values.push_back(lexicon.parse(json));
  const std::vector<Id> values = constraints.values.of(goal({list}), 10);
  CHECK(values.size() == 3);
  CHECK(constraints.values.has_values(goal({type(types::kInteger)}), 1000));
}

TEST_CASE_FIXTURE(Schema, "items that differ need as many values") {
  Atom items = atom(Op::Items);
  items.hi = kInf;
  items.nodes.push_back(node({type(types::kBoolean)}));
  const auto array = [&](std::int32_t n) {
    Atom count = atom(Op::Count);
    count.lo = n, count.hi = kInf;
    return goal({type(types::kArray), items, count, atom(Op::Unique)});
  };
  CHECK(constraints.inhabitance.inhabited(array(2)));
  CHECK_FALSE(constraints.inhabitance.inhabited(array(3)));
}
