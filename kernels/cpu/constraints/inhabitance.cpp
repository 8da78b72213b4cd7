#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr int kMaxSight =
    3;  // objects inside of objects that unit propagation expands to refute a disjunct
}  // namespace

Inhabitance::Inhabitance(Constraints& all)
    : goals_(all.goals),
      scalars_(all.scalars),
      objects_(all.objects),
      members_(all.members),
      arrays_(all.arrays),
      values_(all.values),
      lexicon_(all.lexicon),
      limits_(all.limits),
      depth_(all.depth) {}

bool Inhabitance::is_tentative() const { return in_round_ || values_.leans(); }

bool Inhabitance::inhabited(Id g, Type type) {
  if (g == kTrue) return true;
  if (g == kFalse || goals_.excludes(g, bits_of(type))) return false;
  switch (type) {
    case Type::Null: return scalars_.literals3(g) & 1;
    case Type::Boolean: return scalars_.literals3(g) & 6;
    case Type::Number: return !scalars_.numbers(g).empty();
    case Type::String: return !scalars_.string_set(scalars_.strings(g)).pieces.empty();
    // Only objects and arrays contain values whose goals may lead back to this one; no other type
    // needs a round.
    default: return fixpoint(g * 8 + static_cast<Id>(type) + 1);
  }
}

bool Inhabitance::inhabited(Id g) {
  if (g == kTrue) return true;
  return g != kFalse && (inhabited_on_sight(g) || fixpoint(g * 8));
}

// For one schema that has no applicators in place and lists no values: whether its keywords leave
// some type that certainly has a value. Where dozens of names may come next, only one of them will
// have a value that needs more than this.
bool Inhabitance::inhabited_on_sight(Id g) const {
  const std::vector<Id>& literals = goals_.literals(g);
  if (literals.size() != 1 || literals[0] & 1 || !goals_.is_defined(literals[0] >> 1)) return false;
  std::int32_t left = types::kNull | types::kBoolean | types::kNumber | types::kString |
                      types::kArray | types::kObject;
  constexpr std::int32_t numbers = bits_of(Type::Number);
  constexpr std::int32_t kShort =
      16;  // digits before the point of a bound: one more can always be written out
  int bounds = 0;
  for (const Atom& a : goals_.known_atoms(literals[0] >> 1)) switch (a.op) {
      case Op::Const:
      case Op::Enum:
      case Op::Ref:
      case Op::All:
      case Op::Any:
      case Op::One:
      case Op::Not:
      case Op::If: return false;
      case Op::Type: left &= a.lo & numbers ? a.lo | types::kNumber : a.lo; break;
      case Op::Min:
      case Op::Max:  // beyond one bound there are numbers, but not all of them have a spelling
        if (++bounds > 1 ||
            static_cast<std::int32_t>(a.number.digits.size()) + a.number.exp > kShort)
          left &= ~types::kNumber;
        break;
      case Op::Multiple: left &= ~types::kNumber; break;
      case Op::Length:
      case Op::Pattern:
      case Op::Format: left &= ~types::kString; break;
      case Op::Count:
      case Op::Contains: left &= a.lo > 0 ? ~types::kArray : ~0; break;
      case Op::Required: left &= ~types::kObject; break;
      case Op::Size: left &= a.lo > 0 ? ~types::kObject : ~0; break;
      case Op::Unique:
      case Op::Items:
      case Op::UnevaluatedItems: break;  // an empty array meets these
      case Op::Properties:
      case Op::Patterns:
      case Op::Additional:
      case Op::Names:
      case Op::UnevaluatedProperties:
      case Op::DependentRequired: break;  // an empty object meets these
      case Op::DependentSchemas: break;
    }
  return left & (types::kNull | types::kBoolean | types::kNumber | types::kString | types::kArray |
                 types::kObject);
}

bool Inhabitance::empty_on_sight(Id g) {
  if (g == kTrue) return false;
  if (g == kFalse) return true;
  // The result is final during a round too: nothing here depends on what the round has found.
  const auto found = dull_.find(g);
  if (found != dull_.end()) return found->second;
  if (const Told known = goals_.has_listed(g); known != Told::Open)
    return (dull_[g] = known == Told::No);
  if (scalars_.literals3(g) || !scalars_.string_set(scalars_.strings(g)).pieces.empty() ||
      !scalars_.numbers(g).empty()) {
    dull_[g] = 0;
    return false;
  }
  if (sight_ == kMaxSight)
    return false;  // discriminators are near the top; deeper, viability decides
  const Recursion farther(&sight_, kMaxSight);
  dull_[g] = 0;  // in progress: assume nothing
  try {
    const bool empty = arrays_.of(g) == kNever && objects_.of(g) == kNever;
    dull_[g] = empty;
    return empty;
  } catch (...) {
    // An interrupted attempt is no answer: the next caller tries again.
    dull_.erase(g);
    throw;
  }
}

int Inhabitance::constant_for(Id g, Type type) {
  if (g == kTrue) return 1;
  switch (type) {
    case Type::Null: return scalars_.literals3(g) & 1;
    case Type::Boolean:
      return (scalars_.literals3(g) & 6) == 6 ? 1 : (scalars_.literals3(g) & 6) == 0 ? 0 : -1;
    case Type::String: {
      const auto& p = scalars_.string_set(scalars_.strings(g)).pieces;
      return p.empty() ? 0 : p.size() == 1 && p[0] == StringPiece{0, kInf, Langs::kAll} ? 1 : -1;
    }
    case Type::Number: {
      const auto& p = scalars_.numbers(g);
      return p.empty() ? 0 : p.size() == 1 && lexicon_.numbers.piece(p[0]).is_free() ? 1 : -1;
    }
    case Type::Object: return objects_.of(g) == kNever ? 0 : objects_.of(g) == kAny ? 1 : -1;
    case Type::Array: return arrays_.of(g) == kNever ? 0 : arrays_.of(g) == kAny ? 1 : -1;
  }
  return -1;
}

bool Inhabitance::try_key(Id key) {
  const Recursion deeper(&depth_, limits_.depth);
  // In progress, the goal counts as empty. A Limit leaves this mark in place, but it also ends the
  // round, which removes all marks.
  round_[key] = 0;
  const Id g = key / 8;
  bool ok = false;
  try {
    switch (key % 8) {
      case 0:
        for (const Type t :
             {Type::Null, Type::Boolean, Type::String, Type::Number, Type::Array, Type::Object}) {
          ok = inhabited(g, t);
          if (ok) break;
        }
        break;
      case static_cast<int>(Type::Array) + 1: ok = arrays_.viable(arrays_.of(g), 0); break;
      default: ok = members_.viable(objects_.of(g), {});
    }
  } catch (Limit& limit) {
    goals_.blame(&limit, node_of(goals_.literals(g)));
    throw;
  }
  if (!ok) return false;
  // To count goals in progress as empty can only hide values, so true is final.
  sure_[key] = 1;
  found_ = true;
  round_.erase(key);
  return true;
}

bool Inhabitance::fixpoint(Id key) {
  const auto sure = sure_.find(key);
  if (sure != sure_.end()) return sure->second;
  const auto now = round_.find(key);
  if (now != round_.end()) return now->second;
  // In another goal's round this goal only takes part: the owner repeats the round.
  if (in_round_) return try_key(key);
  // Ends the round, also if a Missing or a Limit is thrown.
  struct Reset {
    Inhabitance* goals;
    ~Reset() { goals->in_round_ = false, goals->new_round(); }
  } reset{this};
  bool ok = false;
  do {
    new_round();
    found_ = false;
    in_round_ = true;
    ok = try_key(key);
  } while (!ok && found_);
  // A round that found nothing new is the fixpoint: nothing that was in progress has a value. It is
  // not final while an unfinished listing of values makes assumptions of its own.
  if (!ok && !values_.leans())
    for (const auto& [k, _] : round_) sure_[k] = 0;
  return ok;
}

}  // namespace guard
