// Completions: for each configuration, one short text that completes it.
//
// A completion is built byte by byte: each is the first byte, in an order that the configuration
// determines, that reduces the distance. So the rest of a completion is the completion of every
// later configuration on it, and completions share their ends: each is a chain of links. Budgets
// count the tokens of these texts (masks/token_distance.hpp). Links are kept until they take too
// much memory.
//
// Where members depend on each other, in number or in content, the rest of the text depends on the
// keys written. There, and where the rest is very long, there is no completion: the link is
// Uncounted, with bytes only. The isolate's lock must be held.
#pragma once
#include "automaton/completion_key.hpp"
#include "automaton/engine.hpp"

namespace guard {

class Completions {
 public:
  struct Link {
    enum Kind : std::uint8_t { None, Byte, Symbol, End, Uncounted } kind = None;
    std::uint8_t byte = 0;
    Id next = -1;            // the link after the byte or the symbol
    std::int64_t bytes = 0;  // to the end
  };
  explicit Completions(Engine& engine) : engine_(engine), keys_(engine.levels, engine.state_keys) {}

  // Is there a completion, rather than an Uncounted link?
  bool counts(const Config& at);
  // The link of a configuration; its kind is None where there is no completion. O(new links, each
  // with up to 256 steps). Valid until trim() returns true.
  Id find(const Config& at) {
    Config from = at;
    std::int64_t left = -1;
    const Id known = look_up(&from, &left);
    return known >= 0 ? known : extend(from, left);
  }
  // The same, if it was made before; -1 otherwise. O(1).
  Id known(const Config& at) {
    Config from = at;
    std::int64_t left = -1;
    return look_up(&from, &left);
  }
  const Link& operator[](Id link) const { return links_[static_cast<std::size_t>(link)]; }
  std::size_t size() const { return links_.size(); }
  // Discards all links if they take too much memory; then returns true, and earlier links are
  // invalid.
  bool trim();
  std::size_t nbytes() const { return held_ + keys_.nbytes(); }

 private:
  struct Draft;
  Id look_up(Config* at, std::int64_t* left);  // loosens it, and leaves its key in key_ and quick_;
                                               // -1: there is no such link
  Id extend(Config now, std::int64_t left);
  void loosen(Config* at, std::int64_t* left);
  Link further(const Config& at, std::int64_t left, Config* next, Arena& arena);
  static bool is_plain(const Frame& f, std::int32_t name);
  std::int32_t due_name(const Config& at);
  static constexpr std::size_t kMost = 4'000'000;  // bytes
  static constexpr std::int64_t kLongest = 1024;   // bytes of a completion
  Engine& engine_;
  CompletionKeys keys_;
  std::vector<Link> links_;
  std::unordered_map<std::string, Id> by_key_;
  FlatMap<CompletionKey, Id, CompletionHash> by_quick_;
  ListMap<std::string> members_;  // by an object's level and a name, the text of the member, with
                                  // what precedes its key
  std::string key_;               // of the configuration that was looked up last; "": it is quick_
  CompletionKey quick_;
  std::size_t held_ = 0;
};

}  // namespace guard
