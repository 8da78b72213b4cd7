// Masks: which tokens may come next. See lexeme_masks.hpp for how a mask factors by lexeme.

#include <algorithm>
#include <cstring>

#include "automaton/engine.hpp"

namespace guard {

namespace {
constexpr std::int32_t kFewNodes = 12;  // a subtree of fewer is walked
constexpr int kMostNested = 16;         // of a token, whatever the vocabulary; what is nested deeper is walked
}  // namespace

struct Engine::Sink {
  LexemeMasks& masks;
  const Vocabulary& vocabulary;
  std::uint32_t* row;
  std::int64_t budget;
  Arena& arena;
  Engine& engine;
  bool factors = true;  // false: every token is read byte by byte
  int nested = 0;       // lexemes inside of what follows lexemes
  std::int64_t enough = 1;  // of a budget: from there on it rules nothing out; kNoLimit: this one does
  bool reckons = false;     // was some distance not told on sight?

  void set(Id token) { row[token >> 5] |= 1u << (token & 31); }
  void clear(Id token) { row[token >> 5] &= ~(1u << (token & 31)); }
  bool has(Id token) const { return row[token >> 5] >> (token & 31) & 1; }
  bool affords(const Config& after) {
    if (budget < 0) return true;
    Sight sight = engine.on_sight(after);
    if (sight.bytes < 0 || (!sight.is_exact && 1 + sight.bytes > budget)) {
      reckons = true;
      sight.bytes = engine.distance(after, budget - 1);
    }
    const bool yes = sight.bytes >= 0 && 1 + sight.bytes <= budget;
    suffices(yes ? 1 + sight.bytes : kNoLimit);
    return yes;
  }
  void suffices(std::int64_t bytes) { enough = std::max(enough, bytes); }
  void add(const Id* begin, const Id* end, const Config& after) {
    if (begin == end || !affords(after)) return;
    for (; begin != end; ++begin) set(*begin);
  }
  void add(const Tokens& tokens) { tokens.add_to(row); }
};

namespace {
const Bytes kSpace{" \n\r\t"}, kColon{" \n\r\t:"}, kKey{" \n\r\t\""}, kFirstKey{" \n\r\t\"}"}, kNextItem{" \n\r\t,]"}, kNextKey{" \n\r\t,}"};
const Bytes kValue{" \n\r\t\"{[ntf-0123456789"}, kFirstItem{" \n\r\t\"{[ntf-0123456789]"};

// The bytes that may come between lexemes, and more.
const Bytes& bytes_between(const Frame& f) {
  switch (f.phase) {
    case Phase::Value: return kValue;
    case Phase::Colon: return kColon;
    case Phase::First: return f.kind == Kind::Array ? kFirstItem : kFirstKey;
    case Phase::Key: return kKey;
    case Phase::After: return f.kind == Kind::Array ? kNextItem : kNextKey;
    case Phase::End: return kSpace;
  }
  return kSpace;
}
}  // namespace

// Marks the tokens below the node that go on from the configuration.
void Engine::below(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  if (!fill_value(among, node, from, sink)) go_on(among, node, from, sink);
}

void Engine::go_on(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  if (!fill_lexeme(among, node, from, sink)) walk(among, node, from, sink);
}

// What the values behind an object's key have in common: their goal, where nothing else of the object decides how such a value may go;
// -1: something does.
Id Engine::value_class(Id level, Id due) {
  if (value_classes_.size() <= static_cast<std::size_t>(due)) value_classes_.resize(dues_.size(), -2);
  if (const Id known = value_classes_[static_cast<std::size_t>(due)]; known != -2) return known;
  const ObjectInfo& info = this->info(level);
  const Alternative& only = levels_[level].alternatives[0];
  const bool alone = info.plain && only.vital;
  return value_classes_[static_cast<std::size_t>(due)] = alone ? goals_.base_of(goals_.shape(only.shape), (*info.classes)[static_cast<std::size_t>(dues_[due].cls)]) : -1;
}

// Bytes from behind the due value to the end of everything, whatever value of its class it is; -1: they hang on the value.
std::int64_t Engine::tail(const Frame& f) {
  std::int64_t out = behind_value(f);
  if (out >= 0) return out;
  for (int t = 0; t < kTypes; ++t) {
    const Targets& options = this->options(f, static_cast<Type>(t));
    for (std::int32_t i = 0; i < options.size; ++i) {
      if (out >= 0 && options.list[i].tail != out) return -1;
      out = options.list[i].tail;
    }
  }
  return out;
}

// Marks the tokens from behind an object's key, or from before the value: those that end within the value are remembered for all
// members whose values are alike. Under a budget it is remembered what suffices for all of them, beside what follows the value, and of a
// few budgets that don't which they leave.
bool Engine::fill_value(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  const Frame& f = *at.top;
  if (!sink.factors || at.lex != Lex::None || f.kind != Kind::Object || (f.phase != Phase::Colon && f.phase != Phase::Value)) return false;
  if (f.records || is_plain(f)) return false;
  const Split& split = sink.masks.split(among, node, f.phase == Phase::Colon);
  if (f.depth + split.deepest >= options_.limits.nesting) return false;
  const Id alike = value_class(f.level, f.due);
  if (alike < 0) return false;
  std::int64_t slack = 0;
  if (sink.budget >= 0) {
    const std::int64_t tail = this->tail(f);
    if (tail < 0) return false;
    slack = sink.budget - tail;
  }
  const Id order = options_.schema_order ? order_of_key(f.order, f.key) : -1;
  const std::shared_ptr<const Suffixes> within = split.within, beyond = split.beyond;
  const std::array key{sink.vocabulary.id(), among.id, node, static_cast<Id>(f.phase), at.gap, order, alike};
  std::int64_t enough = 0;
  bool reckons = false;
  const auto fill_within = [&](std::int64_t budget) {
    std::vector<std::uint32_t> row = std::move(clear_row_);  // a call inside of this one makes its own
    row.resize(sink.vocabulary.words());
    Sink own{sink.masks, sink.vocabulary, row.data(), budget, sink.arena, *this};
    own.nested = sink.nested;
    go_on(*within, 0, at, own);
    if (budget >= 0) sink.suffices(enough = own.enough);
    reckons = own.reckons;
    sink.reckons = sink.reckons || reckons;
    std::vector<Id> tokens;
    for (const Id* t = within->trie.begin(0); t != within->trie.subtree_end(0); ++t) {
      std::uint32_t& word = row[static_cast<std::size_t>(*t >> 5)];
      if (!(word >> (*t & 31) & 1)) continue;
      tokens.push_back(*t);
      word &= ~(1u << (*t & 31));
    }
    clear_row_ = std::move(row);
    return tokens;
  };
  auto known = values_.find(std::span<const Id>(key));
  if (known == values_.end()) {
    Within made;
    std::vector<Id> tokens = fill_within(-1);
    made.size = tokens.size();
    made.tokens = Tokens(std::move(tokens), sink.vocabulary.words());
    if (values_held_ > kMostValues) values_.clear(), values_held_ = 0;
    values_held_ += sizeof made + made.tokens.nbytes() + key.size() * sizeof(Id);
    known = values_.insert_or_assign({key.begin(), key.end()}, std::move(made)).first;
  }
  Within* value = &known->second;
  if (sink.budget < 0 || slack >= value->enough) {
    if (sink.budget >= 0) sink.suffices(value->enough + sink.budget - slack);
    sink.add(value->tokens);
  } else if (slack < 1) {  // what is behind the value takes it all
    sink.suffices(kNoLimit);
  } else if (const auto left = std::find_if(value->scarce.begin(), value->scarce.end(), [slack](const auto& s) { return s.first == slack; }); left != value->scarce.end()) {
    sink.suffices(kNoLimit);
    sink.add(left->second);
  } else if (slack <= value->lacking && (value->reckons || value->scarce.size() == Within::kScarce)) {
    go_on(*within, 0, at, sink);
  } else {
    std::vector<Id> tokens = fill_within(sink.budget);
    for (Id t : tokens) sink.set(t);
    if (const auto found = values_.find(std::span<const Id>(key)); found != values_.end()) {
      value = &found->second;
      value->reckons = value->reckons || reckons;
      if (tokens.size() == value->size) {
        value->enough = std::min(slack, enough - (sink.budget - slack));
      } else {
        value->lacking = std::max(value->lacking, slack);
        if (!reckons && value->scarce.size() < Within::kScarce) {
          value->scarce.push_back({slack, Tokens(std::move(tokens), sink.vocabulary.words())});
          values_held_ += value->scarce.back().second.nbytes();
        }
      }
    }
  }
  if (beyond->trie.size() > 1) go_on(*beyond, 0, at, sink);
  return true;
}

// The same, byte by byte up to the next lexeme.
void Engine::walk(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  const Trie& trie = among.trie;
  const auto place = [&](std::int32_t at, const Config& c) { return Place{c, Children(trie, at, c.lex == Lex::None ? &bytes_between(*c.top) : nullptr)}; };
  Path path(&places_);
  path.push_back(place(node, from));
  while (!path.empty()) {
    const std::int32_t child = path.back().children.next();
    if (child < 0) {
      path.pop_back();
      continue;
    }
    kernel_clock.tick();
    Config next;
    if (!step(path.back().config, trie.byte(child), &next, sink.arena)) continue;
    sink.add(trie.begin(child), trie.end(child), next);
    if (trie.skip(child) > child + 1 && (trie.skip(child) - child < kFewNodes || !fill_lexeme(among, child, next, sink))) path.push_back(place(child, next));
  }
}

namespace {
// Behind a backslash: what spells one of these bytes, or may spell anything.
Bytes escapes_of(const Bytes& bytes) {
  Bytes out{"u"};
  for (const std::string_view pair : {"\"\"", "\\\\", "//", "\bb", "\ff", "\nn", "\rr", "\tt"})
    if (bytes.has(static_cast<std::uint8_t>(pair[0]))) out.add(static_cast<std::uint8_t>(pair[1]));
  return out;
}
}  // namespace

namespace {
// Is there a token below the backslash that spells one of these characters, and the end of a text behind it?
bool may_end_escaped(const Trie& trie, std::int32_t escape, const Bytes& bytes) {
  constexpr int kUnicode = 5;  // u and four digits
  for (std::int32_t child = escape + 1; child < trie.skip(escape); child = trie.skip(child)) {
    if (!bytes.has(trie.byte(child))) continue;
    for (std::int32_t i = child; i < trie.skip(child); ++i)
      if (trie.byte(i) == '"' && trie.depth(i) - trie.depth(escape) > (trie.byte(child) == 'u' ? kUnicode : 1)) return true;
  }
  return false;
}
}  // namespace

// The bytes that names and written keys have next.
Bytes Engine::bytes_among(const Config& c) const {
  Bytes out;
  const auto add = [&](std::int32_t lo, std::int32_t hi, const auto& text_at) {
    while (lo < hi) {
      const std::string_view text = text_at(lo);
      std::int32_t same = lo + 1;
      if (static_cast<std::int32_t>(text.size()) > c.depth) {
        const std::uint8_t byte = static_cast<std::uint8_t>(text[static_cast<std::size_t>(c.depth)]);
        out.add(byte);
        for (std::int32_t most = hi; same < most;) {  // the first that goes on in another way
          const std::int32_t half = same + (most - same) / 2;
          if (static_cast<std::uint8_t>(text_at(half)[static_cast<std::size_t>(c.depth)]) == byte)
            same = half + 1;
          else
            most = half;
        }
      }
      lo = same;
    }
  };
  add(c.lo, c.hi, [&](std::int32_t i) { return std::string_view(c.top->names->texts[static_cast<std::size_t>(i)]); });
  add(c.xlo, c.xhi, [&](std::int32_t i) { return c.top->extras->texts[i]; });
  return out;
}

// The mask of a class of keys, mended where names and written keys are.
void Engine::overlay(const Suffixes& among, std::int32_t node, const Config& from, Means means, Sink& sink) {
  const bool closed = from.state == Texts::kDead, known = closed || (texts_.has_all(from.state) && !texts_.spec(from.spec).bounded);
  const bool reckoned = means == Means::Ample ? known : (closed || means == Means::None) && are_even(from);
  if (reckoned && texts_.is_whole(from.decoder) && !from.top->records)
    overlay_known(among, node, from, means, sink);
  else
    overlay_all(among, node, from, sink);
}

// Is it known of each name under way what is behind it?
bool Engine::are_even(const Config& at) {
  const Frame& f = *at.top;
  if (!is_even(f)) return false;
  const std::vector<std::int32_t>& classes = info(f.level).class_of;
  for (std::int32_t name = at.lo; name < at.hi; ++name)
    if (name_is_writable(f, name) && behind_key(f, classes[static_cast<std::size_t>(name)], name) == -2) return false;
  return true;
}

namespace {
// May a token below the backslash spell one of these characters within the budget, where so many bytes would do without an escape, or
// end a key that none may be? An escape that is not needed only adds to them.
bool may_pay(const Trie& trie, std::int32_t escape, const Bytes& bytes, std::int64_t least, std::int64_t budget) {
  const bool ascii = bytes.next(0x80) == 256, plain = bytes.next(0) >= 0x20 && !bytes.has('"') && !bytes.has('\\');
  if (!plain || least < budget) return true;
  const std::int32_t top = trie.depth(escape) - 1;
  for (const char byte : {'u', '/'}) {
    const std::int32_t child = byte == 'u' || bytes.has('/') ? trie.find(escape, {&byte, 1}) : -1;
    const std::int64_t added = byte == '/' ? 1 : ascii ? 5 : 3;
    for (std::int32_t i = child; child >= 0 && i < trie.skip(child); ++i)
      if (trie.byte(i) == '"' || (least != kNoLimit && least + added - (trie.depth(i) - top) < budget)) return true;
  }
  return false;
}
}  // namespace

// Where any key may come, what begins a name may as well begin another key: only the ends of names and written keys matter. Where
// none but names may come, or can be afforded, what begins one that is writable matters as well.
void Engine::overlay_known(const Suffixes& among, std::int32_t node, const Config& from, Means means, Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const ObjectInfo& info = this->info(f.level);
  const bool scarce = means != Means::Ample, closed = scarce || from.state == Texts::kDead;
  struct Names {
    std::int32_t node, lo, hi, xlo, xhi, depth;  // names and written keys, as in Config
    std::int64_t spelled;                        // bytes of them so far
  };
  const auto least = [&](const Config& at, std::int64_t spelled) {  // bytes from there, in an object that are_even() speaks of
    std::int64_t out = kNoLimit;
    for (std::int32_t name = at.lo; name < at.hi; ++name) {
      const std::int64_t behind = name_is_writable(f, name) ? behind_key(f, info.class_of[static_cast<std::size_t>(name)], name) : -1;
      if (behind >= 0) out = std::min(out, info.key_bytes[static_cast<std::size_t>(name)] - 1 - spelled + behind);
    }
    return out;
  };
  const auto affords = [&](const Config& at, std::int64_t spelled) {
    const std::int64_t bytes = least(at, spelled);
    const bool yes = bytes < sink.budget;
    sink.suffices(yes ? 1 + bytes : kNoLimit);
    return yes;
  };
  Config at = from, next;  // of which only those are followed
  const auto reached = [&](Config* now) {  // in full
    const std::string_view text = at.lo < at.hi ? std::string_view(f.names->texts[static_cast<std::size_t>(at.lo)]) : f.extras->texts[at.xlo];
    *now = from;
    for (char b : text.substr(static_cast<std::size_t>(from.depth), static_cast<std::size_t>(at.depth - from.depth))) {
      if (!step(*now, static_cast<std::uint8_t>(b), &next, sink.arena)) return false;
      *now = next;
    }
    return true;
  };
  const std::int64_t spelled = scarce && at.lo < at.hi ? spelled_bytes(f.names->texts[static_cast<std::size_t>(at.lo)].substr(0, static_cast<std::size_t>(at.depth))) : 0;
  Few<Names, 16> path{{node, at.lo, at.hi, at.xlo, at.xhi, at.depth, spelled}};
  while (!path.empty()) {
    const Names place = path[path.size() - 1];
    const std::int32_t here = place.node;
    path.truncate(path.size() - 1);
    at.lo = place.lo, at.hi = place.hi, at.xlo = place.xlo, at.xhi = place.xhi, at.depth = place.depth;
    const bool named = at.lo < at.hi && static_cast<std::int32_t>(f.names->texts[static_cast<std::size_t>(at.lo)].size()) == at.depth;
    const bool extra = at.xlo < at.xhi && static_cast<std::int32_t>(f.extras->texts[at.xlo].size()) == at.depth;
    Config before, after;
    if (const std::int32_t quote = named || extra ? trie.find(here, "\"") : -1; quote >= 0) {
      for (const Id* t = trie.begin(quote); t != trie.subtree_end(quote); ++t) sink.clear(*t);
      if (named && name_is_writable(f, at.lo) && reached(&before) && step(before, '"', &after, sink.arena)) {
        sink.add(trie.begin(quote), trie.end(quote), after);
        below(among, quote, after, sink);
      }
    }
    Bytes bytes = bytes_among(at);
    std::int32_t escape = trie.find(here, "\\");
    if (escape >= 0 && scarce && !may_pay(trie, escape, bytes, least(at, place.spelled), sink.budget)) sink.suffices(kNoLimit), escape = -1;
    if (escape >= 0 && (closed || may_end_escaped(trie, escape, escapes_of(bytes))))
      if (reached(&before) && step(before, '\\', &after, sink.arena)) {
        sink.add(trie.begin(escape), trie.end(escape), after);
        overlay_all(among, escape, after, sink);
      }
    bytes.remove('"');
    bytes.remove('\\');
    for (std::uint8_t control = 0; control < 0x20; ++control) bytes.remove(control);  // they come as escapes
    Children children(trie, here, &bytes);
    for (std::int32_t child = children.next(); child >= 0; child = children.next()) {
      next = at;
      if (!narrow_key(&next, trie.byte(child))) continue;
      if (closed) {
        std::int32_t name = next.lo;
        while (name < next.hi && !name_is_writable(f, name)) ++name;
        if (name == next.hi && from.state == Texts::kDead) continue;
        if (name < next.hi && trie.begin(child) != trie.end(child) && (!scarce || affords(next, place.spelled + 1)))
          for (const Id* t = trie.begin(child); t != trie.end(child); ++t) sink.set(*t);
      }
      if (trie.skip(child) > child + 1) path.push_back({child, next.lo, next.hi, next.xlo, next.xhi, next.depth, place.spelled + 1});
    }
  }
}

// The same for any class: a token is tried byte by byte.
void Engine::overlay_all(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const auto place = [&](std::int32_t at, const Config& c, bool begins) {  // does it begin an escape?
    if (texts_.in_escape(c.decoder) && !begins) return Place{c, Children(trie, at, nullptr)};
    Bytes bytes = bytes_among(c);
    if (begins) {
      bytes = escapes_of(bytes);
    } else {
      bytes.add('"');
      bytes.add('\\');
    }
    return Place{c, Children(trie, at, &bytes)};
  };
  const auto clear = [&](std::int32_t at) {
    for (const Id* t = trie.begin(at); t != trie.subtree_end(at); ++t) sink.clear(*t);
  };
  Path path(&places_);
  path.push_back(place(node, from, false));
  while (!path.empty()) {
    const std::int32_t i = path.back().children.next();
    if (i < 0) {
      path.pop_back();
      continue;
    }
    const Config& c = path.back().config;
    const std::uint8_t byte = trie.byte(i);
    Config after;
    if (byte == '"' && texts_.is_whole(c.decoder)) {
      const bool named = c.lo < c.hi && static_cast<std::int32_t>(f.names->texts[static_cast<std::size_t>(c.lo)].size()) == c.depth;
      const bool extra = c.xlo < c.xhi && static_cast<std::int32_t>(f.extras->texts[c.xlo].size()) == c.depth;
      if (!named && !extra) continue;
      clear(i);
      if (step(c, byte, &after, sink.arena)) {
        sink.add(trie.begin(i), trie.end(i), after);
        below(among, i, after, sink);
      }
      continue;
    }
    if (!step(c, byte, &after, sink.arena)) {  // the class has no key left that begins so
      clear(i);
      continue;
    }
    if (trie.begin(i) != trie.end(i)) {  // the class may not have them
      const bool affords = sink.affords(after);
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t) affords ? sink.set(*t) : sink.clear(*t);
    }
    if (is_among(after)) path.push_back(place(i, after, byte == '\\' && !texts_.in_escape(c.decoder)));
  }
}

// One token, byte by byte.
void Engine::add_alone(const Config& at, const Spelled& token, Sink& sink) {
  Config now = at, next;
  for (char b : token.bytes) {
    if (!step(now, static_cast<std::uint8_t>(b), &next, sink.arena)) return sink.clear(token.token);
    now = next;
  }
  sink.affords(now) ? sink.set(token.token) : sink.clear(token.token);
}

// Does the budget suffice behind every token that stays inside of the text, as far as can be told on sight? Where lengths don't matter
// the characters that are enough behind any of its tokens tell it, too.
bool Engine::affords_any(const Suffixes& among, std::int32_t node, const Config& at, bool bounded, Sink& sink) {
  if (sink.budget < 0) return true;
  constexpr std::int64_t token = 1, quote = 1, kDearest = 6;  // bytes of a character: \u0001
  const auto suffices = [&](std::int64_t rest, std::int64_t tail) {
    if (rest < 0 || token + rest + quote + tail > sink.budget) return false;
    sink.suffices(token + rest + quote + tail);
    return true;
  };
  std::int64_t least = kNoLimit;  // behind a text that ends with the label that all of its ends have
  const auto look = [&](Id label, std::int64_t tail) {
    if (suffices(texts_.enough(at.state, at.spec, at.chars, label), tail)) return true;
    const std::vector<Component>& components = texts_.components(at.state);
    if (components.size() == 1 && components[0].index < kTracked && texts_.spec(at.spec).at(components[0].index).label == label) least = std::min(least, tail);
    return false;
  };
  if (const std::int64_t tail = behind_value(*at.top); tail >= 0 && look(0, tail)) return true;
  const Targets& options = this->options(*at.top, Type::String);
  for (std::int32_t i = 0; i < options.size; ++i)
    if (const Target& o = options.list[i]; o.size == 1 && look(o.ids[0], o.tail)) return true;
  if (bounded || least == kNoLimit || token + Texts::kOneChar + quote + least > sink.budget) return false;
  const std::int64_t rest = sink.masks.rest(texts_, sink.masks.text(texts_, at.state, false, among, node));
  return rest >= 0 && suffices(Texts::kOneChar + kDearest * rest, least);
}

// Does the budget suffice behind every token that stays inside of an undeclared key, or behind none, as far as can be told on sight?
// A member that nobody asks for only adds to what must come, and where each may stand beside all others it adds no more than itself.
Engine::Means Engine::key_means(const Config& at, Sink& sink) {
  const Frame& f = *at.top;
  const ObjectInfo& info = this->info(f.level);
  if (sink.budget < 0) return Means::Ample;
  if (!info.bare || f.records || f.barred) return Means::Scarce;
  const std::int64_t gap = options_.whitespace == Whitespace::Spaced ? 1 : 0, all = least_rest(f), token = 1, quote = 1, colon = 1 + gap, comma = 1 + gap;
  if (all < 0 || token + quote + colon + 1 + all > sink.budget) {
    sink.suffices(kNoLimit);
    return Means::None;
  }
  const bool closed = at.state == Texts::kDead;
  if (!(closed || texts_.has_all(at.state)) || !info.plain) return Means::Scarce;
  const std::int64_t worst = closed ? most_named(f.level) : most_other(f.level);
  if (worst < 0) return Means::Scarce;
  const std::int64_t bytes = token + Texts::kOneChar + quote + colon + worst + comma + all;
  if (bytes > sink.budget) return Means::Scarce;
  sink.suffices(bytes);
  return Means::Ample;
}

// Does the number of characters matter to some token? Not where each bound is farther off than any token and an end behind it.
bool Engine::is_near(const Config& at, LexemeMasks& masks) {
  const Spec& spec = texts_.spec(at.spec);
  if (!spec.bounded) return false;
  const std::int64_t longest = masks.vocabulary().whole().trie.longest();  // bytes: a token may begin within a character
  std::int64_t room = kNoLimit;
  for (const Component& c : texts_.components(at.state)) {
    const Bound& b = spec.at(c.index);
    if (b.lo > at.chars) return true;
    if (b.hi != kInf) room = std::min<std::int64_t>(room, b.hi - at.chars);
  }
  if (room == kNoLimit) return false;
  if (room < longest) return true;
  const std::int64_t rest = masks.rest(texts_, masks.text(texts_, at.state, false, masks.vocabulary().whole(), 0));
  return rest < 0 || room < longest + rest;
}

// The tokens that stay inside of the lexeme.
void Engine::add_inside(const Config& at, LexemeMask& mask, bool bounded, Means means, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  if (means == Means::None) return;
  if (!bounded && means == Means::Ample) {
    sink.add(*mask.all);
  } else if (means == Means::Ample && texts_.is_free(at.state) && texts_.components(at.state).size() == 1) {
    const Bound& b = texts_.spec(at.spec).bounds[static_cast<std::size_t>(texts_.components(at.state)[0].index)];
    if (b.hi == kInf || b.hi - at.chars >= sink.vocabulary.whole().trie.longest())
      sink.add(*mask.all);
    else
      sink.add(sink.masks.at_most(mask, b.hi - at.chars));
  } else {
    Config after = at;
    for (const Inside& group : bounded ? mask.inside : sink.masks.by_state(mask)) {  // without bounds the number of characters does not matter
      after.state = group.state;
      const auto is_open = [&](std::int32_t chars) {
        after.chars = text ? at.chars + chars : 0;
        return (!bounded || texts_.is_live(after.state, after.spec, after.chars)) && sink.affords(after);
      };
      if (bounded && group.chars == kItsOwn)
        sink.masks.add_lengths(group, is_open, sink.row);
      else if (is_open(std::max(group.chars, 0)))
        sink.add(group.tokens);
    }
  }
}

// And those that leave it. Where values are recorded what was written matters, not only the state.
void Engine::add_exits(const Config& at, const LexemeMask& mask, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  const auto leave = [&](Id state, std::int32_t chars, const Suffixes& rest) {
    Config before = at, after;
    before.state = state;
    before.decoder = decoder_;  // a lexeme ends behind whole characters
    before.chars = text ? at.chars + chars : 0;
    if (!(text ? step(before, '"', &after, sink.arena) : end_number(before, &after, sink.arena))) return;
    sink.add(rest.trie.begin(0), rest.trie.end(0), after);
    below(rest, 0, after, sink);
  };
  const bool ends = text && texts_.may_end(at.state);  // where a quote is not the rest of an escape
  for (const Exit& exit : mask.exits) {
    if (!at.top->records) {
      leave(exit.state, exit.chars, *exit.rest);
      continue;
    }
    const Trie& rest = exit.rest->trie;
    for (const Id* t = rest.begin(0); t != rest.subtree_end(0); ++t)
      if (const std::string_view bytes = sink.vocabulary.bytes(*t); !ends || bytes[0] != '"') add_alone(at, {bytes, *t}, sink);
  }
  if (at.top->records && ends) leave(at.state, 0, sink.vocabulary.quoted());
}

// Which key was written matters to a budget only where it is one that would have been written later. So all keys of a class go on
// alike, but for those that were asked for on the way. Of an even object only what comes behind a comma hangs on it.
void Engine::exit_key(const Suffixes& among, std::int32_t node, const Config& at, const LexemeMask& mask, Sink& sink) {
  if (at.top->records || !texts_.is_whole(at.decoder)) {
    for (const Exit& exit : mask.exits)
      for (const Id* t = exit.rest->trie.begin(0); t != exit.rest->trie.subtree_end(0); ++t) add_alone(at, {sink.vocabulary.bytes(*t), *t}, sink);
    return;
  }
  struct Asking {
    Engine& engine;
    std::unordered_set<std::string> keys;
    std::unordered_set<std::string>* outer;
    explicit Asking(Engine& e) : engine(e), outer(e.asked_) { engine.asked_ = &keys; }
    ~Asking() {
      engine.asked_ = outer;
      if (outer) outer->merge(keys);
    }
  };
  const bool even = is_even(*at.top);
  std::unordered_set<std::string> asked;
  const bool reckoned = std::exchange(sink.reckons, false);
  {
    std::optional<Asking> asking;
    if (!even) asking.emplace(*this);
    std::unordered_map<Id, Config> behind;
    for (const Exit& exit : mask.exits) {
      Labels labels;
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
        next.key = tables_.lexicon.name("");  // the order of keys inside of the value does not matter to a budget
        after->second.top = sink.arena.make(next);
      }
      sink.add(exit.rest->trie.begin(0), exit.rest->trie.end(0), after->second);
      below(*exit.rest, 0, after->second, sink);
    }
    if (asking) asked = asking->keys;
  }
  const bool alike = !std::exchange(sink.reckons, sink.reckons || reckoned) && info(at.top->level).bare;
  if (alike) return;  // it is the same behind every key
  const auto look_again = [&](const Spelled& t) {  // a key that was written can only make the rest dearer
    if (sink.has(t.token)) add_alone(at, t, sink);
  };
  for (const Spelled& t : mask.listed) look_again(t);
  if (even) return;
  std::string begun;
  for (const KeyText* k = at.key; k; k = k->before) begun.push_back(static_cast<char>(k->byte));
  std::reverse(begun.begin(), begun.end());
  for (const std::string& key : asked) {
    if (!std::string_view(key).starts_with(begun)) continue;
    const std::int32_t end = among.trie.find(node, key.substr(begun.size()) + '"');
    for (std::int32_t i = end; end >= 0 && i < among.trie.skip(end); ++i)
      for (const Id* t = among.trie.begin(i); t != among.trie.end(i); ++t) look_again({sink.vocabulary.end_of(*t, among.trie.depth(i) - among.trie.depth(node)), *t});
  }
  for (const Spelled& t : mask.escaped) look_again(t);
}

// Marks the tokens below the node from between two lexemes, where white space may be of any kind; false: nothing was done.
bool Engine::fill_gap(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  if (options_.whitespace != Whitespace::Any || at.top->phase == Phase::End || at.top->records || is_too_deep(at) || sink.nested == kMostNested) return false;
  const GapMask* gap = sink.masks.gap(among, node, options_.longest_run - at.gap);
  if (!gap) return false;
  if (sink.affords(at)) sink.add(gap->all);  // it takes nothing from the budget but the token
  ++sink.nested;
  walk(*gap->rest, 0, at, sink);
  --sink.nested;
  return true;
}

// The same where the masks of the lexeme that is being read are remembered.
bool Engine::fill_lexeme(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  const bool inner = node != 0 || &among != &sink.vocabulary.whole();
  if (!sink.factors) return false;
  if (at.lex == Lex::None) return fill_gap(among, node, at, sink);
  if (at.lex == Lex::Literal || is_too_deep(at)) return false;
  if (inner && (sink.nested == kMostNested || at.lex == Lex::Number || at.top->records)) return false;
  if (at.lex == Lex::Number && sink.budget >= 0 && at.key) return false;  // distance() reads the number again
  ++sink.nested;
  if (at.lex == Lex::Text) {
    const bool bounded = is_near(at, sink.masks);
    const Means means = affords_any(among, node, at, bounded, sink) ? Means::Ample : Means::Scarce;
    if (means != Means::Ample || bounded) add_inside(at, sink.masks.text(texts_, at.state, true, among, node), bounded, means, sink);
    LexemeMask& mask = sink.masks.text(texts_, at.state, bounded, among, node);
    if (means == Means::Ample && !bounded) add_inside(at, mask, false, means, sink);
    add_exits(at, mask, sink);
  } else if (at.lex == Lex::Number) {
    LexemeMask& mask = sink.masks.number(numbers_, at.state);
    add_inside(at, mask, false, sink.budget < 0 ? Means::Ample : Means::Scarce, sink);
    add_exits(at, mask, sink);
    Config after;
    if (end_number(at, &after, sink.arena)) below(among, node, after, sink);
  } else {
    LexemeMask* mask = nullptr;
    const Means means = key_means(at, sink);
    if (at.state != Texts::kDead) {
      Config free = at;  // as if no name had been declared or written
      free.lo = free.hi = free.xlo = free.xhi = 0;
      if (means == Means::Scarce) add_inside(free, sink.masks.text(texts_, at.state, true, among, node), false, means, sink);
      mask = &sink.masks.text(texts_, at.state, texts_.spec(at.spec).bounded && means == Means::Scarce, among, node);
      if (means != Means::Scarce) add_inside(free, *mask, false, means, sink);
      if (sink.budget < 0)
        add_exits(free, *mask, sink);
      else
        exit_key(among, node, free, *mask, sink);
    }
    if (at.lo < at.hi || at.xlo < at.xhi) overlay(among, node, at, means, sink);
    if (mask)
      for (const Spelled& t : mask->odd) add_alone(at, t, sink);
  }
  --sink.nested;
  return true;
}

std::int64_t Engine::fill(const Config& from, LexemeMasks& masks, std::int64_t budget, std::uint32_t* row, Scratch& scratch, bool factors) {
  const Vocabulary& vocabulary = masks.vocabulary();
  masks.trim();
  scratch.begin(from.top);
  const Config at = budget < 0 || from.finished ? from : told(from, scratch.arena);
  std::memset(row, 0, vocabulary.words() * 4);
  Sink sink{masks, vocabulary, row, budget, scratch.arena, *this, factors};
  struct Making {
    Engine& engine;
    Making(Engine& e, Scratch* scratch) : engine(e) { engine.scratch_ = scratch; }
    ~Making() { engine.scratch_ = nullptr; }
  } making(*this, &scratch);
  if (at.top && !at.finished) below(vocabulary.whole(), 0, at, sink);
  if ((at.finished || budget != 0) && can_stop(at))
    for (Id t : vocabulary.ends()) sink.set(t);
  // Never a dead end in silence (docs/explanation/engine.md, "Known faults").
  if (budget > 0 && at.top && !at.finished && std::all_of(row, row + vocabulary.words(), [](std::uint32_t word) { return word == 0; }))
    if (const std::int64_t left = distance(at, budget); left >= 0 && left <= budget)
      throw Limit{"distance", -1, "what compared items take to their end was reckoned too low, and no token leads there within remaining=" + std::to_string(budget)};
  return budget > 0 ? sink.enough : kNoLimit;  // of nothing not even the end is allowed
}

}  // namespace guard
