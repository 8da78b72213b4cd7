// Completions: of each configuration one short text that leads from it to the end.
//
// The completion is spelled a byte at a time: the first byte, in an order that the configuration
// tells, that brings the end nearer. So the completion behind its first bytes is the rest of it,
// whichever way led there, and completions share their ends: each is a chain of links. A budget
// counts the tokens of these texts (masks/token_distance.hpp). What was found is kept until it is
// too much.
//
// Where members hang on each other, in number or in what they are, which keys were written matters
// to the rest of the text; there, and where very much must come, no completion is spelled: the link
// is Uncounted, and tells bytes. Guarded by the isolate's lock.
#pragma once
#include "automaton/engine.hpp"

namespace guard {

class Completions {
 public:
  struct Link {
    enum Kind : std::uint8_t { None, Byte, Symbol, End, Uncounted } kind = None;
    std::uint8_t byte = 0;
    Id next = -1;            // the link behind the byte or the symbol
    std::int64_t bytes = 0;  // to the end
  };
  explicit Completions(Engine& engine) : engine_(engine) {}

  // Is the completion from there spelled?
  bool counts(const Config& at);
  // The link of a configuration; its kind is None where nothing leads to the end. O(bytes of the
  // completion that are in no chain yet, each with up to 256 steps).
  Id find(const Config& at);
  const Link& operator[](Id link) const { return links_[static_cast<std::size_t>(link)]; }
  std::size_t size() const { return links_.size(); }
  // Forgets everything where that is much; links of before mean nothing then. Returns whether it
  // did.
  bool trim();
  std::size_t nbytes() const { return held_; }

 private:
  struct Draft;
  void loosen(Config* at, std::int64_t* left);
  Link further(const Config& at, std::int64_t left, Config* next, Arena& arena);
  static bool is_plain(const Frame& f, std::int32_t name);
  std::int32_t due_name(const Config& at);
  static constexpr std::size_t kMost = 4'000'000;  // bytes
  static constexpr std::int64_t kLongest = 1024;   // bytes of a completion
  Engine& engine_;
  std::vector<Link> links_;
  std::unordered_map<std::string, Id> by_key_;
  ListMap<std::string> members_;  // of an object's level and a name: the member, from what is in
                                  // front of its key to its end
  std::size_t held_ = 0;
};

}  // namespace guard
