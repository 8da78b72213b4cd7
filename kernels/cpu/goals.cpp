#include "goals.hpp"

#include <algorithm>

namespace guard {

namespace {
constexpr Id kBusy = -2;            // a memo's mark for a computation in progress
constexpr std::size_t kMaxClasses = 500;    // of keys in one shape
constexpr std::size_t kMaxListed = 4096;    // keys of a finite class, listed as names
constexpr int kMaxSight = 3;        // objects inside of objects that unit propagation expands to refute a disjunct
constexpr int kMaxChoices = 256;    // combinations of disjuncts that cost_object compares before it takes what it has

template <class T>
void sort_unique(std::vector<T>* v) {
  std::sort(v->begin(), v->end());
  v->erase(std::unique(v->begin(), v->end()), v->end());
}
template <class T>
bool has(const std::vector<T>& sorted, const T& item) {
  return std::binary_search(sorted.begin(), sorted.end(), item);
}
[[noreturn, gnu::noinline]] void too_deep(int limit) { throw Limit{"depth", -1, "the schema's logic nests deeper than " + std::to_string(limit)}; }
struct Recursion {
  Recursion(int* depth, int limit) : depth_(depth) {
    if (*depth_ >= limit) too_deep(limit);
    ++*depth_;
  }
  ~Recursion() { --*depth_; }
  Recursion(const Recursion&) = delete;
  int* depth_;
};
// Marks a memo entry as in progress, and takes the mark back when an exception passes.
template <class Map>
struct Busy {
  Busy(Map* memo, Id key) : memo_(memo), key_(key) {
    if (memo->contains(key)) throw Limit{"cycle", key >> 1, "a $ref leads back to itself without consuming input"};
    memo->emplace(key, kBusy);
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
std::size_t hash_rules(std::size_t h, const std::vector<Rule>& rules) {
  for (const Rule& r : rules) h = mix(mix(h, static_cast<std::size_t>(r.keys)), static_cast<std::size_t>(r.goal));
  return mix(h, rules.size());
}
std::size_t hash_spans(std::size_t h, const std::vector<Span>& spans) {
  for (const Span& s : spans) h = mix(mix(mix(h, static_cast<std::size_t>(s.from)), static_cast<std::size_t>(s.to)), static_cast<std::size_t>(s.goal));
  return mix(h, spans.size());
}
std::int64_t plus_cost(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 ? -1 : a + b; }
std::int64_t cheaper(std::int64_t a, std::int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); }
}  // namespace

bool Lexicon::in_lang(Id lang, Id name) {
  const auto [at, fresh] = matches.try_emplace({lang, name}, false);
  if (fresh) {
    const bool yes = langs.contains(lang, decode_utf8(names[name].text));
    matches[{lang, name}] = yes;
    return yes;
  }
  return at->second;
}

std::size_t Shape::hash() const {
  std::size_t h = hash_rules(hash_rules(mix(static_cast<std::size_t>(lo), static_cast<std::size_t>(hi)), rules), some);
  for (const Clause& c : clauses) h = mix(h, hash_of(c));
  return h;
}
std::size_t Row::hash() const {
  std::size_t h = hash_spans(hash_spans(mix(static_cast<std::size_t>(lo), static_cast<std::size_t>(hi)), rules), some);
  for (const Counted& c : counts) h = mix(mix(mix(h, static_cast<std::size_t>(c.goal)), static_cast<std::size_t>(c.lo)), static_cast<std::size_t>(c.hi));
  for (const Clause& c : clauses) h = mix(h, hash_of(c));
  return h;
}

Goals::Goals(Lexicon& lexicon, Spelling spelling, Limits limits, std::int32_t gap_bytes)
    : lexicon_(lexicon), spelling_(spelling), limits_(limits), gap_(gap_bytes) {
  goals_.intern({});     // kTrue
  goals_.intern({{2}});  // kFalse: +1, and node 1 is `false`
  shapes_.intern({.rules = {}, .some = {}, .lo = 1, .hi = 0, .clauses = {}});
  shapes_.intern({});
  rows_.intern({.rules = {}, .some = {}, .counts = {}, .lo = 1, .hi = 0, .clauses = {}});
  rows_.intern({});
  nodes_.resize(2);
  nodes_[0].defined = nodes_[1].defined = true;
  Atom never{.op = Op::Type, .number = {}, .nodes = {}, .names = {}, .langs = {}, .values = {}, .lists = {}};
  nodes_[1].atoms.push_back(never);
}

void Goals::start_clock() {
  deadline_ = std::chrono::steady_clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(limits_.seconds * 1e6));
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
  return negated_[g] = goal({(kInternal + internals_.intern({-1, {g}})) << 1 | 1});
}

// ---- null and booleans ----------------------------------------------------------------------------------------------

std::uint8_t Goals::node_literals(Id node) {
  if (node == 0) return 7;
  const auto found = literals_memo_.find(node);
  if (found != literals_memo_.end() && found->second >= 0) return static_cast<std::uint8_t>(found->second);
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(&literals_memo_, node);
  const auto child = [this](Id n) { return static_cast<int>(node_literals(n)); };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    int out = 0;
    if (internal.value >= 0) {
      const Value::Kind k = lexicon_.values[internal.value].kind;
      out = k == Value::Null ? 1 : k == Value::True ? 2 : k == Value::False ? 4 : 0;
    }
    for (Id g : internal.any_of) out |= literals3(g);
    return static_cast<std::uint8_t>(busy.set(out));
  }
  int out = 7;
  for (const Atom& a : atoms(node)) {
    int v = 7;
    switch (a.op) {
      case Op::Type: v = (a.lo & types::kNull ? 1 : 0) | (a.lo & types::kBoolean ? 6 : 0); break;
      case Op::Const:
      case Op::Enum:
        v = 0;
        for (Id value : a.values) {
          const Value::Kind k = lexicon_.values[value].kind;
          v |= k == Value::Null ? 1 : k == Value::True ? 2 : k == Value::False ? 4 : 0;
        }
        break;
      case Op::Ref: v = child(a.nodes[0]); break;
      case Op::All:
        for (Id n : a.nodes) v &= child(n);
        break;
      case Op::Any:
        v = 0;
        for (Id n : a.nodes) v |= child(n);
        break;
      case Op::One: {
        int none = 7, one = 0;
        for (Id n : a.nodes) {
          const int x = child(n);
          one = (one & ~x) | (none & x);
          none &= ~x;
        }
        v = one;
        break;
      }
      case Op::Not: v = 7 & ~child(a.nodes[0]); break;
      case Op::If: {
        const int i = child(a.nodes[0]);
        v = (i & child(a.nodes[1])) | (7 & ~i & child(a.nodes[2]));
        break;
      }
      default: break;
    }
    out &= v;
  }
  return static_cast<std::uint8_t>(busy.set(out));
}

std::uint8_t Goals::literals3(Id g) {
  const auto found = goal_literals_.find(g);
  if (found != goal_literals_.end()) return static_cast<std::uint8_t>(found->second);
  int out = 7;
  for (Id l : std::vector<Id>(goals_[g].ids)) {
    const int v = node_literals(l >> 1);
    out &= l & 1 ? 7 & ~v : v;
  }
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

Id Goals::node_strings(Id node) {
  const Id all = strings_of({{0, kInf, Langs::kAll}}), none = strings_of({});
  if (node == 0) return all;
  const auto found = strings_memo_.find(node);
  if (found != strings_memo_.end() && found->second >= 0) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(&strings_memo_, node);
  const auto words = [this](const std::vector<Id>& values) {
    std::vector<std::u32string> list;
    for (Id v : values)
      if (lexicon_.values[v].kind == Value::String) list.push_back(decode_utf8(lexicon_.names[lexicon_.values[v].text].text));
    return strings_of({{0, kInf, lexicon_.langs.words(std::move(list))}});
  };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    Id out = internal.value >= 0 ? words({internal.value}) : none;
    for (Id g : internal.any_of) out = strings_or(out, strings(g));
    return busy.set(out);
  }
  Id out = all;
  for (const Atom& a : atoms(node)) {
    Id v = all;
    switch (a.op) {
      case Op::Type: v = a.lo & types::kString ? all : none; break;
      case Op::Const:
      case Op::Enum: v = words(a.values); break;
      case Op::Length: v = strings_of({{a.lo, a.hi, Langs::kAll}}); break;
      case Op::Pattern:
      case Op::Format: v = strings_of({{0, kInf, a.langs[0]}}); break;
      case Op::Ref: v = node_strings(a.nodes[0]); break;
      case Op::All:
        for (Id n : a.nodes) v = strings_and(v, node_strings(n));
        break;
      case Op::Any:
        v = none;
        for (Id n : a.nodes) v = strings_or(v, node_strings(n));
        break;
      case Op::One: {
        Id zero = all, one = none;
        for (Id n : a.nodes) {
          const Id x = node_strings(n);
          one = strings_or(strings_and(one, strings_not(x)), strings_and(zero, x));
          zero = strings_and(zero, strings_not(x));
        }
        v = one;
        break;
      }
      case Op::Not: v = strings_not(node_strings(a.nodes[0])); break;
      case Op::If: {
        const Id i = node_strings(a.nodes[0]);
        v = strings_or(strings_and(i, node_strings(a.nodes[1])), strings_and(strings_not(i), node_strings(a.nodes[2])));
        break;
      }
      default: break;
    }
    out = strings_and(out, v);
  }
  return busy.set(out);
}

Id Goals::strings(Id g) {
  const auto found = goal_strings_.find(g);
  if (found != goal_strings_.end()) return found->second;
  Id out = strings_of({{0, kInf, Langs::kAll}});
  for (Id l : std::vector<Id>(goals_[g].ids)) {
    const Id v = node_strings(l >> 1);
    out = strings_and(out, l & 1 ? strings_not(v) : v);
  }
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

Id Goals::numbers_and(Id a, Id b) {
  if (a == b) return a;
  const std::vector<Id> x = number_sets_[a].ids, y = number_sets_[b].ids;
  if (x.size() * y.size() > limits_.alternatives * 10) throw Limit{"alternatives", -1, "numbers fall into too many intervals"};
  std::vector<Id> out;
  Piece p;
  for (Id i : x)
    for (Id j : y)
      if (Numbers::merge(lexicon_.numbers.piece(i), lexicon_.numbers.piece(j), &p)) out.push_back(lexicon_.numbers.piece(p));
  return number_set(std::move(out));
}

Id Goals::numbers_or(const std::vector<Id>& sets) {
  std::vector<Id> out;
  for (Id s : sets) out.insert(out.end(), number_sets_[s].ids.begin(), number_sets_[s].ids.end());
  return number_set(std::move(out));
}

Id Goals::node_numbers(Id literal) {
  const bool sign = !(literal & 1);
  const Id node = literal >> 1;
  const auto just = [this](Piece p) { return number_set({lexicon_.numbers.piece(std::move(p))}); };
  const Id all = just({}), none = number_set({});
  if (node == 0) return sign ? all : none;
  const auto found = numbers_memo_.find(literal);
  if (found != numbers_memo_.end() && found->second >= 0) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(&numbers_memo_, literal);
  const auto every = [&](const std::vector<Id>& sets) {
    Id out = all;
    for (Id s : sets) out = numbers_and(out, s);
    return out;
  };
  const auto values = [&](const std::vector<Id>& list) {  // one of them, or none of them
    std::vector<Id> points;
    Piece others;
    for (Id v : list) {
      if (lexicon_.values[v].kind != Value::Number) continue;
      const Decimal& d = lexicon_.values[v].number;
      Piece p;
      p.has_lo = p.has_hi = true;
      p.lo = p.hi = d;
      points.push_back(lexicon_.numbers.piece(std::move(p)));
      others.not_values.push_back(d);
    }
    if (sign) return number_set(std::move(points));
    Piece out;
    Numbers::merge({}, others, &out);  // sorts
    return just(std::move(out));
  };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    if (internal.value >= 0) return busy.set(values({internal.value}));
    std::vector<Id> parts;
    for (Id g : internal.any_of) {
      std::vector<Id> inner;
      for (Id l : std::vector<Id>(goals_[g].ids)) inner.push_back(node_numbers(sign ? l : l ^ 1));
      parts.push_back(sign ? every(inner) : numbers_or(inner));
    }
    return busy.set(sign ? numbers_or(parts) : every(parts));
  }
  std::vector<Id> parts;
  const auto bound = [&](const Atom& a, bool low) {
    Piece p;
    if (low == sign)
      p.has_lo = true, p.lo = a.number, p.lo_open = sign ? a.open : !a.open;
    else
      p.has_hi = true, p.hi = a.number, p.hi_open = sign ? a.open : !a.open;
    return just(std::move(p));
  };
  const auto child = [&](Id n, bool s) { return node_numbers(n << 1 | !s); };
  for (const Atom& a : atoms(node)) {
    switch (a.op) {
      case Op::Type: {
        Piece p;
        if (a.lo & types::kNumber) {
          parts.push_back(sign ? all : none);
        } else if (a.lo & types::kInteger) {
          (sign ? p.multiples : p.not_multiples).push_back({false, "1", 0});
          parts.push_back(just(std::move(p)));
        } else if (a.lo & types::kIntegerText) {
          p.written = sign ? 1 : 2;
          parts.push_back(just(std::move(p)));
        } else {
          parts.push_back(sign ? none : all);
        }
        break;
      }
      case Op::Const:
      case Op::Enum: parts.push_back(values(a.values)); break;
      case Op::Min: parts.push_back(bound(a, true)); break;
      case Op::Max: parts.push_back(bound(a, false)); break;
      case Op::Multiple: {
        Piece p;
        (sign ? p.multiples : p.not_multiples).push_back(a.number);
        parts.push_back(just(std::move(p)));
        break;
      }
      case Op::Ref: parts.push_back(child(a.nodes[0], sign)); break;
      case Op::All:
      case Op::Any: {
        std::vector<Id> inner;
        for (Id n : a.nodes) inner.push_back(child(n, sign));
        parts.push_back((a.op == Op::All) == sign ? every(inner) : numbers_or(inner));
        break;
      }
      case Op::One: {
        // exactly one holds; or none, or two of them
        Id zero = all, one = none, many = none;
        for (Id n : a.nodes) {
          const Id yes = child(n, true), no = child(n, false);
          many = numbers_or({many, numbers_and(one, yes)});
          one = numbers_or({numbers_and(one, no), numbers_and(zero, yes)});
          zero = numbers_and(zero, no);
        }
        parts.push_back(sign ? one : numbers_or({zero, many}));
        break;
      }
      case Op::Not: parts.push_back(child(a.nodes[0], !sign)); break;
      case Op::If: {
        const Id yes = child(a.nodes[0], true), no = child(a.nodes[0], false);
        parts.push_back(numbers_or({numbers_and(yes, child(a.nodes[1], sign)), numbers_and(no, child(a.nodes[2], sign))}));
        break;
      }
      default: parts.push_back(sign ? all : none);
    }
  }
  return busy.set(sign ? every(parts) : numbers_or(parts));
}

const std::vector<Id>& Goals::numbers(Id g) {
  const auto found = goal_numbers_.find(g);
  if (found != goal_numbers_.end()) return number_sets_[found->second].ids;
  Id out = number_set({lexicon_.numbers.piece(Piece{})});
  for (Id l : std::vector<Id>(goals_[g].ids)) out = numbers_and(out, node_numbers(l));
  std::vector<Id> kept;
  for (Id p : std::vector<Id>(number_sets_[out].ids))
    if (lexicon_.numbers.inhabited(p, spelling_)) kept.push_back(p);
  goal_numbers_[g] = number_set(std::move(kept));
  return number_sets_[goal_numbers_[g]].ids;
}

// ---- objects: shapes ------------------------------------------------------------------------------------------------

bool Goals::holds(Id keys, Id name) {
  const KeySet& k = key_sets_[keys];
  if (k.kind == KeySet::One) return k.id == name;
  if (k.kind == KeySet::Lang) return lexicon_.in_lang(k.id, name);
  const auto found = holds_.find({keys, name});
  if (found != holds_.end()) return found->second;
  bool yes = !has(k.names, name);
  for (Id lang : k.langs) yes = yes && !lexicon_.in_lang(lang, name);
  return holds_[{keys, name}] = yes;
}

Id Goals::key_rest(std::vector<Id> names, std::vector<Id> langs) {
  if (names.empty() && langs.empty()) return key_lang(Langs::kAll);
  sort_unique(&names);
  sort_unique(&langs);
  return key_sets_.intern({KeySet::Rest, -1, std::move(names), std::move(langs)});
}

Id Goals::rule_shape(Id keys, Id goal) {
  if (goal == kTrue) return kAny;
  return shapes_.intern({.rules = {{keys, goal}}, .some = {}, .clauses = {}});
}
Id Goals::some_shape(Id keys, Id goal) {
  if (goal == kFalse) return kNever;
  return shapes_.intern({.rules = {}, .some = {{keys, goal}}, .clauses = {}});
}
Id Goals::size_shape(std::int32_t lo, std::int32_t hi) {
  if (lo > hi) return kNever;
  return shapes_.intern({.rules = {}, .some = {}, .lo = lo, .hi = hi, .clauses = {}});
}

bool Goals::merge_into(Shape* into, const Shape& from) {
  const auto unite = [this](std::vector<Rule>* a, const std::vector<Rule>& b, bool names_only) {
    if (b.empty()) return;
    std::vector<Rule> out;
    out.reserve(a->size() + b.size());
    std::merge(a->begin(), a->end(), b.begin(), b.end(), std::back_inserter(out));
    std::size_t n = 0;
    for (const Rule& r : out) {
      if (n > 0 && out[n - 1] == r) continue;
      if (n > 0 && out[n - 1].keys == r.keys && (!names_only || key_sets_[r.keys].kind == KeySet::One))
        out[n - 1].goal = conj(out[n - 1].goal, r.goal);
      else
        out[n++] = r;
    }
    out.resize(n);
    *a = std::move(out);
  };
  unite(&into->rules, from.rules, false);
  unite(&into->some, from.some, true);
  into->lo = std::max(into->lo, from.lo);
  into->hi = std::min(into->hi, from.hi);
  for (const Clause& c : from.clauses)
    if (std::find(into->clauses.begin(), into->clauses.end(), c) == into->clauses.end()) into->clauses.push_back(c);
  return into->lo <= into->hi;
}

Id Goals::shapes_and(const std::vector<Id>& list) {
  if (list.size() == 1) return list[0];
  Shape out;
  bool only = true;
  Id single = kAny;
  for (Id s : list) {
    if (s == kNever) return kNever;
    if (s == kAny) continue;
    if (single == kAny || single == s)
      single = s;
    else
      only = false;
    if (!merge_into(&out, shapes_[s])) return kNever;
  }
  return only ? single : settle(std::move(out));
}

Id Goals::shapes_or(std::vector<Id> list) {
  std::vector<Id> kept;
  for (Id s : list) {
    if (s == kAny) return kAny;
    if (s == kNever) continue;
    const Shape& shape = shapes_[s];
    const bool nested = shape.clauses.size() == 1 && shape.rules.empty() && shape.some.empty() && shape.lo == 0 && shape.hi == kInf;
    for (Id d : nested ? Clause(shape.clauses[0]) : Clause{s})
      if (std::find(kept.begin(), kept.end(), d) == kept.end()) kept.push_back(d);
  }
  if (kept.empty()) return kNever;
  if (kept.size() == 1) return kept[0];
  if (kept.size() > limits_.alternatives) throw Limit{"alternatives", -1, "a choice between too many shapes of objects"};
  return shapes_.intern({.rules = {}, .some = {}, .clauses = {std::move(kept)}});
}

bool Goals::weaker(Id id, const Shape& b) const {
  const Shape& a = shapes_[id];
  if (a.lo > b.lo || a.hi < b.hi) return false;
  const auto within = [this](const std::vector<Rule>& x, const std::vector<Rule>& y) {
    return std::all_of(x.begin(), x.end(), [&](const Rule& r) {
      for (auto at = std::lower_bound(y.begin(), y.end(), Rule{r.keys, -1}); at != y.end() && at->keys == r.keys; ++at) {
        const auto &want = goals_[r.goal].ids, &got = goals_[at->goal].ids;
        if (r.goal == at->goal || at->goal == kFalse || std::includes(got.begin(), got.end(), want.begin(), want.end())) return true;
      }
      return false;
    });
  };
  return within(a.rules, b.rules) && within(a.some, b.some) && std::all_of(a.clauses.begin(), a.clauses.end(), [&](const Clause& c) {
           return std::find(b.clauses.begin(), b.clauses.end(), c) != b.clauses.end();
         });
}

bool Goals::forbids(const Shape& a, Id name) {
  for (const Rule& r : a.rules)
    if (r.goal == kFalse && holds(r.keys, name)) return true;
  return false;
}

bool Goals::clash(const Shape& a, const Shape& b) {
  if (std::max(a.lo, b.lo) > std::min(a.hi, b.hi)) return true;
  for (const Shape* x : {&a, &b}) {
    const Shape& y = x == &a ? b : a;
    for (const Rule& r : x->some)
      if (key_sets_[r.keys].kind == KeySet::One && forbids(y, key_sets_[r.keys].id)) return true;
  }
  return false;
}

// Unit propagation over the clauses of a shape.
Id Goals::settle(Shape s) {
  tick();
  while (true) {
    if (s.lo > s.hi) return kNever;
    for (const Rule& r : s.some)
      if (r.goal == kFalse || (key_sets_[r.keys].kind == KeySet::One && forbids(s, key_sets_[r.keys].id))) return kNever;
    if (s.clauses.empty()) break;
    bool changed = false;
    for (std::size_t i = 0; i < s.clauses.size(); ++i) {
      Clause alive;
      bool entailed = false;
      Shape flat = std::move(s);  // without copying: the clauses do not matter to clash and weaker
      for (Id d : flat.clauses[i]) {
        if (clash(flat, shapes_[d])) continue;
        if (weaker(d, flat)) {
          entailed = true;
          break;
        }
        alive.push_back(d);
      }
      s = std::move(flat);
      if (!entailed && alive.size() == s.clauses[i].size() && alive.size() > 1) continue;
      if (!entailed && alive.empty()) return kNever;
      if (!entailed && alive.size() > 1) {
        s.clauses[i] = std::move(alive);
        continue;
      }
      s.clauses.erase(s.clauses.begin() + static_cast<std::ptrdiff_t>(i));
      if (!entailed && !merge_into(&s, Shape(shapes_[alive[0]]))) return kNever;
      changed = true;
      break;
    }
    if (!changed) break;
  }
  if (goals_.size() + shapes_.size() > limits_.states) throw Limit{"states", -1, "too many goals and shapes"};
  return shapes_.intern(std::move(s));
}

bool Goals::empty_on_sight(Id g) {
  if (g == kTrue) return false;
  if (g == kFalse) return true;
  const auto found = dull_.find(g);
  if (found != dull_.end()) return found->second;
  if (literals3(g) || !string_sets_[strings(g)].pieces.empty() || !numbers(g).empty()) {
    dull_[g] = 0;
    return false;
  }
  if (sight_ == kMaxSight) return false;  // discriminators stand near the top; deeper, viability decides
  const Recursion farther(&sight_, kMaxSight);
  dull_[g] = 0;  // in progress: assume nothing
  try {
    const bool empty = array(g) == kNever && object(g) == kNever;
    dull_[g] = empty;
    return empty;
  } catch (...) {
    dull_.erase(g);
    throw;
  }
}

Id Goals::goal_at(Id name, const Shape& a, const Shape* b) {
  Id out = kTrue;
  for (const Shape* s : {&a, b}) {
    if (!s) continue;
    for (const Rule& r : s->rules)
      if (holds(r.keys, name)) out = conj(out, r.goal);
    for (const Rule& r : s->some)
      if (key_sets_[r.keys].kind == KeySet::One && key_sets_[r.keys].id == name) out = conj(out, r.goal);
  }
  return out;
}

// Unit propagation with the goals of the keys that must come: they refute disjuncts and entail others.
Id Goals::tidy(Id id) {
  if (shapes_[id].clauses.empty()) return id;
  const auto found = tidied_.find(id);
  if (found != tidied_.end()) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  const Shape s = shapes_[id];
  std::vector<Id> needed;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind == KeySet::One) needed.push_back(key_sets_[r.keys].id);
  Shape out = s;
  out.clauses.clear();
  bool changed = false;
  for (const Clause& c : s.clauses) {
    Clause alive;
    bool entailed = false;
    for (Id d : c) {
      const Shape disjunct = shapes_[d];
      std::vector<Id> names = needed;
      for (const Rule& r : disjunct.some)
        if (key_sets_[r.keys].kind == KeySet::One) names.push_back(key_sets_[r.keys].id);
      sort_unique(&names);
      bool dead = false;
      for (Id n : names) {
        bool speaks = disjunct.rules.size() < 8;
        for (const Rule& r : disjunct.rules) speaks = speaks || holds(r.keys, n);
        if ((speaks || !disjunct.some.empty()) && empty_on_sight(goal_at(n, s, &disjunct))) {
          dead = true;
          break;
        }
      }
      if (dead) {
        changed = true;
        continue;
      }
      alive.push_back(d);
      if (!disjunct.clauses.empty() || disjunct.lo > s.lo || disjunct.hi < s.hi) continue;
      const auto entails = [&](const Rule& r, bool existential) {
        const auto& list = existential ? s.some : s.rules;
        if (std::find(list.begin(), list.end(), r) != list.end()) return true;
        const KeySet& k = key_sets_[r.keys];
        if (k.kind != KeySet::One || std::find(needed.begin(), needed.end(), k.id) == needed.end()) return false;
        return r.goal == kTrue || empty_on_sight(conj(goal_at(k.id, s, nullptr), negate(r.goal)));
      };
      if (std::all_of(disjunct.rules.begin(), disjunct.rules.end(), [&](const Rule& r) { return entails(r, false); }) &&
          std::all_of(disjunct.some.begin(), disjunct.some.end(), [&](const Rule& r) { return entails(r, true); })) {
        entailed = true;
        break;
      }
    }
    if (entailed) {
      changed = true;
      continue;
    }
    if (alive.empty()) return tidied_[id] = kNever;
    out.clauses.push_back(std::move(alive));
  }
  if (!changed) return tidied_[id] = id;
  const Id next = settle(std::move(out));
  return tidied_[id] = next == kNever ? kNever : tidy(next);
}

Id Goals::node_object(Id literal) {
  const bool sign = !(literal & 1);
  const Id node = literal >> 1;
  if (node == 0) return sign ? kAny : kNever;
  const auto found = object_memo_.find(literal);
  if (found != object_memo_.end() && found->second >= 0) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(&object_memo_, literal);
  const auto all = [&](const std::vector<Id>& l) { return sign ? shapes_and(l) : shapes_or(l); };
  const auto any = [&](const std::vector<Id>& l) { return sign ? shapes_or(l) : shapes_and(l); };
  const auto child = [&](Id n, bool s) { return node_object(n << 1 | !s); };
  const auto each = [&](Id keys, Id n) { return sign ? rule_shape(keys, goal({n << 1})) : some_shape(keys, goal({n << 1 | 1})); };
  const auto present = [&](Id name, bool s) { return s ? some_shape(key_name(name), kTrue) : rule_shape(key_name(name), kFalse); };
  const auto value = [&](Id v) {
    const Value val = lexicon_.values[v];
    if (val.kind != Value::Object) return sign ? kNever : kAny;
    std::vector<Id> names, parts;
    for (const auto& [k, _] : val.members) names.push_back(k);
    const Id others = key_rest(names, {});
    parts.push_back(sign ? rule_shape(others, kFalse) : some_shape(others, kTrue));
    for (const auto& [k, x] : val.members) {
      parts.push_back(present(k, sign));
      parts.push_back(sign ? rule_shape(key_name(k), goal({constant(x) << 1})) : some_shape(key_name(k), goal({constant(x) << 1 | 1})));
    }
    return all(parts);
  };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    if (internal.value >= 0) return busy.set(value(internal.value));
    std::vector<Id> parts;
    for (Id g : internal.any_of) {
      std::vector<Id> inner;
      for (Id l : std::vector<Id>(goals_[g].ids)) inner.push_back(node_object(sign ? l : l ^ 1));
      parts.push_back(all(inner));
    }
    return busy.set(any(parts));
  }
  std::vector<Id> parts;
  for (const Atom& a : atoms(node)) {
    switch (a.op) {
      case Op::Type: parts.push_back(((a.lo & types::kObject) != 0) == sign ? kAny : kNever); break;
      case Op::Const:
      case Op::Enum: {
        std::vector<Id> list;
        for (Id v : a.values) list.push_back(value(v));
        parts.push_back(any(list));
        break;
      }
      case Op::Ref: parts.push_back(child(a.nodes[0], sign)); break;
      case Op::All:
      case Op::Any: {
        std::vector<Id> list;
        for (Id n : a.nodes) list.push_back(child(n, sign));
        parts.push_back(a.op == Op::All ? all(list) : any(list));
        break;
      }
      case Op::One: {
        std::vector<Id> ways;
        if (sign) {
          for (std::size_t i = 0; i < a.nodes.size(); ++i) {
            std::vector<Id> one{child(a.nodes[i], true)};
            for (std::size_t j = 0; j < a.nodes.size(); ++j)
              if (j != i) one.push_back(child(a.nodes[j], false));
            ways.push_back(shapes_and(one));
          }
        } else {
          std::vector<Id> none;
          for (Id n : a.nodes) none.push_back(child(n, false));
          ways.push_back(shapes_and(none));
          for (std::size_t j = 0; j < a.nodes.size(); ++j)
            for (std::size_t i = 0; i < j; ++i) ways.push_back(shapes_and({child(a.nodes[i], true), child(a.nodes[j], true)}));
        }
        parts.push_back(shapes_or(ways));
        break;
      }
      case Op::Not: parts.push_back(child(a.nodes[0], !sign)); break;
      case Op::If:
        parts.push_back(shapes_or({shapes_and({child(a.nodes[0], true), child(a.nodes[1], sign)}),
                                   shapes_and({child(a.nodes[0], false), child(a.nodes[2], sign)})}));
        break;
      case Op::Properties: {
        if (!sign) {
          std::vector<Id> list;
          for (std::size_t i = 0; i < a.names.size(); ++i) list.push_back(each(key_name(a.names[i]), a.nodes[i]));
          parts.push_back(shapes_or(list));
          break;
        }
        Shape s;
        for (std::size_t i = 0; i < a.names.size(); ++i) {
          const Id g = goal({a.nodes[i] << 1});
          if (g != kTrue) s.rules.push_back({key_name(a.names[i]), g});
        }
        sort_unique(&s.rules);
        parts.push_back(shapes_.intern(std::move(s)));
        break;
      }
      case Op::Patterns: {
        std::vector<Id> list;
        for (std::size_t i = 0; i < a.langs.size(); ++i) list.push_back(each(key_lang(a.langs[i]), a.nodes[i]));
        parts.push_back(all(list));
        break;
      }
      case Op::Additional: parts.push_back(each(key_rest(a.names, a.langs), a.nodes[0])); break;
      case Op::Required: {
        if (!sign) {
          std::vector<Id> list;
          for (Id n : a.names) list.push_back(present(n, false));
          parts.push_back(shapes_or(list));
          break;
        }
        Shape s;
        for (Id n : a.names) s.some.push_back({key_name(n), kTrue});
        sort_unique(&s.some);
        parts.push_back(shapes_.intern(std::move(s)));
        break;
      }
      case Op::Size:
        if (sign)
          parts.push_back(size_shape(a.lo, a.hi));
        else
          parts.push_back(shapes_or({a.lo > 0 ? size_shape(0, a.lo - 1) : kNever, a.hi < kInf ? size_shape(a.hi + 1, kInf) : kNever}));
        break;
      case Op::Names: {
        const Id keys = key_lang(lexicon_.langs.no(keys_lang(goal({a.nodes[0] << 1}))));
        parts.push_back(sign ? rule_shape(keys, kFalse) : some_shape(keys, kTrue));
        break;
      }
      case Op::DependentRequired: {
        std::vector<Id> list;
        for (std::size_t i = 0; i < a.names.size(); ++i) {
          std::vector<Id> needs;
          for (Id q : a.lists[i]) needs.push_back(present(q, sign));
          list.push_back(any({present(a.names[i], !sign), all(needs)}));
        }
        parts.push_back(all(list));
        break;
      }
      case Op::DependentSchemas: {
        std::vector<Id> list;
        for (std::size_t i = 0; i < a.names.size(); ++i) {
          const Id with = shapes_and({present(a.names[i], true), child(a.nodes[i], sign)});
          list.push_back(sign ? shapes_or({present(a.names[i], false), with}) : with);
        }
        parts.push_back(all(list));
        break;
      }
      default: parts.push_back(sign ? kAny : kNever);
    }
  }
  if (parts.empty()) parts.push_back(sign ? kAny : kNever);
  return busy.set(all(parts));
}

Id Goals::object(Id g) {
  const auto found = goal_object_.find(g);
  if (found != goal_object_.end()) return found->second;
  std::vector<Id> parts{kAny};
  for (Id l : std::vector<Id>(goals_[g].ids)) parts.push_back(node_object(l));
  const Id out = tidy(shapes_and(parts));
  return goal_object_[g] = out;
}

// ---- objects: classes of keys, cases, residuals -----------------------------------------------------------------------

const std::vector<KeyClass>& Goals::classes(const std::vector<Id>& list) {
  const auto found = classes_.find(list);
  if (found != classes_.end()) return found->second;
  std::vector<Id> sets, seen, todo = list;
  while (!todo.empty()) {
    const Id s = todo.back();
    todo.pop_back();
    if (std::find(seen.begin(), seen.end(), s) != seen.end()) continue;
    seen.push_back(s);
    for (const Rule& r : shapes_[s].rules) sets.push_back(r.keys);
    for (const Rule& r : shapes_[s].some) sets.push_back(r.keys);
    for (const Clause& c : shapes_[s].clauses) todo.insert(todo.end(), c.begin(), c.end());
  }
  sort_unique(&sets);
  std::vector<Id> names, langs, wide;
  for (Id k : sets) {
    const KeySet& set = key_sets_[k];
    if (set.kind == KeySet::One) names.push_back(set.id);
    if (set.kind != KeySet::One) wide.push_back(k);
    if (set.kind == KeySet::Lang && set.id != Langs::kAll) langs.push_back(set.id);
    names.insert(names.end(), set.names.begin(), set.names.end());
    langs.insert(langs.end(), set.langs.begin(), set.langs.end());
  }
  sort_unique(&names);
  sort_unique(&langs);
  Langs& l = lexicon_.langs;
  std::vector<std::pair<Id, std::vector<Id>>> parts{{Langs::kAll, {}}};  // language, which of langs hold it
  for (Id lang : langs) {
    std::vector<std::pair<Id, std::vector<Id>>> next;
    for (auto& [r, in] : parts) {
      const Id yes = l.both({r, lang}), no = l.both({r, l.no(lang)});
      if (l.live(yes)) {
        next.push_back({yes, in});
        next.back().second.push_back(lang);
      }
      if (l.live(no)) next.push_back({no, std::move(in)});
    }
    parts = std::move(next);
    if (parts.size() > kMaxClasses) throw Limit{"alternatives", -1, "patterns divide keys into more than " + std::to_string(kMaxClasses) + " classes"};
  }
  std::vector<KeyClass> out;
  for (const auto& [r, in] : parts) {
    std::vector<std::u32string> words;
    if (r != Langs::kAll && l.list(r, kMaxListed, &words)) {
      for (const auto& w : words) names.push_back(lexicon_.name(encode_utf8(w)));
      continue;
    }
    KeyClass cls{-1, r, {}};
    for (Id k : wide) {
      const KeySet& set = key_sets_[k];
      bool in_set = set.kind == KeySet::Lang ? set.id == Langs::kAll || has(in, set.id) : true;
      if (set.kind == KeySet::Rest)
        for (Id lang : set.langs) in_set = in_set && !has(in, lang);
      if (in_set) cls.holds.push_back(k);
    }
    out.push_back(std::move(cls));
  }
  sort_unique(&names);
  for (Id n : names) {
    KeyClass cls{n, Langs::kNone, {}};
    const KeySet own{KeySet::One, n, {}, {}};
    const Id id = key_sets_.intern(own);
    if (has(sets, id)) cls.holds.push_back(id);
    for (Id k : wide)
      if (holds(k, n)) cls.holds.push_back(k);
    std::sort(cls.holds.begin(), cls.holds.end());
    out.push_back(std::move(cls));
  }
  return classes_.emplace(list, std::move(out)).first->second;
}

const std::vector<KeyClass>& Goals::own_classes(Id shape) { return classes({shape}); }

namespace {
Id base_goal(Goals& goals, const Shape& s, const KeyClass& cls) {
  Id out = Goals::kTrue;
  for (Id k : cls.holds) {
    const auto at = std::lower_bound(s.rules.begin(), s.rules.end(), Rule{k, -1});
    if (at != s.rules.end() && at->keys == k) out = goals.conj(out, at->goal);
  }
  return out;
}
}  // namespace

Id Goals::base_of(const Shape& s, const KeyClass& cls) {
  Id out = base_goal(*this, s, cls);
  if (cls.name < 0) return out;
  for (Id k : cls.holds) {  // a named existential
    if (key_sets_[k].kind != KeySet::One) continue;
    const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{k, -1});
    if (at != s.some.end() && at->keys == k) out = conj(out, at->goal);
  }
  return out;
}

// Goals are watched literal by literal: so the goals that cases lead to are sets of signed nodes, of which there are finitely
// many, and never a negated conjunction inside of another.
void Goals::watch_goal(Id g, std::vector<Id>* goals) {
  for (Id literal : std::vector<Id>(goals_[g].ids)) goals->push_back(goal({literal}));
}

bool Goals::is_met(Id g, const std::vector<Id>& met) {
  if (g == kFalse) return false;
  for (Id literal : std::vector<Id>(goals_[g].ids))
    if (!has(met, goal({literal}))) return false;
  return true;
}

void Goals::watch(Id id, const KeyClass& cls, bool top, std::vector<Id>* goals) {
  const Shape& s = shapes_[id];
  if (!top)
    for (const Rule& r : s.rules)
      if (r.goal != kFalse && has(cls.holds, r.keys)) watch_goal(r.goal, goals);
  for (const Rule& r : s.some)
    if (has(cls.holds, r.keys) && !(top && key_sets_[r.keys].kind == KeySet::One)) watch_goal(r.goal, goals);
  for (const Clause& c : s.clauses)
    for (Id d : c) watch(d, cls, false, goals);
}

// The residual once a member of the class was written whose value meets, of the watched goals, exactly `met`.
Id Goals::after(Id id, const KeyClass& cls, const std::vector<Id>& met, bool top) {
  Shape s = shapes_[id];
  const auto is_met = [&](Id g) { return this->is_met(g, met); };
  const auto in_class = [&](const Rule& r) { return has(cls.holds, r.keys); };
  const auto named = [&](const Rule& r) { return key_sets_[r.keys].kind == KeySet::One; };
  bool changed = false;
  if (!top) {
    for (const Rule& r : s.rules)
      if (in_class(r) && !is_met(r.goal)) return kNever;
    for (const Rule& r : s.some)
      if (in_class(r) && named(r) && !is_met(r.goal)) return kNever;
    changed |= std::erase_if(s.rules, [&](const Rule& r) { return in_class(r) && named(r); }) > 0;
    changed |= std::erase_if(s.some, [&](const Rule& r) { return in_class(r) && is_met(r.goal); }) > 0;
  } else {
    changed |= std::erase_if(s.some, [&](const Rule& r) { return in_class(r) && !named(r) && is_met(r.goal); }) > 0;
  }
  std::vector<Clause> clauses;
  for (const Clause& c : s.clauses) {
    Clause alive;
    bool holds_already = false;
    for (Id d : c) {
      const Id next = after(d, cls, met, false);
      changed |= next != d;
      if (next == kAny) holds_already = true;
      if (next != kNever && std::find(alive.begin(), alive.end(), next) == alive.end()) alive.push_back(next);
    }
    if (holds_already) continue;
    if (alive.empty()) return kNever;
    clauses.push_back(std::move(alive));
  }
  if (!changed) return id;
  s.clauses = std::move(clauses);
  if (!top && s.clauses.size() == 1 && s.rules.empty() && s.some.empty() && s.lo == 0 && s.hi == kInf) return shapes_or(s.clauses[0]);
  return top ? tidy(settle(std::move(s))) : shapes_.intern(std::move(s));
}

int Goals::constant_for(Id g, Type type) {
  if (g == kTrue) return 1;
  switch (type) {
    case Type::Null: return literals3(g) & 1;
    case Type::Boolean: return (literals3(g) & 6) == 6 ? 1 : (literals3(g) & 6) == 0 ? 0 : -1;
    case Type::String: {
      const auto& p = string_sets_[strings(g)].pieces;
      return p.empty() ? 0 : p.size() == 1 && p[0] == StringPiece{0, kInf, Langs::kAll} ? 1 : -1;
    }
    case Type::Number: {
      const auto& p = numbers(g);
      return p.empty() ? 0 : p.size() == 1 && lexicon_.numbers.piece(p[0]).is_free() ? 1 : -1;
    }
    case Type::Object: return object(g) == kNever ? 0 : object(g) == kAny ? 1 : -1;
    case Type::Array: return array(g) == kNever ? 0 : array(g) == kAny ? 1 : -1;
  }
  return -1;
}

// The inhabited sign vectors of the watched goals, for one type.
void Goals::split(Id base, std::vector<Id> watched, Type type, bool disjoint, const std::function<Id(const std::vector<Id>&)>& then, std::vector<Case>* out) {
  need({base});
  need(watched);
  sort_unique(&watched);
  std::vector<Id> always, open;
  for (Id w : watched) {
    const int c = constant_for(w, type);
    if (c == 1) always.push_back(w);
    if (c < 0) open.push_back(w);
  }
  struct Cell {
    Id goal;
    std::vector<Id> met;
  };
  std::vector<Cell> cells;
  if (inhabited(base, type)) cells.push_back({base, always});
  disjoint = disjoint || (type != Type::Object && type != Type::Array);
  for (Id w : open) {
    std::vector<Cell> next;
    for (Cell& cell : cells) {
      const Id yes = conj(cell.goal, w);
      // One obligation on a member may stay owed though its value meets it; an item that is counted may not.
      const Id no = disjoint || open.size() > 1 ? conj(cell.goal, negate(w)) : cell.goal;
      if (inhabited(yes, type)) {
        next.push_back({yes, cell.met});
        next.back().met.push_back(w);
      }
      if (inhabited(no, type)) next.push_back({no, std::move(cell.met)});
    }
    cells = std::move(next);
    if (cells.size() > limits_.alternatives) throw Limit{"alternatives", -1, "a value falls into too many cases"};
  }
  for (Cell& cell : cells) {
    std::sort(cell.met.begin(), cell.met.end());
    const Id next = then(cell.met);
    if (next != kNever) out->push_back({cell.goal, next});
  }
}

// Inside a round an empty goal may still turn out to be inhabited: such cases are not remembered.
const std::vector<Case>& Goals::keep_cases(std::vector<Id> key, std::vector<Case> cases) {
  if (in_round_) return scratch_.emplace_back(std::move(cases));
  return cases_.emplace(std::move(key), std::move(cases)).first->second;
}

const std::vector<Case>& Goals::cases(Id shape, const KeyClass& cls, Type type) {
  std::vector<Id> key = cls.holds;
  key.push_back(shape);
  key.push_back(static_cast<Id>(type));
  key.push_back(cls.name);
  const auto found = cases_.find(key);
  if (found != cases_.end()) return found->second;
  const Shape s = shapes_[shape];
  const Id base = base_of(s, cls);
  std::vector<Id> watched;
  watch(shape, cls, true, &watched);
  std::vector<Case> out;
  split(base, std::move(watched), type, false, [&](const std::vector<Id>& met) { return after(shape, cls, met, true); }, &out);
  return keep_cases(std::move(key), std::move(out));
}

bool Goals::is_plain(Id shape) {
  const Shape& s = shapes_[shape];
  return s.clauses.empty() && s.hi == kInf &&
         std::all_of(s.some.begin(), s.some.end(), [this](const Rule& r) { return key_sets_[r.keys].kind == KeySet::One; });
}

bool Goals::viable(Id id, const Keys& keys) {
  if (id == kNever) return false;
  if (id == kAny) return true;
  if (keys.fresh()) {
    const auto found = fresh_.find(id);
    if (found != fresh_.end()) return found->second;
    if (in_round_ && round_shapes_.contains(id)) return false;
  }
  const Recursion deeper(&depth_, limits_.depth);
  const Shape s = shapes_[id];
  bool ok = false;
  if (s.clauses.empty()) {
    ok = plan(id, keys);
  } else {  // choose a disjunct of the smallest clause; first success ends it
    std::size_t least = 0;
    for (std::size_t i = 1; i < s.clauses.size(); ++i)
      if (s.clauses[i].size() < s.clauses[least].size()) least = i;
    Shape rest = s;
    rest.clauses.erase(rest.clauses.begin() + static_cast<std::ptrdiff_t>(least));
    for (Id d : s.clauses[least]) {
      Shape with = rest;
      if (!merge_into(&with, Shape(shapes_[d]))) continue;
      // A name that was written already met its goals when it was written: what the rest still says of it is settled.
      const Id next = tidy(settle(std::move(with)));
      if (viable(next, keys)) {
        ok = true;
        break;
      }
    }
  }
  if (keys.fresh() && (ok || !in_round_)) fresh_[id] = ok;
  if (keys.fresh() && !ok && in_round_) round_shapes_.insert(id);
  return ok;
}

bool Goals::plan(Id id, const Keys& keys) {
  const Shape s = shapes_[id];
  if (keys.count > s.hi) return false;
  const std::vector<KeyClass>& all = own_classes(id);
  struct Member {
    std::size_t cls;
    Id goal;
  };
  std::vector<Member> members;
  std::vector<Rule> todo;
  std::vector<Id> wanted;
  std::vector<std::pair<std::size_t, Id>> named;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const KeyClass& cls = all[i];
    if (cls.name < 0) continue;
    for (Id k : cls.holds) {
      if (key_sets_[k].kind != KeySet::One) continue;
      const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{k, -1});
      if (at == s.some.end() || at->keys != k || keys.seen(cls.name)) continue;
      if (!keys.open(cls.name)) return false;
      const Id g = conj(base_goal(*this, s, cls), at->goal);
      if (g == kFalse) return false;
      named.push_back({i, g});
      wanted.push_back(g);
    }
  }
  need(wanted);
  for (const auto& [i, g] : named) {
    if (!inhabited(g)) return false;
    members.push_back({i, g});
  }
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One) todo.push_back(r);
  const auto count = [&] { return static_cast<std::int64_t>(keys.count) + static_cast<std::int64_t>(members.size()); };
  if (s.hi == kInf)  // room for everyone: an obligation with an endless class to live in is met by itself
    std::erase_if(todo, [&](const Rule& r) {
      return std::any_of(all.begin(), all.end(), [&](const KeyClass& cls) {
        return cls.name < 0 && has(cls.holds, r.keys) && inhabited(conj(base_goal(*this, s, cls), r.goal));
      });
    });
  if (todo.empty() && count() >= s.lo) return count() <= s.hi;
  // How many members could still fill up to the minimum.
  const auto fill = [&] {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name))) continue;
      if (std::any_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; }) && all[i].name >= 0) continue;
      if (!inhabited(base_goal(*this, s, all[i]))) continue;
      if (all[i].name < 0) return static_cast<std::int64_t>(kInf);
      ++n;
    }
    return n;
  };
  const std::function<bool(std::size_t)> search = [&](std::size_t next) {
    if (count() > s.hi) return false;
    if (next == todo.size()) return count() >= s.lo || count() + fill() >= s.lo;
    const Rule& r = todo[next];
    for (std::size_t j = 0; j < members.size(); ++j) {
      if (!has(all[members[j].cls].holds, r.keys)) continue;
      const Id before = members[j].goal, g = conj(before, r.goal);
      if (!inhabited(g)) continue;
      members[j].goal = g;
      const bool ok = search(next + 1);
      members[j].goal = before;
      if (ok) return true;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!has(all[i].holds, r.keys)) continue;
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name) ||
                               std::any_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; })))
        continue;
      const Id g = conj(base_goal(*this, s, all[i]), r.goal);
      if (!inhabited(g)) continue;
      members.push_back({i, g});
      const bool ok = search(next + 1);
      members.pop_back();
      if (ok) return true;
    }
    return false;
  };
  return search(0);
}

bool Goals::done(Id id, const Keys& keys) {
  const Shape& s = shapes_[id];
  if (keys.count < s.lo || keys.count > s.hi) return false;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One || !keys.seen(key_sets_[r.keys].id)) return false;
  for (const Clause& c : s.clauses)
    if (std::none_of(c.begin(), c.end(), [&](Id d) { return done(d, keys); })) return false;
  return true;
}

// ---- arrays ---------------------------------------------------------------------------------------------------------

Id Goals::span_row(std::int32_t from, std::int32_t to, Id goal, bool every) {
  if (from >= to || (every ? goal == kTrue : false)) return every ? kAny : kNever;
  if (!every && goal == kFalse) return kNever;
  Row r;
  (every ? r.rules : r.some).push_back({from, to, goal});
  return rows_.intern(std::move(r));
}

bool Goals::merge_rows(Row* into, const Row& from) {
  const auto unite = [](auto* a, const auto& b) {
    a->insert(a->end(), b.begin(), b.end());
    sort_unique(a);
  };
  unite(&into->rules, from.rules);
  unite(&into->some, from.some);
  unite(&into->counts, from.counts);
  into->lo = std::max(into->lo, from.lo);
  into->hi = std::min(into->hi, from.hi);
  for (const Clause& c : from.clauses)
    if (std::find(into->clauses.begin(), into->clauses.end(), c) == into->clauses.end()) into->clauses.push_back(c);
  return into->lo <= into->hi;
}

Id Goals::rows_and(const std::vector<Id>& list) {
  Row out;
  for (Id r : list) {
    if (r == kNever) return kNever;
    if (r != kAny && !merge_rows(&out, rows_[r])) return kNever;
  }
  return settle_row(std::move(out));
}

Id Goals::rows_or(std::vector<Id> list) {
  std::vector<Id> kept;
  for (Id s : list) {
    if (s == kAny) return kAny;
    if (s == kNever) continue;
    const Row& row = rows_[s];
    const bool nested = row.clauses.size() == 1 && row.rules.empty() && row.some.empty() && row.counts.empty() && row.lo == 0 && row.hi == kInf;
    for (Id d : nested ? Clause(row.clauses[0]) : Clause{s})
      if (std::find(kept.begin(), kept.end(), d) == kept.end()) kept.push_back(d);
  }
  if (kept.empty()) return kNever;
  if (kept.size() == 1) return kept[0];
  if (kept.size() > limits_.alternatives) throw Limit{"alternatives", -1, "a choice between too many shapes of arrays"};
  return rows_.intern({.rules = {}, .some = {}, .counts = {}, .clauses = {std::move(kept)}});
}

bool Goals::weaker_row(Id id, const Row& b) const {
  const Row& a = rows_[id];
  const auto within = [](const auto& x, const auto& y) {
    return std::all_of(x.begin(), x.end(), [&](const auto& item) { return has(y, item); });
  };
  return a.lo <= b.lo && a.hi >= b.hi && within(a.rules, b.rules) && within(a.some, b.some) && within(a.counts, b.counts) &&
         std::all_of(a.clauses.begin(), a.clauses.end(), [&](const Clause& c) { return std::find(b.clauses.begin(), b.clauses.end(), c) != b.clauses.end(); });
}

Id Goals::settle_row(Row s) {
  tick();
  while (true) {
    if (s.lo > s.hi) return kNever;
    bool changed = false;
    for (std::size_t i = 0; i < s.clauses.size() && !changed; ++i) {
      Clause alive;
      bool entailed = false;
      for (Id d : s.clauses[i]) {
        if (std::max(rows_[d].lo, s.lo) > std::min(rows_[d].hi, s.hi)) continue;
        if (weaker_row(d, s)) {
          entailed = true;
          break;
        }
        alive.push_back(d);
      }
      if (!entailed && alive.empty()) return kNever;
      if (!entailed && alive.size() > 1) {
        s.clauses[i] = std::move(alive);
        continue;
      }
      s.clauses.erase(s.clauses.begin() + static_cast<std::ptrdiff_t>(i));
      if (!entailed && !merge_rows(&s, Row(rows_[alive[0]]))) return kNever;
      changed = true;
    }
    if (!changed) break;
  }
  if (goals_.size() + rows_.size() > limits_.states) throw Limit{"states", -1, "too many goals and shapes"};
  return rows_.intern(std::move(s));
}

Id Goals::node_array(Id literal) {
  const bool sign = !(literal & 1);
  const Id node = literal >> 1;
  if (node == 0) return sign ? kAny : kNever;
  const auto found = array_memo_.find(literal);
  if (found != array_memo_.end() && found->second >= 0) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  Busy busy(&array_memo_, literal);
  const auto all = [&](const std::vector<Id>& l) { return sign ? rows_and(l) : rows_or(l); };
  const auto any = [&](const std::vector<Id>& l) { return sign ? rows_or(l) : rows_and(l); };
  const auto child = [&](Id n, bool s) { return node_array(n << 1 | !s); };
  const auto sized = [&](std::int32_t lo, std::int32_t hi) {
    return lo > hi ? kNever : rows_.intern({.rules = {}, .some = {}, .counts = {}, .lo = lo, .hi = hi, .clauses = {}});
  };
  const auto counted = [&](Id g, std::int32_t lo, std::int32_t hi) {
    if (lo > hi) return kNever;
    return lo == 0 && hi == kInf ? kAny : rows_.intern({.rules = {}, .some = {}, .counts = {{g, lo, hi}}, .clauses = {}});
  };
  const auto value = [&](Id v) {
    const Value val = lexicon_.values[v];
    if (val.kind != Value::Array) return sign ? kNever : kAny;
    const std::int32_t n = static_cast<std::int32_t>(val.items.size());
    std::vector<Id> parts;
    if (sign)
      parts.push_back(sized(n, n));
    else
      parts.push_back(rows_or({n > 0 ? sized(0, n - 1) : kNever, sized(n + 1, kInf)}));
    for (std::int32_t i = 0; i < n; ++i)
      parts.push_back(span_row(i, i + 1, goal({constant(val.items[static_cast<std::size_t>(i)]) << 1 | !sign}), sign));
    return all(parts);
  };
  if (node >= kInternal) {
    const Internal internal = internals_[node - kInternal];
    if (internal.value >= 0) return busy.set(value(internal.value));
    std::vector<Id> parts;
    for (Id g : internal.any_of) {
      std::vector<Id> inner;
      for (Id l : std::vector<Id>(goals_[g].ids)) inner.push_back(node_array(sign ? l : l ^ 1));
      parts.push_back(all(inner));
    }
    return busy.set(any(parts));
  }
  std::vector<Id> parts;
  for (const Atom& a : atoms(node)) {
    switch (a.op) {
      case Op::Type: parts.push_back(((a.lo & types::kArray) != 0) == sign ? kAny : kNever); break;
      case Op::Const:
      case Op::Enum: {
        std::vector<Id> list;
        for (Id v : a.values) list.push_back(value(v));
        parts.push_back(any(list));
        break;
      }
      case Op::Ref: parts.push_back(child(a.nodes[0], sign)); break;
      case Op::All:
      case Op::Any: {
        std::vector<Id> list;
        for (Id n : a.nodes) list.push_back(child(n, sign));
        parts.push_back(a.op == Op::All ? all(list) : any(list));
        break;
      }
      case Op::One: {
        std::vector<Id> ways;
        if (sign) {
          for (std::size_t i = 0; i < a.nodes.size(); ++i) {
            std::vector<Id> one{child(a.nodes[i], true)};
            for (std::size_t j = 0; j < a.nodes.size(); ++j)
              if (j != i) one.push_back(child(a.nodes[j], false));
            ways.push_back(rows_and(one));
          }
        } else {
          std::vector<Id> none;
          for (Id n : a.nodes) none.push_back(child(n, false));
          ways.push_back(rows_and(none));
          for (std::size_t j = 0; j < a.nodes.size(); ++j)
            for (std::size_t i = 0; i < j; ++i) ways.push_back(rows_and({child(a.nodes[i], true), child(a.nodes[j], true)}));
        }
        parts.push_back(rows_or(ways));
        break;
      }
      case Op::Not: parts.push_back(child(a.nodes[0], !sign)); break;
      case Op::If:
        parts.push_back(rows_or({rows_and({child(a.nodes[0], true), child(a.nodes[1], sign)}),
                                 rows_and({child(a.nodes[0], false), child(a.nodes[2], sign)})}));
        break;
      case Op::Items: parts.push_back(span_row(a.lo, a.hi, goal({a.nodes[0] << 1 | !sign}), sign)); break;
      case Op::Count:
        if (sign)
          parts.push_back(sized(a.lo, a.hi));
        else
          parts.push_back(rows_or({a.lo > 0 ? sized(0, a.lo - 1) : kNever, a.hi < kInf ? sized(a.hi + 1, kInf) : kNever}));
        break;
      case Op::Contains: {
        const Id g = goal({a.nodes[0] << 1});
        if (sign)
          parts.push_back(counted(g, a.lo, a.hi));
        else
          parts.push_back(rows_or({a.lo > 0 ? counted(g, 0, a.lo - 1) : kNever, a.hi < kInf ? counted(g, a.hi + 1, kInf) : kNever}));
        break;
      }
      case Op::Unique: throw Limit{"keywords", node, "uniqueItems reached the engine"};
      default: parts.push_back(sign ? kAny : kNever);
    }
  }
  if (parts.empty()) parts.push_back(sign ? kAny : kNever);
  return busy.set(all(parts));
}

Id Goals::array(Id g) {
  const auto found = goal_array_.find(g);
  if (found != goal_array_.end()) return found->second;
  std::vector<Id> parts{kAny};
  for (Id l : std::vector<Id>(goals_[g].ids)) parts.push_back(node_array(l));
  const Id out = rows_and(parts);
  return goal_array_[g] = out;
}

Id Goals::base_of(const Row& row, std::int32_t at) {
  std::vector<Id> all;
  for (const Span& s : row.rules)
    if (s.from <= at && at < s.to) all.insert(all.end(), goals_[s.goal].ids.begin(), goals_[s.goal].ids.end());
  return goal(std::move(all));
}

void Goals::watch_row(Id id, bool top, std::vector<Id>* goals) {
  const Row& row = rows_[id];
  const auto due = [](const Span& s) { return s.from <= 0 && s.to > 0; };
  if (!top)
    for (const Span& s : row.rules)
      if (due(s) && s.goal != kFalse) watch_goal(s.goal, goals);
  for (const Span& s : row.some)
    if (due(s)) watch_goal(s.goal, goals);
  for (const Counted& c : row.counts) watch_goal(c.goal, goals);
  for (const Clause& c : row.clauses)
    for (Id d : c) watch_row(d, false, goals);
}

Id Goals::after_row(Id id, const std::vector<Id>& met, bool top) {
  Row row = rows_[id];
  const auto is_met = [&](Id g) { return this->is_met(g, met); };
  const auto due = [](const Span& s) { return s.from <= 0 && s.to > 0; };
  if (!top)
    for (const Span& s : row.rules)
      if (due(s) && !is_met(s.goal)) return kNever;
  const auto shift = [](std::vector<Span>* spans) {
    for (Span& s : *spans) {
      s.from = std::max(s.from - 1, 0);
      if (s.to != kInf) --s.to;
    }
  };
  std::erase_if(row.some, [&](const Span& s) { return due(s) && is_met(s.goal); });
  shift(&row.rules);
  shift(&row.some);
  std::erase_if(row.rules, [](const Span& s) { return s.to <= 0; });
  if (std::any_of(row.some.begin(), row.some.end(), [](const Span& s) { return s.to <= 0; })) return kNever;
  for (Counted& c : row.counts) {
    if (!is_met(c.goal)) continue;
    c.lo = std::max(c.lo - 1, 0);
    if (c.hi != kInf && --c.hi < 0) return kNever;
  }
  std::erase_if(row.counts, [](const Counted& c) { return c.lo == 0 && c.hi == kInf; });
  sort_unique(&row.rules);
  sort_unique(&row.some);
  sort_unique(&row.counts);
  std::vector<Clause> clauses;
  for (const Clause& c : row.clauses) {
    Clause alive;
    bool holds_already = false;
    for (Id d : c) {
      const Id next = after_row(d, met, false);
      if (next == kAny) holds_already = true;
      if (next != kNever && std::find(alive.begin(), alive.end(), next) == alive.end()) alive.push_back(next);
    }
    if (holds_already) continue;
    if (alive.empty()) return kNever;
    clauses.push_back(std::move(alive));
  }
  row.clauses = std::move(clauses);
  if (!top && row.clauses.size() == 1 && row.rules.empty() && row.some.empty() && row.counts.empty() && row.lo == 0 && row.hi == kInf)
    return rows_or(row.clauses[0]);
  return top ? settle_row(std::move(row)) : rows_.intern(std::move(row));
}

const std::vector<Case>& Goals::row_cases(Id id, Type type) {
  std::vector<Id> key{id, static_cast<Id>(type), -7};
  const auto found = cases_.find(key);
  if (found != cases_.end()) return found->second;
  std::vector<Id> watched;
  watch_row(id, true, &watched);
  std::vector<Case> out;
  split(base_of(rows_[id], 0), std::move(watched), type, true, [&](const std::vector<Id>& met) { return after_row(id, met, true); }, &out);
  return keep_cases(std::move(key), std::move(out));
}

bool Goals::done_row(Id id, std::int32_t at) const {
  const Row& row = rows_[id];
  if (at < row.lo || at > row.hi || !row.some.empty()) return false;
  for (const Counted& c : row.counts)
    if (c.lo > 0) return false;
  for (const Clause& c : row.clauses)
    if (std::none_of(c.begin(), c.end(), [&](Id d) { return done_row(d, at); })) return false;
  return true;
}

bool Goals::is_plain_row(Id id) const {
  const Row& row = rows_[id];
  return row.some.empty() && row.counts.empty() && row.clauses.empty() &&
         std::all_of(row.rules.begin(), row.rules.end(), [](const Span& s) { return s.from == 0 && s.to == kInf; });
}

bool Goals::viable_row(Id id, std::int32_t at) {
  if (id == kNever) return false;
  if (done_row(id, at)) return true;
  if (is_plain_row(id)) return at < rows_[id].hi && (at >= rows_[id].lo || inhabited(base_of(rows_[id], 0)));
  const auto found = row_viable_.find({id, at});
  if (found != row_viable_.end()) return found->second;
  if (in_round_ && round_rows_.contains({id, at})) return false;
  const Recursion deeper(&depth_, limits_.depth);
  const Row row = rows_[id];
  bool ok = false;
  if (at < row.hi) {
    if (!row.clauses.empty()) {
      std::size_t least = 0;
      for (std::size_t i = 1; i < row.clauses.size(); ++i)
        if (row.clauses[i].size() < row.clauses[least].size()) least = i;
      Row rest = row;
      rest.clauses.erase(rest.clauses.begin() + static_cast<std::ptrdiff_t>(least));
      for (std::size_t i = 0; i < row.clauses[least].size() && !ok; ++i) {
        Row with = rest;
        if (merge_rows(&with, Row(rows_[row.clauses[least][i]]))) ok = viable_row(settle_row(std::move(with)), at);
      }
    } else if (row.some.empty() && row.counts.empty()) {
      ok = true;
      std::int32_t edge = 0;
      for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
      for (std::int32_t i = 0; i <= edge && at + i < row.lo && ok; ++i) ok = inhabited(base_of(row, i));
    } else {
      for (int t = 0; t < kTypes && !ok; ++t) {
        const std::vector<Case> ways = row_cases(id, static_cast<Type>(t));
        for (const Case& way : ways) {
          if (way.after == id) {  // brings no completion nearer, save that it counts
            if (at < row.lo && at + 1 < row.lo) {
              ok = row.lo <= row.hi && viable_row(id, row.lo - 1);
            } else if (at < row.lo) {
              ok = viable_row(id, row.lo);
            }
          } else {
            ok = viable_row(way.after, at + 1);
          }
          if (ok) break;
        }
      }
    }
  }
  if (ok || !in_round_) row_viable_[{id, at}] = ok;
  if (!ok && in_round_) round_rows_.insert({id, at});
  return ok;
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
  return g != kFalse && fixpoint(g * 8);
}

bool Goals::try_key(Id key) {
  const Recursion deeper(&depth_, limits_.depth);
  round_[key] = 0;
  const Id g = key / 8;
  bool ok = false;
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
    ~Reset() { goals->in_round_ = false, goals->new_round(), goals->scratch_.clear(); }
  } reset{this};
  bool ok = false;
  do {
    new_round();
    found_ = false;
    in_round_ = true;
    ok = try_key(key);
  } while (!ok && found_);
  if (!ok)
    for (const auto& [k, _] : round_) sure_[k] = 0;
  return ok;
}

// ---- costs ----------------------------------------------------------------------------------------------------------

std::int64_t Goals::key_bytes(Id name) {
  const auto found = name_bytes_.find(name);
  if (found != name_bytes_.end()) return found->second;
  std::int64_t n = 2;
  for (char32_t c : decode_utf8(lexicon_.names[name].text)) n += spelled_bytes(c, c);
  return name_bytes_[name] = n;
}

std::int64_t Goals::cost_of_strings(Id set) {
  std::int64_t best = -1;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[set].pieces)) best = cheaper(best, lexicon_.langs.cheapest(p.lang, p.lo, p.hi));
  return plus_cost(best, 2);
}

std::int64_t Goals::cost(Id g, Type type) {
  switch (type) {
    case Type::Null: return literals3(g) & 1 ? 4 : -1;
    case Type::Boolean: return literals3(g) & 2 ? 4 : literals3(g) & 4 ? 5 : -1;
    case Type::String: return cost_of_strings(strings(g));
    case Type::Number: {
      std::vector<NumberComponent> list;
      for (Id p : numbers(g)) list.push_back({p, 0});
      if (list.empty()) return -1;
      std::int64_t best = -1;
      lexicon_.numbers.cheapest(lexicon_.numbers.start(list, spelling_), [&](Id, std::int64_t n) { best = cheaper(best, n); });
      return best;
    }
    default: return least_cost(g * 8 + static_cast<Id>(type) + 1);
  }
}

std::int64_t Goals::cost(Id g) { return g == kFalse ? -1 : g == kTrue ? 1 : least_cost(g * 8); }

// One more look at a key of the fixpoint (see inhabited): what is in progress counts with what it cost at last.
std::int64_t Goals::try_cost(Id key) {
  const Recursion deeper(&depth_, limits_.depth);
  const std::int64_t before = cost_round_.try_emplace(key, -1).first->second;
  std::int64_t best = before;
  const Id g = key / 8;
  switch (key % 8) {
    case 0:
      for (int t = 0; t < kTypes; ++t) best = cheaper(best, cost(g, static_cast<Type>(t)));
      break;
    case static_cast<int>(Type::Array) + 1: best = cheaper(best, array(g) == kNever ? -1 : plus_cost(1, cost_array(array(g), 0))); break;
    default: best = cheaper(best, object(g) == kNever ? -1 : plus_cost(1, cost_object(object(g), {})));
  }
  if (best != before) cheaper_ = true;
  return cost_round_[key] = best;
}

std::int64_t Goals::least_cost(Id key) {
  const auto sure = cost_.find(key);
  if (sure != cost_.end()) return sure->second;
  if (in_cost_) {
    const auto now = cost_round_.find(key);
    return now != cost_round_.end() ? now->second : try_cost(key);
  }
  struct Reset {
    Goals* goals;
    ~Reset() { goals->in_cost_ = false, goals->cost_round_.clear(); }
  } reset{this};
  in_cost_ = true;
  std::vector<Id> known{key};
  do {  // until nothing gets cheaper: costs only fall
    cheaper_ = false;
    for (Id k : known) try_cost(k);
    known.clear();
    for (const auto& [k, _] : cost_round_) known.push_back(k);
  } while (cheaper_);
  for (const auto& [k, c] : cost_round_) cost_[k] = c;
  return cost_[key];
}

std::int64_t Goals::cost_object(Id id, const Keys& keys) {
  if (id == kNever) return -1;
  int choices = 0;
  const std::function<std::int64_t(Id)> least = [&](Id at) -> std::int64_t {
    if (at == kNever) return -1;
    const Recursion deeper(&depth_, limits_.depth);
    const Shape s = shapes_[at];
    if (!s.clauses.empty()) {
      std::int64_t best = -1;
      Shape rest = s;
      const Clause first = s.clauses[0];
      rest.clauses.erase(rest.clauses.begin());
      for (Id d : first) {
        if (best >= 0 && choices > kMaxChoices) break;
        Shape with = rest;
        if (!merge_into(&with, Shape(shapes_[d]))) continue;
        best = cheaper(best, least(tidy(settle(std::move(with)))));
      }
      return best;
    }
    const std::vector<KeyClass>& all = own_classes(at);
    struct Member {
      std::size_t cls;
      Id goal;
    };
    std::vector<Member> members;
    std::vector<Rule> todo;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].name < 0) continue;
      bool due = false;
      for (Id k : all[i].holds) {
        if (key_sets_[k].kind != KeySet::One) continue;
        const auto f = std::lower_bound(s.some.begin(), s.some.end(), Rule{k, -1});
        due = due || (f != s.some.end() && f->keys == k);
      }
      if (!due || keys.seen(all[i].name)) continue;
      if (!keys.open(all[i].name)) return -1;
      members.push_back({i, base_of(s, all[i])});
    }
    for (const Rule& r : s.some)
      if (key_sets_[r.keys].kind != KeySet::One) todo.push_back(r);
    const auto usable = [&](std::size_t i) {
      return all[i].name < 0 || (!keys.seen(all[i].name) && keys.open(all[i].name) &&
                                 std::none_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; }));
    };
    // A key of a class is free to be new: two bytes more for each free key before it surely make it so.
    const auto key_cost = [&](std::size_t i, std::int64_t free) {
      return all[i].name >= 0 ? key_bytes(all[i].name) : lexicon_.langs.cheapest(all[i].lang, 0, kInf) + 2 + 2 * (free + 1);
    };
    const auto total = [&]() -> std::int64_t {  // of these members and the cheapest that fill up to the minimum
      std::int64_t bytes = 0, free = keys.free, count = keys.count;
      const std::size_t given = members.size();
      while (true) {
        for (std::size_t m = count == keys.count ? 0 : members.size() - 1; m < members.size(); ++m) {
          const std::int64_t value = cost(members[m].goal);
          if (value < 0) return members.resize(given), -1;
          bytes += key_cost(members[m].cls, free) + 1 + gap_ + value;
          free += all[members[m].cls].name < 0;
          ++count;
        }
        if (count >= s.lo) break;
        std::int64_t best = -1;
        std::size_t which = 0;
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (!usable(i)) continue;
          const std::int64_t value = cost(base_of(s, all[i])), m = value < 0 ? -1 : key_cost(i, free) + value;
          if (m >= 0 && (best < 0 || m < best)) best = m, which = i;
        }
        if (best < 0) return members.resize(given), -1;
        members.push_back({which, base_of(s, all[which])});
      }
      members.resize(given);
      if (count > s.hi) return -1;
      const std::int64_t written = count - keys.count;
      return bytes + (written - (keys.count == 0 && written > 0 ? 1 : 0)) * (1 + gap_) + 1;
    };
    std::int64_t best = -1;
    const std::function<void(std::size_t)> assign = [&](std::size_t next) {
      if (best >= 0 && choices > kMaxChoices) return;
      if (next == todo.size()) {
        ++choices;
        best = cheaper(best, total());
        return;
      }
      const Rule& r = todo[next];
      for (std::size_t j = 0; j < members.size(); ++j) {
        if (!has(all[members[j].cls].holds, r.keys)) continue;
        const Id before = members[j].goal;
        members[j].goal = conj(before, r.goal);
        if (members[j].goal != kFalse && cost(members[j].goal) >= 0) assign(next + 1);
        members[j].goal = before;
      }
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (!has(all[i].holds, r.keys) || !usable(i)) continue;
        const Id g = conj(base_of(s, all[i]), r.goal);
        if (g == kFalse || cost(g) < 0) continue;
        members.push_back({i, g});
        assign(next + 1);
        members.pop_back();
      }
    };
    assign(0);
    return best;
  };
  return least(id);
}

std::int64_t Goals::cost_array(Id id, std::int32_t at) {
  if (id == kNever) return -1;
  const Recursion deeper(&depth_, limits_.depth);
  if (done_row(id, at)) return 1;
  const Row row = rows_[id];
  if (at >= row.hi) return -1;
  const auto comma = [&](std::int32_t n) { return n > 0 ? 1 + gap_ : 0; };
  if (!row.clauses.empty()) {
    std::int64_t best = -1;
    Row rest = row;
    rest.clauses.erase(rest.clauses.begin());
    for (Id d : row.clauses[0]) {
      Row with = rest;
      if (merge_rows(&with, Row(rows_[d]))) best = cheaper(best, cost_array(settle_row(std::move(with)), at));
    }
    return best;
  }
  if (row.some.empty() && row.counts.empty()) {
    std::int32_t edge = 0;
    for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
    std::int64_t bytes = 1;
    for (std::int32_t i = at; i < row.lo; ++i) {
      const std::int64_t item = cost(base_of(row, i - at));
      if (item < 0) return -1;
      if (i - at >= edge) {  // all further items are alike
        bytes += (row.lo - i) * (item + comma(1)) - (i == 0 ? comma(1) : 0);
        break;
      }
      bytes += item + comma(i);
    }
    return bytes;
  }
  std::int64_t best = -1;
  for (int t = 0; t < kTypes; ++t) {
    const std::vector<Case> ways = row_cases(id, static_cast<Type>(t));
    for (const Case& way : ways) {
      const std::int64_t item = cost(way.goal, static_cast<Type>(t));
      if (item < 0) continue;
      std::int64_t rest = -1;
      if (way.after == id) {
        if (at < row.lo) rest = plus_cost(cost_array(id, row.lo), (row.lo - at - 1) * (item + comma(1)));
      } else {
        rest = cost_array(way.after, at + 1);
      }
      best = cheaper(best, plus_cost(plus_cost(item, comma(at)), rest));
    }
  }
  return best;
}

std::size_t Goals::nbytes() const {
  return goals_.size() * 80 + shapes_.size() * 240 + rows_.size() * 240 + cases_.size() * 160 + nodes_.size() * 200;
}

}  // namespace guard
