// Masks: the walk over a trie, and the lexemes other than keys. See mask_filler.hpp.

#include <algorithm>
#include <cstring>
#include <map>

#include "automaton/whitespace.hpp"
#include "lexers/outline.hpp"
#include "masks/mask_filler.hpp"

namespace guard {

namespace {
constexpr std::int32_t kFewNodes = 12;  // a subtree with fewer nodes is walked
}  // namespace

namespace {
const Bytes kSpace{" \n\r\t"}, kColon{" \n\r\t:"}, kKey{" \n\r\t\""}, kFirstKey{" \n\r\t\"}"},
    kNextItem{" \n\r\t,]"}, kNextKey{" \n\r\t,}"};
const Bytes kValue{" \n\r\t\"{[ntf-0123456789"}, kFirstItem{" \n\r\t\"{[ntf-0123456789]"};

// A superset of the bytes that may come between lexemes in this frame.
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

std::int64_t MaskFiller::fill(const Config& from, LexemeMasks& masks, std::int64_t budget,
                              std::uint32_t* row, Scratch& scratch, const Symbols* symbols,
                              bool factors) {
  const Vocabulary& vocabulary = masks.vocabulary();
  masks.trim();
  distances_.trim();
  scratch.begin(from.top);
  const Config at = budget < 0 || from.finished ? from : engine_.stepper.told(from, scratch.arena);
  const FrameMaker::Sharing sharing(engine_.frames, &scratch);
  std::memset(row, 0, vocabulary.words() * 4);
  TokenDistances* tokens = budget > 0 ? &distances_ : nullptr;
  Sink sink{masks, vocabulary, row, budget, scratch.arena, engine_, factors, tokens, symbols};
  masks.log.begin();
  sink.log = &masks.log;
  if (at.top && !at.finished) below(vocabulary.whole(), 0, at, sink);
  if ((at.finished || budget != 0) && engine_.can_stop(at))
    for (Id t : vocabulary.ends()) sink.set(t);
  // A budget of 0 does not even allow the end-of-sequence token.
  return budget > 0 ? sink.enough : kNoLimit;
}

void MaskFiller::check_end(const Config& at, const Vocabulary& vocabulary, std::int64_t budget,
                           const std::uint32_t* row, const Symbols* symbols) {
  if (budget <= 0 || !at.top || at.finished ||
      std::any_of(row, row + vocabulary.words(), [](std::uint32_t word) { return word != 0; }))
    return;
  if (const std::int64_t left = distances_(at, vocabulary, symbols); left >= 0 && left <= budget)
    throw Limit{
        "distance", -1,
        "what is missing to the end was reckoned too low, and no token leads there within remaining=" +
            std::to_string(budget)};
}

// Marks the tokens below the node that may follow the configuration.
void MaskFiller::below(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  if (!fill_value(among, node, from, sink)) go_on(among, node, from, sink);
}

void MaskFiller::go_on(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  if (!fill_lexeme(among, node, from, sink)) walk(among, node, from, sink);
}

// The same, byte by byte until the next lexeme begins.
void MaskFiller::walk(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink) {
  const Trie& trie = among.trie;
  const auto place = [&](std::int32_t at, const Config& c, Id link = -1) {
    const Bytes* among = c.lex == Lex::None                  ? &bytes_between(*c.top)
                         : c.lex == Lex::Raw && sink.factors ? texts_.few_next(c.state)
                                                             : nullptr;
    Bytes begins;
    if (c.lex == Lex::Raw && among && texts_.open(c.state) >= 0)  // a value may come, too
      begins = kValue, begins.add(*among), among = &begins;
    return Place{c, Children(trie, at, among), link};
  };
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
    if (!engine_.step(path.back().config, trie.byte(child), &next, sink.arena)) continue;
    Id link = next_link(path.back(), trie.byte(child), sink);
    sink.add(trie.begin(child), trie.end(child), next, &link);
    if (trie.skip(child) > child + 1 &&
        (trie.skip(child) - child < kFewNodes || !fill_lexeme(among, child, next, sink)))
      path.push_back(place(child, next, link));
  }
}

// Marks one token if each of its bytes is a valid step.
void MaskFiller::add_alone(const Config& at, const Spelled& token, Sink& sink) {
  Config now = at, next;
  for (char b : token.bytes) {
    if (!engine_.step(now, static_cast<std::uint8_t>(b), &next, sink.arena))
      return sink.clear(token.token);
    now = next;
  }
  sink.affords(now) ? sink.set(token.token) : sink.clear(token.token);
}

// The link after one more byte, where it is known without a search.
Id MaskFiller::next_link(const Place& from, std::uint8_t byte, const Sink& sink) {
  return from.link < 0 ? -1 : sink.tokens->next(from.link, byte);
}

// The bytes of a token below the node, from there.
std::string_view MaskFiller::rest_of(const Suffixes& among, std::int32_t node, Id token,
                                     const Vocabulary& vocabulary) {
  std::string_view rest = vocabulary.bytes(token);
  const auto is_there = [&](std::int32_t at) {
    return at >= 0 &&
           std::find(among.trie.begin(at), among.trie.end(at), token) != among.trie.end(at);
  };
  while (!rest.empty() && !is_there(among.trie.find(node, rest))) rest.remove_prefix(1);
  return rest;
}

// Does the budget suffice after a token of these bytes?
bool MaskFiller::affords_like(const Config& at, std::string_view bytes, Sink& sink) {
  Config now = at, next;
  for (char b : bytes) {
    if (!engine_.step(now, static_cast<std::uint8_t>(b), &next, sink.arena)) return false;
    now = next;
  }
  return sink.affords(now);
}

// Can the number of characters decide whether a token is allowed? False if each upper bound is
// farther away than the longest token plus a shortest end after it.
bool MaskFiller::is_near(const Config& at, LexemeMasks& masks) {
  const Spec& spec = texts_.spec(at.spec);
  if (!spec.bounded) return false;
  const std::int64_t longest =
      masks.vocabulary().whole().trie.longest();  // bytes: a token may begin within a character
  std::int64_t room = kNoLimit;
  for (const Component& c : texts_.components(at.state)) {
    const Bound& b = spec.at(c.index);
    if (b.lo > at.chars) return true;
    if (b.hi != kInf) room = std::min<std::int64_t>(room, b.hi - at.chars);
  }
  if (room == kNoLimit) return false;
  if (room < longest) return true;
  const std::int64_t rest =
      masks.rest(texts_, masks.text(texts_, at.state, false, masks.vocabulary().whole(), 0));
  return rest < 0 || room < longest + rest;
}

// Does the text have an upper bound on its length?
bool MaskFiller::has_most(const Config& at) {
  const Spec& spec = texts_.spec(at.spec);
  return spec.bounded && std::ranges::any_of(texts_.components(at.state), [&](const Component& c) {
           return spec.at(c.index).hi != kInf;
         });
}

// Marks the tokens that stay inside of the lexeme. `ample`: the budget suffices after each of them.
void MaskFiller::add_inside(const Suffixes& among, std::int32_t node, const Config& at,
                            LexemeMask& mask, bool bounded, bool ample, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  if (!bounded && ample) {
    sink.add(mask.all);
  } else if (ample && texts_.is_free(at.state) && texts_.components(at.state).size() == 1) {
    const Bound& b =
        texts_.spec(at.spec).bounds[static_cast<std::size_t>(texts_.components(at.state)[0].index)];
    if (b.hi == kInf || b.hi - at.chars >= sink.vocabulary.whole().trie.longest())
      sink.add(mask.all);
    else
      sink.add(sink.masks.at_most(mask, b.hi - at.chars));
  } else {
    Config after = at;
    for (const Inside& group :
         bounded ? mask.inside
                 : sink.masks.by_state(
                       mask)) {  // without bounds the number of characters does not matter
      if (at.lex == Lex::Key && sink.counts(at)) {  // a completion spells the whole key
        const Id any = group.tokens.first();
        after.state = group.state;
        if (sink.affords_bytes(after) ||
            (any >= 0 && affords_like(at, rest_of(among, node, any, sink.vocabulary), sink)))
          sink.add(group.tokens);
        continue;
      }
      after.state = group.state;
      const auto is_open = [&](std::int32_t chars) {
        after.chars = text ? at.chars + chars : 0;
        return (!bounded || texts_.is_live(after.state, after.spec, after.chars)) &&
               sink.affords(after);
      };
      if (bounded && group.chars == kItsOwn)
        sink.add_lengths(group, is_open);
      else if (is_open(std::max(group.chars, 0)))
        sink.add(group.tokens);
    }
  }
}

// Marks the tokens that leave the lexeme. If the frame records values, the text itself matters, not
// only the state; but where items abound, all that end in one state leave the same, and as if they
// were compared with nothing.
void MaskFiller::add_exits(const Config& at, const LexemeMask& mask, Sink& sink) {
  const bool text = at.lex != Lex::Number;
  const auto leave = [&](Id state, std::int32_t chars, const Suffixes& rest) {
    Config before = at, after;
    before.state = state;
    before.decoder = engine_.keys.decoder();  // a lexeme ends after whole characters
    before.chars = text ? at.chars + chars : 0;
    if (!(text ? engine_.step(before, '"', &after, sink.arena)
               : engine_.stepper.end_number(before, &after, sink.arena)))
      return;
    sink.add(rest.trie.begin(0), rest.trie.end(0), after);
    below(rest, 0, after, sink);
  };
  if (!at.top->records) {
    for (const Exit& exit : mask.exits) leave(exit.state, exit.chars, *exit.rest);
    return;
  }
  Stepper& stepper = engine_.stepper;
  const bool ends = text && texts_.may_end(at.state);  // false if a quote would belong to an escape
  const bool alike = ends && sink.budget < 0 && stepper.are_items_alike(*at.top, false),
             opening = alike && stepper.are_items_alike(*at.top, true);
  for (const Exit& exit : mask.exits) {
    const Trie& rest = exit.rest->trie;
    std::unordered_map<std::string_view, bool> known;  // what follows an item: may it?
    for (const Id* t = rest.begin(0); t != rest.subtree_end(0); ++t) {
      const std::string_view bytes = sink.vocabulary.bytes(*t);
      if (ends && bytes[0] == '"') continue;
      const std::size_t end = alike ? end_of_item(bytes, opening) : 0;
      const auto like = end > 0 ? known.find(bytes.substr(end)) : known.end();
      if (like != known.end()) {
        like->second ? sink.set(*t) : sink.clear(*t);
        continue;
      }
      const Stepper::Forgetting forgetting(stepper, end > 0 ? at.top : nullptr);
      add_alone(at, {bytes, *t}, sink);
      if (end > 0) known[bytes.substr(end)] = sink.has(*t);
    }
  }
  if (!ends) return;
  {
    const Stepper::Forgetting forgetting(stepper, alike ? at.top : nullptr);
    leave(at.state, 0, sink.vocabulary.quoted());
  }
  for (const Spelled& t : sink.vocabulary.quoted_beyond())
    if (alike && sink.has(t.token) && end_of_item(t.bytes, opening) == 0) add_alone(at, t, sink);
}

// Does the budget suffice after every token that stays inside of the text? Decided without a
// search; false if unknown. If lengths do not matter, the number of characters that suffice after
// each of the text's tokens is used as well.
bool MaskFiller::affords_any(const Suffixes& among, std::int32_t node, const Config& at,
                             bool bounded, Sink& sink) {
  if (sink.budget < 0) return true;
  if (sink.needs_tokens(at)) return false;
  constexpr std::int64_t token = 1, quote = 1, kDearest = 6;  // bytes of a character: \u0001
  const auto suffices = [&](std::int64_t rest, std::int64_t tail) {
    if (rest < 0 || token + rest + quote + tail > sink.budget) return false;
    sink.suffices(token + rest + quote + tail);
    return true;
  };
  std::int64_t least =
      kNoLimit;  // fewest bytes after the string, if all ends of the string have one label
  const auto look = [&](Id label, std::int64_t tail) {
    if (suffices(texts_.enough(at.state, at.spec, at.chars, label), tail)) return true;
    const std::vector<Component>& components = texts_.components(at.state);
    if (components.size() == 1 && components[0].index < kTracked &&
        texts_.spec(at.spec).at(components[0].index).label == label)
      least = std::min(least, tail);
    return false;
  };
  if (const std::int64_t tail = engine_.distances.behind_value(*at.top); tail >= 0 && look(0, tail))
    return true;
  const Targets& options = engine_.distances.options(*at.top, Type::String);
  for (std::int32_t i = 0; i < options.size; ++i)
    if (const Target& o = options.list[i]; o.size == 1 && look(o.ids[0], o.tail)) return true;
  if (bounded || least == kNoLimit || token + Texts::kOneChar + quote + least > sink.budget)
    return false;
  const std::int64_t rest =
      sink.masks.rest(texts_, sink.masks.text(texts_, at.state, false, among, node));
  return rest >= 0 && suffices(Texts::kOneChar + kDearest * rest, least);
}

// Marks the tokens below the node from a position between two lexemes, where any white space is
// allowed. False: the case does not apply, and nothing was marked.
bool MaskFiller::fill_gap(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  if (options_.whitespace != Whitespace::Any || !may_have_gap(*at.top) || engine_.is_too_deep(at) ||
      sink.nested == Sink::kMostNested)
    return false;
  const GapMask* gap = sink.masks.gap(among, node, options_.longest_run - at.gap);
  if (!gap) return false;
  if (sink.affords(at)) sink.add(gap->all);  // white space costs the token only
  ++sink.nested;
  walk(*gap->rest, 0, at, sink);
  --sink.nested;
  return true;
}

// Marks the tokens below the node from inside of a lexeme, by cached masks. False: the case does
// not apply, and nothing was marked.
bool MaskFiller::fill_lexeme(const Suffixes& among, std::int32_t node, const Config& at,
                             Sink& sink) {
  const bool inner = node != 0 || &among != &sink.vocabulary.whole();
  if (!sink.factors) return false;
  // Where the text is recorded each step costs more, but few tokens go on behind a lexeme.
  if (at.lex == Lex::None) return !(inner && at.top->records) && fill_gap(among, node, at, sink);
  if (at.lex == Lex::Literal || engine_.is_too_deep(at)) return false;
  if (at.lex == Lex::Raw && texts_.few_next(at.state)) return false;
  const bool is_alone =
      at.top->kind == Kind::Root &&
      at.top->parent;  // the format's text follows the value, and lexeme masks do not include it
  if (is_alone && (inner || at.lex != Lex::Text)) return false;
  if (inner && (sink.nested == Sink::kMostNested || at.lex == Lex::Number || at.top->records))
    return false;
  if (at.lex == Lex::Number && sink.budget >= 0 && at.key)
    return false;  // engine_.distance() would read the number again
  ++sink.nested;
  if (at.lex == Lex::Text)
    fill_text(among, node, at, sink);
  else if (at.lex == Lex::Raw)
    fill_raw(among, node, at, sink);
  else if (at.lex == Lex::Number)
    fill_number(among, node, at, sink);
  else
    fill_key(among, node, at, sink);
  --sink.nested;
  return true;
}

void MaskFiller::fill_text(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  const bool near = is_near(at, sink.masks);
  const bool ample = affords_any(among, node, at, near, sink);
  // A bound is far if a shortest end fits before it. Under a scarce budget the end of the fewest
  // bytes is looked for, which may have more characters.
  const bool bounded = near || (!ample && has_most(at));
  if (!ample || bounded)
    add_inside(among, node, at, sink.masks.text(texts_, at.state, true, among, node), bounded,
               ample, sink);
  // Any mask of the state has its exits; the one without details has fewer of them.
  const bool detailed = bounded || (!ample && !sink.masks.has_text(at.state, among, node));
  LexemeMask& mask = sink.masks.text(texts_, at.state, detailed, among, node);
  if (ample && !bounded) add_inside(among, node, at, mask, false, ample, sink);
  at.top->kind == Kind::Root&& at.top->parent ? walk(sink.vocabulary.holding_quotes(), 0, at, sink)
                                              : add_exits(at, mask, sink);
}

// Fills for the text around values: the tokens that stay in it, and those in which a value begins.
void MaskFiller::fill_raw(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink) {
  const bool ample = sink.budget < 0;
  LexemeMask& mask = sink.masks.text(texts_, at.state, !ample, among, node);
  add_inside(among, node, at, mask, false, ample, sink);
  for (const Exit& exit : mask.exits) {
    Config before = at;
    before.state = exit.state;
    below(*exit.rest, 0, engine_.stepper.opened(before, sink.arena), sink);
  }
  if (const Config value = engine_.stepper.opened(at, sink.arena); value.top)
    below(among, node, value, sink);
}

void MaskFiller::fill_number(const Suffixes& among, std::int32_t node, const Config& at,
                             Sink& sink) {
  LexemeMask& mask = sink.masks.number(engine_.lexicon().numbers, at.state);
  add_inside(among, node, at, mask, false, sink.budget < 0, sink);
  add_exits(at, mask, sink);
  Config after;
  if (engine_.stepper.end_number(at, &after, sink.arena)) below(among, node, after, sink);
}

int MaskFiller::classes(const Config& at, LexemeMasks& masks, std::uint8_t* of) {
  const Vocabulary& vocabulary = masks.vocabulary();
  std::fill(of, of + vocabulary.size(), std::uint8_t{0});
  if (engine_.state_keys.lexeme(at) < 0) return 0;
  LexemeMask& mask = at.lex == Lex::Text ? masks.text(texts_, at.state, true, vocabulary.whole(), 0)
                                         : masks.number(engine_.lexicon().numbers, at.state);
  const bool bounded =
      at.lex == Lex::Text &&
      texts_.spec(at.spec).bounded;  // otherwise the number of characters does not matter
  std::map<std::pair<Id, std::int32_t>, std::vector<Id>>
      found;  // by state, and by the number of characters where it matters
  for (const Inside& group : mask.inside)
    group.tokens.each([&](Id t) {
      found[{group.state, !bounded                 ? 0
                          : group.chars == kItsOwn ? vocabulary.chars(t)
                                                   : group.chars}]
          .push_back(t);
    });
  std::vector<const std::vector<Id>*> groups;
  for (const auto& [_, tokens] : found) groups.push_back(&tokens);
  // The largest come first, because a byte distinguishes at most 255 classes.
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto* a, const auto* b) { return a->size() > b->size(); });
  if (groups.size() > 255) groups.resize(255);
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (Id t : *groups[i]) of[t] = static_cast<std::uint8_t>(i + 1);
  return static_cast<int>(groups.size());
}

}  // namespace guard
