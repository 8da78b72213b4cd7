// Masks: the keys of an object. The mask of a class of keys is corrected where declared names and
// written keys differ from it. See mask_filler.hpp.

#include <algorithm>
#include <optional>

#include "masks/mask_filler.hpp"

namespace guard {

namespace {
// The bytes that may follow a backslash in an escape of one of these bytes. Always contains `u`,
// which can spell any character.
Bytes escapes_of(const Bytes& bytes) {
  Bytes out{"u"};
  for (const std::string_view pair : {"\"\"", "\\\\", "//", "\bb", "\ff", "\nn", "\rr", "\tt"})
    if (bytes.has(static_cast<std::uint8_t>(pair[0]))) out.add(static_cast<std::uint8_t>(pair[1]));
  return out;
}
}  // namespace

namespace {
// Is there a token below the backslash that spells one of these characters and also contains a
// closing quote after it?
bool may_end_escaped(const Trie& trie, std::int32_t escape, const Bytes& bytes) {
  constexpr int kUnicode = 5;  // u and four digits
  for (std::int32_t child = escape + 1; child < trie.skip(escape); child = trie.skip(child)) {
    if (!bytes.has(trie.byte(child))) continue;
    for (std::int32_t i = child; i < trie.skip(child); ++i)
      if (trie.byte(i) == '"' &&
          trie.depth(i) - trie.depth(escape) > (trie.byte(child) == 'u' ? kUnicode : 1))
        return true;
  }
  return false;
}
}  // namespace

// Calls use(byte, ranges) for each byte that may come next in a declared name or a written key,
// with those that go on with it, in order.
template <class F>
void MaskFiller::each_next(const Frame& f, const KeyRanges& c, F use) {
  const auto name = [&](std::int32_t i) -> std::string_view {
    return f.names->texts[static_cast<std::size_t>(i)];
  };
  const auto extra = [&](std::int32_t i) -> std::string_view { return f.extras->texts[i]; };
  // The texts are sorted and share all bytes before `depth`. So one that ends here, and has no next
  // byte, comes first, and those with the same next byte are adjacent.
  constexpr int kNone = 256;
  const auto byte_of = [&](std::string_view text) -> int {
    return static_cast<std::uint8_t>(text[static_cast<std::size_t>(c.depth)]);
  };
  const auto begin = [&](std::int32_t lo, std::int32_t hi, const auto& text_at) {
    return lo < hi && static_cast<std::int32_t>(text_at(lo).size()) == c.depth ? lo + 1 : lo;
  };
  const auto beyond = [&](std::int32_t lo, std::int32_t hi, int byte, const auto& text_at) {
    while (lo < hi) {  // by bisection: the first text with another next byte
      const std::int32_t half = lo + (hi - lo) / 2;
      if (byte_of(text_at(half)) == byte)
        lo = half + 1;
      else
        hi = half;
    }
    return lo;
  };
  KeyRanges some = c;
  ++some.depth;
  some.hi = begin(c.lo, c.hi, name), some.xhi = begin(c.xlo, c.xhi, extra);
  while (some.hi < c.hi || some.xhi < c.xhi) {
    some.lo = some.hi, some.xlo = some.xhi;
    const int named = some.lo < c.hi ? byte_of(name(some.lo)) : kNone,
              written = some.xlo < c.xhi ? byte_of(extra(some.xlo)) : kNone,
              byte = std::min(named, written);
    if (named == byte) some.hi = beyond(some.lo + 1, c.hi, byte, name);
    if (written == byte) some.xhi = beyond(some.xlo + 1, c.xhi, byte, extra);
    use(static_cast<std::uint8_t>(byte), some);
  }
}

Bytes MaskFiller::bytes_among(const Frame& f, const KeyRanges& c) {
  Bytes out;
  each_next(f, c, [&](std::uint8_t byte, const KeyRanges&) { out.add(byte); });
  return out;
}

// Corrects the mask of a class of keys where declared names and written keys continue the text.
void MaskFiller::overlay(const Suffixes& among, std::int32_t node, const Config& from, bool ample,
                         Sink& sink) {
  const bool known =
      from.state == Texts::kDead || (texts_.has_all(from.state) && !texts_.spec(from.spec).bounded);
  // Inside of an escape, where items are compared, or where the budget does not suffice for all,
  // each token is tried instead.
  if (ample && known && texts_.is_whole(from.decoder) && !from.top->records)
    overlay_known(among, node, from, sink);
  else
    overlay_all(among, node, from, sink);
}

// If any key may come, a token that begins a name may as well begin another key, so only the ends
// of names and of written keys need correction. If only names may come, the tokens that begin a
// writable name are set as well. The budget suffices for each of these tokens.
void MaskFiller::overlay_known(const Suffixes& among, std::int32_t node, const Config& from,
                               Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const bool closed = from.state == Texts::kDead;
  struct Position : KeyRanges {
    std::int32_t node = 0;
  };
  const auto name_at = [&](std::int32_t name) -> std::string_view {
    return f.names->texts[static_cast<std::size_t>(name)];
  };
  const auto length = [](std::string_view text) { return static_cast<std::int32_t>(text.size()); };
  // Steps by the bytes between `from` and there, and by one more.
  const auto step_from = [&](const Position& at, std::uint8_t byte, Config* after) {
    const std::string_view text = at.lo < at.hi ? name_at(at.lo) : f.extras->texts[at.xlo];
    Config now = from;
    for (char b : text.substr(static_cast<std::size_t>(from.depth),
                              static_cast<std::size_t>(at.depth - from.depth))) {
      if (!engine_.step(now, static_cast<std::uint8_t>(b), after, sink.arena)) return false;
      now = *after;
    }
    return engine_.step(now, byte, after, sink.arena);
  };
  // Breadth first, and each node is loaded before the others are looked at: a trie is larger than
  // the caches near to the processor.
  Few<Position, 16> path{{static_cast<const KeyRanges&>(from), node}}, next;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const Position at = path[i];
    const bool named = at.lo < at.hi && length(name_at(at.lo)) == at.depth;
    const bool extra = at.xlo < at.xhi && length(f.extras->texts[at.xlo]) == at.depth;
    if (const std::int32_t quote = named || extra ? trie.child_at(at.node, '"') : -1; quote >= 0) {
      // The class's mask took this text for a key of the class. It is a name or an already written
      // key, so everything after its quote is decided anew.
      for (const Id* t = trie.begin(quote); t != trie.subtree_end(quote); ++t) sink.clear(*t);
      if (Config after;
          named && engine_.viability.may_come(f, at.lo) && step_from(at, '"', &after)) {
        sink.add(trie.begin(quote), trie.end(quote), after);
        below(among, quote, after, sink);
      }
    }
    Bytes bytes;
    next.clear();
    each_next(f, at, [&](std::uint8_t byte, const KeyRanges& some) {
      bytes.add(byte);
      if (byte < 0x20 || byte == '"' || byte == '\\') return;  // JSON spells them as escapes only
      const std::int32_t child = trie.child_at(at.node, byte);
      if (child < 0) return;
      trie.load(child);
      next.push_back({some, child});
    });
    const std::int32_t escape = trie.child_at(at.node, '\\');
    if (escape >= 0 && (closed || may_end_escaped(trie, escape, escapes_of(bytes))))
      if (Config after; step_from(at, '\\', &after)) {
        sink.add(trie.begin(escape), trie.end(escape), after);
        overlay_all(among, escape, after, sink);
      }
    for (const Position& longer : next) {
      const std::int32_t child = longer.node;
      if (closed) {
        std::int32_t name = longer.lo;
        while (name < longer.hi && !engine_.viability.may_come(f, name)) ++name;
        // No writable name and no class has this beginning, so the mask has no bit there to clear.
        if (name == longer.hi) continue;
        for (const Id* t = trie.begin(child); t != trie.end(child); ++t) sink.set(*t);
      }
      if (trie.skip(child) == child + 1) continue;
      trie.load_children(child);
      path.push_back(longer);
    }
  }
}

// The same for any class: each token is read byte by byte.
void MaskFiller::overlay_all(const Suffixes& among, std::int32_t node, const Config& from,
                             Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const auto place = [&](std::int32_t at, const Config& c, Id link = -1) {
    // Further inside of an escape any byte may come; the names are narrowed at its last byte.
    const bool begins = texts_.begins_escape(c.decoder);
    if (texts_.in_escape(c.decoder) && !begins) return Place{c, Children(trie, at, nullptr), link};
    Bytes bytes = bytes_among(f, c);
    if (begins) {
      bytes = escapes_of(bytes);
    } else {
      bytes.add('"');
      bytes.add('\\');
    }
    return Place{c, Children(trie, at, &bytes), link};
  };
  const auto clear = [&](std::int32_t at) {
    for (const Id* t = trie.begin(at); t != trie.subtree_end(at); ++t) sink.clear(*t);
  };
  Path path(&places_);
  path.push_back(place(node, from));
  while (!path.empty()) {
    const std::int32_t i = path.back().children.next();
    if (i < 0) {
      path.pop_back();
      continue;
    }
    // The reference is valid until the path grows, which only the last statement of the loop does.
    const Config& c = path.back().config;
    const std::uint8_t byte = trie.byte(i);
    Config after;
    Id link = next_link(path.back(), byte, sink);
    if (byte == '"' && texts_.is_whole(c.decoder)) {
      const bool named =
          c.lo < c.hi && static_cast<std::int32_t>(
                             f.names->texts[static_cast<std::size_t>(c.lo)].size()) == c.depth;
      const bool extra =
          c.xlo < c.xhi && static_cast<std::int32_t>(f.extras->texts[c.xlo].size()) == c.depth;
      if (!named && !extra) continue;
      clear(i);
      if (engine_.step(c, byte, &after, sink.arena)) {
        sink.add(trie.begin(i), trie.end(i), after, &link);
        below(among, i, after, sink);
      }
      continue;
    }
    if (!engine_.step(c, byte, &after, sink.arena)) {  // no key of the class has this beginning
      clear(i);
      continue;
    }
    if (trie.begin(i) != trie.end(i)) {  // the class alone may decide differently for these tokens
      const bool affords = sink.affords(after, &link);
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
        affords ? sink.set(*t) : sink.clear(*t);
    }
    if (engine_.keys.is_among(after)) path.push_back(place(i, after, link));
  }
}

// Does the budget suffice after every token that stays inside of an undeclared key? Decided without
// a search; false where it is unknown. In an object without dependencies between members, an
// optional member adds exactly its own bytes to the members that must still come.
bool MaskFiller::affords_keys(const Config& at, Sink& sink) {
  const Frame& f = *at.top;
  const ObjectInfo& info = levels_.info(f.level);
  if (sink.budget < 0) return true;
  if (sink.needs_tokens(at) || !info.bare || f.records || f.barred) return false;
  // The lower bound for any key: its first token, a quote, the colon, a value of one byte, and the
  // members that must come anyway.
  const std::int64_t gap = options_.gap(), all = engine_.distances.least_rest(f), token = 1,
                     quote = 1, colon = 1 + gap, comma = 1 + gap;
  if (all < 0 || token + quote + colon + 1 + all > sink.budget) {
    if (!sink.counts(at)) sink.suffices(kNoLimit);
    return false;
  }
  const bool closed = at.state == Texts::kDead;
  if (!(closed || texts_.has_all(at.state)) || !info.plain) return false;
  // An upper bound for any key. If the budget covers it, keys need not be distinguished.
  const std::int64_t worst =
      closed ? engine_.distances.most_named(f.level) : engine_.distances.most_other(f.level);
  if (worst < 0) return false;
  const std::int64_t bytes = token + Texts::kOneChar + quote + colon + worst + comma + all;
  if (bytes > sink.budget) return false;
  sink.suffices(bytes);
  return true;
}

// Among tokens that leave a key: the configuration after the first key that is not a declared name.
// False if every token spells a name.
bool MaskFiller::leave_key(const Suffixes& among, std::int32_t node, const Config& at,
                           const Suffixes& rest, Config* after, Sink& sink) {
  for (const Id* t = rest.trie.begin(0); t != rest.trie.subtree_end(0); ++t) {
    Config now = at;
    for (char b : rest_of(among, node, *t, sink.vocabulary)) {
      if (now.lex != Lex::Key) break;
      if (!engine_.step(now, static_cast<std::uint8_t>(b), after, sink.arena)) break;
      now = *after;
    }
    if (now.lex == Lex::None && !now.top->names->at.contains(now.top->key)) return true;
  }
  return false;
}

// The distance after a key depends on the key only if a completion would have written that key
// later. So all keys of a class have the same continuation, except the keys that the computation
// asked about. In an even object, only what follows a comma depends on the key.
void MaskFiller::exit_key(const Suffixes& among, std::int32_t node, const Config& at,
                          const LexemeMask& mask, Sink& sink) {
  if (at.top->records || !texts_.is_whole(at.decoder)) {
    for (const Exit& exit : mask.exits)
      for (const Id* t = exit.rest->trie.begin(0); t != exit.rest->trie.subtree_end(0); ++t)
        add_alone(at, {sink.vocabulary.bytes(*t), *t}, sink);
    return;
  }
  const bool even = engine_.distances.is_even(*at.top);
  std::unordered_set<std::string> asked;
  // `reckons` becomes true if some distance could not be told on sight. It is saved here and merged
  // with the result below.
  const bool reckoned = std::exchange(sink.reckons, false);
  {
    std::optional<Viability::Asking> asking;
    if (!even) asking.emplace(engine_.viability);
    // One configuration for each class of keys, made at its first exit. The frames are allocated in
    // the sink's arena and live until the end of the fill.
    std::unordered_map<Id, Config> behind;
    for (const Exit& exit : mask.exits) {
      Labels labels;
      texts_.accepted(exit.state, at.spec, at.chars + exit.chars, &labels);
      if (labels.empty() || labels[0] == kEveryClass) continue;
      const auto [after, fresh] = behind.try_emplace(labels[0]);
      if (fresh && options_.schema_order &&
          sink.counts(at)) {  // the keys of a completion are ordered by this key
        if (!leave_key(among, node, at, *exit.rest, &after->second, sink)) {
          behind.erase(labels[0]);
          continue;  // every token spells a name, which overlay() handles
        }
      } else if (fresh) {
        Frame next = at.top->next(sink.arena);
        next.cls = labels[0];
        next.rank = kInf;
        next.phase = Phase::Colon;
        ++next.count;
        next.due = levels_.due_member(next.level, next.cls);
        next.key = constraints_.lexicon.name(
            "");  // inside of the value, the order of keys does not affect the budget
        after->second.top = sink.arena.make(next);
      }
      sink.add(exit.rest->trie.begin(0), exit.rest->trie.end(0), after->second);
      below(*exit.rest, 0, after->second, sink);
    }
    if (asking) asked = asking->keys;
  }
  // What a token writes behind a comma depends on its key, which can't come again.
  if (sink.counts(at))
    for (const Spelled& t : mask.listed) add_alone(at, t, sink);
  // No distance needed a search, and the object has no requirement on single keys.
  const bool alike =
      !std::exchange(sink.reckons, sink.reckons || reckoned) && levels_.info(at.top->level).bare;
  if (alike) return;  // the result is the same after every key
  const auto look_again =
      [&](const Spelled& t) {  // a key written before can only increase the distance
        if (sink.has(t.token)) add_alone(at, t, sink);
      };
  if (!sink.counts(at))
    for (const Spelled& t : mask.listed) look_again(t);
  if (even) return;
  std::string begun;
  for (const KeyText* k = at.key; k; k = k->before) begun.push_back(static_cast<char>(k->byte));
  std::reverse(begun.begin(), begun.end());
  for (const std::string& key : asked) {
    if (!std::string_view(key).starts_with(begun)) continue;
    const std::int32_t end = among.trie.find(node, key.substr(begun.size()) + '"');
    for (std::int32_t i = end; end >= 0 && i < among.trie.skip(end); ++i)
      for (const Id* t = among.trie.begin(i); t != among.trie.end(i); ++t)
        look_again({sink.vocabulary.end_of(*t, among.trie.depth(i) - among.trie.depth(node)), *t});
  }
  for (const Spelled& t : mask.escaped) look_again(t);
}

void MaskFiller::fill_key(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  LexemeMask* mask = nullptr;
  const bool ample = affords_keys(at, sink);
  if (at.state != Texts::kDead) {
    // The mask of the class is computed first, as if there were no names; overlay() then corrects
    // what names and written keys change. Each part sets bits only for tokens that the other part
    // does not cover, or that it decides anew.
    Config free = at;  // as if no name were declared or written
    free.lo = free.hi = free.xlo = free.xhi = 0;
    if (!ample)
      add_inside(among, node, free, sink.masks.text(texts_, at.state, true, among, node), false,
                 ample, sink);
    mask = &sink.masks.text(texts_, at.state, texts_.spec(at.spec).bounded && !ample, among, node);
    if (ample) add_inside(among, node, free, *mask, false, ample, sink);
    if (sink.budget < 0)
      add_exits(free, *mask, sink);
    else
      exit_key(among, node, free, *mask, sink);
  }
  if (at.lo < at.hi || at.xlo < at.xhi) overlay(among, node, at, ample, sink);
  if (mask && mask->odd) {
    const Trie& trie = mask->odd->trie;
    for (const Id* t = trie.begin(0); t != trie.subtree_end(0); ++t) sink.clear(*t);
    // They are so few that no lexeme masks are made for them.
    const int nested = std::exchange(sink.nested, Sink::kMostNested);
    walk(*mask->odd, 0, at, sink);
    sink.nested = nested;
  }
}

}  // namespace guard
