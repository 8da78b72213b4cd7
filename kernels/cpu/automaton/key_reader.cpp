#include "automaton/key_reader.hpp"

#include <algorithm>

namespace guard {

namespace {
// Narrows the sorted texts [lo, hi) to those that have `byte` at `depth`.
template <class At>
void narrow_range(std::int32_t* lo, std::int32_t* hi, std::int32_t depth, std::uint8_t byte,
                  At at) {
  // A text that ends before `depth` sorts before the longer ones.
  const auto less = [&](std::int32_t i, int than) {
    const std::string_view t = at(i);
    return static_cast<std::int32_t>(t.size()) <= depth ||
           static_cast<std::uint8_t>(t[static_cast<std::size_t>(depth)]) < than;
  };
  const auto bound = [&](int than) {
    std::int32_t a = *lo, n = *hi - *lo;
    while (n > 0) {
      const std::int32_t half = n / 2;
      if (less(a + half, than))
        a += half + 1, n -= half + 1;
      else
        n = half;
    }
    return a;
  };
  const std::int32_t a = bound(byte);
  // Both bounds are searched from the old *lo, so *lo is set last.
  *hi = bound(byte + 1);
  *lo = a;
}
}  // namespace

KeyReader::KeyReader(Constraints& constraints, Levels& levels, Viability& viability,
                     FrameMaker& frames, const Options& options)
    : constraints_(constraints),
      levels_(levels),
      viability_(viability),
      frames_(frames),
      options_(options),
      texts_(constraints.lexicon.texts) {
  Id spec;
  decoder_ = texts_.start({{Langs::kAll, 0, kInf, 0}}, options.spelling, &spec, Use::Decoder);
}

Config KeyReader::begin(const Frame& f) {
  // `w` may grow while the key is read (may_come), but its state and spec stay the same.
  const Writable& w = viability_.writable(f);
  Config out;
  out.top = &f;
  out.lex = Lex::Key;
  out.state = w.text;
  out.spec = w.spec;
  out.decoder = decoder_;
  out.hi = static_cast<std::int32_t>(f.names->texts.size());
  out.xhi = f.extras ? f.extras->size : 0;
  return out;
}

bool KeyReader::narrow(const Frame& f, KeyRanges* c, std::uint8_t byte) {
  if (c->lo < c->hi)
    narrow_range(&c->lo, &c->hi, c->depth, byte,
                 [&](std::int32_t i) { return f.names->texts[static_cast<std::size_t>(i)]; });
  if (c->xlo < c->xhi)
    narrow_range(&c->xlo, &c->xhi, c->depth, byte,
                 [&](std::int32_t i) { return f.extras->texts[i]; });
  ++c->depth;
  return c->lo < c->hi || c->xlo < c->xhi;
}

bool KeyReader::is_among(const Config& c) const {
  // Inside of an escape, the names are narrowed up to the character before it. One of the remaining
  // names must continue with a character that the escape can still spell.
  if (!texts_.in_escape(c.decoder)) return c.lo < c.hi || c.xlo < c.xhi;
  const Ranges& chars = texts_.possible(c.decoder);
  for (std::int32_t i = c.lo; i < c.hi; ++i)
    if (in_ranges(chars, char_at(c.top->names->texts[static_cast<std::size_t>(i)], c.depth)))
      return true;
  for (std::int32_t i = c.xlo; i < c.xhi; ++i)
    if (in_ranges(chars, char_at(c.top->extras->texts[i], c.depth))) return true;
  return false;
}

bool KeyReader::is_live(const Config& c) {
  const Frame& f = *c.top;
  // Of infinitely many keys, only finitely many can be taken. If no name and no written key has
  // this prefix, none is taken.
  if (c.state != Texts::kDead && (texts_.is_endless(c.state) || (c.lo == c.hi && c.xlo == c.xhi)))
    return true;
  // UTF-8 narrows the names byte by byte, an escape only at its last byte.
  const Ranges* escaped = texts_.in_escape(c.decoder) ? &texts_.possible(c.decoder) : nullptr;
  for (std::int32_t i = c.lo; i < c.hi; ++i)
    if ((!escaped ||
         in_ranges(*escaped, char_at(f.names->texts[static_cast<std::size_t>(i)], c.depth))) &&
        viability_.may_come(f, i))
      return true;
  if (c.state == Texts::kDead) return false;
  // Looks for a key of a class that is neither a name nor a written key.
  Langs& langs = texts_.langs();
  const bool whole = texts_.is_whole(c.decoder);
  const Ranges chars = whole ? Ranges{} : texts_.possible(c.decoder);
  // An incomplete character is compared from its first byte, since it is decoded as a whole.
  const std::size_t from_byte = static_cast<std::size_t>(c.depth - texts_.partial_utf8(c.decoder));
  for (const Component& k : texts_.components(c.state)) {
    if (k.lang == Langs::kAll) return true;
    // The languages in which the key may continue, each with the range of the next character. The
    // range is empty, {1, 0}, after a complete character, where any character may come next.
    std::vector<std::pair<Id, Range>> ways;
    if (whole) {
      ways.push_back({k.lang, {1, 0}});
    } else {
      const LangRow row = texts_.row(c.state, k.lang);
      std::uint32_t from = 0;
      for (std::size_t i = 0; i < row.next.size(); from = row.upto[i++] + 1)
        if (row.next[i] != Langs::kNone)
          for (const Range& r : intersection({{from, row.upto[i]}}, chars))
            ways.push_back({row.next[i], r});
    }
    for (const auto& way : ways) {
      const Id lang = way.first;
      const Range range = way.second;
      std::int64_t taken = 0;
      const auto take = [&](std::string_view text) {
        std::u32string rest = decode_utf8(text.substr(from_byte));
        if (!whole) {
          if (rest.empty() || rest[0] < range.lo || rest[0] > range.hi) return;
          rest.erase(0, 1);
        }
        taken += langs.contains(lang, rest);
      };
      for (std::int32_t i = c.lo; i < c.hi; ++i) take(f.names->texts[static_cast<std::size_t>(i)]);
      for (std::int32_t i = c.xlo; i < c.xhi; ++i) take(f.extras->texts[i]);
      // A class has a key left if it has more texts here than names and written keys take. Counting
      // stops at one more than that.
      const std::int64_t each = langs.count(lang, taken + 1),
                         ways_in = whole ? 1 : static_cast<std::int64_t>(range.hi) - range.lo + 1;
      if (each * ways_in > taken) return true;
    }
  }
  return false;
}

bool KeyReader::step(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  if (byte == '"' && texts_.is_whole(from.decoder)) return end(from, to, arena);
  // `*to` may be incomplete if the step fails; the caller then discards it.
  *to = from;
  const auto spell = [&](std::uint8_t b) {
    const bool left = narrow(*to->top, to, b);
    // The text is kept only while the key may be undeclared; names are known by their index.
    if (to->state != Texts::kDead) to->key = arena.make(KeyText{to->key, b});
    return left || to->state != Texts::kDead;
  };
  const bool escaped = texts_.in_escape(from.decoder);
  if (from.state != Texts::kDead) to->state = texts_.step(from.state, byte);
  if (!escaped && byte != '\\' && !spell(byte))
    return false;  // most bytes continue none of the names
  to->decoder = texts_.step(from.decoder, byte);
  if (to->decoder == Texts::kDead) return false;
  const bool whole = texts_.is_whole(to->decoder);
  to->chars += whole;
  // At the last byte of an escape, its character is known, and the names are narrowed by all its
  // UTF-8 bytes at once.
  if (escaped && whole) {
    const char32_t c = texts_.completes(from.decoder, byte);
    for (char b : encode_utf8(std::u32string_view(&c, 1)))
      if (!spell(static_cast<std::uint8_t>(b))) return false;
  }
  return is_live(*to);
}

bool KeyReader::end(const Config& from, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  const NamesIndex& names = *f.names;
  const auto is_exact = [&](std::string_view text) {
    return static_cast<std::int32_t>(text.size()) == from.depth;
  };
  Frame next = f.next(arena);
  std::int32_t known = -1;
  if (from.lo < from.hi && is_exact(names.texts[static_cast<std::size_t>(from.lo)])) {
    const std::int32_t name = from.lo;
    if (!viability_.may_come(f, name)) return false;
    next.seen = with_name(f, names.texts.size(), name, arena);
    next.cls = levels_.info(f.level).class_of[static_cast<std::size_t>(name)];
    next.rank = std::max(f.rank, levels_.rank(f.level, name));
    next.key = levels_.names(f.level).names[static_cast<std::size_t>(name)];
    known = name;
  } else {
    // An undeclared key: a class must contain it, and no key may be repeated.
    if (from.state == Texts::kDead || (from.xlo < from.xhi && is_exact(f.extras->texts[from.xlo])))
      return false;
    Labels labels;
    texts_.accepted(from.state, from.spec, from.chars, &labels);
    if (labels.empty() || labels[0] == kEveryClass) return false;  // none of the classes has it
    next.cls = labels[0];
    next.rank = kInf;
    // The text is written backwards, since KeyText is linked from the last byte. It is allocated in
    // the arena, so it lives as long as the frames that list it.
    char* text = static_cast<char*>(arena.allocate(static_cast<std::size_t>(from.depth) + 1));
    std::int32_t at = from.depth;
    for (const KeyText* k = from.key; k; k = k->before) text[--at] = static_cast<char>(k->byte);
    const std::string_view key(text, static_cast<std::size_t>(from.depth));
    next.extras = with_extra(f, key, arena);
    // Only these cases need an id of the key. Names stay in the lexicon until the isolate is
    // flushed.
    if (options_.schema_order || f.barred) next.key = constraints_.lexicon.name(std::string(key));
  }
  next.phase = Phase::Colon;
  ++next.count;
  next.due = levels_.due_member(f.level, next.cls);
  *to = Config{};
  to->top = known >= 0 ? frames_.make({&f, next.phase, known, -1}, next, arena) : arena.make(next);
  return true;
}

}  // namespace guard
