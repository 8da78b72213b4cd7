// Sampler: valid values of one schema, as a function of a sequence of choices.
//
// Decisions are structural: the type, the next key, a length, a character, a number. A choice is a
// byte. Choices come in units, one for the value and one for each member and item inside of it, in
// the order of the text; without its unit a member is left out, and later members do not change. A
// choice of 0, or none, is the simplest option, so fewer and smaller choices make smaller values.
// Decisions are written through Engine::step, the only judge of validity: a decision that it
// refuses is replaced by a simpler one, finally by the bytes that reduce the distance most. So the
// masks allow every text. Once the units are used up, the shortest completion is taken. Costs one
// step a byte, and the engine's work at each value and key. Not thread-safe: the isolate's lock
// must be held. Tested in tests/testing/test_instances.py.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

std::string json_of(std::string_view utf8);  // the text as spelled between JSON quotes

class Sampler {
 public:
  explicit Sampler(Engine& engine)
      : engine_(engine), constraints_(engine.constraints), langs_(engine.lexicon().langs) {}

  // Writes the value for these choices, without white space; false: the schema has no instance.
  // `used` becomes the number of units begun after the first.
  bool sample(std::vector<std::string_view> choices, std::string* text, std::size_t* used);

 private:
  static constexpr std::size_t kBytes =
      1 << 14;  // bytes of a text beyond which no more choices are read
  static constexpr std::uint8_t kDeep = 240;      // choices from here on begin a deep value
  static constexpr std::size_t kFew = 8;          // Plan::few: at most so many names are optional
  static constexpr std::uint16_t kNothing = 256;  // not a choice
  static constexpr std::uint8_t kStop = 24;       // choices below end an object
  static constexpr std::uint8_t kThere = 10;      // choices from here on include a member
  static constexpr std::uint8_t kNew = 64;        // choices from here on write an undeclared key
  static constexpr std::uint8_t kNewAlone = 8;    // the same if the schema has no names
  static constexpr std::int64_t kMany = 12;       // from so many values on, they are not counted

  std::uint8_t next();  // the next choice; 0 where the unit has none left
  std::uint8_t once_more(std::size_t unit, std::int64_t written)
      const;  // a choice derived from those of a finished unit
  void begin_unit();
  std::size_t pick(std::size_t n);  // one of n options, of which the first is the simplest
  std::size_t pick_weighted(const std::vector<std::int64_t>& weights);
  bool spent() const { return unit_ >= choices_.size() || text_.size() > kBytes; }
  bool is_unit_over() const { return spent() || at_ == choices_[unit_].size(); }
  void put(const Config& to, char byte);
  bool put(char byte);               // false: not valid here, and nothing was written
  bool put(std::string_view bytes);  // all or none
  bool put_number(std::string_view text);
  bool nudge();                      // writes a byte that reduces the distance
  bool is_nearer(const Config& to);  // does it reduce the distance from now_?
  bool finish(const Frame* until);   // completes the due or unfinished value of this frame
  bool value();                      // false: no value could be begun, and nothing was written
  struct Way {                       // a way to write a value
    std::int64_t cost;
    Type type;
    Id goal;
  };
  void choose(std::vector<Way>* ways);
  // The number of values, at most kMany: of a goal, of the due value, of a language. Options with
  // few values are chosen seldom, since they repeat the same values.
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
  struct Plan {            // the plan of one object
    bool all, one;         // as many members as possible; one at most
    bool few;              // whether at most kFew names are optional
    std::size_t optional;  // the number of optional names
    std::uint16_t least;   // with `few`: the least choice that includes a name
  };
  bool member(const Plan& plan, std::size_t members, bool* stopped);
  bool write_name(std::int32_t name);
  bool write_new_key(bool simplest);
  std::string name_text(std::int32_t name) const;

  std::string string_of(Id goal, bool simplest);
  std::string text_of(Id lang, std::int32_t lo, std::int32_t hi, bool simplest);
  struct Edge {           // a transition of a language by any of some characters
    int plain;            // rank of the plainest of them, 0 is best
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
  // A deep value is one path of `deep_` nested containers, with few other members. While
  // `descends_`, containers are preferred, and afterwards scalars.
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
