// Engine: one compiled schema as a lazy automaton over bytes with a stack.
//
// A frame is one open container (or the root): an interned level, which is the set of live alternatives inside of the
// value, each with the set of the parent's cases that it serves, so that n parents never multiply m children; and what is
// kept beside the level: which keys were written, how many members or items. A configuration is a stack of frames, linked
// towards the root and immutable, and the lexeme that is being read. Configurations are values: rollback keeps old ones.
//
// A value that is due is read in several cases at once, by JSON type: one for each vital alternative, the goal under which
// it has a completion; and one for each tracked literal, which only tells whether the value meets it. A scalar's cases run as one
// product lexeme with labels; a container's become the alternatives of a child frame. When the value ends, the labels that
// survive give each alternative its one residual. Transitions are memoised; every configuration that step() returns has a completion.
//
// All tables are guarded by the lock of the isolate that they lie in (runtime/isolate.hpp); frames live in the arena of the matcher that made them.
#pragma once
#include <array>
#include <memory>

#include "constraints/constraint.hpp"
#include "masks/lexeme_masks.hpp"

namespace guard {

enum class Whitespace : std::uint8_t { Spaced, Compact, Flexible, Any };

struct Options {
  bool schema_order = true;
  Whitespace whitespace = Whitespace::Spaced;
  Spelling spelling = Spelling::Canonical;
  Limits limits;
  std::int32_t longest_run = 256;  // of white space, with Whitespace::Any
};

// What all engines of one isolate share.
class Tables {
 public:
  explicit Tables(bool common) : part_(common ? 1 : kPart) {}
  const std::uint64_t number = ++made;  // of no other tables of the process
  Lexicon lexicon;
  // By a pattern's syntax tree in Python, whether it is searched for or is the whole text. Holds the tree: an address says nothing once its object is gone.
  std::unordered_map<const void*, std::pair<Id, std::shared_ptr<void>>> patterns[2];
  LexemeMasks& masks(const std::shared_ptr<const Vocabulary>& vocabulary);
  std::vector<std::unique_ptr<LexemeMasks>> abandoned();  // the masks of vocabularies that are gone, no longer held here
  std::size_t nbytes() const;                              // of masks

 private:
  static constexpr std::size_t kPart = 8;  // an isolate of one schema's own remembers one in so many of the masks
  static inline std::atomic<std::uint64_t> made = 0;
  std::size_t part_;
  std::unordered_map<Id, std::unique_ptr<LexemeMasks>> masks_;  // by vocabulary
};

class Arena {  // bump allocation; everything goes at once
 public:
  Arena() = default;
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;
  template <class T>
  T* make(T value) {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (allocate(sizeof(T))) T(std::move(value));
  }
  void* allocate(std::size_t bytes);
  void clear();
  std::size_t used() const { return block_ * kBlock; }  // at most, without large pieces
  static std::int64_t nbytes() { return held_; }        // of all arenas: made by this thread, less those that it gave back
  static std::int64_t all_nbytes() { return all_held_; }

 private:
  static constexpr std::size_t kBlock = 1 << 14;
  static inline constinit thread_local std::int64_t held_ GUARD_TLS = 0;
  static inline std::atomic<std::int64_t> all_held_ = 0;
  static void count(std::int64_t n) { held_ += n, all_held_.fetch_add(n, std::memory_order_relaxed); }
  struct Piece {  // counted as long as it lives
    explicit Piece(std::size_t size) : bytes(std::make_unique_for_overwrite<std::byte[]>(size)), n(static_cast<std::int64_t>(size)) { count(n); }
    Piece(Piece&& o) noexcept : bytes(std::move(o.bytes)), n(std::exchange(o.n, 0)) {}
    Piece& operator=(Piece&& o) noexcept { return std::swap(bytes, o.bytes), std::swap(n, o.n), *this; }
    ~Piece() { count(-n); }
    std::unique_ptr<std::byte[]> bytes;
    std::int64_t n;
  };
  std::vector<Piece> blocks_;
  std::vector<Piece> large_;
  std::size_t left_ = 0, block_ = 0;  // bytes of the block before block_
};

constexpr Id kEveryClass = kInf;  // the label of a key that is in some class or a name
enum class Phase : std::uint8_t { Value, First, Key, Colon, After, End };
enum class Kind : std::uint8_t { Root, Object, Array };

struct KeyText {  // the text of a key under construction, or of a container whose items are compared; last byte first
  const KeyText* before;
  std::uint8_t byte;
};
struct Extras {  // undeclared keys that were written, sorted; immutable
  std::int32_t size;
  const std::string_view* texts;
};
struct Barred {  // values, all of which agree with what was written so far; immutable
  std::int32_t size;
  const Id* values;
};
struct Writable {  // the keys that may come next
  std::uint64_t *known, *names;  // a bit for each name of the table: was it looked into, and may it come?
  const std::int32_t* required;  // of each alternative the least rank of the keys that must still come; kInf: none
  Id text, spec;                 // the automaton of the other classes; its labels are classes
  signed char any;               // may some key come? -1: not known
};
struct NamesIndex {  // the names that one object speaks of, sorted by UTF-8 bytes
  std::vector<std::string_view> texts;
  std::unordered_map<Id, std::int32_t> at;
};
struct Target {  // some ids that must all be met, and bytes from there to the end
  const Id* ids;
  std::int32_t size;
  Id goal;  // of an option: what the value meets
  std::int64_t tail;
};
struct Targets {
  std::int32_t size;
  const Target* list;
};
struct RestCost {  // bytes to the end of the container, once the due value has led to the residual
  const RestCost* before;
  Id residual;
  std::int64_t bytes;
};
struct Decided {  // the goal under which the due value leaves a way on, when it meets the base
  const Decided* before;
  Id open, base, goal;
};
struct Scalar {  // a lexeme at its start; state -1: not known
  Id state = -1, spec = 0;
  bool tracked = false;
};

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
// Of distances that are asked for within a limit any will do that is.
inline bool will_do(std::int64_t bytes, std::int64_t limit) { return bytes >= 0 && bytes <= limit && limit != kNoLimit; }
struct Reckoned {
  std::int64_t exact = -2, some = -2;  // -2: not known
  std::int64_t known(std::int64_t limit) const { return exact != -2 ? exact : will_do(some, limit) ? some : -2; }
  void keep(std::int64_t bytes, std::int64_t limit) { (will_do(bytes, limit) ? some : exact) = bytes; }
};

struct Frame {
  const Frame* parent = nullptr;
  const NamesIndex* names = nullptr;  // of an object
  Arena* arena = nullptr;
  Kind kind = Kind::Root;
  Phase phase = Phase::Value;
  std::int32_t depth = 0;      // open containers
  Id level = -1;
  std::int32_t cls = -1;       // class of the key whose value is due
  std::int32_t count = 0;      // keys or items written
  std::int32_t rank = -1;      // of the last key, in the schema's order
  Id key = -1;                 // the last key
  Id order = -1;               // the schema nodes that say in which order keys come
  Id due = -1;                 // of phase Value (an array's First, too)
  bool records = false;        // are items of this array, or of one around it, compared with each other?
  const KeyText* mark = nullptr;  // where something records: the text in front of the bracket, comma or colon before the value at hand
  const Barred* barred = nullptr;  // values that this container must not become
  bool waits = false;              // its level does not know of them yet
  const KeyText* begun = nullptr;  // the text in front of it
  const std::uint64_t* seen = nullptr;
  const Extras* extras = nullptr;
  struct Cache {
    std::array<Id, kTypes> vital{-1, -1, -1, -1, -1, -1};           // see Engine::vital
    std::array<Scalar, kTypes> scalars{};                           // of strings and numbers, see Engine::begin_value
    std::uint8_t never = 0;                                         // a bit for each type that the due value can't have
    Writable* writable = nullptr;
    signed char more = -1;                                          // may a further item come?
    const Targets* targets = nullptr;                               // see Engine::targets
    std::array<const Targets*, kTypes> options{};                   // see Engine::options
    const RestCost* rests = nullptr;
    const Decided* decided = nullptr;
    Reckoned distance;
    std::int64_t rest = -2;                                         // see Engine::least_rest
    Reckoned* after_key = nullptr;                                  // by name, then by class: bytes behind its key
  };
  mutable Cache* cache = nullptr;
};

enum class Lex : std::uint8_t { None, Text, Key, Number, Literal };

struct Config {
  const Frame* top = nullptr;
  Lex lex = Lex::None;
  bool finished = false;    // an end-of-sequence token came
  std::int32_t gap = 0;     // white space so far, in the option's own count
  Id state = 0, spec = 0;   // Text, Key: of Texts; Number: of Numbers; Literal: 0 null, 1 true, 2 false
  std::int32_t chars = 0;   // characters read; Literal: bytes read
  Id labels = -1;           // Literal: the surviving labels
  Id decoder = 0;           // Key: a free text, for what a partial character is
  std::int32_t lo = 0, hi = 0, depth = 0, xlo = 0, xhi = 0;  // Key: the names and the extras that begin so, and bytes read of them
  const KeyText* key = nullptr;  // of a Number, too, where literals are tracked
  const KeyText* text = nullptr;  // from where a frame records
  bool operator==(const Config&) const = default;  // of one matcher: frames and texts are the same where they are the same object
};

// What masks make on their way: frames, to which many tokens lead, and what is cached there, which is dear. It stays as long as the
// frame on top does, for the tokens of one text; not where values are recorded.
struct Scratch {
  struct Key {
    const Frame* from;
    Phase phase;
    Id what, order;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& k) const {
      return mix(mix(mix(std::hash<const Frame*>{}(k.from), static_cast<std::size_t>(k.phase)), static_cast<std::size_t>(k.what)), static_cast<std::size_t>(k.order));
    }
  };
  static constexpr std::size_t kFew = 12, kMost = 1 << 16;
  void begin(const Frame* on_top) {
    if (on_top != top || arena.used() > kMost) clear();
    top = on_top;
  }
  void clear() {
    top = nullptr;
    few.clear();
    many.clear();
    arena.clear();
  }
  const Frame* top = nullptr;
  Arena arena;
  Few<std::pair<Key, const Frame*>, kFew> few;
  std::unordered_map<Key, const Frame*, Hash> many;
};

class Engine {
 public:
  Engine(Tables& tables, Options options, Id root);
  const std::uint64_t number = ++made;  // of no other engine of the process
  Goals& goals() { return goals_; }
  Id root() const { return root_; }
  Tables& tables() { return tables_; }
  const Options& options() const { return options_; }

  Config start(Arena& arena);  // top is null when the schema has no instance
  // One byte further. Where values nest deeper than Limits.nesting only what brings the end nearer is let through.
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool can_stop(const Config& at);
  // Bytes that surely suffice, the end-of-sequence token counted as one. Of no more than `limit` any such number will do, and of more -1.
  std::int64_t distance(const Config& at, std::int64_t limit = kNoLimit);
  // The bits of the allowed tokens; budget < 0: none, else tokens t with 1 + distance(after t) <= budget. Without `factors` nothing that
  // is remembered of tokens is used: each is read byte by byte, which the other way is tested against.
  // Returns a budget from which on all are the same, as without one; kNoLimit: not known, or more than this one.
  std::int64_t fill(const Config& at, LexemeMasks& masks, std::int64_t budget, std::uint32_t* row, Scratch& scratch, bool factors = true);
  // The nodes that a mask would miss at the value that is due, as far as that is known: to end in Missing is far dearer.
  std::vector<Id> look_ahead(const Config& at);
  std::string forced(const Config& at, Arena& scratch, std::size_t cap);
  // For tables outside of the engine: see state_key.cpp. Equal keys, equal futures; "": there is no instance; ".": finished.
  void key(const Config& at, std::string* out);  // appends
  bool counts(const Config& at) const { return at.lex == Lex::Literal || ((at.lex == Lex::Text || at.lex == Lex::Key) && texts_.spec(at.spec).bounded); }  // does `chars` matter?
  std::int64_t lexeme(const Config& at) const;  // two configurations of one lexeme have the same classes; -1: it has none
  int classes(const Config& at, LexemeMasks& masks, std::uint8_t* of);  // of each token, 0: none; returns how many. Tokens of a class that are allowed lead to one key
  Id node_at(const Config& at) const;  // a schema node that the innermost value under way must meet; -1 when unknown
  std::size_t nbytes() const;
  std::size_t states() const { return levels_.size() + goals_.size(); }

 private:
  friend class Sampler;
  bool advance(const Config& from, std::uint8_t byte, Config* to, Arena& arena);  // does not keep the text
  std::int64_t bytes_left(const Config& at, std::int64_t limit);
  bool is_too_deep(const Config& at) const { return at.top->depth > options_.limits.nesting; }
  struct Alternative {
    Id shape;    // a Shape, or a Row
    Id parents;  // an IdSet: labels of the parent's due value
    bool vital;  // else it only tells whether the value meets the shape
    auto operator<=>(const Alternative&) const = default;
  };
  struct Level {
    Kind kind;
    Id table;  // Names, for objects
    std::vector<Alternative> alternatives;
    bool records = false;  // are the items of this array compared with each other?
    bool operator==(const Level&) const = default;
    std::size_t hash() const {
      std::size_t h = mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(table));
      for (const Alternative& a : alternatives) h = mix(mix(h, static_cast<std::size_t>(a.shape)), static_cast<std::size_t>(a.parents));
      return h;
    }
  };
  struct Names {  // of one object: sorted by UTF-8 bytes
    std::vector<Id> names;
    std::vector<std::int32_t> ranks;  // in the schema's order; kInf: none
    bool operator==(const Names&) const = default;
    std::size_t hash() const { return mix(hash_of(names), hash_of(ranks)); }
  };
  struct ObjectInfo {
    const std::vector<KeyClass>* classes = nullptr;
    std::vector<std::int32_t> class_of;      // by name of the table; -1: no class
    std::vector<std::int32_t> text_classes;
    std::vector<char> is_asked;              // by name of the table: somewhere it must come
    std::vector<std::int32_t> asked;         // those names
    std::vector<std::int64_t> key_bytes;     // by name of the table: with its quotes
    std::vector<std::int64_t> value_bytes;   // by class; -3: not yet
    bool plain = true;                       // one alternative, which no key changes
    bool bare = true;                        // nothing asks for a number of members, or for some member of any name
    // Bytes of the dearest member that has a name, with its key, and of the dearest value behind another key; -1: not known, -2: not yet.
    std::int64_t most_named = -2, most_other = -2;
  };
  struct Due {
    Kind kind;
    Id level;
    std::int32_t cls;  // of a key; of an array that records: how many items were written
    bool operator==(const Due&) const = default;
    std::size_t hash() const { return mix(mix(static_cast<std::size_t>(kind), static_cast<std::size_t>(level)), static_cast<std::size_t>(cls)); }
  };
  struct Part {  // of one alternative, while a value is being written
    Id base = Goals::kFalse, open = -1;
    bool vital = true;
    Id barred = Goals::kFalse;  // what the base should exclude, too, and does not: the item is compared while it is written
    bool decides = false;  // does the cost of the rest hang on each literal? Then the negations are tracked, too,
    Id apart = -1;         // and one more: the value is none of the singles that the part reserves
  };
  struct Parts {  // label i < list.size() is of list[i]; label list.size() + j is of tracked[j]
    std::vector<Part> list;
    std::vector<Id> tracked;  // literals
    std::vector<Id> singles;  // values that are tracked for what the rest will cost behind them
    bool plain = false;       // whatever is written, a completion remains
    std::vector<std::pair<Id, Id>> labels;  // of each tracked literal, sorted: there may be thousands
    Id label(Id literal) const;
    bool tracks(Id literal) const { return label(literal) >= 0; }
  };
  struct Opened {  // a scalar lexeme at its start
    Id state, spec;
  };

  Frame::Cache& cache(const Frame& f) const;
  Id set_of(std::span<const Id> ids) { return interned(&sets_, ids); }
  Id list_of(std::span<const Id> ids) { return interned(&lists_, ids); }
  void look_ahead(Id due, std::vector<Id>* out);
  Keys keys_of(const Frame& f);
  const NamesIndex& index(Id table);
  const ObjectInfo& info(Id level);
  const Parts& parts(Id due, Type type);
  Id legible(const Frame& f, Id goal, const Parts& parts, Type type);
  template <class Search>
  Id decided(const Frame& f, Id open, Id base, const Search& search);
  Id vital(const Frame& f, Type type);  // a list: for each alternative the goal under which it has a completion, kFalse: none
  bool is_viable(const Frame& f, Id residual);  // once the due value has ended
  Id viable_after(const Frame& f, Id residual, Id base);  // the goal under which the due value, which meets the base, leaves it viable
  bool is_alive(const Frame& f, std::span<const Id> labels) const;  // sorted
  Writable& writable(const Frame& f);
  bool name_is_writable(const Frame& f, std::int32_t name);  // looked into when it is asked for: objects have thousands
  bool any_is_writable(const Frame& f);
  bool may_write(const Frame& f, std::int32_t cls, std::int32_t name);
  bool class_is_writable(const Frame& f, const Alternative& alternative, std::int32_t cls, std::int32_t name, std::int32_t required);
  bool may_have_more(const Frame& f);
  Id object_level(const std::vector<Alternative>& alternatives, Id order);
  void add_alternative(std::vector<Alternative>* list, const Alternative& alternative);
  Id array_level(std::vector<Alternative> alternatives);
  Id due_item(Id level, std::int32_t at) { return dues_.intern({Kind::Array, level, levels_[level].records ? at : 0}); }
  const Frame* after_value(const Frame& f, Type type, std::span<const Id> labels, Id value, Arena& arena);
  // Items that are compared: see may_wait().
  bool may_wait(const Frame& f);
  bool is_plain(const Frame& f) const;
  const Barred* barred_in(Id among, Type type, Arena& arena);
  Id with_barred(const Frame& f, Id level, const Barred& barred);
  void narrow_barred(const Frame& f, Id value, Frame* next, Arena& arena);
  Config told(const Config& at, Arena& arena);
  Id value_of(const KeyText* text, const KeyText* mark, int last);  // the item behind the mark
  // `last` is the value's last byte where the text lacks it; -1: it does not.
  bool ended(const Frame& f, Type type, std::span<const Id> labels, const KeyText* text, int last, Config* to, Arena& arena);
  bool begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool close(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool step_key(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool end_key(const Config& from, Config* to, Arena& arena);
  bool key_is_live(const Config& c);
  static bool narrow_key(Config* c, std::uint8_t byte);  // by one byte of UTF-8; are names or extras left?
  bool is_among(const Config& c) const;                  // can a name or an extra still be spelled?
  bool end_number(const Config& from, Config* to, Arena& arena);
  std::int32_t gap_after(const Frame& f, std::int32_t gap, std::uint8_t byte) const;
  bool gap_is_done(const Frame& f, std::int32_t gap) const;

  Id order_of_key(Id order, Id name);
  Id order_of_item(Id order, std::int32_t at);
  const std::vector<Id>& in_place(Id order);
  const std::vector<Id>& order_names(Id order);

  const Targets& targets(const Frame& f);             // ids are alternatives of an open container's level
  const Targets& options(const Frame& f, Type type);  // ids are labels of the due value
  const Targets* keep(const Frame& f, const std::vector<std::pair<std::vector<Id>, std::pair<Id, std::int64_t>>>& list);
  std::int64_t value_distance(const Frame& f, std::int64_t limit);
  std::int64_t number_distance(const Config& at, const Target& option);
  std::int64_t least_rest(const Frame& f);
  bool is_even(const Frame& f);
  std::int64_t least_members(const Frame& f);
  const Word* new_key(const Frame& f, std::int32_t cls);
  std::int64_t behind_key(const Frame& f, std::int32_t cls, std::int32_t name);
  std::int64_t value_bytes(Id level, const ObjectInfo& info, std::int32_t cls);
  std::int64_t key_distance(const Config& at, std::int64_t limit);  // of a key under construction

  const Frame* make(Scratch::Key key, const Frame& frame, Arena& arena);
  struct Sink;
  // Where a walk over a trie stands, a place for each byte. Walks inside of walks use one stack: a new one of each would be allocated.
  struct Place {
    Config config;
    Children children;
  };
  class Path {
   public:
    explicit Path(std::vector<Place>* places) : places_(places), base_(places->size()) {}
    ~Path() { places_->erase(places_->begin() + static_cast<std::ptrdiff_t>(base_), places_->end()); }
    Path(const Path&) = delete;
    void push_back(const Place& place) { places_->push_back(place); }
    void pop_back() { places_->pop_back(); }
    Place& back() { return places_->back(); }
    bool empty() const { return places_->size() == base_; }

   private:
    std::vector<Place>* places_;
    std::size_t base_;
  };
  std::vector<Place> places_;
  std::vector<std::uint32_t> clear_row_;  // of no token; to make a part of a mask in
  enum class Means : std::uint8_t { Ample, Scarce, None };  // does the budget suffice inside of a lexeme: behind all tokens, some, none?
  void below(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void walk(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void go_on(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  bool fill_value(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  Id value_class(Id level, Id due);
  std::int64_t tail(const Frame& f);
  bool fill_lexeme(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  bool fill_gap(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  Bytes bytes_among(const Config& at) const;
  void overlay(const Suffixes& among, std::int32_t node, const Config& from, Means means, Sink& sink);
  bool are_even(const Config& at);
  void overlay_known(const Suffixes& among, std::int32_t node, const Config& from, Means means, Sink& sink);
  void overlay_all(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void add_alone(const Config& at, const Spelled& token, Sink& sink);
  bool is_near(const Config& at, LexemeMasks& masks);
  void add_inside(const Config& at, LexemeMask& mask, bool bounded, Means means, Sink& sink);
  void add_exits(const Config& at, const LexemeMask& mask, Sink& sink);
  void exit_key(const Suffixes& among, std::int32_t node, const Config& at, const LexemeMask& mask, Sink& sink);
  bool affords_any(const Suffixes& among, std::int32_t node, const Config& at, bool bounded, Sink& sink);
  Means key_means(const Config& at, Sink& sink);
  std::int64_t member_cost(Id level, std::int32_t cls);  // bytes of the cheapest value behind a key of the class, in a level of one alternative
  std::int64_t most_named(Id level), most_other(Id level);
  struct Sight {
    std::int64_t bytes = -1;  // the distance, or a bound from above; -1: neither can be told
    bool is_exact = false;
  };
  Sight on_sight(const Config& at);
  std::int64_t behind_value(const Frame& f);  // from behind the value that is due to the end of everything, whatever the value; -1: not known

  static inline std::atomic<std::uint64_t> made = 0;

  Tables& tables_;
  Options options_;
  Goals goals_;
  Id root_;
  Texts& texts_;
  Numbers& numbers_;
  Id decoder_ = 0;
  Scratch* scratch_ = nullptr;                      // while a mask is being made
  std::unordered_set<std::string>* asked_ = nullptr;  // keys of which it was asked whether they were written
  bool tells_ = false;  // no container that begins now waits

  Interner<IdSet> sets_;
  Interner<Level> levels_;
  Interner<Names> names_;
  Interner<Due> dues_;
  Interner<IdSet> lists_;  // in any order
  std::deque<std::unique_ptr<NamesIndex>> indices_;
  ById<ObjectInfo> infos_;
  ById<Parts> parts_;  // by due * kTypes + type
  ListMap<Id> after_, children_;
  ListMap<Opened> opened_;
  PairMap<Id> order_keys_, order_items_;
  std::int32_t last_count(const Frame& f);
  PairMap<std::int32_t> last_counts_;
  std::unordered_map<Id, std::vector<Id>> in_place_, order_names_;
  std::vector<Id> value_classes_;  // by due; -2: not known
  std::vector<char> looked_;  // by due: are its goals lowered?
  static constexpr std::size_t kMostValues = 500'000;  // bytes
  struct Within {  // tokens that end within a value
    Tokens tokens;
    std::size_t size = 0;
    std::int64_t enough = kNoLimit, lacking = -1;  // budgets beside what follows that suffice for all of them, and that don't
    static constexpr std::size_t kScarce = 16;
    std::vector<std::pair<std::int64_t, Tokens>> scarce;  // which of them such a budget leaves
    bool reckons = false;                                 // was some distance not told on sight?
  };
  ListMap<Within> values_;  // see fill_value
  std::size_t values_held_ = 0;
};

}  // namespace guard
