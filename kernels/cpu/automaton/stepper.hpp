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
#include "automaton/key_reader.hpp"

namespace guard {

class Stepper {
 public:
  Stepper(Constraints& constraints, KeyOrder& orders, Levels& levels, Viability& viability,
          KeyReader& keys, FrameMaker& frames, const Options& options, Id root);
  Config start(Arena& arena);  // top is null when the schema has no instance
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  bool end_number(const Config& from, Config* to,
                  Arena& arena);  // as if a byte came that is no part of it
  bool can_stop(const Config& at);
  // The configuration as if no container had waited (see ComparedItems); without a top: there is
  // none.
  Config told(const Config& at, Arena& arena);
  std::size_t nbytes() const { return (after_.size() + children_.size() + opened_.size()) * 96; }

 private:
  bool advance(const Config& from, std::uint8_t byte, Config* to,
               Arena& arena);  // does not keep the text
  bool advance_between(const Config& from, std::uint8_t byte, Config* to,
                       Arena& arena);  // between two lexemes
  bool begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  struct Case {  // of a due value: what a label stands for
    Id label, goal;
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
  Texts& texts_;
  Numbers& numbers_;
  bool tells_ = false;  // no container that begins now waits
  ListMap<Id> after_, children_;
  ListMap<Opened> opened_;
};

}  // namespace guard
