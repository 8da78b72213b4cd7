// Distances: the bytes of a completion, which are the rest of the lexeme, then for each frame the rest of what is aimed at there.

#include <algorithm>
#include <tuple>

#include "automaton/frames.hpp"

namespace guard {

namespace {
constexpr int kMaxWays = 256;  // to decide literals, whose costs are compared
std::int64_t sum(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 ? -1 : a + b; }
std::int64_t least(std::int64_t a, std::int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); }
std::int64_t without(std::int64_t limit, std::int64_t bytes) { return limit == kNoLimit ? kNoLimit : limit - bytes; }
}  // namespace

const Targets* Engine::keep(const Frame& f, const std::vector<std::pair<std::vector<Id>, std::pair<Id, std::int64_t>>>& list) {
  auto* targets = static_cast<Target*>(f.arena->allocate(sizeof(Target) * list.size() + 1));
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto* ids = static_cast<Id*>(f.arena->allocate(sizeof(Id) * list[i].first.size() + 1));
    std::copy(list[i].first.begin(), list[i].first.end(), ids);
    targets[i] = {ids, static_cast<std::int32_t>(list[i].first.size()), list[i].second.first, list[i].second.second};
  }
  return f.arena->make(Targets{static_cast<std::int32_t>(list.size()), targets});
}

// What could be aimed at in an open container: alternatives of its level that are all to be met at its end, and bytes from there.
const Targets& Engine::targets(const Frame& f) {
  if (cache(f).targets) return *f.cache->targets;
  std::vector<std::pair<std::vector<Id>, std::pair<Id, std::int64_t>>> out;
  const Level& level = levels_[f.level];
  const Targets& options = this->options(*f.parent, type_of(f));
  for (std::int32_t i = 0; i < options.size; ++i) {
    const Target& option = options.list[i];
    std::vector<Id> ids;
    bool possible = true;
    for (std::int32_t j = 0; j < option.size && possible; ++j) {
      std::size_t a = 0;
      while (a < level.alternatives.size() && !std::binary_search(sets_[level.alternatives[a].parents].ids.begin(), sets_[level.alternatives[a].parents].ids.end(), option.ids[j])) ++a;
      possible = a < level.alternatives.size();
      ids.push_back(static_cast<Id>(a));
    }
    if (!possible) continue;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    const auto known = std::find_if(out.begin(), out.end(), [&](const auto& t) { return t.first == ids; });
    if (known == out.end())
      out.push_back({std::move(ids), {-1, option.tail}});
    else
      known->second.second = std::min(known->second.second, option.tail);
  }
  return *(cache(f).targets = keep(f, out));
}

// Ways to write the due value: labels that it is to have, and bytes from behind it to the end of everything when it has them.
const Targets& Engine::options(const Frame& f, Type type) {
  if (cache(f).options[static_cast<std::size_t>(type)]) return *f.cache->options[static_cast<std::size_t>(type)];
  const Parts& parts = this->parts(f.due, type);
  std::vector<std::pair<std::vector<Id>, std::pair<Id, std::int64_t>>> out;
  if (f.kind == Kind::Root) {
    if (parts.list[0].base != Goals::kFalse) out.push_back({{0}, {parts.list[0].base, 1}});
    return *(cache(f).options[static_cast<std::size_t>(type)] = keep(f, out));
  }
  if (const std::int64_t rest = behind_value(f); rest >= 0) {
    const Id goal = legible(f, parts.list[0].base, parts, type);
    if (goal != Goals::kFalse && goals_.inhabited(goal, type)) out.push_back({{0}, {goal, rest}});
    return *(cache(f).options[static_cast<std::size_t>(type)] = keep(f, out));
  }
  const bool array = f.kind == Kind::Array;
  // The residuals are mostly the same ones for all types.
  const auto rest = [&](Id residual) {
    if (residual == Goals::kNever) return std::int64_t{-1};
    for (const RestCost* known = cache(f).rests; known; known = known->before)
      if (known->residual == residual) return known->bytes;
    const std::int64_t bytes = array ? goals_.cost_array(residual, f.count + 1) : goals_.cost_object(residual, keys_of(f));
    cache(f).rests = f.arena->make(RestCost{cache(f).rests, residual, bytes});
    return bytes;
  };
  const Targets& targets = this->targets(f);
  for (std::int32_t i = 0; i < targets.size; ++i) {
    const Target& target = targets.list[i];
    std::vector<Id> opens, labels;
    Id base = Goals::kTrue;
    for (std::int32_t j = 0; j < target.size; ++j) {
      const Part& part = parts.list[static_cast<std::size_t>(target.ids[j])];
      base = goals_.conj(base, goals_.conj(part.base, goals_.negate(part.barred)));
      if (f.records && array && part.vital) base = goals_.conj(base, lists_[vital(f, type)].ids[static_cast<std::size_t>(target.ids[j])]);
      opens.push_back(part.open);
      if (part.vital) labels.push_back(target.ids[j]);
    }
    base = legible(f, base, parts, type);
    if (base == Goals::kFalse || !goals_.inhabited(base, type)) continue;
    const auto label = [&](Id literal) { return parts.label(literal); };
    for (Id v : parts.singles) {
      const Id goal = goals_.conj(base, goals_.among({v}));
      if (!goals_.inhabited(goal, type)) continue;
      std::vector<Id> ids = labels;
      ids.push_back(label(goals_.literals(goals_.among({v}))[0]));
      const std::int64_t bytes = rest(goals_.residual(goals_.open_both(opens, array), v));
      if (bytes >= 0) out.push_back({std::move(ids), {goal, bytes + target.tail}});
    }
    for (std::int32_t j = 0; j < target.size; ++j) {
      const Id apart = parts.list[static_cast<std::size_t>(target.ids[j])].apart;
      if (apart < 0) continue;
      base = goals_.conj(base, goals_.goal({apart}));
      labels.push_back(label(apart));
    }
    if (base == Goals::kFalse || !goals_.inhabited(base, type)) continue;
    const Id open = goals_.open_both(opens, array);
    if (std::any_of(target.ids, target.ids + target.size, [&](Id j) { return parts.list[static_cast<std::size_t>(j)].decides; })) {
      int left = kMaxWays;
      goals_.ways(open, base, [&](Id goal, Id residual) {
        std::vector<Id> ids = labels;
        for (Id l : goals_.literals(goal))
          if (parts.tracks(l)) ids.push_back(label(l));
        const std::int64_t bytes = goals_.inhabited(goal, type) ? rest(residual) : -1;
        if (bytes >= 0) out.push_back({std::move(ids), {goal, bytes + target.tail}});
        return --left == 0;
      }, true);
      continue;
    }
    goals_.choices(open, base, rest, [&](const std::vector<Id>& literals, std::int64_t bytes) {
      Id goal = base;
      std::vector<Id> ids = labels;
      for (Id l : literals) {
        goal = goals_.conj(goal, goals_.goal({l}));
        ids.push_back(label(l));
      }
      if (goals_.inhabited(goal, type)) out.push_back({std::move(ids), {goal, bytes + target.tail}});
    });
  }
  return *(cache(f).options[static_cast<std::size_t>(type)] = keep(f, out));
}

std::int64_t Engine::value_distance(const Frame& f, std::int64_t limit) {
  if (const std::int64_t rest = behind_value(f); rest >= 0)
    return sum(member_cost(f.level, f.cls), rest);
  std::int64_t out = -1;
  for (int t = 0; t < kTypes && !will_do(out, limit); ++t) {  // scalars are the first
    const Targets& options = this->options(f, static_cast<Type>(t));
    for (std::int32_t i = 0; i < options.size; ++i) out = least(out, sum(goals_.cost(options.list[i].goal, static_cast<Type>(t)), options.list[i].tail));
  }
  return out;
}

// Of the option: the rest of the number that was begun. Where literals are to be met, it is read again as one of them all.
std::int64_t Engine::number_distance(const Config& at, const Target& option) {
  std::int64_t out = -1;
  if (option.size == 1) {
    const std::vector<Id>& labels = sets_[at.spec].ids;
    const Id position = static_cast<Id>(std::lower_bound(labels.begin(), labels.end(), option.ids[0]) - labels.begin());
    numbers_.cheapest(at.state, [&](Id label, std::int64_t bytes) {
      if (label == position) out = least(out, bytes);
    });
    return out;
  }
  std::string text;
  for (const KeyText* k = at.key; k; k = k->before) text.push_back(static_cast<char>(k->byte));
  std::vector<NumberComponent> list;
  for (Id p : std::vector<Id>(goals_.numbers(option.goal))) list.push_back({p, 0});
  Id state = numbers_.start(list, options_.spelling);
  for (auto byte = text.rbegin(); byte != text.rend() && state != Numbers::kDead; ++byte) state = numbers_.step(state, static_cast<std::uint8_t>(*byte));
  if (state != Numbers::kDead) numbers_.cheapest(state, [&](Id, std::int64_t bytes) { out = least(out, bytes); });
  return out;
}

std::int64_t Engine::key_distance(const Config& at, std::int64_t limit) {
  const Frame& f = *at.top;
  const Level& level = levels_[f.level];
  const ObjectInfo& info = this->info(f.level);
  const NamesIndex& names = index(level.table);
  const std::int32_t gap = options_.whitespace == Whitespace::Spaced ? 1 : 0;
  const std::size_t n = names.texts.size();
  const std::int64_t all = least_rest(f), separator = f.count > 0 ? 1 + gap : 0;
  // Behind the closing quote of this name, or of some key of this class.
  const auto behind = [&](std::int32_t cls, std::int32_t name, std::int64_t room) {
    if (!cache(f).after_key) {
      const std::size_t slots = n + info.classes->size();
      f.cache->after_key = static_cast<Reckoned*>(f.arena->allocate(sizeof(Reckoned) * slots));
      std::fill(f.cache->after_key, f.cache->after_key + slots, Reckoned{});
    }
    Reckoned& slot = f.cache->after_key[name >= 0 ? static_cast<std::size_t>(name) : n + static_cast<std::size_t>(cls)];
    if (const std::int64_t known = slot.known(room); known != -2) return known;
    Frame next = f;  // in the same arena: its caches may stay
    next.cache = nullptr;
    next.phase = Phase::Value;
    ++next.count;
    next.cls = cls;
    next.due = dues_.intern({Kind::Object, f.level, cls});
    next.rank = name >= 0 ? std::max(f.rank, names_[level.table].ranks[static_cast<std::size_t>(name)]) : kInf;
    const std::size_t words = words_for(n);
    auto* seen = static_cast<std::uint64_t*>(f.arena->allocate(words * 8));
    if (f.seen)
      std::copy(f.seen, f.seen + words, seen);
    else
      std::fill(seen, seen + words, 0);
    if (name >= 0) seen[name >> 6] |= 1ull << (name & 63);
    next.seen = seen;
    if (name < 0) {  // behind any other key no more is left
      const Word* key = new_key(f, cls);
      if (!key) return slot.exact = -1;
      next.extras = with_extra(f, key->text, *f.arena);
    }
    const std::int64_t bytes = sum(value_distance(*f.arena->make(next), without(room, 1 + gap)), 1 + gap);
    slot.keep(bytes, room);
    return bytes;
  };
  // Ways to end the key. What follows a key is dear to reckon, so that the likely ones come first and the bounds of the others end the
  // search: all that follows takes a value and a bracket, and with its key no less than any way to go on from here.
  struct Way {
    std::int64_t bound, bytes;  // bytes: to the closing quote, which counts
    bool asked;                 // by name, somewhere
    std::int32_t cls, name;
  };
  std::vector<Way> ways;
  std::int64_t out = -1;
  const std::int64_t closes = 2 + gap + f.depth;
  const bool even = is_even(f);
  const bool bare = info.bare && !f.records && !f.barred;  // without a member that nobody asks for, what is valid stays valid
  const auto add = [&](std::int64_t bytes, std::int64_t whole_key, std::int32_t cls, std::int32_t name) {
    if (will_do(out, limit)) return;
    if (const std::int64_t rest = even ? behind_key(f, cls, name) : -2; rest != -2) {
      if (rest >= 0 && (out < 0 || bytes + rest < out) && (name < 0 || name_is_writable(f, name))) out = bytes + rest;
      return;
    }
    const bool asked = name >= 0 && info.is_asked[static_cast<std::size_t>(name)];
    const std::int64_t rest = bare && !asked ? all + 2 + gap : name >= 0 ? all - separator - whole_key : 0;
    const std::int64_t bound = bytes + std::max(closes, rest);
    if (bound <= limit) ways.push_back({bound, bytes, asked, cls, name});
  };
  const bool whole = texts_.is_whole(at.decoder);
  const Ranges chars = whole ? Ranges{} : texts_.possible(at.decoder);
  const std::size_t from = static_cast<std::size_t>(at.depth - texts_.partial_utf8(at.decoder));
  const std::int64_t prefix = at.lo < at.hi ? 1 + spelled_bytes(names.texts[static_cast<std::size_t>(at.lo)].substr(0, from)) : 0;  // bytes of a name up to there
  for (std::int32_t i = at.lo; i < at.hi; ++i) {
    const std::int64_t key = info.key_bytes[static_cast<std::size_t>(i)];
    std::int64_t bytes = key - prefix;
    if (!whole) {
      const std::int64_t next = char_at(names.texts[static_cast<std::size_t>(i)], static_cast<std::int32_t>(from));
      if (!in_ranges(chars, next)) continue;
      const std::uint32_t c = static_cast<std::uint32_t>(next);
      bytes += texts_.rest_of_char(at.decoder, {{c, c}}) - spelled_bytes(c, c);
    }
    add(bytes, key, info.class_of[static_cast<std::size_t>(i)], i);
  }
  if (at.state != Texts::kDead && at.lo == at.hi && at.xlo == at.xhi) {
    texts_.cheapest(at.state, at.spec, at.chars, [&](Id cls, std::int64_t bytes) {
      if (cls != kEveryClass) add(bytes + 1, 0, cls, -1);
    });
  } else if (at.state != Texts::kDead) {
    const auto is_among = [&](std::int32_t lo, std::int32_t hi, std::string_view rest, const auto& text_at) {
      while (lo < hi) {
        const std::int32_t half = lo + (hi - lo) / 2;
        text_at(half).substr(from) < rest ? lo = half + 1 : hi = half;
      }
      return lo;
    };
    const auto name_at = [&](std::int32_t i) { return names.texts[static_cast<std::size_t>(i)]; };
    const auto extra_at = [&](std::int32_t i) { return f.extras->texts[i]; };
    const auto is_taken = [&](std::string_view rest) {
      const std::int32_t i = is_among(at.lo, at.hi, rest, name_at), j = is_among(at.xlo, at.xhi, rest, extra_at);
      return (i < at.hi && name_at(i).substr(from) == rest) || (j < at.xhi && extra_at(j).substr(from) == rest);
    };
    // The cheapest key of the class that goes on with this text and is not among names and keys written.
    const auto go_on = [&](std::int32_t cls, Id lang, const std::string& text, std::int64_t bytes) {
      for (std::size_t i = 0;; ++i) {
        const Word* word = tables_.lexicon.words.at(lang, i);
        if (!word) return;
        if (!is_taken(text + word->text)) return add(bytes + word->bytes + 1, 0, cls, -1);
      }
    };
    std::vector<std::uint32_t> spelled;  // characters that names and keys written have here
    for (std::int32_t i = at.lo; i < at.hi && !whole; ++i)
      if (const std::int64_t c = char_at(name_at(i), static_cast<std::int32_t>(from)); in_ranges(chars, c)) spelled.push_back(static_cast<std::uint32_t>(c));
    for (std::int32_t i = at.xlo; i < at.xhi && !whole; ++i)
      if (const std::int64_t c = char_at(extra_at(i), static_cast<std::int32_t>(from)); in_ranges(chars, c)) spelled.push_back(static_cast<std::uint32_t>(c));
    std::sort(spelled.begin(), spelled.end());
    spelled.erase(std::unique(spelled.begin(), spelled.end()), spelled.end());
    for (const Component& k : std::vector<Component>(texts_.components(at.state))) {
      const std::int32_t cls = texts_.spec(at.spec).at(k.index).label;
      if (cls == kEveryClass) continue;
      if (whole) {
        go_on(cls, k.lang, "", 0);
        continue;
      }
      const LangRow row = texts_.row(at.state, k.lang);
      std::uint32_t lo = 0;
      for (std::size_t i = 0; i < row.next.size(); lo = row.upto[i++] + 1) {
        if (row.next[i] == Langs::kNone) continue;
        for (const Range& r : intersection({{lo, row.upto[i]}}, chars)) {
          std::uint32_t other = r.lo;  // that none of them has
          for (auto c = std::lower_bound(spelled.begin(), spelled.end(), r.lo); c != spelled.end() && *c <= r.hi; ++c) {
            const char32_t one = *c;
            go_on(cls, row.next[i], encode_utf8(std::u32string_view(&one, 1)), texts_.rest_of_char(at.decoder, {{*c, *c}}));
            other += *c == other;
          }
          if (other > r.hi) continue;
          const std::int64_t rest = texts_.langs().cheapest(row.next[i], 0, kInf);
          if (rest >= 0) add(texts_.rest_of_char(at.decoder, {{other, r.hi}}) + rest + 1, 0, cls, -1);
        }
      }
    }
  }
  std::sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) {
    return std::tuple(a.bound, !a.asked, a.bytes, a.name, a.cls) < std::tuple(b.bound, !b.asked, b.bytes, b.name, b.cls);
  });
  for (const Way& way : ways) {
    if (out >= 0 && (way.bound >= out || will_do(out, limit))) break;
    if (way.name >= 0 && !name_is_writable(f, way.name)) continue;
    out = least(out, sum(behind(way.cls, way.name, without(limit, way.bytes)), way.bytes));
  }
  return out;
}

// A bound from below: bytes to the end of everything from between the members, or from the first one.
std::int64_t Engine::least_rest(const Frame& f) {
  std::int64_t& slot = cache(f).rest;
  if (slot != -2) return slot;
  std::int64_t out = -1;
  if (is_even(f)) {
    const Targets& targets = this->targets(f);
    return slot = targets.size == 0 ? -1 : sum(least_members(f), targets.list[0].tail);
  }
  for (std::int32_t i = 0; i < targets(f).size; ++i) {
    const Target& target = targets(f).list[i];
    std::vector<Id> shapes;
    for (std::int32_t j = 0; j < target.size; ++j) shapes.push_back(levels_[f.level].alternatives[static_cast<std::size_t>(target.ids[j])].shape);
    const Id shape = goals_.conjunction(shapes, f.kind == Kind::Array);
    const std::int64_t rest = f.kind == Kind::Object ? goals_.cost_object(shape, keys_of(f)) : goals_.cost_array(shape, f.count);
    out = least(out, sum(rest, target.tail));
  }
  return slot = out;
}

// Is it an object whose members don't hang on each other, in number or in what they are?
bool Engine::is_even(const Frame& f) {
  if (f.kind != Kind::Object || f.records || f.barred) return false;
  const ObjectInfo& info = this->info(f.level);
  return info.plain && info.bare;
}

// The cheapest key of the class that is no name and was not written; null: there is none.
const Word* Engine::new_key(const Frame& f, std::int32_t cls) {
  const std::vector<std::string_view>& names = f.names->texts;
  const Id lang = (*info(f.level).classes)[static_cast<std::size_t>(cls)].lang;
  for (std::size_t i = 0;; ++i) {
    const Word* word = tables_.lexicon.words.at(lang, i);
    if (word && asked_) asked_->insert(word->text);
    if (!word || (!is_extra(f, word->text) && !std::binary_search(names.begin(), names.end(), std::string_view(word->text)))) return word;
  }
}

// Of an even object, bytes behind the closing quote of this name, or of a key of this class: a member that must come takes nothing away but
// itself, any other adds itself. -1: there is no way on; -2: not known, since more than the goal of the value matters.
std::int64_t Engine::behind_key(const Frame& f, std::int32_t cls, std::int32_t name) {
  const ObjectInfo& info = this->info(f.level);
  const std::int64_t all = least_rest(f), comma = options_.whitespace == Whitespace::Spaced ? 2 : 1, colon = comma;
  if (all < 0 || cls < 0) return -1;
  const std::int64_t value = value_bytes(f.level, info, cls);
  if (name < 0 && asked_) new_key(f, cls);
  if (value < 0) return value;
  if (name >= 0 && info.is_asked[static_cast<std::size_t>(name)]) return all - info.key_bytes[static_cast<std::size_t>(name)] - (f.count > 0 ? comma : 0);
  const bool pushes = f.count == 0 && all > targets(f).list[0].tail + 1;  // the first of those that must come has one in front now
  return colon + value + all + (pushes ? comma : 0);
}

// Of an even object, bytes of the cheapest value behind a key of the class. -1: there is none; -2: more than its goal matters.
std::int64_t Engine::value_bytes(Id level, const ObjectInfo& info, std::int32_t cls) {
  const std::int64_t known = info.value_bytes[static_cast<std::size_t>(cls)];
  if (known != -3) return known;
  const std::int64_t bytes = value_class(level, dues_.intern({Kind::Object, level, cls})) < 0 ? -2 : member_cost(level, cls);
  return infos_.find(level)->value_bytes[static_cast<std::size_t>(cls)] = bytes;
}

// Bytes of the members that must still come to an even object, and of its bracket.
std::int64_t Engine::least_members(const Frame& f) {
  const ObjectInfo& info = this->info(f.level);
  const std::int64_t comma = options_.whitespace == Whitespace::Spaced ? 2 : 1, colon = comma;
  const std::vector<std::int32_t>& ranks = names_[levels_[f.level].table].ranks;
  std::int64_t bytes = 0, count = 0;
  for (const std::int32_t name : info.asked) {
    if (bit(f.seen, name)) continue;
    const std::int32_t cls = info.class_of[static_cast<std::size_t>(name)], rank = ranks[static_cast<std::size_t>(name)];
    if (cls < 0 || (options_.schema_order && rank != kInf && rank <= f.rank)) return -1;
    std::int64_t value = value_bytes(f.level, info, cls);
    if (value == -2) value = member_cost(f.level, cls);
    if (value < 0) return -1;
    bytes += info.key_bytes[static_cast<std::size_t>(name)] + colon + value;
    ++count;
  }
  return bytes + (count - (f.count == 0 && count > 0)) * comma + 1;
}

// ---- on sight -------------------------------------------------------------------------------------------------------
// Where members don't hang on each other, what is behind a value is the same whatever the value.

std::int64_t Engine::behind_value(const Frame& f) {
  if (f.kind != Kind::Object || f.records || f.barred || !info(f.level).plain || value_class(f.level, f.due) < 0) return -1;
  return least_rest(f);
}

Engine::Sight Engine::on_sight(const Config& at) {
  const Frame& f = *at.top;
  const std::int64_t gap = options_.whitespace == Whitespace::Spaced ? 1 : 0;
  if (at.finished || f.phase == Phase::End) return {};
  if (at.lex == Lex::Key || f.phase == Phase::Key) {  // one member more only adds itself to what must come anyway
    constexpr std::size_t kMostKeys = 4096;  // of so many some text of two more characters is none
    constexpr std::int64_t kNewKey = 2 + 2;  // the quotes, and those two
    const ObjectInfo& info = this->info(f.level);
    if (!info.plain || !info.bare || f.records || f.barred) return {};
    const Id state = at.lex == Lex::Key ? at.state : writable(f).text;
    const std::size_t keys = f.names->texts.size() + static_cast<std::size_t>(f.extras ? f.extras->size : 0);
    const bool closed = state == Texts::kDead;
    if (!closed && (keys > kMostKeys || !texts_.has_all(state))) return {};
    const std::int64_t member = closed ? most_named(f.level) : sum(most_other(f.level), kNewKey), colon = 1 + gap, comma = 1 + gap;
    return {sum(sum(member, Texts::kOneChar + colon + comma), least_rest(f)), false};  // an escape may have begun
  }
  const bool is_due = f.phase == Phase::Colon || f.phase == Phase::Value;
  if (!is_due && at.lex != Lex::None) return {};  // the first item of an array
  const std::int64_t rest = behind_value(is_due ? f : *f.parent);
  if (rest < 0) return {};
  std::int64_t bytes = -1;
  if (!is_due) {
    if (f.records || f.barred || levels_[f.level].alternatives.size() != 1) return {};
    const Id shape = levels_[f.level].alternatives[0].shape;
    bytes = is_even(f) ? least_members(f) : f.kind == Kind::Object ? goals_.cost_object(shape, keys_of(f)) : goals_.cost_array(shape, f.count);
    return {sum(bytes, rest), true};
  }
  switch (at.lex) {
    case Lex::None:
      return {sum(value_bytes(f.level, info(f.level), f.cls), rest + (f.phase == Phase::Colon ? 1 + gap : at.gap == 0 ? gap : 0)), true};
    case Lex::Text:
      texts_.cheapest(at.state, at.spec, at.chars, [&](Id, std::int64_t n) { bytes = least(bytes, n); });
      return {sum(bytes, rest + 1), true};
    case Lex::Number:
      if (at.key) return {};
      numbers_.cheapest(at.state, [&](Id, std::int64_t n) { bytes = least(bytes, n); });
      return {sum(bytes, rest), true};
    case Lex::Literal: return {static_cast<std::int64_t>(kLiterals[at.state].size()) - at.chars + rest, true};
    case Lex::Key: break;
  }
  return {};
}

std::int64_t Engine::member_cost(Id level, std::int32_t cls) {
  const KeyClass& keys = (*info(level).classes)[static_cast<std::size_t>(cls)];
  return goals_.cost(goals_.base_of(goals_.shape(levels_[level].alternatives[0].shape), keys));
}

std::int64_t Engine::most_named(Id id) {
  constexpr std::size_t kMost = 64;
  const ObjectInfo& info = this->info(id);
  if (info.most_named != -2) return info.most_named;
  if (info.classes->size() > kMost) return infos_.find(id)->most_named = -1;
  std::int64_t most = 0;
  for (std::size_t c = 0; c < info.classes->size(); ++c)
    if (const Id name = (*info.classes)[c].name; name >= 0) most = std::max(most, goals_.key_bytes(name) + member_cost(id, static_cast<std::int32_t>(c)));
  return infos_.find(id)->most_named = most;
}

std::int64_t Engine::most_other(Id id) {
  const ObjectInfo& info = this->info(id);
  if (info.most_other != -2) return info.most_other;
  std::int64_t most = 0;
  for (const std::int32_t c : info.text_classes) {
    const std::int64_t bytes = member_cost(id, c);
    most = most < 0 || bytes < 0 ? -1 : std::max(most, bytes);
  }
  return infos_.find(id)->most_other = most;
}

std::int64_t Engine::distance(const Config& at, std::int64_t limit) {
  if (at.finished) return 0;
  if (!at.top) return -1;
  Arena scratch;
  const Config now = told(at, scratch);
  const std::int64_t out = now.top ? bytes_left(now, at.top->records ? kNoLimit : limit) : -1;
  if (out < 0 && at.top->records)
    throw Limit{"distance", -1, "a value of any length must come twice in an array that may not go on: what it will take can't be known"};
  return out;
}

std::int64_t Engine::bytes_left(const Config& at, std::int64_t limit) {
  const Frame& f = *at.top;
  std::int64_t out = -1;
  switch (at.lex) {
    case Lex::Text:
    case Lex::Number:
    case Lex::Literal: {
      const Targets& options = this->options(f, at.lex == Lex::Text ? Type::String : at.lex == Lex::Number ? Type::Number : at.state == 0 ? Type::Null : Type::Boolean);
      for (std::int32_t i = 0; i < options.size; ++i) {
        const Target& option = options.list[i];
        std::int64_t bytes;
        if (at.lex == Lex::Text) {
          bytes = sum(texts_.cheapest(at.state, at.spec, at.chars, std::vector<Id>(option.ids, option.ids + option.size)), 1);
        } else if (at.lex == Lex::Number) {
          bytes = number_distance(at, option);
        } else {
          const std::vector<Id>& labels = sets_[at.labels].ids;
          const bool all = std::all_of(option.ids, option.ids + option.size, [&](Id l) { return std::binary_search(labels.begin(), labels.end(), l); });
          bytes = all ? static_cast<std::int64_t>(kLiterals[at.state].size()) - at.chars : -1;
        }
        out = least(out, sum(bytes, option.tail));
      }
      return out;
    }
    case Lex::Key: return key_distance(at, limit);
    case Lex::None: break;
  }
  const std::int64_t gap = options_.whitespace == Whitespace::Spaced && is_separated(f) && at.gap == 0 ? 1 : 0;
  const std::int64_t room = without(limit, gap);
  if (const std::int64_t known = cache(f).distance.known(room); known != -2) return sum(known, gap);
  switch (f.phase) {
    case Phase::End: out = 1; break;
    case Phase::Value: out = value_distance(f, room); break;
    case Phase::Colon: {
      const std::int64_t colon = options_.whitespace == Whitespace::Spaced ? 2 : 1;
      Frame next = f;
      next.cache = nullptr;
      next.phase = Phase::Value;
      out = sum(value_distance(*f.arena->make(next), without(room, colon)), colon);
      break;
    }
    case Phase::Key: {
      Config key;
      key.top = &f;
      key.lex = Lex::Key;
      key.state = writable(f).text;
      key.spec = f.cache->writable->spec;
      key.decoder = decoder_;
      key.hi = static_cast<std::int32_t>(f.names->texts.size());
      key.xhi = f.extras ? f.extras->size : 0;
      out = sum(key_distance(key, without(room, 1)), 1);
      if (room != kNoLimit && !will_do(out, room)) return sum(out, gap);  // more than the limit, and not known how many
      break;
    }
    case Phase::First:
    case Phase::After:
      out = least_rest(f);
      break;
  }
  cache(f).distance.keep(out, room);
  return sum(out, gap);
}

}  // namespace guard
