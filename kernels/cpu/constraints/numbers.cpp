// Scalars: the sets of numbers. See scalars.hpp.
#include <algorithm>

#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxFew = 64;  // see few_values
}  // namespace

Id Scalars::number_set(std::vector<Id> pieces) {
  sort_unique(&pieces);
  if (pieces.size() > 1 && pieces.size() <= 64) {  // drops pieces inside of others
    std::vector<Id> kept;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      bool covered = false;
      for (std::size_t j = 0; j < pieces.size() && !covered; ++j)
        covered =
            i != j &&
            Numbers::covers(lexicon_.numbers.piece(pieces[j]), lexicon_.numbers.piece(pieces[i])) &&
            !(j > i && Numbers::covers(lexicon_.numbers.piece(pieces[i]),
                                       lexicon_.numbers.piece(pieces[j])));
      if (!covered) kept.push_back(pieces[i]);
    }
    pieces = std::move(kept);
  }
  must_be_few(pieces.size());
  return number_sets_.intern({std::move(pieces)});
}

void Scalars::must_be_few(std::size_t intervals) const {
  if (intervals > limits_.alternatives)
    throw Limit{"alternatives", -1, "numbers fall into too many intervals"};
}

bool Scalars::is_point(Id id) const {
  const Piece& p = lexicon_.numbers.piece(id);
  return p.has_lo && p.has_hi && p.lo == p.hi && p.multiples.empty() && p.not_multiples.empty() &&
         p.not_values.empty() && !p.written;
}

const std::vector<Id>& Scalars::wide_pieces(Id set) {
  if (const auto found = wide_.find(set); found != wide_.end()) return found->second;
  std::vector<Id> wide;
  for (Id id : number_sets_[set].ids)
    if (!is_point(id)) wide.push_back(id);
  return wide_.emplace(set, std::move(wide)).first->second;
}

bool Scalars::reads_alike(Id g, Id literal) {
  const std::vector<Id>* values = goals_.listed(literal & ~1);
  if (!values || goals_.excludes(g, bits_of(Type::Number))) return false;
  // Called for its effect: it stores the set in goal_numbers_.
  numbers(g);
  if (!wide_pieces(goal_numbers_[g]).empty()) return false;
  const auto is_whole = [this](Id v) {
    return lexicon_.values[v].kind != Value::Number || lexicon_.values[v].number.exp >= 0;
  };
  for (const Atom& a : goals_.known_atoms(literal >> 1)) {
    if (a.op == Op::Const || a.op == Op::Enum) continue;
    if (a.op != Op::Type ||
        !(a.lo & types::kNumber ||
          (a.lo & types::kInteger && std::all_of(values->begin(), values->end(), is_whole))))
      return false;
  }
  return true;
}

// Whether a value lies in a piece that has only bounds and excluded values. Copies nothing, since
// there may be thousands of these.
bool Scalars::is_within(const Decimal& v, const Piece& wide) {
  const int lo = wide.has_lo ? compare(v, wide.lo) : 1, hi = wide.has_hi ? compare(v, wide.hi) : -1;
  return lo >= (wide.lo_open ? 1 : 0) && hi <= (wide.hi_open ? -1 : 0) &&
         !std::binary_search(wide.not_values.begin(), wide.not_values.end(), v,
                             [](const Decimal& m, const Decimal& n) { return compare(m, n) < 0; });
}

// Points are compared by their ids: those of the smaller set are looked up in the larger one, so
// that of thousands only those that are in both are visited.
Id Scalars::numbers_and(Id a, Id b) {
  if (a == b) return a;
  if (number_sets_[a].ids.size() > number_sets_[b].ids.size()) std::swap(a, b);
  const std::vector<Id>&few = number_sets_[a].ids, &many = number_sets_[b].ids;
  const std::vector<Id>&few_wide = wide_pieces(a), &many_wide = wide_pieces(b);
  const std::size_t points = few.size() - few_wide.size();
  must_be_few((points * many_wide.size() + few_wide.size() * many.size()) / 10);
  std::vector<Id> out;
  for (Id point : few)
    if (std::binary_search(many.begin(), many.end(), point) && is_point(point))
      out.push_back(point);
  Piece p;
  const auto merge = [&](Id i, Id j) {
    tick();
    if (Numbers::merge(lexicon_.numbers.piece(i), lexicon_.numbers.piece(j), &p))
      out.push_back(lexicon_.numbers.piece(p));
  };
  const auto add_within = [&](const std::vector<Id>& pieces, Id wide) {
    const Piece& piece = lexicon_.numbers.piece(wide);
    const bool is_plain = piece.multiples.empty() && piece.not_multiples.empty() && !piece.written;
    for (Id id : pieces) {
      if (!is_point(id)) continue;
      if (!is_plain) {
        merge(id, wide);
        continue;
      }
      tick();
      if (is_within(lexicon_.numbers.piece(id).lo, piece)) out.push_back(id);
    }
  };
  for (Id wide : many_wide) add_within(few, wide);
  for (Id wide : few_wide) {
    add_within(many, wide);
    for (Id other : many_wide) merge(wide, other);
  }
  return number_set(std::move(out));
}

Id Scalars::numbers_or(const std::vector<Id>& sets) {
  std::vector<Id> out;
  for (Id s : sets) out.insert(out.end(), number_sets_[s].ids.begin(), number_sets_[s].ids.end());
  return number_set(std::move(out));
}

struct Scalars::NumberAlgebra {
  Scalars* g;
  Id just(Piece p) const { return g->number_set({g->lexicon_.numbers.piece(std::move(p))}); }
  Id top() const { return just({}); }
  Id bottom() const { return g->number_set({}); }
  Id all(const std::vector<Id>& list) const {
    return joined(
        list, top(), [this](Id x) { return g->number_sets_[x].ids.size(); },
        [this](Id a, Id b) { return g->numbers_and(a, b); });
  }
  Id any(const std::vector<Id>& list) const { return g->numbers_or(list); }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const {
    return one_of(*this, yes, no, sign);
  }
  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<Id> found;
    for (Id v : list)
      if (g->lexicon_.values[v].kind == Value::Number) found.push_back(v);
    sort_unique(&found);
    if (sign) {
      g->must_be_few(found.size());  // before each of a million has a piece
      for (Id& v : found) {
        Piece p;
        p.has_lo = p.has_hi = true;
        p.lo = p.hi = g->lexicon_.values[v].number;
        v = g->lexicon_.numbers.piece(std::move(p));
      }
      return g->number_set(std::move(found));
    }
    Piece others, out;
    for (Id v : found) others.not_values.push_back(g->lexicon_.values[v].number);
    Numbers::merge({}, others, &out);  // sorts
    return just(std::move(out));
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    Piece p;
    switch (a.op) {
      case Op::Type:
        if (a.lo & types::kNumber || !(a.lo & (types::kInteger | types::kIntegerText)))
          return ((a.lo & types::kNumber) != 0) == sign ? top() : bottom();
        if (a.lo & types::kInteger)
          (sign ? p.multiples : p.not_multiples).push_back({false, "1", 0});
        else
          p.written = sign ? 1 : 2;
        return just(std::move(p));
      case Op::Min:
      case Op::Max:
        if ((a.op == Op::Min) == sign)
          p.has_lo = true, p.lo = a.number, p.lo_open = a.open == sign;
        else
          p.has_hi = true, p.hi = a.number, p.hi_open = a.open == sign;
        return just(std::move(p));
      case Op::Multiple:
        (sign ? p.multiples : p.not_multiples).push_back(a.number);
        return just(std::move(p));
      default: return sign ? top() : bottom();
    }
  }
};

const std::vector<Id>& Scalars::numbers(Id g) {
  if (goals_.excludes(g, bits_of(Type::Number))) return number_sets_[kNoNumbers].ids;
  const auto found = goal_numbers_.find(g);
  if (found != goal_numbers_.end()) return number_sets_[found->second].ids;
  const NumberAlgebra algebra{this};
  std::vector<Id> parts;
  for (Id l : std::vector<Id>(goals_.literals(g)))
    parts.push_back(goals_.walk(algebra, &numbers_memo_, l));
  // Drops pieces without a number that has a spelling, so that an empty set means that there is
  // none.
  const Id out = algebra.all(parts);
  std::vector<Id> kept;
  for (Id p : std::vector<Id>(number_sets_[out].ids))
    if (lexicon_.numbers.inhabited(p, spelling_)) kept.push_back(p);
  goal_numbers_[g] = number_set(std::move(kept));
  return number_sets_[goal_numbers_[g]].ids;
}

// Whether the goal's own keywords exclude arrays and objects. False: unknown.
bool Scalars::is_scalar(Id g) {
  const std::function<bool(Id)> scalar = [&](Id node) {
    if (node < 2) return node == 1;
    // Nodes of our own are not examined: false is always safe.
    if (node >= kInternal) return false;
    for (const Atom& a : goals_.atoms(node)) {
      if (a.op == Op::Type && !(a.lo & (types::kArray | types::kObject))) return true;
      const auto plain = [this](Id v) {
        return lexicon_.values[v].kind != Value::Array && lexicon_.values[v].kind != Value::Object;
      };
      if ((a.op == Op::Const || a.op == Op::Enum) &&
          std::all_of(a.values.begin(), a.values.end(), plain))
        return true;
      if ((a.op == Op::Ref || a.op == Op::All) &&
          std::any_of(a.nodes.begin(), a.nodes.end(), scalar))
        return true;
    }
    return false;
  };
  const std::vector<Id> literals = goals_.literals(g);
  return std::any_of(literals.begin(), literals.end(),
                     [&](Id l) { return !(l & 1) && scalar(l >> 1); });
}

// All values of the goal when it has few, all of them scalars: one id for each.
bool Scalars::few_values(Id g, std::vector<std::int64_t>* values) {
  if (!is_scalar(g)) return false;
  const std::uint8_t literals = literals3(g);
  for (int i = 0; i < 3; ++i)
    if (literals >> i & 1) values->push_back(-1 - i);
  std::vector<std::u32string> words;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[strings(g)].pieces))
    if (!lexicon_.langs.list(p.lang, kMaxFew, &words)) return false;
  for (const auto& w : words) values->push_back(std::int64_t{2} * lexicon_.name(encode_utf8(w)));
  for (Id id : std::vector<Id>(numbers(g))) {
    const Piece& p = lexicon_.numbers.piece(id);
    if (!p.has_lo || !p.has_hi || !(p.lo == p.hi)) return false;
    Piece point;
    point.has_lo = point.has_hi = true;
    point.lo = point.hi = p.lo;
    values->push_back(std::int64_t{2} * lexicon_.numbers.piece(std::move(point)) + 1);
  }
  return true;
}

}  // namespace guard
