// Sampler: valid values of one schema, read off a sequence of choices.
//
// Decisions are made where the structure is: which type, which key next, how long, which character,
// which number. A choice is a byte, and choices come in units, one for the value and one for each
// member and item inside of it, in the order in which they are written: without its unit a member
// is left out, and those behind it stay as they are. 0 always is the simplest way on, and so are
// choices behind the end, so that fewer and smaller choices are smaller values. What is decided is
// then written through Engine::step, which alone says what is valid: a decision that it does not
// take is replaced by a simpler one, at last by the bytes that bring the end nearest. So every text
// that comes out is one that the masks would let through. Once the units are spent the shortest way
// out is taken, by distance. Costs: a step for each byte, and what Engine asks of itself at each
// value and key. Not thread-safe: guarded by the isolate's lock. Tests:
// tests/testing/test_instances.py.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

std::string json_of(std::string_view utf8);  // what spells it inside of quotes

class Sampler {
 public:
  explicit Sampler(Engine& engine)
      : engine_(engine), constraints_(engine.constraints), langs_(engine.lexicon().langs) {}

  // The text of the value for these choices, in compact white space; false when the schema has no
  // instance. `used`: units that were begun behind the first, at most all.
  bool sample(std::vector<std::string_view> choices, std::string* text, std::size_t* used);

 private:
  static constexpr std::size_t kBytes = 1 << 14;  // of a text, behind which choices are spent
  static constexpr std::uint8_t kDeep = 240;      // choices from which on a value is deep
  static constexpr std::size_t kFew = 8;          // names that may be left out
  static constexpr std::uint16_t kNothing = 256;  // no choice
  static constexpr std::uint8_t kStop = 24;       // choices that end an object
  static constexpr std::uint8_t kThere = 10;      // choices from which on a member is there
  static constexpr std::uint8_t kNew = 64;        // choices that lead to a key of no name
  static constexpr std::uint8_t kNewAlone = 8;    // the same where the schema names none
  static constexpr std::int64_t kMany = 12;       // values, from which on nobody counts them

  std::uint8_t next();  // a choice; 0 when the unit has none left
  std::uint8_t once_more(std::size_t unit, std::int64_t written)
      const;  // a choice made of those of a unit that is over
  void begin_unit();
  std::size_t pick(std::size_t n);  // one of n, the first the simplest
  std::size_t pick_weighted(const std::vector<std::int64_t>& weights);
  bool spent() const { return unit_ >= choices_.size() || text_.size() > kBytes; }
  bool is_unit_over() const { return spent() || at_ == choices_[unit_].size(); }
  void put(const Config& to, char byte);
  bool put(char byte);               // false: not valid here, and nothing was written
  bool put(std::string_view bytes);  // all or none
  bool put_number(std::string_view text);
  bool nudge();                      // one byte nearer to the end
  bool is_nearer(const Config& to);  // to the end, than what is
  bool finish(const Frame* until);  // to the end of the value that is due or under way in the frame
  bool value();                     // false: none could be begun, and nothing was written
  struct Way {                      // to write a value
    std::int64_t cost;
    Type type;
    Id goal;
  };
  void choose(std::vector<Way>* ways);
  // How many values there are, at most kMany: of a goal, of what is due, of a language. What has
  // few is chosen seldom, for it would be the same value again and again.
  template <class F>
  std::int64_t listed(F count);
  std::int64_t variety(Id goal, Type type);
  std::int64_t variety(const Frame& f);
  std::int64_t variety(Id lang);
  std::int64_t variety_behind(const Frame& f, Type type, Id value);
  bool tag(const std::vector<Way>& ways);
  std::string scalar_text(const Value& value) const;
  bool scalar(Type type, Id goal, bool simplest);
  bool object();
  bool array();
  struct Plan {            // of one object
    bool all, one;         // as many members as there may be; one at most
    bool few;              // may only few names be left out?
    std::size_t optional;  // how many may
    std::uint16_t least;   // where few may: the least choice for which a name is there
  };
  bool member(const Plan& plan, std::size_t members, bool* stopped);
  bool write_name(std::int32_t name);
  bool write_new_key(bool simplest);
  std::string name_text(std::int32_t name) const;

  std::string string_of(Id goal, bool simplest);
  std::string text_of(Id lang, std::int32_t lo, std::int32_t hi, bool simplest);
  struct Edge {           // from a language to the next by any of some characters
    int plain;            // how plain the plainest of them is, 0 the most
    std::uint32_t first;  // it
    Id next;
    Ranges ranges;
    bool is_one() const { return ranges.size() == 1 && ranges[0].lo == ranges[0].hi; }
  };
  std::int64_t variety(const Edge& edge);
  std::vector<Edge> edges_of(Id lang, std::int64_t lo, std::int64_t hi, bool closing);
  std::uint32_t character(const Edge& edge, std::size_t choice, bool odd);
  std::string number_of(Id goal, bool simplest);
  std::string simplest_number(Id piece);
  std::string drawn_number(const Piece& piece, Id state);
  bool is_number(Id state, std::string_view text);
  const std::vector<std::int32_t>& by_rank(Id level);

  Engine& engine_;
  Constraints& constraints_;
  Langs& langs_;
  std::vector<std::string_view> choices_;
  std::size_t unit_ = 0, at_ = 0;
  // A deep value is one path of containers, so many one in the other, and little beside it. While
  // it descends whatever nests is preferred, and then whatever does not.
  std::int32_t deep_ = 0;  // 0: the value is not deep
  bool descends_ = false;
  std::string text_;
  Config now_;
  Arena arena_;
  std::unordered_map<Id, std::vector<std::int32_t>>
      by_rank_;  // by table: its names, in the schema's order
  std::unordered_map<std::vector<Id>, std::string, VectorHash> simplest_texts_;
  std::unordered_map<Id, std::string> simplest_numbers_;  // by piece
  std::unordered_map<Id, Id> number_states_;              // by piece: the state at its start
  PairMap<std::int64_t> varieties_;                       // by goal and type
  std::unordered_map<Id, std::int64_t> lang_varieties_, shape_varieties_;
};

}  // namespace guard
