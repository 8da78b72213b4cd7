// Masks: the keys of an object, where names and written keys mend the mask of a class. See
// mask_filler.hpp.

#include <algorithm>
#include <optional>

#include "masks/mask_filler.hpp"

namespace guard {

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
// Is there a token below the backslash that spells one of these characters, and the end of a text
// behind it?
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

// The bytes that names and written keys have next.
Bytes MaskFiller::bytes_among(const Config& c) {
  Bytes out;
  const auto add = [&](std::int32_t lo, std::int32_t hi, const auto& text_at) {
    while (lo < hi) {
      const std::string_view text = text_at(lo);
      // Sorted texts that share all bytes before `depth`: those with the same next byte stand
      // together, so that the last of them is found by bisection. One that ends here has no next
      // byte.
      std::int32_t same = lo + 1;
      if (static_cast<std::int32_t>(text.size()) > c.depth) {
        const std::uint8_t byte =
            static_cast<std::uint8_t>(text[static_cast<std::size_t>(c.depth)]);
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
  add(c.lo, c.hi, [&](std::int32_t i) {
    return std::string_view(c.top->names->texts[static_cast<std::size_t>(i)]);
  });
  add(c.xlo, c.xhi, [&](std::int32_t i) { return c.top->extras->texts[i]; });
  return out;
}

// The mask of a class of keys, mended where names and written keys are.
void MaskFiller::overlay(const Suffixes& among, std::int32_t node, const Config& from, Means means,
                         Sink& sink) {
  const bool closed = from.state == Texts::kDead,
             known = closed || (texts_.has_all(from.state) && !texts_.spec(from.spec).bounded);
  const bool reckoned =
      means == Means::Ample ? known : (closed || means == Means::None) && are_even(from);
  // From within an escape, where items are compared or tokens are counted, each token is tried
  // instead.
  if (reckoned && !sink.counts(from) && texts_.is_whole(from.decoder) && !from.top->records)
    overlay_known(among, node, from, means, sink);
  else
    overlay_all(among, node, from, sink);
}

// Is it known of each name under way what is behind it?
bool MaskFiller::are_even(const Config& at) {
  const Frame& f = *at.top;
  if (!engine_.distances.is_even(f)) return false;
  const std::vector<std::int32_t>& classes = levels_.info(f.level).class_of;
  for (std::int32_t name = at.lo; name < at.hi; ++name)
    if (engine_.viability.may_come(f, name) &&
        engine_.distances.behind_key(f, classes[static_cast<std::size_t>(name)], name) == -2)
      return false;
  return true;
}

namespace {
// May a token below the backslash spell one of these characters within the budget, where so many
// bytes would do without an escape, or end a key that none may be? An escape that is not needed
// only adds to them.
bool may_pay(const Trie& trie, std::int32_t escape, const Bytes& bytes, std::int64_t least,
             std::int64_t budget) {
  const bool ascii = bytes.next(0x80) == 256,
             plain = bytes.next(0) >= 0x20 && !bytes.has('"') && !bytes.has('\\');
  if (!plain || least < budget) return true;
  const std::int32_t top = trie.depth(escape) - 1;
  for (const char byte : {'u', '/'}) {
    const std::int32_t child = byte == 'u' || bytes.has('/') ? trie.find(escape, {&byte, 1}) : -1;
    const std::int64_t added = byte == '/' ? 1 : ascii ? 5 : 3;
    for (std::int32_t i = child; child >= 0 && i < trie.skip(child); ++i)
      if (trie.byte(i) == '"' ||
          (least != kNoLimit && least + added - (trie.depth(i) - top) < budget))
        return true;
  }
  return false;
}
}  // namespace

// Where any key may come, what begins a name may as well begin another key: only the ends of names
// and written keys matter. Where none but names may come, or can be afforded, what begins one that
// is writable matters as well.
void MaskFiller::overlay_known(const Suffixes& among, std::int32_t node, const Config& from,
                               Means means, Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const ObjectInfo& info = levels_.info(f.level);
  const bool scarce = means != Means::Ample, closed = scarce || from.state == Texts::kDead;
  struct Names {
    std::int32_t node, lo, hi, xlo, xhi, depth;  // names and written keys, as in Config
    std::int64_t spelled;                        // bytes of them so far
  };
  const auto least =
      [&](const Config& at,
          std::int64_t spelled) {  // bytes from there, in an object that are_even() speaks of
        std::int64_t out = kNoLimit;
        for (std::int32_t name = at.lo; name < at.hi; ++name) {
          const std::int64_t behind =
              engine_.viability.may_come(f, name)
                  ? engine_.distances.behind_key(f, info.class_of[static_cast<std::size_t>(name)],
                                                 name)
                  : -1;
          if (behind >= 0)
            out = std::min(out,
                           info.key_bytes[static_cast<std::size_t>(name)] - 1 - spelled + behind);
        }
        return out;
      };
  const auto affords = [&](const Config& at, std::int64_t spelled) {
    const std::int64_t bytes = least(at, spelled);
    const bool yes = bytes < sink.budget;
    sink.suffices(yes ? 1 + bytes : kNoLimit);
    return yes;
  };
  // `at` and `next` are used again and again; what the loop has to come back to stands in `path`.
  Config at = from, next;                  // of which only those are followed
  const auto reached = [&](Config* now) {  // in full
    const std::string_view text =
        at.lo < at.hi ? std::string_view(f.names->texts[static_cast<std::size_t>(at.lo)])
                      : f.extras->texts[at.xlo];
    *now = from;
    for (char b : text.substr(static_cast<std::size_t>(from.depth),
                              static_cast<std::size_t>(at.depth - from.depth))) {
      if (!engine_.step(*now, static_cast<std::uint8_t>(b), &next, sink.arena)) return false;
      *now = next;
    }
    return true;
  };
  const std::int64_t spelled =
      scarce && at.lo < at.hi
          ? spelled_bytes(f.names->texts[static_cast<std::size_t>(at.lo)].substr(
                0, static_cast<std::size_t>(at.depth)))
          : 0;
  Few<Names, 16> path{{node, at.lo, at.hi, at.xlo, at.xhi, at.depth, spelled}};
  while (!path.empty()) {
    const Names place = path[path.size() - 1];
    const std::int32_t here = place.node;
    path.truncate(path.size() - 1);
    at.lo = place.lo, at.hi = place.hi, at.xlo = place.xlo, at.xhi = place.xhi,
    at.depth = place.depth;
    const bool named =
        at.lo < at.hi && static_cast<std::int32_t>(
                             f.names->texts[static_cast<std::size_t>(at.lo)].size()) == at.depth;
    const bool extra =
        at.xlo < at.xhi && static_cast<std::int32_t>(f.extras->texts[at.xlo].size()) == at.depth;
    Config before, after;
    if (const std::int32_t quote = named || extra ? trie.find(here, "\"") : -1; quote >= 0) {
      // The class's mask took the text for one of its keys. It is a name, or was written:
      // everything behind its quote is decided anew.
      for (const Id* t = trie.begin(quote); t != trie.subtree_end(quote); ++t) sink.clear(*t);
      if (named && engine_.viability.may_come(f, at.lo) && reached(&before) &&
          engine_.step(before, '"', &after, sink.arena)) {
        sink.add(trie.begin(quote), trie.end(quote), after);
        below(among, quote, after, sink);
      }
    }
    Bytes bytes = bytes_among(at);
    std::int32_t escape = trie.find(here, "\\");
    // An escape costs bytes: without a budget for them nothing below the backslash is looked at.
    if (escape >= 0 && scarce &&
        !may_pay(trie, escape, bytes, least(at, place.spelled), sink.budget))
      sink.suffices(kNoLimit), escape = -1;
    if (escape >= 0 && (closed || may_end_escaped(trie, escape, escapes_of(bytes))))
      if (reached(&before) && engine_.step(before, '\\', &after, sink.arena)) {
        sink.add(trie.begin(escape), trie.end(escape), after);
        overlay_all(among, escape, after, sink);
      }
    bytes.remove('"');
    bytes.remove('\\');
    for (std::uint8_t control = 0; control < 0x20; ++control)
      bytes.remove(control);  // they come as escapes
    Children children(trie, here, &bytes);
    for (std::int32_t child = children.next(); child >= 0; child = children.next()) {
      next = at;
      if (!engine_.keys.narrow(&next, trie.byte(child))) continue;
      if (closed) {
        std::int32_t name = next.lo;
        while (name < next.hi && !engine_.viability.may_come(f, name)) ++name;
        // Neither a writable name nor a class begins so; the mask has no bit there that must be
        // cleared.
        if (name == next.hi && from.state == Texts::kDead) continue;
        if (name < next.hi && trie.begin(child) != trie.end(child) &&
            (!scarce || affords(next, place.spelled + 1)))
          for (const Id* t = trie.begin(child); t != trie.end(child); ++t) sink.set(*t);
      }
      if (trie.skip(child) > child + 1)
        path.push_back(
            {child, next.lo, next.hi, next.xlo, next.xhi, next.depth, place.spelled + 1});
    }
  }
}

// The same for any class: a token is tried byte by byte.
void MaskFiller::overlay_all(const Suffixes& among, std::int32_t node, const Config& from,
                             Sink& sink) {
  const Trie& trie = among.trie;
  const Frame& f = *from.top;
  const auto place = [&](std::int32_t at, const Config& c,
                         bool begins) {  // does it begin an escape?
    // Inside of an escape any byte may come: names are narrowed with its last one.
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
    // Valid until the path grows, which is this turn's last act.
    const Config& c = path.back().config;
    const std::uint8_t byte = trie.byte(i);
    Config after;
    if (byte == '"' && texts_.is_whole(c.decoder)) {
      const bool named =
          c.lo < c.hi && static_cast<std::int32_t>(
                             f.names->texts[static_cast<std::size_t>(c.lo)].size()) == c.depth;
      const bool extra =
          c.xlo < c.xhi && static_cast<std::int32_t>(f.extras->texts[c.xlo].size()) == c.depth;
      if (!named && !extra) continue;
      clear(i);
      if (engine_.step(c, byte, &after, sink.arena)) {
        sink.add(trie.begin(i), trie.end(i), after);
        below(among, i, after, sink);
      }
      continue;
    }
    if (!engine_.step(c, byte, &after, sink.arena)) {  // the class has no key left that begins so
      clear(i);
      continue;
    }
    if (trie.begin(i) != trie.end(i)) {  // the class may not have them
      const bool affords = sink.affords(after);
      for (const Id* t = trie.begin(i); t != trie.end(i); ++t)
        affords ? sink.set(*t) : sink.clear(*t);
    }
    if (engine_.keys.is_among(after))
      path.push_back(place(i, after, byte == '\\' && !texts_.in_escape(c.decoder)));
  }
}

// Does the budget suffice behind every token that stays inside of an undeclared key, or behind
// none, as far as can be told on sight? A member that nobody asks for only adds to what must come,
// and where each may stand beside all others it adds no more than itself.
MaskFiller::Means MaskFiller::key_means(const Config& at, Sink& sink) {
  const Frame& f = *at.top;
  const ObjectInfo& info = levels_.info(f.level);
  // No budget at all.
  if (sink.budget < 0) return Means::Ample;
  if (sink.counts(at) || !info.bare || f.records || f.barred) return Means::Scarce;
  // The least that any key takes: its first token, a quote, the colon, a value of one byte, and
  // what must come anyway.
  const std::int64_t gap = options_.gap(), all = engine_.distances.least_rest(f), token = 1,
                     quote = 1, colon = 1 + gap, comma = 1 + gap;
  if (all < 0 || token + quote + colon + 1 + all > sink.budget) {
    sink.suffices(kNoLimit);
    return Means::None;
  }
  const bool closed = at.state == Texts::kDead;
  if (!(closed || texts_.has_all(at.state)) || !info.plain) return Means::Scarce;
  // The most that one may take; then there is no need to tell keys apart.
  const std::int64_t worst =
      closed ? engine_.distances.most_named(f.level) : engine_.distances.most_other(f.level);
  if (worst < 0) return Means::Scarce;
  const std::int64_t bytes = token + Texts::kOneChar + quote + colon + worst + comma + all;
  if (bytes > sink.budget) return Means::Scarce;
  sink.suffices(bytes);
  return Means::Ample;
}

// Which key was written matters to a budget only where it is one that would have been written
// later. So all keys of a class go on alike, but for those that were asked for on the way. Of an
// even object only what comes behind a comma hangs on it.
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
  // `reckons` becomes true where something hangs on the budget's very number. It is put back below,
  // with what was found here.
  const bool reckoned = std::exchange(sink.reckons, false);
  {
    std::optional<Viability::Asking> asking;
    if (!even) asking.emplace(engine_.viability);
    // One configuration for each class of keys, made when its first exit comes. The frames lie in
    // the sink's arena and are gone with the fill.
    std::unordered_map<Id, Config> behind;
    for (const Exit& exit : mask.exits) {
      Labels labels;
      texts_.accepted(exit.state, at.spec, at.chars + exit.chars, &labels);
      if (labels.empty() || labels[0] == kEveryClass) continue;
      const auto [after, fresh] = behind.try_emplace(labels[0]);
      if (fresh) {
        Frame next = at.top->next(sink.arena);
        next.cls = labels[0];
        next.rank = kInf;
        next.phase = Phase::Colon;
        ++next.count;
        next.due = levels_.due_member(next.level, next.cls);
        next.key = constraints_.lexicon.name(
            "");  // the order of keys inside of the value does not matter to a budget
        after->second.top = sink.arena.make(next);
      }
      sink.add(exit.rest->trie.begin(0), exit.rest->trie.end(0), after->second);
      below(*exit.rest, 0, after->second, sink);
    }
    if (asking) asked = asking->keys;
  }
  // Nothing was reckoned and the object asks nothing of single keys.
  const bool alike =
      !std::exchange(sink.reckons, sink.reckons || reckoned) && levels_.info(at.top->level).bare;
  if (alike) return;  // it is the same behind every key
  const auto look_again =
      [&](const Spelled& t) {  // a key that was written can only make the rest dearer
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
      for (const Id* t = among.trie.begin(i); t != among.trie.end(i); ++t)
        look_again({sink.vocabulary.end_of(*t, among.trie.depth(i) - among.trie.depth(node)), *t});
  }
  for (const Spelled& t : mask.escaped) look_again(t);
}

void MaskFiller::fill_key(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  LexemeMask* mask = nullptr;
  const Means means = key_means(at, sink);
  if (at.state != Texts::kDead) {
    // First the class alone, then overlay() mends what names and written keys change. Whoever sets
    // bits sets them for tokens that the other part has not, or decides anew.
    Config free = at;  // as if no name had been declared or written
    free.lo = free.hi = free.xlo = free.xhi = 0;
    if (means == Means::Scarce)
      add_inside(free, sink.masks.text(texts_, at.state, true, among, node), false, means, sink);
    mask = &sink.masks.text(texts_, at.state,
                            texts_.spec(at.spec).bounded && means == Means::Scarce, among, node);
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

}  // namespace guard
