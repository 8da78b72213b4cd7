// Goals: sets of signed nodes; null, booleans, strings and numbers as Boolean algebras; what is inhabited. See constraint.hpp.
#include "constraints/algebra.hpp"

namespace guard {

bool Lexicon::in_lang(Id lang, Id name) {
  return remember(matches, std::pair{lang, name}, [&] { return langs.contains(lang, decode_utf8(names[name].text)); });
}

Goals::Goals(Lexicon& lexicon, Spelling spelling, Limits limits, std::int32_t gap_bytes)
    : lexicon_(lexicon), spelling_(spelling), limits_(limits), gap_(gap_bytes) {
  goals_.intern({});     // kTrue
  goals_.intern({{2}});  // kFalse: +1, and node 1 is `false`
  string_sets_.intern({});  // kNoStrings
  number_sets_.intern({});  // kNoNumbers
  shapes_.intern({.rules = {}, .some = {}, .lo = 1, .hi = 0, .clauses = {}});
  shapes_.intern({});
  rows_.intern({.rules = {}, .some = {}, .counts = {}, .lo = 1, .hi = 0, .clauses = {}});
  rows_.intern({});
  nodes_.resize(2);
  nodes_[0].defined = nodes_[1].defined = true;
  Atom never{.op = Op::Type, .number = {}, .nodes = {}, .names = {}, .langs = {}, .values = {}, .lists = {}};
  nodes_[1].atoms.push_back(never);
}

void Goals::define(Id node, std::vector<Atom> atoms) {
  if (node >= static_cast<Id>(nodes_.size())) nodes_.resize(static_cast<std::size_t>(node) + 1);
  nodes_[static_cast<std::size_t>(node)] = {true, std::move(atoms)};
}

const std::vector<Atom>& Goals::atoms(Id node) {
  if (!is_defined(node)) throw Missing{{node}};
  return nodes_[static_cast<std::size_t>(node)].atoms;
}

void Goals::need(const std::vector<Id>& goals) {
  Missing missing;
  for (Id g : goals)
    for (Id literal : goals_[g].ids)
      if ((literal >> 1) < kInternal && !is_defined(literal >> 1)) missing.nodes.push_back(literal >> 1);
  if (missing.nodes.empty()) return;
  sort_unique(&missing.nodes);
  throw missing;
}

std::vector<Id> Goals::lacking(Ahead* ahead) const {
  std::vector<std::pair<Id, int>> todo;
  todo.swap(ahead->todo);
  const auto add = [&](Id node, int depth) {
    const auto [known, fresh] = ahead->seen.try_emplace(node, depth);
    if (!fresh && known->second >= depth) return;
    known->second = depth;
    todo.push_back({node, depth});
  };
  while (!todo.empty()) {
    const auto [node, depth] = todo.back();
    todo.pop_back();
    if (node >= kInternal) {
      for (Id goal : internals_[node - kInternal].any_of)
        for (Id literal : goals_[goal].ids) add(literal >> 1, depth);
      continue;
    }
    if (!is_defined(node)) {
      ahead->todo.push_back({node, depth});
      continue;
    }
    const std::vector<Atom>& atoms = nodes_[static_cast<std::size_t>(node)].atoms;
    std::vector<Id> required;
    for (const Atom& a : atoms)
      if (a.op == Op::Required) required = a.names;
    std::sort(required.begin(), required.end());
    for (const Atom& a : atoms)
      for (std::size_t i = 0; i < a.nodes.size(); ++i) {
        const bool named = a.op == Op::Properties;
        if (applies_in_place(a.op))
          add(a.nodes[i], depth);
        else if (depth > 0 && a.op == Op::Items)
          add(a.nodes[i], depth - 1);
        else if (depth > 0 ? named || a.op == Op::Patterns || a.op == Op::Additional : named && std::binary_search(required.begin(), required.end(), a.names[i]))
          add(a.nodes[i], 0);
      }
  }
  std::vector<Id> out;
  for (const auto& [node, _] : ahead->todo) out.push_back(node);
  sort_unique(&out);
  return out;
}

void Goals::blame(Limit* limit, Id node) {
  if (limit->node >= 0 || node < 0) return;
  limit->node = node;
  if (limit->op != Op::Pattern) return;
  std::vector<Id> todo{node}, seen;
  while (!todo.empty()) {
    const Id n = todo.back();
    todo.pop_back();
    if (!is_defined(n) || std::find(seen.begin(), seen.end(), n) != seen.end()) continue;
    seen.push_back(n);
    for (const Atom& a : nodes_[static_cast<std::size_t>(n)].atoms) {
      if (!a.langs.empty() || a.op == Op::Names) return void(limit->node = n);
      if (applies_in_place(a.op)) todo.insert(todo.end(), a.nodes.rbegin(), a.nodes.rend());
    }
  }
}

// ---- goals ----------------------------------------------------------------------------------------------------------

Id Goals::goal(std::vector<Id> literals) {
  std::erase_if(literals, [](Id l) { return l == 0 || l == 3; });  // +true, -false
  sort_unique(&literals);
  for (std::size_t i = 0; i < literals.size(); ++i)
    if (literals[i] == 1 || literals[i] == 2 || (i > 0 && literals[i] == (literals[i - 1] ^ 1))) return kFalse;
  tick();
  if (goals_.size() + shapes_.size() > limits_.states) throw Limit{"states", literals.empty() ? -1 : literals[0] >> 1, "too many goals and shapes"};
  return goals_.intern({std::move(literals)});
}

Id Goals::conj(Id a, Id b) {
  if (a == b || b == kTrue) return a;
  if (a == kTrue) return b;
  if (a == kFalse || b == kFalse) return kFalse;
  if (a > b) std::swap(a, b);
  const auto found = conj_.find({a, b});
  if (found != conj_.end()) return found->second;
  std::vector<Id> all = goals_[a].ids;
  all.insert(all.end(), goals_[b].ids.begin(), goals_[b].ids.end());
  return conj_[{a, b}] = goal(std::move(all));
}

Id Goals::negate(Id g) {
  const std::vector<Id>& ids = goals_[g].ids;
  if (ids.empty()) return kFalse;
  if (ids.size() == 1) return goal({ids[0] ^ 1});
  const auto found = negated_.find(g);
  if (found != negated_.end()) return found->second;
  return negated_[g] = goal({(kInternal + internals_.intern({0, {}, {g}})) << 1 | 1});
}

Id Goals::any_goal(std::vector<Id> list) {
  sort_unique(&list);
  std::erase(list, kFalse);
  if (list.empty()) return kFalse;
  if (list[0] == kTrue || list.size() == 1) return list[0];
  return goal({(kInternal + internals_.intern({0, {}, std::move(list)})) << 1});
}

bool Goals::excludes(Id g, std::int32_t bits) const {
  for (const Id literal : goals_[g].ids) {
    const Id node = literal >> 1;
    if (literal & 1 || !is_defined(node)) continue;
    for (const Atom& a : nodes_[static_cast<std::size_t>(node)].atoms)
      if (a.op == Op::Type && !(a.lo & bits)) return true;
  }
  return false;
}

// ---- null and booleans ----------------------------------------------------------------------------------------------

// A set of null (1), true (2), false (4).
struct Goals::LiteralAlgebra {
  Goals* g;
  Id top() const { return 7; }
  Id bottom() const { return 0; }
  Id all(const std::vector<Id>& list) const {
    Id out = 7;
    for (Id x : list) out &= x;
    return out;
  }
  Id any(const std::vector<Id>& list) const {
    Id out = 0;
    for (Id x : list) out |= x;
    return out;
  }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const { return one_of(*this, yes, no, sign); }
  Id values(const std::vector<Id>& list, bool sign) const {
    Id out = 0;
    for (Id v : list) {
      const Value::Kind k = g->lexicon_.values[v].kind;
      out |= k == Value::Null ? 1 : k == Value::True ? 2 : k == Value::False ? 4 : 0;
    }
    return sign ? out : 7 & ~out;
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    const Id out = a.op == Op::Type ? (a.lo & types::kNull ? 1 : 0) | (a.lo & types::kBoolean ? 6 : 0) : 7;
    return sign ? out : 7 & ~out;
  }
};

std::uint8_t Goals::literals3(Id g) {
  if (excludes(g, types::kNull | types::kBoolean)) return 0;
  const auto found = goal_literals_.find(g);
  if (found != goal_literals_.end()) return static_cast<std::uint8_t>(found->second);
  Id out = 7;
  for (Id l : std::vector<Id>(goals_[g].ids)) out &= walk(LiteralAlgebra{this}, &literals_memo_, l);
  goal_literals_[g] = out;
  return static_cast<std::uint8_t>(out);
}

// ---- strings --------------------------------------------------------------------------------------------------------

Id Goals::strings_of(std::vector<StringPiece> pieces) {
  StringSet out;
  for (const StringPiece& p : pieces) {
    if (p.lo > p.hi || p.lang == Langs::kNone) continue;
    if (!out.pieces.empty() && out.pieces.back().lang == p.lang && out.pieces.back().hi + 1 == p.lo)
      out.pieces.back().hi = p.hi;
    else
      out.pieces.push_back(p);
  }
  return string_sets_.intern(std::move(out));
}

Id Goals::strings_not(Id a) {
  std::vector<StringPiece> out;
  std::int64_t at = 0;
  const std::vector<StringPiece> pieces = string_sets_[a].pieces;
  for (const StringPiece& p : pieces) {
    if (at < p.lo) out.push_back({static_cast<std::int32_t>(at), p.lo - 1, Langs::kAll});
    out.push_back({p.lo, p.hi, lexicon_.langs.no(p.lang)});
    at = static_cast<std::int64_t>(p.hi) + 1;
  }
  if (at <= kInf) out.push_back({static_cast<std::int32_t>(at), kInf, Langs::kAll});
  return strings_of(std::move(out));
}

Id Goals::strings_and(Id a, Id b) {
  if (a == b) return a;
  std::vector<StringPiece> out;
  const std::vector<StringPiece> x = string_sets_[a].pieces, y = string_sets_[b].pieces;
  for (std::size_t i = 0, j = 0; i < x.size() && j < y.size();) {
    const std::int32_t lo = std::max(x[i].lo, y[j].lo), hi = std::min(x[i].hi, y[j].hi);
    if (lo <= hi) out.push_back({lo, hi, lexicon_.langs.both({x[i].lang, y[j].lang})});
    x[i].hi < y[j].hi ? ++i : ++j;
  }
  return strings_of(std::move(out));
}

struct Goals::StringAlgebra {
  Goals* g;
  Id top() const { return g->strings_of({{0, kInf, Langs::kAll}}); }
  Id bottom() const { return g->strings_of({}); }
  Id all(const std::vector<Id>& list) const {
    return joined(list, top(), [this](Id x) { return g->string_sets_[x].pieces.size(); }, [this](Id a, Id b) { return g->strings_and(a, b); });
  }
  Id any(std::vector<Id> list) const {
    for (Id& x : list) x = g->strings_not(x);
    return g->strings_not(all(list));
  }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const { return one_of(*this, yes, no, sign); }
  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<std::u32string> words;
    for (Id v : list)
      if (g->lexicon_.values[v].kind == Value::String) words.push_back(decode_utf8(g->lexicon_.names[g->lexicon_.values[v].text].text));
    return signed_of(g->strings_of({{0, kInf, g->lexicon_.langs.words(std::move(words))}}), sign);
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    switch (a.op) {
      case Op::Type: return ((a.lo & types::kString) != 0) == sign ? top() : bottom();
      case Op::Length: return signed_of(g->strings_of({{a.lo, a.hi, Langs::kAll}}), sign);
      case Op::Pattern:
      case Op::Format: return signed_of(g->strings_of({{0, kInf, a.langs[0]}}), sign);
      default: return sign ? top() : bottom();
    }
  }
  Id signed_of(Id set, bool sign) const { return sign ? set : g->strings_not(set); }
};

Id Goals::strings(Id g) {
  if (excludes(g, types::kString)) return kNoStrings;
  const auto found = goal_strings_.find(g);
  if (found != goal_strings_.end()) return found->second;
  const StringAlgebra algebra{this};
  std::vector<Id> parts;
  for (Id l : std::vector<Id>(goals_[g].ids)) parts.push_back(walk(algebra, &strings_memo_, l));
  const Id out = algebra.all(parts);
  std::vector<StringPiece> kept;
  Langs& langs = lexicon_.langs;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[out].pieces))
    if (langs.live(p.lang) && (p.lang == Langs::kAll || (p.lo == 0 && p.hi == kInf) || langs.meets(p.lang, p.lo, p.hi))) kept.push_back(p);
  return goal_strings_[g] = strings_of(std::move(kept));
}

Id Goals::keys_lang(Id g) {
  const auto found = keys_lang_.find(g);
  if (found != keys_lang_.end()) return found->second;
  std::vector<Id> parts;
  Langs& langs = lexicon_.langs;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[strings(g)].pieces))
    parts.push_back(p.lo == 0 && p.hi == kInf ? p.lang : langs.both({p.lang, langs.of_length(p.lo, p.hi)}));
  return keys_lang_[g] = langs.alt(std::move(parts));
}

// ---- numbers --------------------------------------------------------------------------------------------------------

Id Goals::number_set(std::vector<Id> pieces) {
  sort_unique(&pieces);
  if (pieces.size() > 1 && pieces.size() <= 64) {  // a piece inside of another says nothing
    std::vector<Id> kept;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      bool covered = false;
      for (std::size_t j = 0; j < pieces.size() && !covered; ++j)
        covered = i != j && Numbers::covers(lexicon_.numbers.piece(pieces[j]), lexicon_.numbers.piece(pieces[i])) &&
                  !(j > i && Numbers::covers(lexicon_.numbers.piece(pieces[i]), lexicon_.numbers.piece(pieces[j])));
      if (!covered) kept.push_back(pieces[i]);
    }
    pieces = std::move(kept);
  }
  if (pieces.size() > limits_.alternatives) throw Limit{"alternatives", -1, "numbers fall into too many intervals"};
  return number_sets_.intern({std::move(pieces)});
}

bool Goals::is_point(Id id) const {
  const Piece& p = lexicon_.numbers.piece(id);
  return p.has_lo && p.has_hi && p.lo == p.hi && p.multiples.empty() && p.not_multiples.empty() && p.not_values.empty() && !p.written;
}

bool Goals::is_points(Id set) {
  if (const auto found = points_.find(set); found != points_.end()) return found->second;
  const std::vector<Id>& pieces = number_sets_[set].ids;
  const bool all = std::all_of(pieces.begin(), pieces.end(), [this](Id id) { return is_point(id); });
  points_[set] = all;
  return all;
}

bool Goals::reads_alike(Id g, Id literal) {
  const std::vector<Id>* values = listed(literal & ~1);
  if (!values || excludes(g, types::kNumber | types::kInteger | types::kIntegerText)) return false;
  numbers(g);
  if (!is_points(goal_numbers_[g])) return false;
  const auto is_whole = [this](Id v) { return lexicon_.values[v].kind != Value::Number || lexicon_.values[v].number.exp >= 0; };
  for (const Atom& a : nodes_[static_cast<std::size_t>(literal >> 1)].atoms) {
    if (a.op == Op::Const || a.op == Op::Enum) continue;
    if (a.op != Op::Type || !(a.lo & types::kNumber || (a.lo & types::kInteger && std::all_of(values->begin(), values->end(), is_whole)))) return false;
  }
  return true;
}

Id Goals::numbers_and(Id a, Id b) {
  if (a == b) return a;
  if (is_points(a) && is_points(b)) {
    std::vector<Id> common, x = number_sets_[a].ids, y = number_sets_[b].ids;
    if (x.size() > y.size()) std::swap(x, y);
    for (Id p : x)
      if (has(y, p)) common.push_back(p);
    return number_set(std::move(common));
  }
  const std::vector<Id> x = number_sets_[a].ids, y = number_sets_[b].ids;
  if (x.size() * y.size() > limits_.alternatives * 10) throw Limit{"alternatives", -1, "numbers fall into too many intervals"};
  std::vector<Id> out;
  Piece p;
  for (Id j : y) {
    const bool is_one = is_point(j);
    for (Id i : x) {
      tick();
      const bool is_other = is_point(i);
      if (is_one && is_other) {
        if (i == j) out.push_back(i);
        continue;
      }
      const Piece& wide = lexicon_.numbers.piece(is_one ? i : j);
      if ((is_one || is_other) && wide.multiples.empty() && wide.not_multiples.empty() && !wide.written) {
        const Decimal& v = lexicon_.numbers.piece(is_one ? j : i).lo;  // is it within? Thousands of excluded values are not copied for each
        const int lo = wide.has_lo ? compare(v, wide.lo) : 1, hi = wide.has_hi ? compare(v, wide.hi) : -1;
        const bool excluded = std::binary_search(wide.not_values.begin(), wide.not_values.end(), v, [](const Decimal& m, const Decimal& n) { return compare(m, n) < 0; });
        if (lo >= (wide.lo_open ? 1 : 0) && hi <= (wide.hi_open ? -1 : 0) && !excluded) out.push_back(is_one ? j : i);
        continue;
      }
      if (Numbers::merge(lexicon_.numbers.piece(i), lexicon_.numbers.piece(j), &p)) out.push_back(lexicon_.numbers.piece(p));
    }
  }
  return number_set(std::move(out));
}

Id Goals::numbers_or(const std::vector<Id>& sets) {
  std::vector<Id> out;
  for (Id s : sets) out.insert(out.end(), number_sets_[s].ids.begin(), number_sets_[s].ids.end());
  return number_set(std::move(out));
}

struct Goals::NumberAlgebra {
  Goals* g;
  Id just(Piece p) const { return g->number_set({g->lexicon_.numbers.piece(std::move(p))}); }
  Id top() const { return just({}); }
  Id bottom() const { return g->number_set({}); }
  Id all(const std::vector<Id>& list) const {
    return joined(list, top(), [this](Id x) { return g->number_sets_[x].ids.size(); }, [this](Id a, Id b) { return g->numbers_and(a, b); });
  }
  Id any(const std::vector<Id>& list) const { return g->numbers_or(list); }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const { return one_of(*this, yes, no, sign); }
  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<Id> points;
    Piece others;
    for (Id v : list) {
      if (g->lexicon_.values[v].kind != Value::Number) continue;
      const Decimal& d = g->lexicon_.values[v].number;
      Piece p;
      p.has_lo = p.has_hi = true;
      p.lo = p.hi = d;
      points.push_back(g->lexicon_.numbers.piece(std::move(p)));
      others.not_values.push_back(d);
    }
    if (sign) return g->number_set(std::move(points));
    Piece out;
    Numbers::merge({}, others, &out);  // sorts
    return just(std::move(out));
  }
  Id leaf(const Atom& a, Id, bool sign) const {
    Piece p;
    switch (a.op) {
      case Op::Type:
        if (a.lo & types::kNumber || !(a.lo & (types::kInteger | types::kIntegerText))) return ((a.lo & types::kNumber) != 0) == sign ? top() : bottom();
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
      case Op::Multiple: (sign ? p.multiples : p.not_multiples).push_back(a.number); return just(std::move(p));
      default: return sign ? top() : bottom();
    }
  }
};

const std::vector<Id>& Goals::numbers(Id g) {
  if (excludes(g, types::kNumber | types::kInteger | types::kIntegerText)) return number_sets_[kNoNumbers].ids;
  const auto found = goal_numbers_.find(g);
  if (found != goal_numbers_.end()) return number_sets_[found->second].ids;
  const NumberAlgebra algebra{this};
  std::vector<Id> parts;
  for (Id l : std::vector<Id>(goals_[g].ids)) parts.push_back(walk(algebra, &numbers_memo_, l));
  const Id out = algebra.all(parts);
  std::vector<Id> kept;
  for (Id p : std::vector<Id>(number_sets_[out].ids))
    if (lexicon_.numbers.inhabited(p, spelling_)) kept.push_back(p);
  goal_numbers_[g] = number_set(std::move(kept));
  return number_sets_[goal_numbers_[g]].ids;
}

// ---- inhabited ------------------------------------------------------------------------------------------------------
// Keys of the fixpoint: a goal (times 8), or a goal for arrays or objects alone (and the type + 1).

bool Goals::inhabited(Id g, Type type) {
  if (g == kTrue) return true;
  if (g == kFalse) return false;
  switch (type) {
    case Type::Null: return literals3(g) & 1;
    case Type::Boolean: return literals3(g) & 6;
    case Type::Number: return !numbers(g).empty();
    case Type::String: return !string_sets_[strings(g)].pieces.empty();
    default: return fixpoint(g * 8 + static_cast<Id>(type) + 1);
  }
}

bool Goals::inhabited(Id g) {
  if (g == kTrue) return true;
  return g != kFalse && (inhabited_on_sight(g) || fixpoint(g * 8));
}

// Of one schema that applies none in place and lists no values: the keywords that ask something of a type do not rule all of it out. Of
// dozens of names that may come next only one will have a value that needs more than that.
bool Goals::inhabited_on_sight(Id g) const {
  const std::vector<Id>& literals = goals_[g].ids;
  if (literals.size() != 1 || literals[0] & 1 || !is_defined(literals[0] >> 1)) return false;
  std::int32_t left = types::kNull | types::kBoolean | types::kNumber | types::kString | types::kArray | types::kObject;
  std::int32_t numbers = types::kNumber | types::kInteger | types::kIntegerText;
  constexpr std::int32_t kShort = 16;  // digits before the point, of which one more is always written out
  int bounds = 0;
  for (const Atom& a : nodes_[static_cast<std::size_t>(literals[0] >> 1)].atoms) switch (a.op) {
      case Op::Const: case Op::Enum: case Op::Ref: case Op::All: case Op::Any: case Op::One: case Op::Not: case Op::If: return false;
      case Op::Type: left &= a.lo & numbers ? a.lo | types::kNumber : a.lo; break;
      case Op::Min: case Op::Max:  // beyond one bound there are numbers, but not all have a spelling
        if (++bounds > 1 || static_cast<std::int32_t>(a.number.digits.size()) + a.number.exp > kShort) left &= ~types::kNumber;
        break;
      case Op::Multiple: left &= ~types::kNumber; break;
      case Op::Length: case Op::Pattern: case Op::Format: left &= ~types::kString; break;
      case Op::Count: case Op::Contains: left &= a.lo > 0 ? ~types::kArray : ~0; break;
      case Op::Required: left &= ~types::kObject; break;
      case Op::Size: left &= a.lo > 0 ? ~types::kObject : ~0; break;
      case Op::Unique: case Op::Items: case Op::UnevaluatedItems: break;  // nothing of an empty array
      case Op::Properties: case Op::Patterns: case Op::Additional: case Op::Names: case Op::UnevaluatedProperties: case Op::DependentRequired: break;  // nor of an empty object
      case Op::DependentSchemas: break;
    }
  return left & (types::kNull | types::kBoolean | types::kNumber | types::kString | types::kArray | types::kObject);
}

bool Goals::try_key(Id key) {
  const Recursion deeper(&depth_, limits_.depth);
  round_[key] = 0;
  const Id g = key / 8;
  bool ok = false;
  try {
    switch (key % 8) {
      case 0:
        for (const Type t : {Type::Null, Type::Boolean, Type::String, Type::Number, Type::Array, Type::Object}) {
          ok = inhabited(g, t);
          if (ok) break;
        }
        break;
      case static_cast<int>(Type::Array) + 1: ok = viable_row(array(g), 0); break;
      default: ok = viable(object(g), {});
    }
  } catch (Limit& limit) {
    blame(&limit, node_of(goals_[g].ids));
    throw;
  }
  if (!ok) return false;
  sure_[key] = 1;
  found_ = true;
  round_.erase(key);
  return true;
}

bool Goals::fixpoint(Id key) {
  const auto sure = sure_.find(key);
  if (sure != sure_.end()) return sure->second;
  const auto now = round_.find(key);
  if (now != round_.end()) return now->second;
  if (in_round_) return try_key(key);
  struct Reset {
    Goals* goals;
    ~Reset() { goals->in_round_ = false, goals->new_round(); }
  } reset{this};
  bool ok = false;
  do {
    new_round();
    found_ = false;
    in_round_ = true;
    ok = try_key(key);
  } while (!ok && found_);
  if (!ok && leans_ == kInf)
    for (const auto& [k, _] : round_) sure_[k] = 0;
  return ok;
}

std::size_t Goals::nbytes() const {
  return goals_.size() * 80 + shapes_.size() * 240 + rows_.size() * 240 + opens_.size() * 200 + nodes_.size() * 200;
}

}  // namespace guard
