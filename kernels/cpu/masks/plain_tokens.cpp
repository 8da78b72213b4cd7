// Plain tokens, those of whole characters that have a class, are read one class at a time. See
// lexeme_masks.hpp.

#include <algorithm>

#include "masks/joint_states.hpp"
#include "masks/token_reading.hpp"

namespace guard {

namespace {
using Key = std::pair<Id, std::int32_t>;  // (state, characters)

// For a class whose characters lead to different states: the state to which most of them lead.
// `others` receives the exceptions. kDead if there are more than kFew of them.
Id most_of(Texts& texts, Id state, std::uint8_t cls, Bytes* others) {
  constexpr std::int32_t kFew = 2;
  const auto [first, last] = cls == 'a'   ? std::pair('a', 'z')
                             : cls == 'A' ? std::pair('A', 'Z')
                                          : std::pair('0', '9');
  if (static_cast<char>(cls) != first) return Texts::kDead;
  Id most = Texts::kDead;
  std::int32_t votes = 0;  // majority vote (Boyer and Moore 1991)
  for (char c = first; c <= last; ++c) {
    const Id to = texts.step(state, static_cast<std::uint8_t>(c));
    if (votes == 0) most = to;
    votes += to == most ? 1 : -1;
  }
  std::int32_t n = 0;
  for (char c = first; c <= last; ++c)
    if (texts.step(state, static_cast<std::uint8_t>(c)) != most)
      others->add(static_cast<std::uint8_t>(c)), ++n;
  return n <= kFew ? most : Texts::kDead;
}
}  // namespace

// Reads the plain tokens from a state. While all characters of a class lead to one state, they are
// read at once. If only a few lead elsewhere, all tokens are first treated like the majority, and
// the exceptions are then read by bytes. If many do, the states are followed together. Where
// classes lead back to the state, as they do in most patterns, the tokens of these classes are
// known (loops_), and only the others are read.
class LexemeMasks::PlainReading {
 public:
  PlainReading(LexemeMasks& masks, Reading& reading)
      : masks_(masks),
        v_(masks.v_),
        reading_(reading),
        texts_(reading.texts),
        joint_(reading.texts),
        path_(static_cast<std::size_t>(v_.plain_.longest()) + 1) {}
  void read(Id state) {
    path_[0] = {state, 0};
    if (!read_loop(0, state)) read(1, v_.plain_.size());
  }

 private:
  static constexpr std::int32_t kManyNodes = 30;  // so many are worth the states' tables by class
  static constexpr int kMostNested = 16;  // loops within loops; further ones are read by nodes
  struct Rest {
    std::int32_t node, end;
    Key from;
    Bytes bytes;
  };
  // Reads the tokens of the nodes [begin, end), whose path begins with that in path_.
  void read(std::int32_t begin, std::int32_t end);
  bool read_loop(std::int32_t node, Id state);
  void read_parted(std::int32_t node, Key before, const Bytes* among);
  void read_spelled(std::int32_t node, std::size_t chars, Id state);
  void read_jointly(std::int32_t node, Id state);
  // Reads the exceptions of the nodes before this one, but for the first ones.
  void read_rests(std::size_t but, std::int32_t upto) {
    for (; rests_.size() > but && rests_.back().end <= upto; rests_.pop_back())
      read_parted(rests_.back().node, rests_.back().from, &rests_.back().bytes);
  }
  LexemeMasks& masks_;
  const Vocabulary& v_;
  Reading& reading_;
  Texts& texts_;
  JointStates joint_;
  std::vector<Key> path_;    // by depth, where the characters up to it lead
  std::vector<Rest> rests_;  // exceptions that are still to be read
  int nested_ = 0;           // loops that are being read
};

// From a state to which classes lead back, reads the tokens below a node that many share. False:
// this does not apply, and nothing was read.
bool LexemeMasks::PlainReading::read_loop(std::int32_t node, Id state) {
  const Bytes* below = v_.below(node);
  if (!below || nested_ == kMostNested || texts_.open(state) >= 0) return false;
  Bytes again;
  for (int cls = below->next(0); cls < 256; cls = below->next(cls + 1))
    if (texts_.step_class(state, static_cast<std::uint8_t>(cls)) == state)
      again.add(static_cast<std::uint8_t>(cls));
  if (again == Bytes()) return false;
  const Loop& loop = masks_.loop(node, again);
  if (loop.lengths != Bytes()) reading_.draft.stay_alike(state, loop.tokens, loop.lengths);
  ++nested_;
  for (std::size_t k = 0; k < loop.leaving.size(); ++k) {
    const auto [cls, i] = loop.leaving[k];
    if (texts_.step_class(state, cls) == Texts::kDead) {
      while (k + 1 < loop.leaving.size() && loop.leaving[k + 1].first == cls) ++k;
      continue;
    }
    path_[static_cast<std::size_t>(v_.plain_.depth(i)) - 1] = {state, v_.plain_.depth(i) - 1};
    read(i, v_.plain_.skip(i));
  }
  --nested_;
  return true;
}

void LexemeMasks::PlainReading::read(std::int32_t begin, std::int32_t end) {
  const Trie& plain = v_.plain_;
  Draft& draft = reading_.draft;
  const bool is_simple = !reading_.detailed && !reading_.raw;
  const std::size_t before = rests_.size();
  for (std::int32_t i = begin; i < end;) {
    kernel_clock.tick();
    read_rests(before, i);
    const auto depth = static_cast<std::size_t>(plain.depth(i));
    const Key from = path_[depth - 1];
    const std::uint8_t cls = plain.byte(i);
    Id next = texts_.step_class(from.first, cls);
    if (next == Texts::kSplit) {
      Rest rest{i, plain.skip(i), from, {}};
      next = is_simple ? most_of(texts_, from.first, cls, &rest.bytes) : Texts::kDead;
      if (next == Texts::kDead && is_simple && plain.skip(i) - i > kManyNodes)
        read_jointly(i, from.first);
      else if (next == Texts::kDead)
        read_parted(i, from, nullptr);
      else
        rests_.push_back(rest), draft.all.to_bits(masks_.words());
    }
    if (next == Texts::kDead) {
      i = plain.skip(i);
      continue;
    }
    path_[depth] = {next, from.second + 1};
    draft.stay(path_[depth], v_.run_of(i), true);
    if (read_loop(i, next)) {
      i = plain.skip(i);
      continue;
    }
    if (texts_.is_free(next)) {  // every further text is accepted, too
      if (reading_.detailed)
        draft.stay_free(next, plain.end(i), plain.subtree_end(i), v_);
      else
        draft.stay(path_[depth], {plain.end(i), plain.subtree_end(i), nullptr}, true);
      i = plain.skip(i);
      continue;
    }
    if (reading_.raw && texts_.open(next) >= 0) {
      for (std::int32_t k = v_.spelled_first_[static_cast<std::size_t>(i)];
           k < v_.spelled_first_[static_cast<std::size_t>(i) + 1]; ++k)
        reading_.open_plain(v_.whole_.trie, v_.spelled_[static_cast<std::size_t>(k)], path_[depth]);
      if (texts_.commit(next) >= 0) {
        i = plain.skip(i);
        continue;
      }
    }
    ++i;
  }
  read_rests(before, end);
}

// Reads the plain tokens below a node of plain_ whose last characters lead to different states.
// With `among`, reads only those whose last byte is in it.
void LexemeMasks::PlainReading::read_parted(std::int32_t node, Key before, const Bytes* among) {
  constexpr std::size_t kAhead = 12;  // nodes that are loaded before they are looked at
  const Trie& trie = v_.whole_.trie;
  char32_t head = 0;         // of the character before: all but its last six bits
  Id behind = Texts::kDead;  // the state after these
  const auto begin = v_.spelled_last_.begin() + v_.spelled_first_[static_cast<std::size_t>(node)],
             end = v_.spelled_last_.begin() + v_.spelled_first_[static_cast<std::size_t>(node) + 1];
  for (auto from = begin; from != end;) {  // the tokens of one last character lead to one state
    const char32_t last = *from;
    const auto upto = among ? std::upper_bound(from, end, last)  // most are left out
                            : std::find_if(from, end, [last](char32_t c) { return c != last; });
    if (among && !among->has(static_cast<std::uint8_t>(last))) {
      from = upto;
      continue;
    }
    Key at = before;
    if (last < 0x80) {
      at.first = texts_.step(at.first, static_cast<std::uint8_t>(last));
    } else {
      if (last >> 6 != head) {
        head = last >> 6, behind = before.first;
        const std::string bytes = encode_utf8(std::u32string_view(&last, 1));
        for (const char byte : std::string_view(bytes).substr(0, bytes.size() - 1))
          behind = texts_.step(behind, static_cast<std::uint8_t>(byte));
      }
      at.first = texts_.step(behind, static_cast<std::uint8_t>(0x80 | (last & 0x3F)));
    }
    ++at.second;
    for (; from != upto; ++from) {
      const auto k = static_cast<std::size_t>(from - v_.spelled_last_.begin());
      const std::int32_t i = v_.spelled_[k];
      if (k + kAhead < v_.spelled_.size()) trie.load(v_.spelled_[k + kAhead]);
      if (among)  // read_plain() took them for other characters
        for (const Id* t = trie.begin(i); t != trie.subtree_end(i); ++t)
          if (v_.is_plain(*t)) reading_.draft.all.remove(*t);
      if (at.first == Texts::kDead) continue;
      reading_.draft.stay(at, {trie.begin(i), trie.end(i), nullptr}, true);
      if (reading_.raw && texts_.open(at.first) >= 0) reading_.open_plain(trie, i, at);
      if (!reading_.raw || texts_.commit(at.first) < 0) reading_.read_plain(trie, i, at);
    }
  }
}

// The same, of tokens whose last `chars` characters follow the state.
void LexemeMasks::PlainReading::read_spelled(std::int32_t node, std::size_t chars, Id state) {
  const Trie& trie = v_.whole_.trie;
  for (std::int32_t k = v_.spelled_first_[static_cast<std::size_t>(node)];
       k < v_.spelled_first_[static_cast<std::size_t>(node) + 1]; ++k) {
    kernel_clock.tick();
    const std::int32_t i = v_.spelled_[static_cast<std::size_t>(k)];
    const std::string_view bytes =  // of the first token below, which begins with these characters
        v_.bytes(*trie.begin(i)).substr(0, static_cast<std::size_t>(trie.depth(i)));
    std::size_t from = bytes.size();
    for (std::size_t n = 0; n < chars; ++n)
      while ((static_cast<std::uint8_t>(bytes[--from]) & 0xC0) == 0x80) {}
    Id at = state;
    for (const char byte : bytes.substr(from))
      at = texts_.step(at, static_cast<std::uint8_t>(byte));
    if (at == Texts::kDead) continue;
    reading_.draft.stay({at, 0}, {trie.begin(i), trie.end(i), nullptr}, true);
    reading_.read_plain(trie, i, {at, 0});
  }
}

// Reads the plain tokens below a node of plain_ whose last characters lead to different states, as
// long as these go on alike. Details are not told apart.
void LexemeMasks::PlainReading::read_jointly(std::int32_t node, Id state) {
  const Trie& plain = v_.plain_;
  const Id first = joint_.after_one(state, plain.byte(node));
  if (first == JointStates::kApart) return read_parted(node, {state, 0}, nullptr);
  std::vector<Id> path(static_cast<std::size_t>(plain.longest()) + 1, first);
  std::unordered_set<Id> ended;  // sets of states
  for (std::int32_t i = node; i < plain.skip(node);) {
    kernel_clock.tick();
    const auto depth = static_cast<std::size_t>(plain.depth(i));
    const Id to = i == node ? first : joint_.after(path[depth - 1], plain.byte(i));
    if (to < 0) {
      if (to == JointStates::kApart)
        read_spelled(i, depth - static_cast<std::size_t>(plain.depth(node)) + 1, state);
      i = plain.skip(i);
      continue;
    }
    path[depth] = to;
    if (plain.begin(i) != plain.end(i)) {
      if (ended.insert(to).second)
        for (const Id end : joint_.states(to)) reading_.draft.end(end);
      reading_.draft.all.add(v_.run_of(i), masks_.words());
    }
    ++i;
  }
}

// Reads all tokens of the vocabulary.
void LexemeMasks::read_plain(Reading& reading, Id state) {
  reading.read(v_.other_, 0, 0, {state, 0});
  PlainReading(*this, reading).read(state);
}

}  // namespace guard
