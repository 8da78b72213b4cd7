// Masks: which tokens may come next. See vocabulary.hpp for how a mask factors by lexeme.

#include <algorithm>
#include <cstring>

#include "engine.hpp"

namespace guard {

struct Engine::Sink {
  Vocabulary& vocabulary;
  std::uint32_t* row;
  std::int64_t budget;
  Arena& arena;
  Engine& engine;
  bool spares = budget < 0;  // whatever is written inside of the lexeme, the budget suffices;
  bool lacks = false;        // or it never does

  void set(Id token) { row[token >> 5] |= 1u << (token & 31); }
  void clear(Id token) { row[token >> 5] &= ~(1u << (token & 31)); }
  bool affords(const Config& after) {
    if (budget < 0) return true;
    const std::int64_t d = engine.distance(after, budget - 1);
    return d >= 0 && 1 + d <= budget;
  }
  void add(const Id* begin, const Id* end, const Config& after) {
    if (begin == end || !affords(after)) return;
    for (; begin != end; ++begin) set(*begin);
  }
  void add(const Bits& bits) {
    for (std::size_t i = 0; i < bits.size(); ++i) row[i] |= bits[i];
  }
  void add(const Inside& group) {
    for (Id t : group.tokens) set(t);
    add(group.bits);
  }
};

// Marks the tokens below `node` that go on from the configuration, byte by byte.
void Engine::walk(const Trie& trie, std::int32_t node, const Config& from, Sink& sink) {
  std::vector<Config> path(1, from);
  const std::int32_t top = trie.depth(node), end = trie.skip(node);
  for (std::int32_t i = node + 1; i < end;) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i) - top);
    if (path.size() <= depth) path.resize(depth + 1);
    const Config& before = path[depth - 1];
    if (!step(before, trie.byte(i), &path[depth], sink.arena)) {
      i = trie.skip(i);
      continue;
    }
    sink.add(trie.begin(i), trie.end(i), path[depth]);
    ++i;
  }
}

// The mask of a class of keys, mended where names and written keys are: there a token is tried byte by byte.
void Engine::overlay(const Trie& trie, const Config& from, Sink& sink) {
  const Frame& f = *from.top;
  std::vector<Config> path(1, from);
  for (std::int32_t i = 1; i < trie.size();) {
    const std::size_t depth = static_cast<std::size_t>(trie.depth(i));
    if (path.size() <= depth) path.resize(depth + 1);
    const Config& c = path[depth - 1];
    const std::uint8_t byte = trie.byte(i);
    if (byte == '"' && texts_.is_whole(c.decoder)) {
      const bool named = c.lo < c.hi && static_cast<std::int32_t>(f.names->texts[static_cast<std::size_t>(c.lo)].size()) == c.depth;
      const bool extra = c.xlo < c.xhi && static_cast<std::int32_t>(f.extras->texts[c.xlo].size()) == c.depth;
      if (named || extra) {
        for (const Id* t = trie.begin(i); t != trie.subtree_end(i); ++t) sink.clear(*t);
        if (step(c, byte, &path[depth], sink.arena)) {
          const Config after = path[depth];
          sink.add(trie.begin(i), trie.end(i), after);
          walk(trie, i, after, sink);
        }
      }
      i = trie.skip(i);
      continue;
    }
    if (byte != '\\' && !texts_.in_escape(c.decoder)) {  // most bytes lead away from all names
      Config next = c;
      if (!narrow_key(&next, byte)) {
        i = trie.skip(i);
        continue;
      }
    }
    if (!step_key(c, byte, &path[depth], sink.arena)) {  // the class has no key left that begins so
      for (const Id* t = trie.begin(i); t != trie.subtree_end(i); ++t) sink.clear(*t);
      i = trie.skip(i);
      continue;
    }
    if (trie.begin(i) != trie.end(i)) {  // the class may not have them
      const bool affords = sink.affords(path[depth]);
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t) affords ? sink.set(*t) : sink.clear(*t);
    }
    i = is_among(path[depth]) ? i + 1 : trie.skip(i);
  }
}

// One token, byte by byte.
void Engine::add_alone(const Config& at, Id token, Sink& sink) {
  Config now = at, next;
  for (char b : sink.vocabulary.bytes(token)) {
    if (!step(now, static_cast<std::uint8_t>(b), &next, sink.arena)) return sink.clear(token);
    now = next;
  }
  sink.affords(now) ? sink.set(token) : sink.clear(token);
}

// Does the budget suffice behind every token that stays inside of the text, as far as can be told on sight?
bool Engine::affords_any(const Config& at, std::int64_t budget) {
  const Targets& options = this->options(*at.top, Type::String);
  for (std::int32_t i = 0; i < options.size; ++i)
    if (const Target& o = options.list[i]; o.size == 1)
      if (const std::int64_t rest = texts_.enough(at.state, at.spec, o.ids[0]); rest >= 0 && 1 + rest + 1 + o.tail <= budget) return true;
  return false;
}

// Does the budget suffice behind every token that stays inside of an undeclared key, or behind none, as far as can be told on sight?
// A member that nobody asks for only adds to what must come, and where each may stand beside all others it adds no more than itself.
void Engine::weigh_key(const Config& at, Sink* sink) {
  const Frame& f = *at.top;
  const ObjectInfo& info = this->info(f.level);
  if (sink->budget < 0 || !info.bare || f.records || f.barred) return;
  const Alternative& first = levels_[f.level].alternatives[0];
  const std::int64_t gap = options_.whitespace == Whitespace::Spaced ? 1 : 0, all = least_rest(f), token = 1, quote = 1, colon = 1 + gap, comma = 1 + gap;
  sink->lacks = all < 0 || token + quote + colon + 1 + all > sink->budget;
  const bool any = texts_.has_all(at.state) && levels_[f.level].alternatives.size() == 1 && goals_.is_plain(first.shape);
  if (sink->lacks || !any) return;
  std::int64_t worst = 0;
  for (std::int32_t c : info.text_classes) {
    const std::int64_t bytes = goals_.cost(goals_.base_of(goals_.shape(first.shape), (*info.classes)[static_cast<std::size_t>(c)]));
    if (bytes < 0) return;
    worst = std::max(worst, bytes);
  }
  sink->spares = token + Texts::kOneChar + quote + colon + worst + comma + all <= sink->budget;
}

// The tokens that stay inside of the lexeme.
void Engine::fill_inside(const Config& at, LexemeMask& mask, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  const bool bounded = at.lex == Lex::Text && texts_.spec(at.spec).bounded;
  if (sink.lacks) return;
  if (!bounded && sink.spares) {
    sink.add(mask.all);
  } else if (sink.budget < 0 && texts_.is_free(at.state) && texts_.components(at.state).size() == 1) {
    const Bound& b = texts_.spec(at.spec).bounds[static_cast<std::size_t>(texts_.components(at.state)[0].index)];
    if (b.hi == kInf || b.hi - at.chars >= sink.vocabulary.trie().longest())
      sink.add(mask.all);
    else
      sink.add(sink.vocabulary.at_most(mask, b.hi - at.chars));
  } else {
    std::unordered_map<Id, bool> affords;  // by state: without bounds the number of characters does not matter
    for (const Inside& group : mask.inside) {
      Config after = at;
      after.state = group.state;
      after.chars = text ? at.chars + group.chars : 0;
      if (bounded && !texts_.is_live(after.state, after.spec, after.chars)) continue;
      if (bounded) {
        if (sink.affords(after)) sink.add(group);
        continue;
      }
      const auto [known, fresh] = affords.try_emplace(group.state, false);
      if (fresh) known->second = sink.affords(after);
      if (known->second) sink.add(group);
    }
  }
}

void Engine::fill_lexeme(const Config& at, LexemeMask& mask, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  fill_inside(at, mask, sink);
  if (at.lex == Lex::Key && sink.budget >= 0) exit_key(at, mask, sink);
  for (const Exit& exit : mask.exits) {
    if (at.lex == Lex::Key && sink.budget >= 0) break;
    if (at.top->records && !(text && exit.chars == 0 && exit.state == at.state)) {  // the value matters, not only the state
      for (const Id* t = exit.rest.begin(0); t != exit.rest.subtree_end(0); ++t) add_alone(at, *t, sink);
      continue;
    }
    Config before = at, after;
    before.state = exit.state;
    before.decoder = decoder_;  // a lexeme ends behind whole characters
    before.chars = text ? at.chars + exit.chars : 0;
    if (text) {
      if (!step(before, '"', &after, sink.arena)) continue;
    } else if (!end_number(before, &after, sink.arena)) {
      continue;
    }
    sink.add(exit.rest.begin(0), exit.rest.end(0), after);
    walk(exit.rest, 0, after, sink);
  }
  for (Id t : mask.odd) add_alone(at, t, sink);
}

// Which key was written matters to a budget only where it is one that would have been written later. So all keys of a class go on
// alike, but for those that were asked for on the way.
void Engine::exit_key(const Config& at, const LexemeMask& mask, Sink& sink) {
  struct Asking {
    Engine& engine;
    std::unordered_set<std::string> keys;
    explicit Asking(Engine& e) : engine(e) { engine.asked_ = &keys; }
    ~Asking() { engine.asked_ = nullptr; }
  };
  std::unordered_set<std::string> asked;
  if (!at.top->records) {
    Asking asking(*this);
    std::unordered_map<Id, Config> behind;
    for (const Exit& exit : mask.exits) {
      std::vector<Id> labels;
      texts_.accepted(exit.state, at.spec, at.chars + exit.chars, &labels);
      if (labels.empty() || labels[0] == kEveryClass) continue;
      const auto [after, fresh] = behind.try_emplace(labels[0]);
      if (fresh) {
        Frame next = *at.top;
        next.arena = &sink.arena;
        next.cache = nullptr;
        next.cls = labels[0];
        next.rank = kInf;
        next.phase = Phase::Colon;
        ++next.count;
        next.due = dues_.intern({Kind::Object, next.level, next.cls});
        next.key = kernel_.lexicon.name("");  // the order of keys inside of the value does not matter to a budget
        after->second.top = sink.arena.make(next);
      }
      sink.add(exit.rest.begin(0), exit.rest.end(0), after->second);
      walk(exit.rest, 0, after->second, sink);
    }
    asked = std::move(asking.keys);
  }
  std::string begun;
  for (const KeyText* k = at.key; k; k = k->before) begun.push_back(static_cast<char>(k->byte));
  std::reverse(begun.begin(), begun.end());
  for (const Exit& exit : mask.exits) {
    for (const Id* t = exit.rest.begin(0); t != exit.rest.subtree_end(0); ++t) {
      const std::string_view bytes = sink.vocabulary.bytes(*t), key = bytes.substr(0, bytes.find('"'));
      const bool plain = texts_.is_whole(at.decoder) && bytes.find('\\') == bytes.npos && bytes.find('"', key.size() + 1) == bytes.npos;
      if (at.top->records || !plain || asked.contains(begun + std::string(key))) add_alone(at, *t, sink);
    }
  }
}

void Engine::fill(const Config& from, Vocabulary& vocabulary, std::int64_t budget, std::uint32_t* row, Arena& scratch) {
  vocabulary.trim();
  const Config at = budget < 0 || from.finished ? from : told(from, scratch);
  std::memset(row, 0, vocabulary.words() * 4);
  Sink sink{vocabulary, row, budget, scratch, *this};
  struct Making {
    Engine& engine;
    Made made;
    explicit Making(Engine& e) : engine(e) { engine.made_ = &made; }
    ~Making() { engine.made_ = nullptr; }
  } making(*this);
  if (at.top && !at.finished && is_too_deep(at)) {
    walk(vocabulary.trie(), 0, at, sink);
  } else if (at.top && !at.finished) {
    switch (at.lex) {
      case Lex::Text: {
        sink.spares = budget < 0 || affords_any(at, budget);
        fill_lexeme(at, vocabulary.text(texts_, at.state, !sink.spares || texts_.spec(at.spec).bounded), sink);
        break;
      }
      case Lex::Number: {
        if (budget >= 0 && at.key) {  // distance() reads the number again
          walk(vocabulary.trie(), 0, at, sink);
          break;
        }
        fill_lexeme(at, vocabulary.number(numbers_, at.state), sink);
        Config after;
        if (end_number(at, &after, scratch)) walk(vocabulary.trie(), 0, after, sink);
        break;
      }
      case Lex::Key: {
        if (at.state == Texts::kDead) {
          walk(vocabulary.trie(), 0, at, sink);
          break;
        }
        Config free = at;  // as if no name had been declared or written
        free.lo = free.hi = free.xlo = free.xhi = 0;
        weigh_key(at, &sink);
        LexemeMask& mask = vocabulary.text(texts_, at.state, !sink.spares && !sink.lacks);
        fill_lexeme(free, mask, sink);
        if (at.lo < at.hi || at.xlo < at.xhi) {
          overlay(vocabulary.trie(), at, sink);
          for (Id t : mask.odd) add_alone(at, t, sink);
        }
        break;
      }
      default:
        walk(vocabulary.trie(), 0, at, sink);
    }
  }
  if ((at.finished || budget != 0) && can_stop(at))
    for (Id t : vocabulary.ends()) sink.set(t);
}

}  // namespace guard
