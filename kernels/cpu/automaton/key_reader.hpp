// KeyReader: reads an object's key byte by byte, as far as some key may still come of it.
//
// Beside the automaton of all classes of keys a configuration holds the ranges of the table's
// names, and of the undeclared keys written, that begin like the key; and a decoder, which tells
// what a partial character or an escape may become. Guarded by the isolate's lock.
#pragma once
#include "automaton/frame_maker.hpp"
#include "automaton/viability.hpp"

namespace guard {

class KeyReader {
 public:
  KeyReader(Constraints& constraints, Levels& levels, Viability& viability, FrameMaker& frames,
            const Options& options);
  Id decoder() const { return decoder_; }  // its state before any byte
  Config begin(const Frame& f);            // behind the opening quote
  // One byte further; false: no key that may come goes on so.
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  static bool narrow(Config* c,
                     std::uint8_t byte);  // by one byte of UTF-8; are names or extras left?
  bool is_among(const Config& c) const;   // can a name or an extra still be spelled?

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
