// KeyReader: reads an object's key byte by byte, as long as it can become an allowed key.
//
// A configuration has the state of an automaton over all classes of keys. It also has the ranges of
// the table's names, and of the undeclared keys written, with the same beginning; and a decoder's
// state for partial characters and escapes. The isolate's lock must be held. Throws Missing and
// Limit.
#pragma once
#include "automaton/frame_maker.hpp"
#include "automaton/viability.hpp"

namespace guard {

class KeyReader {
 public:
  KeyReader(Constraints& constraints, Levels& levels, Viability& viability, FrameMaker& frames,
            const Options& options);
  Id decoder() const { return decoder_; }  // its state before any byte
  Config begin(const Frame& f);            // after the opening quote
  // The transition by one byte; false: no allowed key continues with it.
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  // Narrows the ranges of a frame by one byte of UTF-8; are names or extras left?
  static bool narrow(const Frame& f, KeyRanges* c, std::uint8_t byte);
  bool is_among(const Config& c) const;  // can a name or an extra still be spelled?

 private:
  bool end(const Config& from, Config* to, Arena& arena);  // at the closing quote
  bool is_live(const Config& c);
  Constraints& constraints_;
  Levels& levels_;
  Viability& viability_;
  FrameMaker& frames_;
  const Options& options_;
  Texts& texts_;
  Id decoder_;
};

}  // namespace guard
