// Goals: what a value must meet, and what it looks like.
//
// A goal is a set of signed nodes, interned. For null, booleans, strings and numbers its formula is evaluated in a Boolean
// algebra. For objects and arrays it becomes one shape: a conjunction of universals (every member whose key is in K meets G),
// existentials (some member does), count bounds, and clauses: disjunctions of shapes that are never multiplied out. Unit
// propagation settles clauses; a required key's goal refutes or entails disjuncts. When a member or an item has been
// written the shape is replaced by its residual, which depends only on which watched goals the value meets.
//
// inhabited() is a least fixpoint by rounds: goals in progress count as empty, true is final at once, false only after a round
// that found nothing new. cost() is the least number of bytes of a value, by rounds likewise.
// The theory was proved by a slow reference in Python; see docs/explanation/engine.md. Not thread-safe: guarded by the isolate's lock.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_set>

#include "constraints/nodes.hpp"
#include "regex/words.hpp"

namespace guard {

struct Limits {
  std::size_t alternatives = 10000;  // shapes in one clause, cases of one value
  std::size_t states = 1000000;      // interned shapes and goals
  std::int32_t depth = 2000;         // recursion of the algebra
  std::int32_t nesting = 100;        // open containers, beyond which only a shortest way out is left
  double seconds = 10;               // of a processor, for one call
  std::int64_t memory = 384'000'000; // bytes, of one call, and of a schema that has an isolate of its own
};

// What all schemas share: languages, texts, numbers, names, values.
struct Lexicon {
  Langs langs;
  Texts texts{langs};
  Words words{langs};
  Numbers numbers;
  Interner<Name> names;
  Interner<Value> values;
  PairMap<bool> matches;  // (language, name)
  void seal() { langs.seal(), texts.seal(), numbers.seal(), names.seal(), values.seal(); }  // see Interner
  Id name(std::string text) { return names.intern({std::move(text)}); }
  bool in_lang(Id lang, Id name);
  Id parse(std::string_view text);  // the value of a JSON text, which must be valid: no key twice
};

struct KeySet {
  enum Kind : std::uint8_t { One, Lang, Rest } kind = One;  // Rest: in none of names and langs
  Id id = -1;                                               // One: the name; Lang: the language
  std::vector<Id> names, langs;                             // Rest: sorted
  bool operator==(const KeySet&) const = default;
  std::size_t hash() const { return mix(mix(mix(kind, static_cast<std::size_t>(id)), hash_of(names)), hash_of(langs)); }
};

struct Rule {
  Id keys, goal;
  auto operator<=>(const Rule&) const = default;
};
using Clause = std::vector<Id>;  // shapes, of which one must hold, in the order written

struct Shape {  // of objects
  std::vector<Rule> rules;  // sorted; one for each key set
  std::vector<Rule> some;   // sorted; one for each name
  std::int32_t lo = 0, hi = kInf;
  std::vector<Clause> clauses;
  bool operator==(const Shape&) const = default;
  std::size_t hash() const;
};

struct Span {  // positions [from, to)
  std::int32_t from, to;
  Id goal;
  auto operator<=>(const Span&) const = default;
};
struct Counted {  // lo to hi items meet the goal
  Id goal;
  std::int32_t lo, hi;
  auto operator<=>(const Counted&) const = default;
};
struct Row {  // the shape of arrays; positions count from the item that is due, lo and hi from the first
  std::vector<Span> rules, some;
  std::vector<Counted> counts;
  std::int32_t lo = 0, hi = kInf;
  Id unique = -1;  // items differ from each other and from what meets this goal: the values written. -1: they may be equal
  Id repeat = -1;  // owed: an item that meets this goal (the values written), or two that are equal. -1: nothing is
  std::vector<Clause> clauses;
  bool operator==(const Row&) const = default;
  std::size_t hash() const;
};

struct StringSet {  // a union of disjoint intervals of lengths, each with its language; sorted
  std::vector<StringPiece> pieces;
  bool operator==(const StringSet&) const = default;
  std::size_t hash() const {
    std::size_t h = pieces.size();
    for (const auto& p : pieces) h = mix(mix(mix(h, static_cast<std::size_t>(p.lo)), static_cast<std::size_t>(p.hi)), static_cast<std::size_t>(p.lang));
    return h;
  }
};

// One class of keys: a name, or the texts of a language that are no name of the shape. Thousands of names that thousands of
// `additionalProperties` don't mean would be a million pairs: all names of a kind share one list of what holds it, save what names them.
struct KeyClass {
  Id name = -1;
  Id lang = Langs::kNone;
  Id own = -1;                             // the key set of the name alone, where a rule speaks of it
  const std::vector<Id>* wide = nullptr;   // the other key sets that hold it, sorted,
  std::vector<Id> except;                  // but for these, sorted
  Id id = -1;                              // of the name and of what holds it
  bool in(Id keys) const {
    return keys == own || (std::binary_search(wide->begin(), wide->end(), keys) && !std::binary_search(except.begin(), except.end(), keys));
  }
  // Those of the rules, which are sorted, whose key set holds it.
  template <class F>
  void each(const std::vector<Rule>& rules, F f) const {
    if (wide->size() >= rules.size()) {
      for (const Rule& r : rules)
        if (in(r.keys)) f(r);
      return;
    }
    const auto of = [&](Id keys) {
      for (auto at = std::lower_bound(rules.begin(), rules.end(), Rule{keys, -1}); at != rules.end() && at->keys == keys; ++at) f(*at);
    };
    if (own >= 0) of(own);
    for (Id keys : *wide)
      if (!std::binary_search(except.begin(), except.end(), keys)) of(keys);
  }
};

// Which keys may still be written, how many were: what viability needs to know of an object under construction.
struct Answers {  // given so far
  std::unordered_map<Id, std::uint8_t> names;
  std::unordered_map<std::string, bool> taken;
};
struct Keys {
  std::int32_t count = 0;
  std::function<bool(Id)> is_open;  // may this name still be written? null: every one (a fresh object)
  std::function<bool(Id)> is_seen;  // null: none
  std::function<bool(std::string_view)> is_taken;  // was this key written, or can it no longer come? null: none
  Answers* answers = nullptr;  // kept here, if anywhere
  bool fresh() const { return !is_open && count == 0; }
  bool open(Id name) const { return !is_open || answer(name, is_open, 1); }
  bool seen(Id name) const { return is_seen && answer(name, is_seen, 4); }
  bool taken(std::string_view key) const {
    if (!is_taken || !answers) return is_taken && is_taken(key);
    const auto [at, fresh] = answers->taken.try_emplace(std::string(key), false);
    if (fresh) at->second = is_taken(key);
    return at->second;
  }

 private:
  bool answer(Id name, const std::function<bool(Id)>& ask, std::uint8_t asked) const {
    if (!answers) return ask(name);
    std::uint8_t& known = answers->names[name];
    if (!(known & asked)) known |= static_cast<std::uint8_t>(asked | (ask(name) ? asked << 1 : 0));
    return known & asked << 1;
  }
};
// What was found once, and of all that the keys were asked on the way the answers: where they are the same, so is what is found.
struct Found {
  std::vector<std::pair<Id, std::uint8_t>> names;
  std::vector<std::pair<std::string, bool>> taken;
  std::int64_t value;
};

// What is asked once a member or an item is being written whose value is not known yet: see partial_value.cpp. Interned.
struct Open {
  bool array = false;
  Id here = 0;                  // a goal: literals that the value must meet
  Id rest = 1;                  // the shape or row of what comes after it
  std::vector<Clause> clauses;  // of Opens
  bool operator==(const Open&) const = default;
  std::size_t hash() const {
    std::size_t h = mix(mix(array, static_cast<std::size_t>(here)), static_cast<std::size_t>(rest));
    for (const Clause& c : clauses) h = mix(h, hash_of(c));
    return h;
  }
};

// Of some shapes by number, which others an object could meet beside one.
struct Rivals {
  std::vector<std::optional<std::vector<std::size_t>>> told = {};  // sorted; nothing: all that is not told, and those that list it
  std::vector<std::size_t> untold = {};
  template <class F>
  void each(std::size_t i, F f) const {
    if (told[i])
      for (std::size_t j : *told[i]) f(j);
    else
      for (std::size_t j : untold)
        if (i != j) f(j);
  }
};

class Goals {
 public:
  static constexpr Id kTrue = 0, kFalse = 1;       // goals
  static constexpr Id kNever = 0, kAny = 1;        // shapes and rows
  static constexpr Id kNoStrings = 0, kNoNumbers = 0;
  Goals(Lexicon& lexicon, Spelling spelling, Limits limits, std::int32_t gap_bytes);

  [[nodiscard]] Clock::Running start_clock() const { return {limits_.seconds, nullptr, limits_.states, limits_.memory, kernel_clock.watch()}; }
  const Limits& limits() const { return limits_; }

  // Nodes. The binding defines every node that Missing names; 0 is `true`, 1 is `false`.
  void define(Id node, std::vector<Atom> atoms);
  bool is_defined(Id node) const { return node < static_cast<Id>(nodes_.size()) && nodes_[static_cast<std::size_t>(node)].defined; }
  const std::vector<Atom>& atoms(Id node);  // throws Missing
  Id goal_of(Id node) { return goal({node << 1}); }
  Id goal(std::vector<Id> literals);
  Id conj(Id a, Id b);
  Id negate(Id goal);
  Id any_goal(std::vector<Id> goals);
  const std::vector<Id>& literals(Id goal) const { return goals_[goal].ids; }

  // Places a limit that names no node at this one; one of languages at a schema beside it that holds some.
  void blame(Limit* limit, Id node);
  void need(const std::vector<Id>& goals);  // throws Missing when some of their nodes are not defined
  // Nodes that are not defined, and without which no mask before a value of these can be made: a token may open an array, an object in
  // it, and spell a name. Once they are defined it goes on from there; none: all are.
  struct Ahead {
    explicit Ahead(const std::vector<Id>& nodes) {
      for (Id node : nodes) todo.push_back({node, kDeepest});
    }
    static constexpr int kDeepest = 2;  // an array's items, and their members; 1: members; 0: those that must be there
    std::vector<std::pair<Id, int>> todo;
    std::unordered_map<Id, int> seen;
  };
  std::vector<Id> lacking(Ahead* ahead) const;
  bool inhabited(Id goal);
  bool inhabited(Id goal, Type type);
  std::int64_t cost(Id goal);             // bytes of a shortest value; -1 when there is none
  std::int64_t cost(Id goal, Type type);

  // Expansion by type.
  bool excludes(Id goal, std::int32_t bits) const;  // whether one of its nodes says `type`, and none of these bits of it
  std::uint8_t literals3(Id goal);        // bit 0 null, bit 1 true, bit 2 false
  Id strings(Id goal);                    // a StringSet
  const std::vector<Id>& numbers(Id goal);  // pieces, a union
  Id object(Id goal);                     // a Shape
  Id array(Id goal);                      // a Row
  const StringSet& string_set(Id id) const { return string_sets_[id]; }
  const Shape& shape(Id id) const { return shapes_[id]; }
  const Row& row(Id id) const { return rows_[id]; }
  Id keys_lang(Id goal);                  // the goal's strings as one language, lengths folded in
  bool reads_alike(Id goal, Id literal);  // is each of the goal's numbers spelled alike, whether it meets the literal or not?

  // Objects.
  const std::vector<KeyClass>& classes(std::span<const Id> shapes);  // of the keys that these shapes speak of. The reference stays valid
  const std::vector<KeyClass>& own_classes(Id shape) { return classes({&shape, 1}); }
  bool viable(Id shape, const Keys& keys);
  bool done(Id shape, const Keys& keys);
  std::int64_t cost_object(Id shape, const Keys& keys);  // bytes to the end, the brace included, from behind a member; -1
  const std::vector<Id>& must(Id shape);  // names that must come, whichever disjuncts hold; sorted. The reference stays valid
  // A shape that asks no less, and in which of each wide clause a few disjuncts are left, which a member of this name may meet. `exact`:
  // with such a member none of the others can hold.
  struct Narrowed {
    Id shape;
    bool exact;
  };
  Narrowed narrowed(Id shape, Id name);
  bool is_plain(Id shape);  // only named existentials, no clauses, no maximum: writing a key never changes it

  // Arrays. `at` is the number of items written.
  bool viable_row(Id row, std::int32_t at);
  bool done_row(Id row, std::int32_t at) const;
  bool is_plain_row(Id row) const;          // all items alike: writing one never changes it
  Id base_of(const Row& row, std::int32_t at);  // what every value at this position must meet
  std::int64_t cost_array(Id row, std::int32_t at);
  bool may_get_dearer(Id row);                        // by what an item meets: a row whose items differ, and more is owed than a minimum
  std::vector<Id> reserved(Id row, std::int32_t at);  // values of which writing one may make the rest of a row whose items are compared dearer
  Id item_goal(Id row);  // what the value at hand must meet; under `unique` it is none of those written

  // Where items are compared (uniqueItems or its negation, be it in a clause) a row knows the values written.
  bool compares(Id row);
  bool repeats(Id row);  // is a repeat owed, be it in a clause?
  Id with_value(Id row, Id value);
  Id residual(Id open, Id value);  // once this value has been written
  // The goal under which an item leaves the row viable, of all that meet `base`; `at` counts the item.
  Id viable_after(Id row, std::int32_t at, Id base);

  // Values of a goal: n of them, or all when there are fewer. Short ones first, where that is easy.
  const std::vector<Id>& values(Id goal, std::size_t n);
  bool has_values(Id goal, std::size_t n);
  const std::vector<Id>& values_in(Id among) const;
  std::vector<Id> single_values(Id goal);  // all, when they are few; else one
  std::int64_t value_bytes(Id value);
  std::int64_t bytes_among(Id goal, std::int32_t n);  // that surely suffice for a value unlike n - 1 others; or for its dearest; -1. Rises with n
  Id among(std::vector<Id> values) { return values.empty() ? kFalse : goal({constants(std::move(values)) << 1}); }
  Id of_type(Type type) { return goal({(kInternal + internals_.intern({1 << static_cast<int>(type), {}, {}})) << 1}); }

  // Values that are being written. `top`: the value is known to meet base_of; else that is among what it decides.
  Id open_member(Id shape, const KeyClass& cls, bool top);
  Id open_item(Id row, bool top);
  Id open_both(const std::vector<Id>& opens, bool array);
  Id settled(Id open, Type type);  // literals decided that values of this type always or never meet
  const std::vector<Id>& undecided(Id open);  // literals. The reference stays valid
  Id decide(Id open, const std::vector<Id>& literals);  // which the value meets; of one that it does not the negation
  Id fold(Id open, bool met);  // the residual, when all literals left are met, or none is
  bool is_never(Id open) const;
  // The goal that the value must meet for a viable residual. `viable` tells under which goal a residual is, kTrue or kFalse where
  // the value itself does not matter; of a weaker residual it must not ask more.
  Id vital(Id open, Id base, const std::function<Id(Id)>& viable);
  // Can a value of the goal, which is inhabited, lead to a viable residual?
  bool possible(Id open, Id goal, const std::function<bool(Id)>& viable);
  // Tries ways to decide everything, those with more literals met first, until a leaf (goal, residual) says true. Goals are inhabited;
  // with `apart` they have no value in common.
  bool ways(Id open, Id goal, const std::function<bool(Id, Id)>& leaf, bool apart = false);

  // Tells of choices of literals to meet, each with what the rest costs then: none at all, and further ones that make it cheaper.
  void choices(Id open, Id base, const std::function<std::int64_t(Id)>& rest, const std::function<void(const std::vector<Id>&, std::int64_t)>& choice);
  Id conjunction(const std::vector<Id>& shapes, bool array) { return array ? rows_and(shapes) : tidy(shapes_and(shapes)); }

  Id base_of(const Shape& shape, const KeyClass& cls);  // what the class's values must meet, disjuncts aside
  const KeySet& key_set(Id id) const { return key_sets_[id]; }
  bool holds(Id keys, Id name);
  Lexicon& lexicon() { return lexicon_; }
  Spelling spelling() const { return spelling_; }
  std::int64_t key_bytes(Id name);  // with quotes, in the cheapest spelling
  std::size_t nbytes() const;
  std::size_t size() const { return shapes_.size() + rows_.size() + goals_.size(); }

 private:
  static constexpr Id kInternal = 1 << 28;  // internal nodes from here: types, constants, and disjunctions of goals
  struct Node {
    bool defined = false;
    std::vector<Atom> atoms;
  };
  struct Internal {
    std::int32_t types = 0;  // the bits of Op::Type,
    std::vector<Id> values;  // or constants, sorted,
    std::vector<Id> any_of;  // or goals
    bool operator==(const Internal&) const = default;
    std::size_t hash() const { return mix(mix(hash_of(any_of), hash_of(values)), static_cast<std::size_t>(types)); }
  };
  template <class T>
  using Memo = std::unordered_map<Id, T>;

  Id constant(Id value) { return constants({value}); }
  Id constants(std::vector<Id> values) { return kInternal + internals_.intern({0, std::move(values), {}}); }

  struct LiteralAlgebra;
  struct StringAlgebra;
  struct NumberAlgebra;
  struct ShapeAlgebra;
  struct RowAlgebra;
  template <class Algebra>
  Id walk(const Algebra& algebra, Memo<Id>* memo, Id literal);
  struct InPlace;
  Id node_object(Id literal);
  Id node_array(Id literal);
  Id strings_and(Id a, Id b);
  Id strings_not(Id a);
  Id strings_of(std::vector<StringPiece> pieces);
  Id numbers_and(Id a, Id b);
  Id numbers_or(const std::vector<Id>& sets);
  Id number_set(std::vector<Id> pieces);

  Id key_name(Id name) { return key_sets_.intern({KeySet::One, name, {}, {}}); }
  Id key_lang(Id lang) { return key_sets_.intern({KeySet::Lang, lang, {}, {}}); }
  Id key_rest(std::vector<Id> names, std::vector<Id> langs);
  Id key_class(const KeyClass& cls, const std::vector<Id>& names);
  std::vector<KeyClass> partition(std::vector<Id> key_sets);
  Id rule_shape(Id keys, Id goal);
  Id some_shape(Id keys, Id goal);
  Id size_shape(std::int32_t lo, std::int32_t hi);
  Id shapes_and(const std::vector<Id>& shapes);
  Id shapes_or(std::vector<Id> shapes);
  bool merge_into(Shape* into, const Shape& from);
  void merge_bare(Shape* into, const Shape& from);  // but for the clauses
  Id settle(Shape shape);
  Id tidy(Id shape);
  bool weaker(Id a, const Shape& b) const;
  bool clash(const Shape& a, const Shape& b);
  bool forbids(const Shape& a, Id name);
  bool empty_on_sight(Id goal);
  enum class Told : std::uint8_t { No, Yes, Open };
  Told told(Id literal, Id value, int depth) const;  // does the value meet it? As far as constants and types tell
  Told has_listed(Id goal) const;                    // has it a value? As far as one that it lists tells
  Id with_tags(Id shape);
  Id goal_at(Id name, const Shape& a, const Shape* b);
  template <class F>
  std::int64_t remembered(PairMap<std::vector<Found>>* memo, Id shape, const Keys& keys, F find);
  bool counts(Id shape);  // do the numbers of members matter?
  bool is_closed(const Shape& shape, const Keys& keys) const;
  void need_choices(Id shape);
  bool contradicts(const Shape& s, const Shape& disjunct);
  Id easiest(Shape shape, const Keys& keys);
  std::int64_t cost_members(Id shape, const Keys& keys);
  std::int64_t cost_choices(Id shape, const Keys& keys);
  bool plan(Id shape, const Keys& keys);
  int constant_for(Id goal, Type type);
  bool is_scalar(Id goal);
  bool few_values(Id goal, std::vector<std::int64_t>* values);
  Rivals rivals(const std::vector<Id>& shapes);
  Id unevaluated_properties(const Atom& atom, Id node, bool sign);
  Id unevaluated_items(const Atom& atom, Id node, bool sign);

  Id span_row(std::int32_t from, std::int32_t to, Id goal, bool every);
  Id rows_and(const std::vector<Id>& rows);
  Id rows_or(std::vector<Id> rows);
  bool merge_rows(Row* into, const Row& from);
  Id settle_row(Row row);
  bool weaker_row(Id a, const Row& b) const;
  static std::optional<std::vector<Counted>> steady_counts(const Row& row);
  std::optional<bool> viable_counts(const Row& row, std::int32_t at);
  std::optional<std::int64_t> cost_counts(const Row& row, std::int32_t at);

  struct Witness;  // of a row in which items are compared: a way to its end
  Id with_pick(Id row, Id goal);
  Id compared_to(Id row, Id unique);
  bool plan_row(Id row, std::int32_t at, const std::vector<Id>& picks, std::int32_t room, Witness* found);
  bool match(const std::vector<Id>& picks, std::int32_t room, Id unique, Witness* found);
  struct Plan;  // of the items that a reckoning has passed
  std::int64_t cost_row(Id row, std::int32_t at, const Plan& plan);
  struct Listing;
  void list(Id goal, Listing* out);
  void list_arrays(Id row, Listing* out);
  void list_objects(Id shape, Listing* out);

  Id settled_by(Id open, Id known);
  Id decided_apart(Id open, Id literal);
  bool is_point(Id piece) const;  // a single value, and nothing else is said of it: equal ones are one piece
  bool is_points(Id number_set);
  const std::vector<Id>* listed(Id literal) const;  // values of which it asks one, where `enum` or `const` lists them; null: not known
  bool are_apart(const std::vector<Id>& values, Id literal) const;
  bool speaks_of(Id shape, const KeyClass& cls) const;
  static bool is_choice(const Shape& s) { return s.clauses.size() == 1 && s.rules.empty() && s.some.empty() && s.lo == 0 && s.hi == kInf; }
  bool is_ambiguous(Id residual, bool array) const;
  Id make_open(Open open);
  Id never_open(bool array);
  Clause here_or(Id goal, Id rest, bool array);
  Id fold(Id open, bool met, bool top);

  bool inhabited_on_sight(Id goal) const;
  bool try_key(Id key);
  bool fixpoint(Id key);
  void new_round() { round_.clear(), round_shapes_.clear(), round_rows_.clear(); }
  std::int64_t try_cost(Id key);
  std::int64_t least_cost(Id key);
  std::int64_t cost_of_strings(Id set);

  Lexicon& lexicon_;
  Spelling spelling_;
  Limits limits_;
  std::int32_t gap_;  // bytes of white space that `:` and `,` demand
  std::deque<Node> nodes_;
  Interner<Internal> internals_;
  Interner<IdSet> goals_;
  Interner<KeySet> key_sets_;
  Interner<Shape> shapes_;
  Interner<Row> rows_;
  Interner<StringSet> string_sets_;
  Interner<IdSet> number_sets_;

  Memo<Id> literals_memo_, strings_memo_, numbers_memo_, object_memo_, array_memo_;           // by literal
  Memo<Id> goal_literals_, goal_strings_, goal_numbers_, goal_object_, goal_array_, keys_lang_;  // by goal
  Interner<Open> opens_;
  std::unordered_map<std::vector<Id>, Id, VectorHash> decided_;
  PairMap<Id> folded_, open_members_, open_items_;
  Memo<std::vector<Id>> undecided_;
  Interner<IdSet> class_ids_, wide_;  // wide_: lists of key sets
  Memo<Id> tidied_, tagged_, negated_;
  PairMap<Id> conj_;
  PairMap<bool> holds_;
  ListMap<std::vector<KeyClass>> classes_;
  Memo<char> sure_, round_, fresh_, dull_, plain_, points_;
  Memo<std::vector<Id>> must_;
  struct ByName {  // of a wide clause
    std::unordered_map<Id, std::vector<Id>> named;  // disjuncts that speak of a name
    std::vector<Id> open;                           // those that don't rule out all others, or the first of them
    std::size_t size = 0;                           // how many there are
  };
  Memo<std::vector<ByName>> by_name_;
  std::unordered_set<Id> round_shapes_;                        // found empty in this round, which may yet change
  std::unordered_set<std::pair<Id, Id>, PairHash> round_rows_;
  PairMap<bool> row_viable_;
  PairMap<std::vector<Found>> found_viable_, found_cost_;
  Memo<char> counts_;
  Memo<std::int64_t> cost_, cost_round_, name_bytes_;
  Memo<char> compares_;
  struct Listed {
    std::vector<Id> values;
    std::size_t asked = 0;  // more values than listed only where so many were asked for
    int level = 0;          // of the listing that is under way
  };
  Memo<Listed> listed_;
  int listing_ = 0, leans_ = kInf;  // listings under way, inside of each other; the outermost of which what is known so far was used
  bool is_tentative() const { return in_round_ || leans_ != kInf; }  // what is false now may be true in the next round
  PairMap<std::int64_t> bytes_among_;
  bool found_ = false, in_round_ = false, in_cost_ = false, cheaper_ = false, cost_leans_ = false;
  int depth_ = 0, sight_ = 0;
  static void tick() { kernel_clock.tick(); }
};

template <class F>
std::int64_t Goals::remembered(PairMap<std::vector<Found>>* memo, Id shape, const Keys& keys, F find) {
  constexpr std::size_t kKept = 8;
  const std::pair<Id, Id> key{shape, counts(shape) ? keys.count : std::min(keys.count, 1)};
  Answers answers;
  Keys asked = keys;
  asked.answers = &answers;
  if (const auto known = memo->find(key); known != memo->end())
    for (const Found& f : known->second) {
      const auto name = [&](const auto& n) { return (!(n.second & 1) || asked.open(n.first) == !!(n.second & 2)) && (!(n.second & 4) || asked.seen(n.first) == !!(n.second & 8)); };
      if (std::all_of(f.names.begin(), f.names.end(), name) && std::all_of(f.taken.begin(), f.taken.end(), [&](const auto& t) { return asked.taken(t.first) == t.second; })) return f.value;
    }
  answers = {};
  Found out{{}, {}, find(asked)};
  if (is_tentative() || in_cost_) return out.value;
  out.names.assign(answers.names.begin(), answers.names.end());
  out.taken.assign(answers.taken.begin(), answers.taken.end());
  std::vector<Found>& list = (*memo)[key];
  if (list.size() == kKept) list.erase(list.begin());
  list.push_back(std::move(out));
  return list.back().value;
}

}  // namespace guard
