// Frames and configurations: the states of the automaton.
//
// A frame is one open container (or the root): an interned level (levels.hpp), the keys written,
// and the number of members or items. A configuration is a stack of frames, linked towards the root
// and immutable, and the lexeme that is being read. Configurations are values, so a rollback just
// returns to an old one. Frames and all that they point to are allocated in the arena of the
// matcher that made them, and live as long as that arena. A frame's cache is filled lazily, under
// the isolate's lock.
#pragma once
#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "automaton/arena.hpp"
#include "constraints/constraints.hpp"
#include "support/distances.hpp"

namespace guard {

enum class Whitespace : std::uint8_t { Spaced, Compact, Flexible, Any };

struct Options {
  bool schema_order = true;
  Whitespace whitespace = Whitespace::Spaced;
  Spelling spelling = Spelling::Canonical;
  Limits limits;
  std::int32_t longest_run = 256;  // of white space, with Whitespace::Any
  std::int64_t gap() const {
    return whitespace == Whitespace::Spaced ? 1 : 0;
  }  // bytes of white space required after `:` and `,`
};

constexpr Id kEveryClass = kInf;  // the label of any key that may come
enum class Phase : std::uint8_t { Value, First, Key, Colon, After, End };
enum class Kind : std::uint8_t {
  Root,
  Object,
  Array,
  Format
};  // Format: the text around values; its level is a point of the net

struct KeyText {  // the text of an unfinished key, or of a container with compared items; a list,
                  // last byte first
  const KeyText* before;
  std::uint8_t byte;
};
struct Extras {  // the undeclared keys written, sorted; immutable
  std::int32_t size;
  const std::string_view* texts;
};
struct Barred {  // forbidden values that agree with the text so far; immutable
  std::int32_t size;
  const Id* values;
};
struct Writable {  // the keys that may come next
  std::uint64_t *known,
      *names;  // one bit for each name of the table: was it examined, and may it come?
  const std::int32_t*
      required;     // by alternative, the least rank of the keys still required; kInf: none
  Id text, spec;    // the automaton of all other classes; its labels are classes
  signed char any;  // may some key come? -1: unknown
};
struct NamesIndex {  // the names in one object's schema, sorted by UTF-8 bytes
  std::vector<std::string_view> texts;
  std::unordered_map<Id, std::int32_t> at;
};
struct Target {  // ids that must all be met, and the bytes from there to the end
  const Id* ids;
  std::int32_t size;
  Id goal;  // of an option: the value's goal
  std::int64_t tail;
};
struct Targets {
  std::int32_t size;
  const Target* list;
  bool is_cut = false;  // whether there are more, which were not computed
};
struct RestCost {  // bytes to the end of the container after a due value that leads to the residual
  const RestCost* before;
  Id residual;
  std::int64_t bytes;
};
struct Decided {  // a memoised result: the goal, within `base`, under which the due value leaves a
                  // completion
  const Decided* before;
  Id open, base, goal;
};
struct Scalar {  // a lexeme at its start; state -1: unknown
  Id state = -1, spec = 0;
  bool tracked = false;
};

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
// With a limit, any sufficient number of bytes up to the limit is an answer; it need not be the
// least one.
inline bool is_enough(std::int64_t bytes, std::int64_t limit) {
  return bytes >= 0 && bytes <= limit && limit != kNoLimit;
}
struct KnownDistance {
  std::int64_t exact = -2, some = -2;  // -2: unknown
  std::int64_t least = -2;             // a lower bound, where it exceeds some limit
  std::int64_t within(std::int64_t limit) const {
    if (exact != -2) return exact;
    return is_enough(some, limit) ? some : least > limit ? least : -2;
  }
  void keep(std::int64_t bytes, std::int64_t limit) {
    (is_enough(bytes, limit) ? some : exact) = bytes;
  }
};

struct KeptRows;  // masks/mask_cache.hpp

struct Frame {
  const Frame* parent = nullptr;
  const NamesIndex* names = nullptr;  // of an object
  Arena* arena = nullptr;             // the arena that owns it
  Kind kind = Kind::Root;
  Phase phase = Phase::Value;
  std::int32_t depth = 0;  // open containers
  Id level = -1;
  std::int32_t cls = -1;          // class of the key whose value is due
  std::int32_t count = 0;         // keys or items written
  std::int32_t rank = -1;         // of the last key, in the schema's order
  Id key = -1;                    // the last key
  Id order = -1;                  // see KeyOrder
  Id due = -1;                    // the due value's, in phase Value (and an array's First)
  bool records = false;           // whether items of this array, or of one around it, are compared
  const KeyText* mark = nullptr;  // if it records: the text before the bracket, comma or colon that
                                  // precedes the value at hand
  const Barred* barred = nullptr;  // values that this container must differ from
  bool waits = false;              // whether its level does not have them yet
  const KeyText* begun = nullptr;  // the text before it
  const std::uint64_t* seen =
      nullptr;  // one bit for each name of the table: was it written? null: no name was
  const Extras* extras = nullptr;
  mutable KeptRows* rows = nullptr;  // see MaskRows
  struct Cache {
    std::array<Id, kTypes> vital{-1, -1, -1, -1, -1, -1};  // see Viability::vital
    std::array<Scalar, kTypes> scalars{};  // of strings and numbers, see Stepper::begin_value
    std::uint8_t never = 0;                // one bit for each type that the due value can't have
    Writable* writable = nullptr;          // see Viability::writable
    signed char more = -1;                 // may a further item come?
    const Targets* targets = nullptr;      // see Distances::targets
    std::array<const Targets*, kTypes> options{};  // see Distances::options
    const Frame* value = nullptr;  // of phase Colon, for distances: the frame behind the colon
    const RestCost* rests = nullptr;
    const Decided* decided = nullptr;
    KnownDistance distance;
    std::int64_t rest = -2;              // see Distances::least_rest
    std::int64_t stack = -1;             // see CompletionKeys; -1: not known
    KnownDistance* after_key = nullptr;  // by name, then by class: bytes after its key
  };
  mutable Cache* cache_ = nullptr;
  Cache& cache() const {
    if (!cache_) cache_ = arena->make(Cache{});
    return *cache_;
  }
  // A copy to be the next frame, in another arena and with an empty cache.
  Frame next(Arena& in) const {
    Frame out = *this;
    out.arena = &in;
    out.cache_ = nullptr;
    out.rows = nullptr;
    return out;
  }
};

enum class Lex : std::uint8_t { None, Text, Key, Number, Literal, Raw };

// The declared names and the written keys that begin with the bytes of a key so far: ranges of the
// frame's sorted lists, and the number of bytes.
struct KeyRanges {
  std::int32_t lo = 0, hi = 0, depth = 0;  // names
  std::int32_t xlo = 0, xhi = 0;           // extras
  bool operator==(const KeyRanges&) const = default;
};

struct Config : KeyRanges {    // the ranges are of a Key
  const Frame* top = nullptr;  // null: the schema has no instance
  Lex lex = Lex::None;
  bool finished = false;  // an end-of-sequence token came
  std::int32_t gap = 0;   // white space so far, as whitespace.hpp counts it
  Id state = 0,
     spec = 0;  // Text, Key, Raw: of Texts; Number: of Numbers; Literal: 0 null, 1 true, 2 false
  std::int32_t chars = 0;         // characters read; Literal: bytes read
  Id labels = -1;                 // Literal: the surviving labels
  Id decoder = 0;                 // Key: the state of a free text, which tracks partial characters
  const KeyText* key = nullptr;   // also of a Number, where literals are tracked
  const KeyText* text = nullptr;  // the text since the outermost frame that records
  bool operator==(const Config&) const =
      default;  // compares frames and texts by address, so only configurations of one matcher
};

// Beyond this depth, only bytes that reduce the distance are allowed.
inline bool is_too_deep(const Options& options, const Config& at) {
  return at.top->depth > options.limits.nesting;
}

constexpr std::string_view kLiterals[] = {"null", "true", "false"};

inline Type type_of(const Frame& f) { return f.kind == Kind::Object ? Type::Object : Type::Array; }
inline bool bit(const std::uint64_t* words, std::int32_t i) {
  return words && (words[i >> 6] >> (i & 63) & 1);
}
inline std::size_t words_for(std::size_t bits) {
  return std::max<std::size_t>((bits + 63) / 64, 1);
}
// The bits of the names written so far, with this one added (-1: none), allocated in the arena.
inline std::uint64_t* with_name(const Frame& f, std::size_t names, std::int32_t name,
                                Arena& arena) {
  const std::size_t words = words_for(names);
  auto* seen = static_cast<std::uint64_t*>(arena.allocate(words * 8));
  if (f.seen)
    std::copy(f.seen, f.seen + words, seen);
  else
    std::fill(seen, seen + words, 0);
  if (name >= 0) seen[name >> 6] |= 1ull << (name & 63);
  return seen;
}
inline bool is_extra(const Frame& f, std::string_view key) {  // was this undeclared key written?
  return f.extras && std::binary_search(f.extras->texts, f.extras->texts + f.extras->size, key);
}
inline const Extras* with_extra(const Frame& f, std::string_view key, Arena& arena) {
  const std::int32_t n = f.extras ? f.extras->size : 0;
  auto* texts = static_cast<std::string_view*>(
      arena.allocate(sizeof(std::string_view) * static_cast<std::size_t>(n + 1)));
  std::int32_t i = 0;
  for (; i < n && f.extras->texts[i] < key; ++i) texts[i] = f.extras->texts[i];
  texts[i] = key;
  for (; i < n; ++i) texts[i + 1] = f.extras->texts[i];
  return arena.make(Extras{n + 1, texts});
}
inline bool is_separated(const Frame& f) {  // is it after a comma or a colon?
  return f.phase == Phase::Key || (f.phase == Phase::Value && f.kind != Kind::Root);
}
// May the value at hand still be compared with others? A number then has no exponent in canonical
// spelling, as if values were excluded, whether its level has them or not.
inline bool is_compared(const Frame& f) { return f.barred || (f.parent && is_compared(*f.parent)); }

// The character of a key at this byte offset; -1 at its end.
inline std::int64_t char_at(std::string_view text, std::int32_t depth) {
  if (static_cast<std::int32_t>(text.size()) <= depth) return -1;
  return first_char(text.substr(static_cast<std::size_t>(depth)));
}
inline bool in_ranges(const Ranges& ranges, std::int64_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const Range& r) { return c >= r.lo && c <= r.hi; });
}

}  // namespace guard
