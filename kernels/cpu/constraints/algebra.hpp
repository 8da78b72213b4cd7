// Helpers that the parts of constraints share, and the walk over a node's formula.
//
// There is an algebra for each kind of JSON value. Null and booleans, strings, and numbers are
// Boolean algebras of sets; objects and arrays have shapes and rows. One walk serves all of them;
// it pushes signs down to the leaves. The isolate's lock must be held.
#pragma once
#include <algorithm>

#include "constraints/object.hpp"

namespace guard {

constexpr Id kBusy = -2;  // a memo's mark for a computation in progress

template <class T>
bool has(const std::vector<T>& sorted, const T& item) {
  return std::binary_search(sorted.begin(), sorted.end(), item);
}
// Marks a memo entry as in progress; an exception removes the mark. Throws Limit{"cycle"} where it
// is marked already.
template <class Map>
struct Busy {
  Busy(Map* memo, Id key) : memo_(memo), key_(key) {
    if (memo->contains(key))
      throw Limit{"cycle", key >> 1, "a $ref leads back to itself without consuming input"};
    memo->try_emplace(key, kBusy);
  }
  ~Busy() {
    if (!done_) memo_->erase(key_);
  }
  Id set(Id value) {
    (*memo_)[key_] = value;
    done_ = true;
    return value;
  }
  Map* memo_;
  Id key_;
  bool done_ = false;
};
// Recognises repeated clauses in a growing list: a short list by comparison, a long one by hashes.
class Distinct {
 public:
  explicit Distinct(const std::vector<Clause>* known)
      : known_(known) {
  }  // the caller's list, to which it adds each new clause; must outlive this object
  bool is_new(const Clause& clause) {
    if (known_->size() < kFew)
      return std::find(known_->begin(), known_->end(), clause) == known_->end();
    for (; seen_ < known_->size(); ++seen_) table_.insert((*known_)[seen_]);
    return !table_.contains(clause);
  }

 private:
  static constexpr std::size_t kFew = 12;
  const std::vector<Clause>* known_;
  std::size_t seen_ = 0;
  std::unordered_set<Clause, VectorHash> table_;
};
// A set of ids that does not allocate while it is small.
class Met {
 public:
  bool insert(Id id) {  // false: it was in the set already
    if (contains(id)) return false;
    if (few_.size() < kFew)
      few_.push_back(id);
    else
      many_.insert(id);
    return true;
  }
  bool contains(Id id) const {
    return std::find(few_.begin(), few_.end(), id) != few_.end() ||
           (!many_.empty() && many_.contains(id));
  }

 private:
  static constexpr std::size_t kFew = 16;
  Few<Id, kFew> few_;
  std::unordered_set<Id> many_;
};
// Removes and returns the clause with the fewest disjuncts, on which a search branches. Requires at
// least one clause.
inline Clause take_smallest(std::vector<Clause>* clauses) {
  const auto least =
      std::min_element(clauses->begin(), clauses->end(),
                       [](const Clause& a, const Clause& b) { return a.size() < b.size(); });
  Clause out = std::move(*least);
  clauses->erase(least);
  return out;
}
// Joins sets into one, always the two smallest first (of equal ones, the oldest), as Huffman codes
// are built. A chain through ten thousand sets would intern as many growing prefixes.
template <class Size, class Join>
Id joined(const std::vector<Id>& sets, Id none, Size size, Join join) {
  std::vector<std::array<std::size_t, 3>> todo;  // a heap of (size, age, set)
  std::size_t age = 0;
  const auto add = [&](Id set) {
    todo.push_back({size(set), age++, static_cast<std::size_t>(set)});
    std::push_heap(todo.begin(), todo.end(), std::greater{});
  };
  const auto take = [&] {
    std::pop_heap(todo.begin(), todo.end(), std::greater{});
    const Id set = static_cast<Id>(todo.back()[2]);
    todo.pop_back();
    return set;
  };
  for (Id set : sets) add(set);
  while (todo.size() > 1) {
    const Id a = take(), b = take();
    add(join(a, b));
  }
  return todo.empty() ? none : take();
}

// The element of an algebra that a literal stands for; memoised in `memo`. An Algebra has top() and
// bottom(); all(list) and any(list); exactly_one(yes, no, sign), whose lists are the children with
// and without negation; values(list, sign) for constants; and leaf(atom, node, sign) for the
// keywords of its own type. Throws Missing and Limit.
template <class Algebra>
Id Goals::walk(const Algebra& algebra, Memo<Id>* memo, Id literal) {
  const bool sign = !(literal & 1);
  const Id node = literal >> 1, neutral = sign ? algebra.top() : algebra.bottom();
  if (node == 0) return neutral;
  const auto found = memo->find(literal);
  if (found != memo->end() && found->second >= 0) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(memo, literal);
  const auto all = [&](std::vector<Id> list) {
    return sign ? algebra.all(std::move(list)) : algebra.any(std::move(list));
  };
  const auto any = [&](std::vector<Id> list) {
    return sign ? algebra.any(std::move(list)) : algebra.all(std::move(list));
  };
  const auto child = [&](Id n, bool s) { return walk(algebra, memo, n << 1 | !s); };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    if (internal.types)
      return busy.set(algebra.leaf({.op = Op::Type, .lo = internal.types}, node, sign));
    if (!internal.values.empty()) return busy.set(algebra.values(internal.values, sign));
    std::vector<Id> parts;
    for (Id g : internal.any_of) {
      std::vector<Id> inner;
      for (Id l : std::vector<Id>(goals_[g].ids))
        inner.push_back(walk(algebra, memo, sign ? l : l ^ 1));
      parts.push_back(all(std::move(inner)));
    }
    return busy.set(any(std::move(parts)));
  }
  std::vector<Id> parts;
  for (const Atom& a : atoms(node)) try {
      switch (a.op) {
        case Op::Const:
        case Op::Enum: parts.push_back(algebra.values(a.values, sign)); break;
        case Op::Ref: parts.push_back(child(a.nodes[0], sign)); break;
        case Op::All:
        case Op::Any: {
          std::vector<Id> list;
          for (Id n : a.nodes) list.push_back(child(n, sign));
          parts.push_back(a.op == Op::All ? all(std::move(list)) : any(std::move(list)));
          break;
        }
        case Op::One: {
          std::vector<Id> yes, no;
          for (Id n : a.nodes) yes.push_back(child(n, true)), no.push_back(child(n, false));
          parts.push_back(algebra.exactly_one(yes, no, sign));
          break;
        }
        case Op::Not: parts.push_back(child(a.nodes[0], !sign)); break;
        case Op::If:  // (not I or T) and (I or E); negated, (I and not T) or (not I and not E)
          if (a.nodes[1] == 0 && a.nodes[2] == 0)
            break;  // it constrains nothing, but gives an order of keys
          parts.push_back(all({any({child(a.nodes[0], !sign), child(a.nodes[1], sign)}),
                               any({child(a.nodes[0], sign), child(a.nodes[2], sign)})}));
          break;
        default: parts.push_back(algebra.leaf(a, node, sign));
      }
    } catch (Limit& limit) {
      if (limit.node < 0) limit.node = node, limit.op = a.op;
      throw;
    }
  return busy.set(parts.empty() ? neutral : all(std::move(parts)));
}

// oneOf in a Boolean algebra, in one pass over the children that tracks three cases: none of them
// holds so far, exactly one does, several do. O(children) operations.
template <class Algebra>
Id one_of(const Algebra& algebra, const std::vector<Id>& yes, const std::vector<Id>& no,
          bool sign) {
  Id none = algebra.top(), one = algebra.bottom(), several = algebra.bottom();
  for (std::size_t i = 0; i < yes.size(); ++i) {
    if (!sign) several = algebra.any({several, algebra.all({one, yes[i]})});
    one = algebra.any({algebra.all({one, no[i]}), algebra.all({none, yes[i]})});
    none = algebra.all({none, no[i]});
  }
  return sign ? one : algebra.any({none, several});
}

// Rivals if nothing is known: all children that can hold at all may hold together.
inline Rivals all_rivals(const std::vector<Id>& yes, Id never) {
  Rivals out{std::vector<std::optional<std::vector<std::size_t>>>(yes.size()), {}};
  for (std::size_t i = 0; i < yes.size(); ++i)
    if (yes[i] != never) out.untold.push_back(i);
  return out;
}

// oneOf among shapes: one child holds and its rivals do not. Negated: none holds, or two do.
// `rivals` has, for each child, the others that can hold together with it. The negation of any
// other child would add nothing.
template <class Algebra>
Id one_shape_of(const Algebra& algebra, const std::vector<Id>& yes, const std::vector<Id>& no,
                bool sign, const Rivals& rivals) {
  std::vector<Id> ways;
  if (!sign) ways.push_back(algebra.all(no));
  for (std::size_t i = 0; i < yes.size(); ++i) {
    if (yes[i] == algebra.bottom()) continue;
    std::vector<Id> one{yes[i]};
    rivals.each(i, [&](std::size_t j) {
      if (sign) one.push_back(no[j]);
      if (!sign && j < i) ways.push_back(algebra.all({yes[j], yes[i]}));
    });
    if (sign) ways.push_back(algebra.all(std::move(one)));
  }
  return algebra.any(std::move(ways));
}

}  // namespace guard
