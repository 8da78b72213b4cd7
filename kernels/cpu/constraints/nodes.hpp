// Nodes: schema nodes as the front end lowers them: conjunctions of atoms, without dialects and
// pointers.
//
// The opcodes are those of support/opcodes.hpp. The binding has validated everything here; strings
// are UTF-8 without surrogates.
#pragma once
#include "lexers/json_number.hpp"

namespace guard {

enum class Type : std::uint8_t { Null, Boolean, Number, String, Array, Object };
constexpr int kTypes = 6;
// The bits of Op::Type that allow values of this type.
constexpr std::int32_t bits_of(Type type) {
  return type == Type::Number ? types::kNumber | types::kInteger | types::kIntegerText
                              : 1 << static_cast<int>(type);
}

constexpr Id kOwnNodes =
    1 << 28;  // nodes from this one on are the engine's own: constants and disjunctions of goals
// The first of the front end's nodes among the literals of a goal.
inline Id node_of(const std::vector<Id>& literals, Id otherwise = -1) {
  for (Id literal : literals)
    if (literal >> 1 > 1 && literal >> 1 < kOwnNodes) return literal >> 1;
  return otherwise;
}

inline bool applies_in_place(Op op) {
  return op == Op::Ref || op == Op::All || op == Op::Any || op == Op::One || op == Op::Not ||
         op == Op::If || op == Op::DependentSchemas;
}

struct Atom {
  Op op;
  std::int32_t lo = 0,
               hi = 0;  // Length, Size, Count, Items, Contains: bounds (kInf: none); Type: lo is
                        // the mask; UnevaluatedItems: lo is 1 where `contains` evaluates
  bool open = false;    // Min, Max: exclusive
  Decimal number = {};  // Min, Max, Multiple
  std::vector<Id> nodes = {};               // children, in order; If: three of them
  std::vector<Id> names = {};               // names that belong to nodes, or stand alone
  std::vector<Id> langs = {};               // languages that belong to nodes, or stand alone
  std::vector<Id> values = {};              // Const, Enum
  std::vector<std::vector<Id>> lists = {};  // DependentRequired: by name, the names it requires
};

struct Value {  // a JSON value of const or enum
  enum Kind : std::uint8_t { Null, False, True, Number, String, Array, Object } kind = Null;
  Decimal number;
  Id text = -1;                            // String: a name
  std::vector<Id> items;                   // Array
  std::vector<std::pair<Id, Id>> members;  // Object: (name, value), sorted by name
  bool operator==(const Value&) const = default;
  std::size_t hash() const {
    std::size_t h =
        mix(mix(kind, static_cast<std::size_t>(text)), mix(number.hash(), hash_of(items)));
    for (const auto& [k, v] : members)
      h = mix(mix(h, static_cast<std::size_t>(k)), static_cast<std::size_t>(v));
    return h;
  }
};

struct Name {
  std::string text;  // UTF-8, decoded
  bool operator==(const Name&) const = default;
  // the keyed hash, because an attacker may choose names
  std::size_t hash() const { return hash_of(text); }
};

}  // namespace guard
