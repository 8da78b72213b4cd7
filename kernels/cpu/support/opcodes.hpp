// The alphabet that the front end and the engine share. Made from schemas/ops.py by `make opcodes`:
// change it there.
#pragma once
#include <cstdint>

namespace guard {

// What an atom of a node says about a value. 0: nothing.
enum class Op : std::uint8_t {
  Type = 2,
  Const = 3,
  Enum = 4,
  Ref = 5,
  All = 6,
  Any = 7,
  One = 8,
  Not = 9,
  If = 10,
  Min = 11,
  Max = 12,
  Multiple = 13,
  Length = 14,
  Pattern = 15,
  Format = 16,
  Properties = 17,
  Patterns = 18,
  Additional = 19,
  Required = 20,
  Size = 21,
  Names = 22,
  DependentRequired = 23,
  DependentSchemas = 24,
  Items = 25,
  Count = 26,
  Contains = 27,
  Unique = 28,
  UnevaluatedProperties = 29,
  UnevaluatedItems = 30,
};

// What a node of a regex tree matches.
enum class Rx : std::uint8_t {
  Set = 0,
  Cat = 1,
  Alt = 2,
  Repeat = 3,
  Look = 4,
  Start = 5,
  End = 6,
  And = 7,
  Not = 8,
  Maybe = 9,
  Punycode = 10,
  Quotes = 11,
  Text = 12,
};

namespace types {  // the bits of Op::Type
constexpr std::int32_t kNull = 1;
constexpr std::int32_t kBoolean = 2;
constexpr std::int32_t kNumber = 4;
constexpr std::int32_t kString = 8;
constexpr std::int32_t kArray = 16;
constexpr std::int32_t kObject = 32;
constexpr std::int32_t kInteger = 64;
constexpr std::int32_t kIntegerText = 128;
}  // namespace types

}  // namespace guard
