// Tables: the caches that all schemas of one isolate share; and Compiled: one schema's engine in
// them.
//
// Everything in them can be computed again. The isolate owns the tables; its lock (isolate.hpp)
// must be held.
#pragma once
#include <memory>
#include <unordered_map>

#include "masks/mask_filler.hpp"

namespace guard {

class Tables {
 public:
  explicit Tables(bool common) : part_(common ? 1 : kPart) {}
  Lexicon lexicon;
  // Languages by the address of a pattern's syntax tree in Python: [0] for a search, [1] for the
  // whole text. The entry keeps the tree alive, so that its address is not reused.
  std::unordered_map<const void*, std::pair<Id, std::shared_ptr<void>>> patterns[2];
  LexemeMasks& masks(const std::shared_ptr<const Vocabulary>& vocabulary);
  std::vector<std::unique_ptr<LexemeMasks>> abandoned();  // removes and returns the masks of
                                                          // destroyed vocabularies
  std::size_t nbytes() const;                             // of masks

 private:
  static constexpr std::size_t kPart =
      8;  // a schema's own isolate caches 1/kPart of the bytes of masks
  std::size_t part_;
  std::unordered_map<Id, std::unique_ptr<LexemeMasks>> masks_;  // by vocabulary
};

// An engine with its tables and the filler of its masks. The tables outlive it; a Place owns it.
struct Compiled : Engine {
  Compiled(Tables& in, const Options& options, Id root, std::shared_ptr<const FormatSource> format)
      : Engine(in.lexicon, options, root, std::move(format)), tables(in) {}
  Tables& tables;
  MaskFiller filler{*this};
  std::size_t held_nbytes() const { return nbytes() + filler.nbytes(); }
};

}  // namespace guard
