// Tables: what all schemas of one isolate share; and Compiled: one schema in them.
//
// All of it is a cache: whatever is asked can be worked out again. Guarded by the lock of the
// isolate (isolate.hpp) that they lie in.
#pragma once
#include <memory>
#include <unordered_map>

#include "masks/mask_filler.hpp"

namespace guard {

class Tables {
 public:
  explicit Tables(bool common) : part_(common ? 1 : kPart) {}
  Lexicon lexicon;
  // By a pattern's syntax tree in Python, whether it is searched for or is the whole text. Holds
  // the tree: an address says nothing once its object is gone.
  std::unordered_map<const void*, std::pair<Id, std::shared_ptr<void>>> patterns[2];
  LexemeMasks& masks(const std::shared_ptr<const Vocabulary>& vocabulary);
  std::vector<std::unique_ptr<LexemeMasks>> abandoned();  // the masks of vocabularies that are
                                                          // gone, no longer held here
  std::size_t nbytes() const;                             // of masks

 private:
  static constexpr std::size_t kPart =
      8;  // an isolate of one schema's own remembers one in so many of the masks
  std::size_t part_;
  std::unordered_map<Id, std::unique_ptr<LexemeMasks>> masks_;  // by vocabulary
};

// An engine with the tables that it lies in, and what makes its masks. The tables outlive it.
struct Compiled : Engine {
  Compiled(Tables& in, const Options& options, Id root, std::shared_ptr<const FormatSource> format)
      : Engine(in.lexicon, options, root, std::move(format)), tables(in) {}
  Tables& tables;
  MaskFiller filler{*this};
  std::size_t held_nbytes() const { return nbytes() + filler.nbytes(); }
};

}  // namespace guard
