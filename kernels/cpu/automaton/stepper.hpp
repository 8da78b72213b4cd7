// Stepper: the transitions of the automaton: a configuration and a byte lead to a configuration, or
// nowhere.
//
// A scalar is read for all labels at once, by a product automaton; for a container, the labels
// become the alternatives of a child frame. When the value ends, the surviving labels determine
// each alternative's residual. Levels, residuals and lexemes at their start are memoised. Every
// resulting configuration has a completion. The isolate's lock must be held. Throws Missing and
// Limit, and then changes nothing.
#pragma once
#include "automaton/compared_items.hpp"
#include "automaton/format.hpp"
#include "automaton/key_reader.hpp"

namespace guard {

class Stepper {
 public:
  Stepper(Constraints& constraints, KeyOrder& orders, Levels& levels, Viability& viability,
          KeyReader& keys, FrameMaker& frames, const Options& options, Id root,
          const Format* format);
  Config start(Arena& arena);  // top is null when the schema has no instance
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool end_number(const Config& from, Config* to,
                  Arena& arena);  // as if a byte followed that is not part of the number
  bool can_stop(const Config& at);
  // For a format: the exits that may be taken, sorted; an unfinished number counts as ended.
  void exits(const Config& at, Labels* exits);
  // Takes a symbol's exit, together with all others of the same symbol. Requires an exit from
  // exits().
  bool take(const Config& from, Id exit, Config* to, Arena& arena);
  // The id of a set of points, which is numbered after the net's own points.
  Id joined(std::vector<Id> points);
  std::span<const Id> points_of(const Id& point) const;
  bool commit(Config* at, bool is_behind,
              Arena& arena);  // in raw text: begins the due value, if nothing else can follow
  Config opened(const Config& at, Arena& arena,
                bool is_behind = false);  // in raw text: the configuration of the value that may
                                          // begin here; top is null: there is none
  // The same configuration with all compared values told (see ComparedItems); top is null: there is
  // none.
  Config told(const Config& at, Arena& arena);
  // In an array whose items are compared: does each string that ends with the same labels leave the
  // same? Between items, that is: the beginning of the next one may tell it from others. `opening`:
  // and does each also leave the same to a next item of which nothing but its opening quote is
  // known?
  bool are_items_alike(const Frame& f, bool opening);
  // While it lives, an item that ends in this frame is not compared with later ones. Null: it is.
  class Forgetting {
   public:
    Forgetting(Stepper& stepper, const Frame* items) : stepper_(stepper) {
      stepper.forgets_ = items;
    }
    ~Forgetting() { stepper_.forgets_ = nullptr; }
    Forgetting(const Forgetting&) = delete;

   private:
    Stepper& stepper_;
  };
  // While it lives, each change between text and values is appended to `events`, with its offset.
  class Telling {
   public:
    Telling(Stepper& stepper, std::vector<FormatEvent>* events) : stepper_(stepper) {
      stepper.events_ = events, stepper.offset_ = 0;
    }
    ~Telling() { stepper_.events_ = nullptr; }
    Telling(const Telling&) = delete;

   private:
    Stepper& stepper_;
  };
  void tell_offset(std::size_t offset) { offset_ = offset; }  // the offset of the next byte
  std::size_t nbytes() const {
    return (after_.size() + children_.size() + opened_.size() + joints_.size()) * 96;
  }

 private:
  bool advance(const Config& from, std::uint8_t byte, Config* to,
               Arena& arena);  // without recording the text
  bool advance_between(const Config& from, std::uint8_t byte, Config* to,
                       Arena& arena);  // for bytes between two lexemes
  Config at_point(const Frame& below, Id point, bool is_behind,
                  Arena& arena);  // the configuration of raw text from a point of the net on
  bool begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  struct Case {  // a label of a due value, with its goal
    Id label, goal;
  };
  struct Joint {
    std::vector<Id> points;
    bool operator==(const Joint&) const = default;
    std::size_t hash() const { return hash_of(points); }
  };
  using Cases = Few<Case, 8>;  // those of vital alternatives, then those of tracked literals
  struct Opened {              // a scalar lexeme at its start
    Id state, spec;
  };
  Opened open_string(const Cases& cases,
                     std::size_t alive);  // the first `alive` cases are of alternatives
  Opened open_number(const Cases& cases, std::size_t alive);
  const Frame* open_container(const Config& from, Type type, Id vital, const Cases& cases,
                              std::size_t alive, Arena& arena);
  bool close(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  // Ends a value with the surviving labels. `last` is its last byte if the text lacks it, else -1.
  bool ended(const Frame& f, Type type, std::span<const Id> labels, const KeyText* text, int last,
             Config* to, Arena& arena);
  const Frame* after_value(const Frame& f, Type type, std::span<const Id> labels, Id value,
                           Arena& arena);

  std::int32_t last_count(const Frame& f);

  Constraints& constraints_;
  Goals& goals_;
  KeyOrder& orders_;
  Levels& levels_;
  Viability& viability_;
  KeyReader& keys_;
  FrameMaker& frames_;
  const Options& options_;
  ComparedItems compared_;
  Id root_;
  void tell(FormatEvent::Kind kind, Id what,
            bool is_behind) {  // after the present byte, or before it
    if (events_) events_->push_back({kind, what, offset_ + is_behind});
  }
  std::vector<FormatEvent>* events_ = nullptr;
  std::size_t offset_ = 0;
  const Format* format_;  // null: the engine reads one value
  Texts& texts_;
  Numbers& numbers_;
  const Frame* forgets_ = nullptr;
  bool tells_ = false;  // whether containers that begin now must have all compared values told
  ListMap<Id> after_, children_;
  Interner<Joint> joints_;
  ListMap<Opened> opened_;
  PairMemo<std::int32_t> last_counts_;  // by level and order
};

}  // namespace guard
