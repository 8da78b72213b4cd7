#include "automaton/distance.hpp"

#include <algorithm>
#include <tuple>

namespace guard {

namespace {
constexpr std::size_t kFewWays = 256;  // most options to list unless all are wanted
constexpr int kFewRests = 64;          // costs of the rest of a container that are looked through
std::int64_t without(std::int64_t limit, std::int64_t bytes) {
  return limit == kNoLimit ? kNoLimit : limit - bytes;
}
}  // namespace

Distances::Distances(Constraints& constraints, Levels& levels, Viability& viability,
                     KeyReader& keys, Stepper& stepper, const Options& options,
                     const Format* format)
    : constraints_(constraints),
      goals_(constraints.goals),
      levels_(levels),
      viability_(viability),
      keys_(keys),
      stepper_(stepper),
      options_(options),
      format_(format),
      texts_(constraints.lexicon.texts),
      numbers_(constraints.lexicon.numbers) {}

std::int64_t Distances::exactly(const Config& at, std::int64_t limit) {
  if (at.finished) return 0;
  if (!at.top) return -1;
  Arena scratch;
  const Config now = stepper_.told(at, scratch);
  const std::int64_t out = now.top ? bytes_left(now, at.top->records ? kNoLimit : limit) : -1;
  if (out < 0 && at.top->records)
    throw Limit{
        "distance", -1,
        "a value of any length must come twice in an array that may not go on: what it will take can't be known"};
  return out;
}

std::int64_t Distances::bytes_left(const Config& at, std::int64_t limit) {
  const Frame& f = *at.top;
  if (at.lex == Lex::Key) return key_distance(at, limit);
  if (at.lex == Lex::Raw) return raw_distance(at);
  if (at.lex != Lex::None) return scalar_distance(at);
  const std::int64_t gap =
      options_.whitespace == Whitespace::Spaced && is_separated(f) && at.gap == 0 ? 1 : 0;
  const std::int64_t room = without(limit, gap);
  if (const std::int64_t known = f.cache().distance.within(room); known != -2)
    return sum(known, gap);
  std::int64_t out = -1;
  switch (f.phase) {
    case Phase::End: out = 1; break;
    case Phase::Value: out = value_distance(f, room); break;
    case Phase::Colon: {
      const std::int64_t colon = 1 + options_.gap();
      const Frame*& value = f.cache().value;
      if (!value) {
        Frame next = f.next(*f.arena);
        next.phase = Phase::Value;
        value = f.arena->make(next);
      }
      out = sum(value_distance(*value, without(room, colon)), colon);
      break;
    }
    case Phase::Key:
      out = sum(key_distance(keys_.begin(f), without(room, 1)), 1);
      if (room != kNoLimit && !is_enough(out, room))
        return sum(out, gap);  // exceeds the limit; the exact number is unknown
      break;
    case Phase::First:
    case Phase::After: out = least_rest(f); break;
  }
  f.cache().distance.keep(out, room);
  return sum(out, gap);
}

// The rest of an unfinished string, number or literal, and what follows the value.
std::int64_t Distances::scalar_distance(const Config& at) {
  const Type type = at.lex == Lex::Text     ? Type::String
                    : at.lex == Lex::Number ? Type::Number
                    : at.state == 0         ? Type::Null
                                            : Type::Boolean;
  const auto distance = [&](const Targets& options) {
    std::int64_t out = -1;
    for (std::int32_t i = 0; i < options.size; ++i) {
      const Target& option = options.list[i];
      std::int64_t bytes;
      if (at.lex == Lex::Text) {
        bytes = sum(texts_.cheapest(at.state, at.spec, at.chars,
                                    std::vector<Id>(option.ids, option.ids + option.size)),
                    1);
      } else if (at.lex == Lex::Number) {
        bytes = number_distance(at, option);
      } else {
        const std::vector<Id>& labels = levels_.labels(at.labels);
        const bool all = std::all_of(option.ids, option.ids + option.size, [&](Id l) {
          return std::binary_search(labels.begin(), labels.end(), l);
        });
        bytes = all ? static_cast<std::int64_t>(kLiterals[at.state].size()) - at.chars : -1;
      }
      out = least(out, sum(bytes, option.tail));
    }
    return out;
  };
  const Targets& first = options(*at.top, type);
  const std::int64_t out = distance(first);
  return out < 0 && first.is_cut ? distance(options(*at.top, type, true)) : out;
}

const Targets& Distances::keep(const Frame& f, Type type, const std::vector<Aim>& list,
                               bool is_cut) {
  return *(f.cache().options[static_cast<std::size_t>(type)] = lasting(f, list, is_cut));
}

const Targets* Distances::lasting(const Frame& f, const std::vector<Aim>& list, bool is_cut) {
  auto* targets = static_cast<Target*>(f.arena->allocate(sizeof(Target) * list.size() + 1));
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto* ids = static_cast<Id*>(f.arena->allocate(sizeof(Id) * list[i].ids.size() + 1));
    std::copy(list[i].ids.begin(), list[i].ids.end(), ids);
    targets[i] = {ids, static_cast<std::int32_t>(list[i].ids.size()), list[i].goal, list[i].tail};
  }
  return f.arena->make(Targets{static_cast<std::int32_t>(list.size()), targets, is_cut});
}

const Targets& Distances::targets(const Frame& f) {
  if (f.cache().targets) return *f.cache().targets;
  const Targets& first = options(*f.parent, type_of(f));
  std::vector<Aim> out = aimed_at(f, first);
  if (out.empty() && first.is_cut) out = aimed_at(f, options(*f.parent, type_of(f), true));
  return *(f.cache().targets = lasting(f, out));
}

std::vector<Id> Distances::serving(const Level& level, const std::vector<Id>& asked) {
  std::vector<Id> out(asked.size(), -1);
  std::size_t left = asked.size();
  for (std::size_t a = 0; a < level.alternatives.size() && left; ++a) {
    const std::vector<Id>& parents = levels_.labels(level.alternatives[a].parents);
    const auto note = [&](std::size_t at) {
      if (out[at] < 0) out[at] = static_cast<Id>(a), --left;
    };
    if (parents.size() < asked.size()) {
      for (Id label : parents)
        if (const auto at = std::ranges::lower_bound(asked, label);
            at != asked.end() && *at == label)
          note(static_cast<std::size_t>(at - asked.begin()));
    } else {
      for (std::size_t at = 0; at < asked.size(); ++at)
        if (out[at] < 0 && std::ranges::binary_search(parents, asked[at])) note(at);
    }
  }
  return out;
}

std::vector<Distances::Aim> Distances::aimed_at(const Frame& f, const Targets& options) {
  std::vector<Id> asked;
  for (std::int32_t i = 0; i < options.size; ++i)
    asked.insert(asked.end(), options.list[i].ids, options.list[i].ids + options.list[i].size);
  sort_unique(&asked);
  const std::vector<Id> served = serving(levels_[f.level], asked);
  std::vector<Aim> out;
  std::unordered_map<std::vector<Id>, std::size_t, VectorHash> known;  // ids → the place in `out`
  for (std::int32_t i = 0; i < options.size; ++i) {
    const Target& option = options.list[i];
    std::vector<Id> ids;
    for (std::int32_t j = 0; j < option.size; ++j)
      ids.push_back(served[static_cast<std::size_t>(std::ranges::lower_bound(asked, option.ids[j]) -
                                                    asked.begin())]);
    sort_unique(&ids);
    if (!ids.empty() && ids[0] < 0) continue;
    if (const auto [at, is_new] = known.try_emplace(ids, out.size()); is_new)
      out.push_back({std::move(ids), -1, option.tail});
    else
      out[at->second].tail = std::min(out[at->second].tail, option.tail);
  }
  return out;
}

const Targets& Distances::options(const Frame& f, Type type, bool all) {
  if (const Targets* known = f.cache().options[static_cast<std::size_t>(type)];
      known && !(all && known->is_cut))
    return *known;
  const Parts& parts = levels_.parts(f.due, type);
  std::vector<Aim> out;
  if (f.kind == Kind::Root) {
    const std::int64_t behind = f.parent ? behind_point(f.parent->level) : 1;
    if (parts.list[0].base != kFalse && behind >= 0)
      out.push_back({{0}, parts.list[0].base, behind});
    return keep(f, type, out);
  }
  if (const std::int64_t rest = behind_value(f); rest >= 0) {
    const Id goal = viability_.legible(f, parts.list[0].base, parts, type);
    if (goal != kFalse && constraints_.inhabitance.inhabited(goal, type))
      out.push_back({{0}, goal, rest});
    return keep(f, type, out);
  }
  const bool array = f.kind == Kind::Array;
  // The last few are memoised, since most types have the same residuals.
  const auto rest = [&](Id residual) {
    if (residual == kNever) return std::int64_t{-1};
    int few = kFewRests;
    for (const RestCost* known = f.cache().rests; known && few-- > 0; known = known->before)
      if (known->residual == residual) return known->bytes;
    const std::int64_t bytes = array
                                   ? constraints_.costs.of_array(residual, f.count + 1)
                                   : constraints_.costs.of_object(residual, viability_.keys_of(f));
    f.cache().rests = f.arena->make(RestCost{f.cache().rests, residual, bytes});
    return bytes;
  };
  const std::size_t most = all ? options_.limits.alternatives
                               : std::min<std::size_t>(kFewWays, options_.limits.alternatives);
  bool is_cut = false;
  const Targets& targets = this->targets(f);
  for (std::int32_t i = 0; i < targets.size; ++i) {
    const Target& target = targets.list[i];
    std::vector<Id> opens, labels;
    Id base = kTrue;
    for (std::int32_t j = 0; j < target.size; ++j) {
      const Part& part = parts.list[static_cast<std::size_t>(target.ids[j])];
      base = goals_.conj(base, goals_.conj(part.base, goals_.negate(part.barred)));
      if (f.records && array && part.vital)
        base = goals_.conj(base, viability_.list(viability_.vital(
                                     f, type))[static_cast<std::size_t>(target.ids[j])]);
      opens.push_back(part.open);
      if (part.vital) labels.push_back(target.ids[j]);
    }
    base = viability_.legible(f, base, parts, type);
    if (base == kFalse || !constraints_.inhabitance.inhabited(base, type)) continue;
    const auto label = [&](Id literal) { return parts.label(literal); };
    for (Id v : parts.singles) {
      const Id goal = goals_.conj(base, goals_.among({v}));
      if (!constraints_.inhabitance.inhabited(goal, type)) continue;
      std::vector<Id> ids = labels;
      ids.push_back(label(goals_.literals(goals_.among({v}))[0]));
      const std::int64_t bytes =
          rest(constraints_.partial.residual(constraints_.partial.open_both(opens, array), v));
      if (bytes >= 0) out.push_back({std::move(ids), goal, bytes + target.tail});
    }
    for (std::int32_t j = 0; j < target.size; ++j) {
      const Id apart = parts.list[static_cast<std::size_t>(target.ids[j])].apart;
      if (apart < 0) continue;
      base = goals_.conj(base, goals_.goal({apart}));
      labels.push_back(label(apart));
    }
    if (base == kFalse || !constraints_.inhabitance.inhabited(base, type)) continue;
    const Id open = constraints_.partial.open_both(opens, array);
    if (std::any_of(target.ids, target.ids + target.size,
                    [&](Id j) { return parts.list[static_cast<std::size_t>(j)].decides; })) {
      std::size_t left = most;
      is_cut |= constraints_.partial.ways(
          open, base,
          [&](Id goal, Id residual) {
            std::vector<Id> ids = labels;
            for (Id l : goals_.literals(goal))
              if (parts.tracks(l)) ids.push_back(label(l));
            const std::int64_t bytes =
                constraints_.inhabitance.inhabited(goal, type) ? rest(residual) : -1;
            if (bytes >= 0) out.push_back({std::move(ids), goal, bytes + target.tail});
            return bytes >= 0 && --left == 0;
          },
          true);
      continue;
    }
    is_cut |= constraints_.partial.choices(
        open, base, most, rest, [&](const std::vector<Id>& literals, std::int64_t bytes) {
          Id goal = base;
          std::vector<Id> ids = labels;
          for (Id l : literals) {
            goal = goals_.conj(goal, goals_.goal({l}));
            ids.push_back(label(l));
          }
          if (constraints_.inhabitance.inhabited(goal, type))
            out.push_back({std::move(ids), goal, bytes + target.tail});
        });
  }
  if (is_cut && all)
    throw Limit{"alternatives", -1,
                "a value decides in too many ways between alternatives that no tag tells apart"};
  return keep(f, type, out, is_cut);
}

std::int64_t Distances::value_distance(const Frame& f, std::int64_t limit) {
  if (const std::int64_t rest = behind_value(f); rest >= 0)
    return sum(member_cost(f.level, f.cls), rest);
  std::int64_t out = -1;
  for (int t = 0; t < kTypes && !is_enough(out, limit); ++t) {  // scalars come first
    const Targets& options = this->options(f, static_cast<Type>(t));
    for (std::int32_t i = 0; i < options.size; ++i)
      out = least(out, sum(constraints_.costs.of(options.list[i].goal, static_cast<Type>(t)),
                           options.list[i].tail));
  }
  return out;
}

// The rest of an unfinished number under the option. If the option has several labels, its text is
// read again as a number of the option's goal, which meets all of them.
std::int64_t Distances::number_distance(const Config& at, const Target& option) {
  std::int64_t out = -1;
  if (option.size == 1) {
    const std::vector<Id>& labels = levels_.labels(at.spec);
    const Id position = static_cast<Id>(
        std::lower_bound(labels.begin(), labels.end(), option.ids[0]) - labels.begin());
    numbers_.cheapest(at.state, [&](Id label, std::int64_t bytes) {
      if (label == position) out = least(out, bytes);
    });
    return out;
  }
  std::string text;
  for (const KeyText* k = at.key; k; k = k->before) text.push_back(static_cast<char>(k->byte));
  std::vector<NumberComponent> list;
  for (Id p : std::vector<Id>(constraints_.scalars.numbers(option.goal))) list.push_back({p, 0});
  Id state = numbers_.start(list, options_.spelling);
  for (auto byte = text.rbegin(); byte != text.rend() && state != Numbers::kDead; ++byte)
    state = numbers_.step(state, static_cast<std::uint8_t>(*byte));
  if (state != Numbers::kDead)
    numbers_.cheapest(state, [&](Id, std::int64_t bytes) { out = least(out, bytes); });
  return out;
}

// Bytes after the closing quote of this name, or of some other key of the class (name -1). Memoised
// in the frame.
std::int64_t Distances::after_key(const Frame& f, std::int32_t cls, std::int32_t name,
                                  std::int64_t limit) {
  const std::size_t names = f.names->texts.size();
  if (!f.cache().after_key) {
    const std::size_t slots = names + levels_.info(f.level).classes->size();
    auto* made = static_cast<KnownDistance*>(f.arena->allocate(sizeof(KnownDistance) * slots));
    std::fill(made, made + slots, KnownDistance{});
    f.cache().after_key = made;
  }
  KnownDistance& slot = f.cache().after_key[name >= 0 ? static_cast<std::size_t>(name)
                                                      : names + static_cast<std::size_t>(cls)];
  if (const std::int64_t known = slot.within(limit); known != -2) return known;
  Frame next = f.next(*f.arena);  // allocated in the same arena, so its cache persists
  next.phase = Phase::Value;
  ++next.count;
  next.cls = cls;
  next.due = levels_.due_member(f.level, cls);
  next.rank = name >= 0 ? std::max(f.rank, levels_.rank(f.level, name)) : kInf;
  next.seen = with_name(f, names, name, *f.arena);
  if (name < 0) {  // the cheapest key leaves no less than any other key of the class
    const Word* key = new_key(f, cls);
    if (!key) return slot.exact = -1;
    next.extras = with_extra(f, key->text, *f.arena);
  }
  const Frame& due = *f.arena->make(next);
  const std::int64_t colon = 1 + options_.gap();
  // The value may decide in hundreds of ways what else must come. Mostly one search for an object
  // with such a member tells that none of them is short enough.
  if (limit != kNoLimit && name >= 0 && !is_even(f)) {
    const std::int64_t key =
        levels_.info(f.level).key_bytes[static_cast<std::size_t>(name)] + (f.count > 0 ? colon : 0);
    if (exceeds_with(f, name, limit + key)) return slot.least = limit + 1;
  }
  const std::int64_t bytes = sum(value_distance(due, without(limit, colon)), colon);
  slot.keep(bytes, limit);
  return bytes;
}

// The ways to finish an incomplete key. The distance after a key is expensive, so likely keys come
// first, and lower bounds for the others end the search early. The bound: what follows takes at
// least a value and the closing brackets and, together with the key, at least least_rest().
struct Distances::KeyEnds {
  struct Way {
    std::int64_t bound, bytes;  // bytes: to the closing quote, inclusive
    bool asked;                 // required by name in some alternative
    std::int32_t cls, name;
  };
  Distances& distances;
  const Config& at;
  const std::int64_t limit;
  const Frame& f = *at.top;
  const ObjectInfo& info = distances.levels_.info(f.level);
  const std::vector<std::string_view>& names = f.names->texts;
  Texts& texts = distances.texts_;
  const std::int64_t gap = distances.options_.gap(), all = distances.least_rest(f),
                     separator = f.count > 0 ? 1 + gap : 0, closes = 2 + gap + f.depth;
  const bool even = distances.is_even(f);
  const bool bare = info.bare && !f.records &&
                    !f.barred;  // an object stays valid when an optional member is removed
  const bool whole = texts.is_whole(at.decoder);
  const Ranges chars =
      whole ? Ranges{} : texts.possible(at.decoder);  // which an incomplete one may become
  const std::size_t from =
      static_cast<std::size_t>(at.depth - texts.partial_utf8(at.decoder));  // its first byte
  std::vector<Way> ways = {};
  std::int64_t out = -1;

  void add(std::int64_t bytes, std::int64_t whole_key, std::int32_t cls, std::int32_t name) {
    if (is_enough(out, limit)) return;
    if (const std::int64_t rest = even ? distances.behind_key(f, cls, name) : -2; rest != -2) {
      if (rest >= 0 && (out < 0 || bytes + rest < out) &&
          (name < 0 || distances.viability_.may_come(f, name)))
        out = bytes + rest;
      return;
    }
    const bool asked = name >= 0 && info.is_asked(name);
    const std::int64_t rest = bare && !asked ? all + 2 + gap
                              : name >= 0    ? all - separator - whole_key
                                             : 0;
    const std::int64_t bound = bytes + std::max(closes, rest);
    if (bound <= limit) ways.push_back({bound, bytes, asked, cls, name});
  }
  std::string_view name_at(std::int32_t i) const { return names[static_cast<std::size_t>(i)]; }
  std::string_view extra_at(std::int32_t i) const { return f.extras->texts[i]; }
  std::int64_t next_char(std::string_view text) const {
    return char_at(text, static_cast<std::int32_t>(from));
  }

  void add_names() {
    const std::int64_t prefix = at.lo < at.hi ? 1 + spelled_bytes(name_at(at.lo).substr(0, from))
                                              : 0;  // bytes of a name up to there
    for (std::int32_t i = at.lo; i < at.hi; ++i) {
      const std::int64_t key = info.key_bytes[static_cast<std::size_t>(i)];
      std::int64_t bytes = key - prefix;
      if (!whole) {
        const std::int64_t next = next_char(name_at(i));
        if (!in_ranges(chars, next)) continue;
        const std::uint32_t c = static_cast<std::uint32_t>(next);
        bytes += texts.rest_of_char(at.decoder, {{c, c}}) - spelled_bytes(c, c);
      }
      add(bytes, key, info.class_of[static_cast<std::size_t>(i)], i);
    }
  }

  // The index of the first text of the sorted range [lo, hi) whose rest is not less than `rest`.
  template <class At>
  std::int32_t first_of(std::int32_t lo, std::int32_t hi, std::string_view rest,
                        const At& text_at) const {
    while (lo < hi) {
      const std::int32_t half = lo + (hi - lo) / 2;
      text_at(half).substr(from) < rest ? lo = half + 1 : hi = half;
    }
    return lo;
  }
  bool is_taken(std::string_view rest) const {
    const std::int32_t i =
        first_of(at.lo, at.hi, rest, [this](std::int32_t k) { return name_at(k); });
    const std::int32_t j =
        first_of(at.xlo, at.xhi, rest, [this](std::int32_t k) { return extra_at(k); });
    return (i < at.hi && name_at(i).substr(from) == rest) ||
           (j < at.xhi && extra_at(j).substr(from) == rest);
  }
  // Adds the cheapest key of the class that continues with this text and is neither a name nor a
  // written key.
  void add_cheapest(std::int32_t cls, Id lang, const std::string& text, std::int64_t bytes) {
    for (std::size_t i = 0;; ++i) {
      const Word* word = distances.constraints_.lexicon.words.at(lang, i);
      if (!word) return;
      if (!is_taken(text + word->text)) return add(bytes + word->bytes + 1, 0, cls, -1);
    }
  }
  // Adds undeclared keys.
  void add_others() {
    if (at.state == Texts::kDead) return;
    if (at.lo == at.hi && at.xlo == at.xhi) {
      texts.cheapest(at.state, at.spec, at.chars, [&](Id cls, std::int64_t bytes) {
        if (cls != kEveryClass) add(bytes + 1, 0, cls, -1);
      });
      return;
    }
    std::vector<std::uint32_t> spelled;  // the next characters of names and written keys
    const auto note = [&](std::string_view text) {
      if (const std::int64_t c = next_char(text); in_ranges(chars, c))
        spelled.push_back(static_cast<std::uint32_t>(c));
    };
    for (std::int32_t i = at.lo; i < at.hi && !whole; ++i) note(name_at(i));
    for (std::int32_t i = at.xlo; i < at.xhi && !whole; ++i) note(extra_at(i));
    sort_unique(&spelled);
    for (const Component& k : std::vector<Component>(texts.components(at.state))) {
      const std::int32_t cls = texts.spec(at.spec).at(k.index).label;
      if (cls == kEveryClass) continue;
      if (whole)
        add_cheapest(cls, k.lang, "", 0);
      else
        add_behind_char(cls, texts.row(at.state, k.lang), spelled);
    }
  }
  // Adds keys of the class that continue with a character that the incomplete one may become.
  void add_behind_char(std::int32_t cls, const LangRow row,
                       const std::vector<std::uint32_t>& spelled) {
    std::uint32_t lo = 0;
    for (std::size_t i = 0; i < row.next.size(); lo = row.upto[i++] + 1) {
      if (row.next[i] == Langs::kNone) continue;
      for (const Range& r : intersection({{lo, row.upto[i]}}, chars)) {
        std::uint32_t other = r.lo;  // the least character that none of them has
        for (auto c = std::lower_bound(spelled.begin(), spelled.end(), r.lo);
             c != spelled.end() && *c <= r.hi; ++c) {
          const char32_t one = *c;
          add_cheapest(cls, row.next[i], encode_utf8(std::u32string_view(&one, 1)),
                       texts.rest_of_char(at.decoder, {{*c, *c}}));
          other += *c == other;
        }
        if (other > r.hi) continue;
        const std::int64_t rest =
            distances.constraints_.lexicon.langs.cheapest(row.next[i], 0, kInf);
        if (rest >= 0) add(texts.rest_of_char(at.decoder, {{other, r.hi}}) + rest + 1, 0, cls, -1);
      }
    }
  }
  std::int64_t search() {
    add_names();
    add_others();
    std::sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) {
      return std::tuple(a.bound, !a.asked, a.bytes, a.name, a.cls) <
             std::tuple(b.bound, !b.asked, b.bytes, b.name, b.cls);
    });
    for (const Way& way : ways) {
      if (out >= 0 && (way.bound >= out || is_enough(out, limit))) break;
      if (way.name >= 0 && !distances.viability_.may_come(f, way.name)) continue;
      out = least(out, sum(distances.after_key(f, way.cls, way.name, without(limit, way.bytes)),
                           way.bytes));
    }
    return out;
  }
};

std::int64_t Distances::key_distance(const Config& at, std::int64_t limit) {
  return KeyEnds{*this, at, limit}.search();
}

bool Distances::is_even(const Frame& f) {
  return f.kind == Kind::Object && guard::is_even(levels_.info(f.level), f);
}

// The cheapest key of the class that is neither a name nor a written key; null: there is none.
const Word* Distances::new_key(const Frame& f, std::int32_t cls) {
  const std::vector<std::string_view>& names = f.names->texts;
  const Id lang = levels_.info(f.level).cls(cls).lang;
  for (std::size_t i = 0;; ++i) {
    const Word* word = constraints_.lexicon.words.at(lang, i);
    if (word) viability_.note(word->text);
    if (!word || (!is_extra(f, word->text) &&
                  !std::binary_search(names.begin(), names.end(), std::string_view(word->text))))
      return word;
  }
}

// In an even object: the bytes after the closing quote of this name, or of a key of this class. A
// required member only removes its own bytes from the rest, and an optional one adds its own. -1:
// there is no completion; -2: unknown, because the distance depends on more than the value's goal.
std::int64_t Distances::behind_key(const Frame& f, std::int32_t cls, std::int32_t name) {
  const ObjectInfo& info = levels_.info(f.level);
  const std::int64_t all = least_rest(f), comma = 1 + options_.gap(), colon = comma;
  if (all < 0 || cls < 0) return -1;
  const std::int64_t value = value_bytes(f.level, cls);
  if (name < 0 && viability_.is_noted()) new_key(f, cls);
  if (value < 0) return value;
  if (name >= 0 && info.is_asked(name))
    return all - info.key_bytes[static_cast<std::size_t>(name)] - (f.count > 0 ? comma : 0);
  const bool pushes =
      f.count == 0 &&
      all > targets(f).list[0].tail + 1;  // then the first required member needs a comma, too
  return colon + value + all + (pushes ? comma : 0);
}

Distances::MemberCosts& Distances::costs(Id level) {
  if (MemberCosts* known = costs_.find(level)) return *known;
  return costs_.put(level, {std::vector<std::int64_t>(levels_.info(level).classes->size(), -3)});
}

std::int64_t Distances::value_bytes(Id level, std::int32_t cls) {
  const std::int64_t known = costs(level).values[static_cast<std::size_t>(cls)];
  if (known != -3) return known;
  const std::int64_t bytes =
      levels_.value_goal(levels_.due_member(level, cls)) < 0 ? -2 : member_cost(level, cls);
  return costs(level).values[static_cast<std::size_t>(cls)] = bytes;
}

// The bytes of the required members that an even object still lacks, and of its bracket.
std::int64_t Distances::least_members(const Frame& f) {
  const ObjectInfo& info = levels_.info(f.level);
  const std::int64_t comma = 1 + options_.gap(), colon = comma;
  std::int64_t bytes = 0, count = 0;
  for (const std::int32_t name : info.asked) {
    if (bit(f.seen, name)) continue;
    const std::int32_t cls = info.class_of[static_cast<std::size_t>(name)];
    if (cls < 0 || viability_.is_past(f, name)) return -1;
    std::int64_t value = value_bytes(f.level, cls);
    if (value == -2) value = member_cost(f.level, cls);
    if (value < 0) return -1;
    bytes += info.key_bytes[static_cast<std::size_t>(name)] + colon + value;
    ++count;
  }
  return bytes + (count - (f.count == 0 && count > 0)) * comma + 1;
}

std::int64_t Distances::behind_value(const Frame& f) {
  if (f.kind != Kind::Object || f.records || f.barred || !levels_.info(f.level).plain ||
      levels_.value_goal(f.due) < 0)
    return -1;
  return least_rest(f);
}

std::int64_t Distances::tail(const Frame& f) {
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

Distances::Sight Distances::on_sight(const Config& at) {
  const Frame& f = *at.top;
  const std::int64_t gap = options_.gap();
  if (at.finished || f.phase == Phase::End) return {};
  if (at.lex == Lex::Raw) return {raw_distance(at), true};
  if (at.lex == Lex::Key ||
      f.phase == Phase::Key) {               // one more member only adds its own bytes to the rest
    constexpr std::size_t kMostKeys = 4096;  // some two-character text is none of so many keys
    constexpr std::int64_t kNewKey = 2 + 2;  // the quotes, and two characters
    const ObjectInfo& info = levels_.info(f.level);
    if (!info.plain || !info.bare || f.records || f.barred) return {};
    const Id state = at.lex == Lex::Key ? at.state : viability_.writable(f).text;
    const std::size_t keys =
        f.names->texts.size() + static_cast<std::size_t>(f.extras ? f.extras->size : 0);
    const bool closed = state == Texts::kDead;
    if (!closed && (keys > kMostKeys || !texts_.has_all(state))) return {};
    const std::int64_t member = closed ? most_named(f.level) : sum(most_other(f.level), kNewKey),
                       colon = 1 + gap, comma = 1 + gap;
    return {sum(sum(member, Texts::kOneChar + colon + comma), least_rest(f)),
            false};  // an escape may have begun
  }
  const bool is_due = f.phase == Phase::Colon || f.phase == Phase::Value;
  if (!is_due && at.lex != Lex::None) return {};  // the first item of an array
  const std::int64_t rest = behind_value(is_due ? f : *f.parent);
  if (rest < 0) return {};
  std::int64_t bytes = -1;
  if (!is_due) {
    if (f.records || f.barred || levels_[f.level].alternatives.size() != 1) return {};
    const Id shape = levels_[f.level].alternatives[0].shape;
    bytes = is_even(f)               ? least_members(f)
            : f.kind == Kind::Object ? constraints_.costs.of_object(shape, viability_.keys_of(f))
                                     : constraints_.costs.of_array(shape, f.count);
    return {sum(bytes, rest), true};
  }
  switch (at.lex) {
    case Lex::None:
      return {sum(value_bytes(f.level, f.cls), rest + (f.phase == Phase::Colon ? 1 + gap
                                                       : at.gap == 0           ? gap
                                                                               : 0)),
              true};
    case Lex::Text:
      texts_.cheapest(at.state, at.spec, at.chars,
                      [&](Id, std::int64_t n) { bytes = least(bytes, n); });
      return {sum(bytes, rest + 1), true};
    case Lex::Number:
      if (at.key) return {};
      numbers_.cheapest(at.state, [&](Id, std::int64_t n) { bytes = least(bytes, n); });
      return {sum(bytes, rest), true};
    case Lex::Literal:
      return {static_cast<std::int64_t>(kLiterals[at.state].size()) - at.chars + rest, true};
    case Lex::Key:
    case Lex::Raw: break;
  }
  return {};
}

std::int64_t Distances::member_cost(Id level, std::int32_t cls) {
  return constraints_.costs.of(constraints_.objects.base_of(
      constraints_.objects[levels_[level].alternatives[0].shape], levels_.info(level).cls(cls)));
}

std::int64_t Distances::most_named(Id level) {
  constexpr std::size_t kMost = 64;
  const std::vector<KeyClass>& classes = *levels_.info(level).classes;
  if (const std::int64_t known = costs(level).named; known != -2) return known;
  std::int64_t most = classes.size() > kMost ? -1 : 0;
  for (std::size_t c = 0; most >= 0 && c < classes.size(); ++c)
    if (classes[c].name >= 0)
      most = std::max(most, constraints_.costs.key_bytes(classes[c].name) +
                                member_cost(level, static_cast<std::int32_t>(c)));
  return costs(level).named = most;
}

std::int64_t Distances::most_other(Id level) {
  if (const std::int64_t known = costs(level).other; known != -2) return known;
  std::int64_t most = 0;
  for (const std::int32_t c : levels_.info(level).text_classes) {
    const std::int64_t bytes = member_cost(level, c);
    most = most < 0 || bytes < 0 ? -1 : std::max(most, bytes);
  }
  return costs(level).other = most;
}

}  // namespace guard
