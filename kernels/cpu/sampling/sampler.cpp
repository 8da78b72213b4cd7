#include "sampling/sampler.hpp"

#include <algorithm>

namespace guard {

// ---- choices and bytes --------------------------------------------------------------------------

std::uint8_t Sampler::next() {
  if (spent() || at_ == choices_[unit_].size()) return 0;
  return static_cast<std::uint8_t>(choices_[unit_][at_++]);
}

std::uint8_t Sampler::once_more(std::size_t unit, std::int64_t written) const {
  const std::string_view choices = choices_[unit];
  const auto at = static_cast<std::size_t>(written);
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(choices[at % choices.size()]) * 167u +
                                   at * 59u);
}

void Sampler::begin_unit() {
  if (unit_ < choices_.size()) ++unit_;
  at_ = 0;
}

std::size_t Sampler::pick(std::size_t n) {
  if (n < 2) return 0;
  std::size_t value = next();
  if (n <= 256) return value * n >> 8;
  value = value << 8 | next();
  return value * n >> 16;
}

std::size_t Sampler::pick_weighted(const std::vector<std::int64_t>& weights) {
  std::int64_t total = 0;
  for (std::int64_t weight : weights) total += weight;
  auto at = static_cast<std::int64_t>(pick(static_cast<std::size_t>(total)));
  std::size_t i = 0;
  while (i + 1 < weights.size() && at >= weights[i]) at -= weights[i++];
  return i;
}

void Sampler::put(const Config& to, char byte) {
  now_ = to;
  text_.push_back(byte);
}

bool Sampler::put(char byte) {
  Config to;
  if (!engine_.step(now_, static_cast<std::uint8_t>(byte), &to, arena_)) return false;
  put(to, byte);
  return true;
}

bool Sampler::put(std::string_view bytes) {
  const Config before = now_;
  const std::size_t size = text_.size();
  for (char byte : bytes)
    if (!put(byte)) {
      now_ = before;
      text_.resize(size);
      return false;
    }
  return true;
}

bool Sampler::put_number(std::string_view text) {
  const Config before = now_;
  const std::size_t size = text_.size();
  Config after;
  if (put(text) && engine_.stepper.end_number(now_, &after, arena_)) return now_ = after, true;
  now_ = before;
  text_.resize(size);
  return false;
}

bool Sampler::nudge() {
  const std::int64_t left = engine_.distance(now_);
  Config best;
  int byte = -1;
  std::int64_t least = left;
  for (int b = 0x20; b < 256; ++b) {
    Config to;
    if (!engine_.step(now_, static_cast<std::uint8_t>(b), &to, arena_)) continue;
    const std::int64_t then = engine_.distance(to);
    if (then < 0 || then >= least) continue;
    least = then, best = to, byte = b;
    if (then == left - 1) break;
  }
  if (byte < 0) return false;
  put(best, static_cast<char>(byte));
  return true;
}

bool Sampler::is_nearer(const Config& to) {
  const std::vector<Alternative>& alternatives = engine_.levels[now_.top->level].alternatives;
  return alternatives.size() == 1 || engine_.distance(to) < engine_.distance(now_);
}

bool Sampler::finish(const Frame* until) {
  while (true) {
    if (now_.lex == Lex::None && now_.top->parent == until->parent &&
        (now_.top->phase == Phase::After || now_.top->phase == Phase::End))
      return true;
    if (engine_.can_stop(now_)) return true;
    if (!nudge()) return false;
  }
}

bool Sampler::sample(std::vector<std::string_view> choices, std::string* text, std::size_t* used) {
  choices_ = std::move(choices);
  unit_ = at_ = 0;
  text_.clear();
  arena_.clear();
  now_ = engine_.start(arena_);
  if (!now_.top) return false;
  deep_ = next() >= kDeep ? 1 + next() / 4 : 0;
  descends_ = deep_ > 0;
  const Frame* root = now_.top;
  if (!value()) finish(root);
  *text = text_;
  *used = unit_;
  return true;
}

// ---- values -------------------------------------------------------------------------------------

namespace {
Type type_of(const Value& v) {
  constexpr Type kTypeOf[] = {Type::Null,   Type::Boolean, Type::Boolean, Type::Number,
                              Type::String, Type::Array,   Type::Object};
  return kTypeOf[v.kind];
}
}  // namespace

// The JSON text of a scalar; "" for a fraction, a number with more than nine trailing zeros, an
// array or an object.
std::string Sampler::scalar_text(const Value& v) const {
  switch (v.kind) {
    case Value::Null: return "null";
    case Value::False: return "false";
    case Value::True: return "true";
    case Value::String: return '"' + json_of(constraints_.lexicon.names[v.text].text) + '"';
    case Value::Number:
      if (v.number.digits.empty()) return "0";
      if (v.number.exp < 0 || v.number.exp > 9) return "";
      return (v.number.negative ? "-" : "") + v.number.digits +
             std::string(static_cast<std::size_t>(v.number.exp), '0');
    default: return "";
  }
}

// The result of count(), or kMany if there are too many values to list.
template <class F>
std::int64_t Sampler::listed(F count) {
  try {
    return static_cast<std::int64_t>(count());
  } catch (const Limit&) {
    return kMany;
  }
}

std::int64_t Sampler::variety(Id goal, Type type) {
  const std::pair key{goal, static_cast<Id>(type)};
  if (const auto found = varieties_.find(key); found != varieties_.end()) return found->second;
  const std::int64_t n = listed([&] { return constraints_.values.count(goal, type, kMany); });
  return varieties_[key] = std::max<std::int64_t>(n, 1);
}

std::int64_t Sampler::variety(const Frame& f) {
  std::int64_t n = 0;
  for (int t = 0; t < kTypes && n < kMany; ++t)
    for (Id goal : engine_.viability.list(engine_.viability.vital(f, static_cast<Type>(t))))
      if (goal != kFalse && constraints_.inhabitance.inhabited(goal, static_cast<Type>(t)))
        n = std::min(kMany, n + variety(goal, static_cast<Type>(t)));
  return n;
}

std::int64_t Sampler::variety(Id lang) {
  if (const auto found = lang_varieties_.find(lang); found != lang_varieties_.end())
    return found->second;
  const std::int64_t n = std::max<std::int64_t>(langs_.count(lang, kMany), 1);
  return lang_varieties_[lang] = n;
}

// How many objects exist in which the due value is this one.
std::int64_t Sampler::variety_behind(const Frame& f, Type type, Id value) {
  std::int64_t n = 0;
  for (const Part& part : engine_.levels.parts(f.due, type).list) {
    if (!part.vital || part.base == kFalse || n >= kMany) continue;
    const Id shape = constraints_.partial.residual(part.open, value);
    auto at = shape_varieties_.find(shape);
    if (at == shape_varieties_.end())
      at = shape_varieties_
               .emplace(shape,
                        listed([&] { return constraints_.values.count_objects(shape, kMany); }))
               .first;
    n = std::min(kMany, n + at->second);
  }
  return std::max<std::int64_t>(n, 1);
}

// If the due member is a discriminator: writes one of its few values, weighted by how many objects
// each allows. False: the member is no discriminator, and nothing was written.
bool Sampler::tag(const std::vector<Way>& ways) {
  const Frame& f = *now_.top;
  if (f.kind != Kind::Object || f.records ||
      (engine_.levels[f.level].alternatives.size() == 1 && engine_.levels.info(f.level).plain))
    return false;
  std::vector<std::string> texts;
  std::vector<std::int64_t> weights;
  const auto write = [&](const std::string& text) {
    return text[0] == '-' || (text[0] >= '0' && text[0] <= '9') ? put_number(text) : put(text);
  };
  const Config before = now_;
  const std::size_t size = text_.size();
  for (const Way& way : ways) {
    if (way.type >= Type::Array || variety(way.goal, way.type) >= kMany) return false;
    for (const Id id : std::vector<Id>(constraints_.values.of(way.goal, kMany))) {
      const Value& value = constraints_.lexicon.values[id];
      std::string text = type_of(value) == way.type ? scalar_text(value) : "";
      if (text.empty() || std::find(texts.begin(), texts.end(), text) != texts.end()) continue;
      if (!write(text)) continue;
      const bool is_last = !engine_.viability.any_may_come(*now_.top);
      now_ = before;
      text_.resize(size);
      texts.push_back(std::move(text));
      weights.push_back(is_last ? 1 : variety_behind(f, way.type, id));
    }
  }
  if (texts.size() < 2 || std::count(weights.begin(), weights.end(), weights[0]) ==
                              static_cast<std::ptrdiff_t>(weights.size()))
    return false;
  const auto [least, most] = std::minmax_element(weights.begin(), weights.end());
  const auto at = (descends_ ? most : least) - weights.begin();
  return write(texts[deep_ ? static_cast<std::size_t>(at) : pick_weighted(weights)]);
}

// Moves one of the ways to the front: chooses a type, then an alternative of this type.
void Sampler::choose(std::vector<Way>* ways) {
  std::vector<Type> types;
  for (const Way& way : *ways)
    if (types.empty() || types.back() != way.type) types.push_back(way.type);
  if (types.empty()) return;
  if (deep_ && types.front() < Type::Array && types.back() >= Type::Array)
    std::erase_if(types, [this](Type t) { return (t < Type::Array) == descends_; });
  std::vector<std::int64_t> weights;
  for (Type type : types) {
    std::int64_t n = 0;
    for (const Way& way : *ways)
      if (way.type == type) n = std::min(kMany, n + variety(way.goal, type));
    weights.push_back(n);
  }
  const Type type = types[types.size() == 1 ? 0 : pick_weighted(weights)];
  const auto is_it = [type](const Way& way) { return way.type == type; };
  const auto first = std::find_if(ways->begin(), ways->end(), is_it);
  weights.clear();
  for (auto way = first; way != ways->end() && is_it(*way); ++way)
    weights.push_back(variety(way->goal, type));
  // The alternatives of an object or array are chosen while it is written.
  const std::size_t at = type < Type::Array && weights.size() > 1 ? pick_weighted(weights) : 0;
  const auto chosen = first + static_cast<std::ptrdiff_t>(at);
  std::rotate(ways->begin(), chosen, chosen + 1);
}

bool Sampler::value() {
  const Frame* f = now_.top;
  std::vector<Way> ways;
  const bool simplest = spent();
  if (f->depth >= deep_) descends_ = false;
  if (simplest &&
      !engine_.levels.parts(f->due, Type::Object).plain) {  // later members depend on this value
    for (int t = 0; t < kTypes; ++t) {
      const Targets& options = engine_.distances.options(*f, static_cast<Type>(t));
      for (std::int32_t i = 0; i < options.size; ++i) {
        const std::int64_t cost = constraints_.costs.of(options.list[i].goal, static_cast<Type>(t));
        if (cost >= 0 && options.list[i].tail >= 0)
          ways.push_back({cost + options.list[i].tail, static_cast<Type>(t), options.list[i].goal});
      }
    }
    std::stable_sort(ways.begin(), ways.end(),
                     [](const Way& a, const Way& b) { return a.cost < b.cost; });
  } else {
    for (int t = 0; t < kTypes; ++t) {
      const Type type = static_cast<Type>(t);
      std::vector<Id> live;  // goals of the alternatives
      for (Id goal : engine_.viability.list(engine_.viability.vital(*f, type)))
        if (goal != kFalse && constraints_.inhabitance.inhabited(goal, type) &&
            std::find(live.begin(), live.end(), goal) == live.end())
          live.push_back(goal);
      for (Id goal : live)
        ways.push_back({simplest ? constraints_.costs.of(goal, type) : 0, type, goal});
    }
    if (simplest)
      std::stable_sort(ways.begin(), ways.end(),
                       [](const Way& a, const Way& b) { return a.cost < b.cost; });
    else if (tag(ways))
      return true;
    else
      choose(&ways);
  }
  for (const Way& way : ways) {
    if (way.type == Type::Object  ? object()
        : way.type == Type::Array ? array()
                                  : scalar(way.type, way.goal, simplest))
      return true;
  }
  return false;
}

bool Sampler::scalar(Type type, Id goal, bool simplest) {
  switch (type) {
    case Type::Null: return put("null");
    case Type::Boolean: {
      const std::uint8_t may = constraints_.scalars.literals3(goal);
      const bool first = may & 4, both = (may & 6) == 6;
      const std::string_view words[] = {"false", "true"};
      const std::size_t i = both ? (simplest ? 0 : pick(2)) : first ? 0 : 1;
      return put(words[i]) || put(words[1 - i]);
    }
    case Type::Number:
      return put_number(number_of(goal, simplest)) ||
             (!simplest && put_number(number_of(goal, true)));
    case Type::String:
      return put('"' + string_of(goal, simplest) + '"') ||
             (!simplest && put('"' + string_of(goal, true) + '"'));
    default: return false;
  }
}

// ---- objects ------------------------------------------------------------------------------------

const std::vector<std::int32_t>& Sampler::by_rank(Id level) {
  const auto [at, fresh] = by_rank_.try_emplace(engine_.levels[level].table);
  if (fresh) {
    const NameTable& names = engine_.levels.names(level);
    for (std::size_t i = 0; i < names.names.size(); ++i)
      at->second.push_back(static_cast<std::int32_t>(i));
    std::stable_sort(at->second.begin(), at->second.end(), [&](std::int32_t a, std::int32_t b) {
      return names.ranks[static_cast<std::size_t>(a)] < names.ranks[static_cast<std::size_t>(b)];
    });
  }
  return at->second;
}

bool Sampler::write_name(std::int32_t name) {
  const Frame& f = *now_.top;
  const std::string_view text = f.names->texts[static_cast<std::size_t>(name)];
  if (f.records) return put('"' + json_of(text) + "\":");
  // Takes the key as read, without a step for each byte: the name determines the result.
  Config key, to;
  key.top = &f;
  key.lex = Lex::Key;
  key.state = Texts::kDead;
  key.decoder = engine_.keys.decoder();
  key.lo = name, key.hi = name + 1;
  key.depth = static_cast<std::int32_t>(text.size());
  if (!engine_.step(key, '"', &to, arena_)) return false;
  text_ += '"' + json_of(text);
  put(to, '"');
  return put(':');
}

bool Sampler::write_new_key(bool simplest) {
  const Frame& f = *now_.top;
  const Writable& w = engine_.viability.writable(f);
  if (w.text == Texts::kDead) return false;
  const std::vector<Component> classes = engine_.lexicon().texts.components(w.text);
  if (classes.empty()) return false;
  const Id lang = classes[simplest ? 0 : pick(classes.size())].lang;
  if (!simplest) {
    const std::string text = text_of(lang, 0, kInf, false);
    // Dialects of regular expressions differ in what ends a line. If the pattern depends on that,
    // the key is avoided while others are possible.
    const bool is_clear =
        lang == Langs::kAll || langs_.row(lang).at('\r') == langs_.row(lang).at(0x85);
    if (is_clear && put('"' + text + "\":")) return true;
  }
  for (std::size_t i = 0; i < 64; ++i) {
    const Word* word = constraints_.lexicon.words.at(lang, i);
    if (!word) return false;
    if (put('"' + json_of(word->text) + "\":")) return true;
  }
  return false;
}

// Writes the comma and the key of a further member. `stopped`: the object was closed instead.
// False: no key can be written. With few optional names, each name has a unit whose first choice
// decides whether it is present, so lowering this choice removes the member. With many, the first
// choice of a unit selects one of them, or the next one that may come after it.
bool Sampler::member(const Plan& plan, std::size_t members, bool* stopped) {
  *stopped = false;
  Config closed;
  const bool closes = engine_.step(now_, '}', &closed, arena_);
  const bool first = now_.top->phase == Phase::First;
  const bool is_over = plan.least == kNothing || (plan.one && members > 0) || (deep_ && !descends_);
  const auto close = [&] {
    put(closed, '}');
    return *stopped = true;
  };
  if (closes && is_over && (!spent() || is_nearer(closed))) return close();
  std::uint8_t choice = 0;
  if (!plan.few) {
    begin_unit();
    choice = next();
  }
  const bool stop =
      is_over || (!plan.few && !plan.all && choice < (members == 0 ? kStop / 3 : kStop));
  if (closes && (spent() ? is_nearer(closed) : stop)) return close();
  if (!engine_.viability.any_may_come(*now_.top)) return closes && close();
  const Config before = now_;
  const std::size_t size = text_.size();
  if (!first && !put(',')) return closes && close();
  const Frame& f = *now_.top;
  const ObjectInfo& info = engine_.levels.info(f.level);
  const NameTable& names = engine_.levels.names(f.level);
  const std::vector<std::int32_t>& ranked = by_rank(f.level);
  const bool may_be_new = engine_.viability.writable(f).text != Texts::kDead;
  std::size_t skip = plan.few || plan.all || stop
                         ? 0
                         : (choice - kStop) * (plan.optional + may_be_new) / (256u - kStop);
  std::vector<std::int32_t> passed, asked;
  std::int32_t chosen = -1;
  for (const std::int32_t i : ranked) {
    const std::int32_t rank = names.ranks[static_cast<std::size_t>(i)];
    const bool is_asked = info.is_asked(i);
    const bool is_before = !is_asked && skip > 0;
    skip -= is_before;
    if ((rank != kInf && rank <= f.rank) || (f.seen && (f.seen[i >> 6] >> (i & 63) & 1))) continue;
    if (!is_asked || !info.plain) {
      if (spent() || (stop && !is_asked)) {
        if (is_asked && engine_.viability.may_come(f, i)) asked.push_back(i);
        continue;
      }
      bool is_there = !is_before;
      if (plan.few) {
        begin_unit();
        is_there = next() >= plan.least;
      } else if (is_asked) {
        is_there = pick(2) == 0;
      }
      if (!is_there) {
        (is_asked ? asked : passed).push_back(i);
        continue;
      }
    } else if (plan.few) {
      begin_unit();
      next();
    }
    if (!engine_.viability.may_come(f, i)) continue;
    chosen = i;
    break;
  }
  const bool simplest = spent();
  if (plan.few && chosen < 0) {
    begin_unit();
    choice = next();
  }
  if (chosen >= 0 && write_name(chosen)) return true;
  if (simplest && closes) {  // no units are left
    now_ = before;
    text_.resize(size);
    if (is_nearer(closed)) return close();
    if (!first && !put(',')) return false;
  }
  if (!simplest) {
    // After the last name: an undeclared key, or the end.
    if (!stop && (!plan.few || choice >= (ranked.empty() ? kNewAlone : kNew)) &&
        write_new_key(false))
      return true;
    if (closes) {
      now_ = before;
      text_.resize(size);
      return close();
    }
    for (const auto* list : {&asked, &passed})
      for (const std::int32_t i : *list)
        if (engine_.viability.may_come(f, i) && write_name(i)) return true;
  }
  // Takes the key that is nearest to the end.
  const Config here = now_;
  const std::size_t length = text_.size();
  Config best;
  std::string text;
  std::int64_t least = -1;
  const auto weigh = [&] {
    const std::int64_t left = asked.size() == 1 && least < 0 ? 0 : engine_.distance(now_);
    if (left >= 0 && (least < 0 || left < least))
      least = left, best = now_, text = text_.substr(length);
    now_ = here;
    text_.resize(length);
  };
  if (asked.empty())
    for (const std::int32_t i : ranked) {
      if (asked.size() == 64) break;
      if (engine_.viability.may_come(f, i)) asked.push_back(i);
    }
  for (const std::int32_t i : asked)
    if (write_name(i)) weigh();
  if ((asked.empty() || least < 0) && write_new_key(true)) weigh();
  if (least < 0) {
    now_ = before;
    text_.resize(size);
    return false;
  }
  now_ = best;
  text_ += text;
  return true;
}

bool Sampler::object() {
  const Frame* outer = now_.top;
  if (!put('{')) return false;
  constexpr std::uint8_t kBare = 4, kHalf = 24, kOne = 208, kAll = 224;
  const std::uint8_t choice = next();
  const ObjectInfo& info = engine_.levels.info(now_.top->level);
  Plan plan;
  plan.optional = info.plain ? info.class_of.size() - info.asked.size() : info.class_of.size();
  plan.few = plan.optional <= kFew;
  const bool is_alone = plan.optional == 1;  // without it, perhaps nothing varies
  plan.all = deep_ ? plan.few && plan.optional > 0 : choice >= kAll;
  plan.one = deep_ ? !plan.all : choice >= kOne && choice < kAll;
  plan.least = deep_            ? 0
               : choice < kBare ? kNothing
               : plan.all       ? 1
               : is_alone       ? kThere / 2
               : choice < kHalf ? 120
                                : kThere;
  for (std::size_t members = 0;; ++members) {
    bool stopped;
    if (!member(plan, members, &stopped)) return finish(outer);
    if (stopped) return true;
    if (!value()) return finish(outer);
  }
}

// ---- arrays -------------------------------------------------------------------------------------

bool Sampler::array() {
  const Frame* outer = now_.top;
  if (!put('[')) return false;
  std::int32_t lo = kInf, hi = 0;
  for (const Alternative& a : engine_.levels[now_.top->level].alternatives) {
    lo = std::min(lo, constraints_.arrays[a.shape].lo);
    hi = std::max(hi, constraints_.arrays[a.shape].hi);
  }
  constexpr int kEmpty = 24, kFull = 236, kBare = 8;
  const int empty = outer->depth <= 1 ? kBare : kEmpty;  // near the root, little else varies
  const int plan = next();
  // The number of optional items. A choice determines it in advance, so no unit marks the end, and
  // any unit can be used for any item. If items have few values, arrays differ mainly by length, so
  // all lengths are equally likely.
  const std::int64_t items = spent() || now_.top->due < 0 ? kMany : variety(*now_.top);
  std::int32_t more = deep_           ? descends_
                      : plan >= kFull ? (hi <= 64 ? hi : 12)
                      : plan < empty  ? 0
                                      : 1 + (plan - empty) * (plan - empty) / 2800;
  if (!deep_ && items < kMany && (plan < kFull || hi > 64))
    more = plan < kBare ? 0 : 1 + (plan - kBare) * std::min(hi - lo, items == 1 ? 124 : 24) / 256;
  bool alike = items == 1;  // all items are equal, so no unit is spent on them
  while (true) {
    const Frame& f = *now_.top;
    Config closed;
    const bool closes = engine_.step(now_, ']', &closed, arena_);
    if (closes && (alike || !spent()) && more-- <= 0) {
      put(closed, ']');
      return true;
    }
    const Config before = now_;
    const std::size_t size = text_.size();
    const bool more_may_come = f.phase == Phase::First || put(',');
    alike = alike && more_may_come && variety(*now_.top) == 1;
    if (!alike) begin_unit();
    if (closes && !alike && spent()) {
      now_ = before;
      text_.resize(size);
      if (is_nearer(closed)) {
        put(closed, ']');
        return true;
      }
      if (f.phase != Phase::First) put(',');
    }
    if (more_may_come && value()) continue;
    now_ = before;
    text_.resize(size);
    if (!closes) return finish(outer);
    put(closed, ']');
    return true;
  }
}

}  // namespace guard
