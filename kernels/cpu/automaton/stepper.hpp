// Stepper: the transitions of the automaton: a configuration and a byte lead to a configuration, or
// nowhere.
//
// A scalar's cases run as one product lexeme with labels; a container's become the alternatives of
// a child frame. When the value ends, the labels that survive give each alternative its one
// residual. Levels, residuals and lexemes at their start are memoised; every configuration that
// comes out has a completion. Guarded by the isolate's lock; throws Missing and Limit, and then
// leaves nothing half done.
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
                  Arena& arena);  // as if a byte came that is no part of it
  bool can_stop(const Config& at);
  // Of a format: the exits that may be taken, sorted; where a number is under way, as if it had
  // ended.
  void exits(const Config& at, Labels* exits);
  // A symbol's exit, which exits() tells, and all others there of the same symbol.
  bool take(const Config& from, Id exit, Config* to, Arena& arena);
  // Several points at once are one, with a number behind those of the net.
  Id joined(std::vector<Id> points);
  std::span<const Id> points_of(const Id& point) const;
  bool commit(
      Config* at, bool is_behind,
      Arena& arena);  // of raw text: the value that is due begins, where nothing else can follow
  Config opened(
      const Config& at, Arena& arena,
      bool is_behind = false);  // of raw text: the value that may begin here; without a top: none
  // The configuration as if no container had waited (see ComparedItems); without a top: there is
  // none.
  Config told(const Config& at, Arena& arena);
  // While it lives every change between text and values is told, with its offset.
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
  void tell_offset(std::size_t offset) { offset_ = offset; }  // of the byte that comes next
  std::size_t nbytes() const {
    return (after_.size() + children_.size() + opened_.size() + joints_.size()) * 96;
  }

 private:
  bool advance(const Config& from, std::uint8_t byte, Config* to,
               Arena& arena);  // does not keep the text
  bool advance_between(const Config& from, std::uint8_t byte, Config* to,
                       Arena& arena);  // between two lexemes
  Config at_point(const Frame& below, Id point, bool is_behind,
                  Arena& arena);  // raw text, from a point of the net on
  bool begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  struct Case {  // of a due value: what a label stands for
    Id label, goal;
  };
  struct Joint {
    std::vector<Id> points;
    bool operator==(const Joint&) const = default;
    std::size_t hash() const { return hash_of(points); }
  };
  using Cases = Few<Case, 8>;  // those of the vital alternatives, then of the tracked literals
  struct Opened {              // a scalar lexeme at its start
    Id state, spec;
  };
  Opened open_string(const Cases& cases,
                     std::size_t alive);  // of which the first so many are of alternatives
  Opened open_number(const Cases& cases, std::size_t alive);
  const Frame* open_container(const Config& from, Type type, Id vital, const Cases& cases,
                              std::size_t alive, Arena& arena);
  bool close(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  // A value has ended, with the labels that survive; `last` is its last byte where the text lacks
  // it, -1: it does not.
  bool ended(const Frame& f, Type type, std::span<const Id> labels, const KeyText* text, int last,
             Config* to, Arena& arena);
  const Frame* after_value(const Frame& f, Type type, std::span<const Id> labels, Id value,
                           Arena& arena);

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
            bool is_behind) {  // behind the byte at hand, or in front of it
    if (events_) events_->push_back({kind, what, offset_ + is_behind});
  }
  std::vector<FormatEvent>* events_ = nullptr;
  std::size_t offset_ = 0;
  const Format* format_;  // null: the engine reads one value
  Texts& texts_;
  Numbers& numbers_;
  bool tells_ = false;  // no container that begins now waits
  ListMap<Id> after_, children_;
  Interner<Joint> joints_;
  ListMap<Opened> opened_;
};

}  // namespace guard
