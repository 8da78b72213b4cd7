// Goals: constraints on one value, as interned sets of signed schema nodes.
//
// A literal is a node and a sign (node * 2 + 1: not the node). A goal is a set of literals, all of
// which must hold. Nodes below kInternal are the front end's; the binding defines them once Missing
// has named them. Nodes from there on are the engine's own: types, constants, and disjunctions of
// goals. The isolate's lock must be held. A reference to literals stays valid as long as the
// engine, one to atoms until the next define().
#pragma once
#include <unordered_map>

#include "constraints/lexicon.hpp"
#include "support/flat_map.hpp"

namespace guard {

struct Constraints;
class Objects;

constexpr Id kTrue = 0, kFalse = 1;  // goals
constexpr Id kNever = 0, kAny = 1;   // shapes of objects and of arrays
constexpr Id kInternal = kOwnNodes;
template <class T>
using StableMemo = std::unordered_map<Id, T>;  // unlike Memo, whose references end at an insertion

enum class Told : std::uint8_t { No, Yes, Open };  // answers without a search; Open: unknown

class Goals {
 public:
  explicit Goals(Constraints& all);

  // Nodes; 0 is `true`, 1 is `false`.
  void define(Id node, std::vector<Atom> atoms);
  bool is_defined(Id node) const {
    return node < static_cast<Id>(nodes_.size()) && nodes_[static_cast<std::size_t>(node)].defined;
  }
  const std::vector<Atom>& atoms(Id node);  // throws Missing
  const std::vector<Atom>& known_atoms(Id node) const {
    return nodes_[static_cast<std::size_t>(node)].atoms;
  }  // requires is_defined
  struct Internal {
    std::int32_t types = 0;  // the bits of Op::Type,
    std::vector<Id> values;  // or constants, sorted,
    std::vector<Id> any_of;  // or goals
    bool operator==(const Internal&) const = default;
    std::size_t hash() const {
      return mix(mix(hash_of(any_of), hash_of(values)), static_cast<std::size_t>(types));
    }
  };
  const Internal& internal(Id node) const {
    return internals_[node - kInternal];
  }  // requires a node of our own

  Id goal_of(Id node) { return goal({node << 1}); }
  Id goal(std::vector<Id> literals);
  Id conj(Id a, Id b);
  Id negate(Id goal);
  Id any_goal(std::vector<Id> goals);
  Id among(std::vector<Id> values) {
    return values.empty() ? kFalse : goal({constants(std::move(values)) << 1});
  }
  Id of_type(Type type) {
    return goal({(kInternal + internals_.intern({1 << static_cast<int>(type), {}, {}})) << 1});
  }
  Id constant(Id value) { return constants({value}); }  // a node
  const std::vector<Id>& literals(Id goal) const { return goals_[goal].ids; }
  const std::vector<Id>& values_in(Id among) const;  // requires a goal of among(), or kFalse

  // Sets the node of a limit that has none. For a limit on languages, prefers a schema with a
  // language among those that apply in place.
  void blame(Limit* limit, Id node);
  void need(
      // throws Missing if any of their nodes is not defined
      const std::vector<Id>& goals);
  // A search for undefined nodes that a mask needs before a value of these nodes: a token may open
  // an array, an object in it, and spell a name. lacking() returns the next ones; once those are
  // defined, it continues from there. Empty: all are defined.
  struct Ahead {
    explicit Ahead(const std::vector<Id>& nodes) {
      for (Id node : nodes) todo.push_back({node, kDeepest});
    }
    static constexpr int kDeepest =
        2;  // an array's items and their members; 1: members; 0: required ones
    std::vector<std::pair<Id, int>> todo;
    FlatMap<Id, int, IdHash> seen;
  };
  std::vector<Id> lacking(Ahead* ahead) const;

  // Answers from the schema's own keywords, without a search.
  bool excludes(Id goal, std::int32_t bits)
      const;  // whether one of its nodes has a `type` without any of these bits
  const std::vector<Id>* listed(
      Id literal) const;  // the values that its `enum` or `const` lists; null: it has none
  bool are_apart(const std::vector<Id>& values, Id literal) const;
  Told told(Id literal, Id value,
            int depth) const;      // whether the value meets it, from constants and types alone
  Told has_listed(Id goal) const;  // whether it has a value, from the values that it lists

  // The formula of a literal in an algebra of one JSON type (algebra.hpp).
  template <class Algebra>
  Id walk(const Algebra& algebra, Memo<Id>* memo, Id literal);

  std::size_t size() const { return goals_.size(); }
  std::size_t nbytes() const { return goals_.size() * 80 + nodes_.size() * 200; }

 private:
  Id constants(std::vector<Id> values) {
    return kInternal + internals_.intern({0, std::move(values), {}});
  }
  struct Node {
    bool defined = false;
    std::vector<Atom> atoms;
  };
  Lexicon& lexicon_;
  const Limits& limits_;
  int& depth_;
  const Objects& objects_;
  std::deque<Node> nodes_;
  Interner<Internal> internals_;
  Interner<IdSet> goals_;
  Memo<Id> negated_;
  PairMemo<Id> conj_;
};

}  // namespace guard
