#include "automaton/engine.hpp"

#include <algorithm>

#include "automaton/frames.hpp"

namespace guard {

namespace {
constexpr std::int32_t kNewline = 100, kTabs = 200;  // gap counts of Whitespace::Flexible: a newline and so many spaces, tabs
constexpr std::int32_t kMaxSpaces = 40, kMaxTabs = 10;

bool is_space(std::uint8_t b) { return b == ' ' || b == '\n' || b == '\r' || b == '\t'; }

// The part of the sorted texts [lo, hi) that have `byte` at `depth`.
template <class At>
void narrow(std::int32_t* lo, std::int32_t* hi, std::int32_t depth, std::uint8_t byte, At at) {
  const auto less = [&](std::int32_t i, int than) {
    const std::string_view t = at(i);
    return static_cast<std::int32_t>(t.size()) <= depth || static_cast<std::uint8_t>(t[static_cast<std::size_t>(depth)]) < than;
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
  *hi = bound(byte + 1);
  *lo = a;
}
}  // namespace

LexemeMasks& Tables::masks(const std::shared_ptr<const Vocabulary>& vocabulary) {
  return *remember(masks_, vocabulary->id(), [&] { return std::make_unique<LexemeMasks>(vocabulary, part_); });
}

std::vector<std::unique_ptr<LexemeMasks>> Tables::abandoned() {
  std::vector<std::unique_ptr<LexemeMasks>> out;
  for (auto& [_, masks] : masks_)
    if (masks->is_abandoned()) out.push_back(std::move(masks));
  std::erase_if(masks_, [](const auto& entry) { return !entry.second; });
  return out;
}

std::size_t Tables::nbytes() const {
  std::size_t n = 0;
  for (const auto& [_, masks] : masks_) n += masks->nbytes();
  return n;
}

void* Arena::allocate(std::size_t bytes) {
  bytes = (bytes + 15) & ~std::size_t{15};
  if (bytes > kBlock / 4) {
    large_.emplace_back(bytes);
    return large_.back().bytes.get();
  }
  if (left_ < bytes) {
    if (block_ == blocks_.size()) blocks_.emplace_back(kBlock);
    ++block_;
    left_ = kBlock;
  }
  void* at = blocks_[block_ - 1].bytes.get() + kBlock - left_;
  left_ -= bytes;
  return at;
}

void Arena::clear() {
  large_.clear();
  while (blocks_.size() > 64) blocks_.pop_back();
  left_ = block_ = 0;
}

Engine::Engine(Tables& tables, Options options, Id root)
    : tables_(tables),
      options_(options),
      goals_(tables.lexicon, options.spelling, options.limits, options.whitespace == Whitespace::Spaced ? 1 : 0),
      root_(root),
      texts_(tables.lexicon.texts),
      numbers_(tables.lexicon.numbers) {
  Id spec;
  decoder_ = texts_.start({{Langs::kAll, 0, kInf, 0}}, options.spelling, &spec, Use::Decoder);
  sets_.intern({});
}

Frame::Cache& Engine::cache(const Frame& f) const {
  if (!f.cache) f.cache = f.arena->make(Frame::Cache{});
  return *f.cache;
}

const Frame* Engine::make(Scratch::Key key, const Frame& frame, Arena& arena) {
  if (!scratch_ || frame.records) return arena.make(frame);
  for (const auto& [known, made] : scratch_->few)
    if (known == key) return made;
  if (scratch_->few.size() < Scratch::kFew) {
    scratch_->few.push_back({key, arena.make(frame)});
    return scratch_->few[scratch_->few.size() - 1].second;
  }
  return remember(scratch_->many, key, [&]() -> const Frame* { return arena.make(frame); });
}

Config Engine::start(Arena& arena) {
  Config c;
  const Id root = goals_.goal_of(root_);
  bool any = false;  // by types, not on sight: compile() is to meet what the root's members divide into
  for (int t = 0; t < kTypes && !any; ++t) any = goals_.inhabited(root, static_cast<Type>(t));
  if (!any) return c;
  Frame f;
  f.arena = &arena;
  f.due = dues_.intern({Kind::Root, 0, 0});
  if (options_.schema_order) f.order = lists_.intern({{root_}});
  c.top = arena.make(f);
  return c;
}

// ---- the order of keys ----------------------------------------------------------------------------------------------
// It depends on the path alone: the schemas that apply in place, as they are written, whichever of them hold.

const std::vector<Id>& Engine::in_place(Id order) {
  const auto found = in_place_.find(order);
  if (found != in_place_.end()) return found->second;
  std::vector<Id> out, todo(lists_[order].ids.rbegin(), lists_[order].ids.rend());
  std::unordered_set<Id> seen;
  goals_.need([&] {
    std::vector<Id> goals;
    for (Id n : todo) goals.push_back(goals_.goal_of(n));
    return goals;
  }());
  while (!todo.empty()) {
    const Id n = todo.back();
    todo.pop_back();
    if (n < 2 || !seen.insert(n).second) continue;
    out.push_back(n);
    std::vector<Id> inner;
    for (const Atom& a : goals_.atoms(n)) {
      if (applies_in_place(a.op) && a.op != Op::Not) inner.insert(inner.end(), a.nodes.begin(), a.nodes.end());
    }
    todo.insert(todo.end(), inner.rbegin(), inner.rend());
  }
  return in_place_.emplace(order, std::move(out)).first->second;
}

const std::vector<Id>& Engine::order_names(Id order) {
  const auto found = order_names_.find(order);
  if (found != order_names_.end()) return found->second;
  std::vector<Id> out;
  std::unordered_map<Id, bool> seen;
  for (const Op op : {Op::Properties, Op::Required})
    for (Id n : in_place(order))
      for (const Atom& a : goals_.atoms(n))
        if (a.op == op)
          for (Id name : a.names)
            if (seen.emplace(name, true).second) out.push_back(name);
  return order_names_.emplace(order, std::move(out)).first->second;
}

Id Engine::order_of_key(Id order, Id name) {
  const auto found = order_keys_.find({order, name});
  if (found != order_keys_.end()) return found->second;
  std::vector<Id> out;
  for (Id n : in_place(order)) {
    std::vector<Id> hit, rest;
    for (const Atom& a : goals_.atoms(n)) {
      for (std::size_t i = 0; a.op == Op::Properties && i < a.names.size(); ++i)
        if (a.names[i] == name) hit.push_back(a.nodes[i]);
      for (std::size_t i = 0; a.op == Op::Patterns && i < a.langs.size(); ++i)
        if (tables_.lexicon.in_lang(a.langs[i], name)) hit.push_back(a.nodes[i]);
      if (a.op == Op::Additional || a.op == Op::UnevaluatedProperties) rest.insert(rest.end(), a.nodes.begin(), a.nodes.end());
    }
    if (hit.empty()) hit = rest;
    out.insert(out.end(), hit.begin(), hit.end());
  }
  return order_keys_[{order, name}] = lists_.intern({std::move(out)});
}

Id Engine::order_of_item(Id order, std::int32_t at) {
  at = std::min(at, 1 << 20);
  const auto found = order_items_.find({order, at});
  if (found != order_items_.end()) return found->second;
  std::vector<Id> out;
  for (Id n : in_place(order))
    for (const Atom& a : goals_.atoms(n))
      if ((a.op == Op::Items && a.lo <= at && at < a.hi) || a.op == Op::Contains || a.op == Op::UnevaluatedItems) out.push_back(a.nodes[0]);
  return order_items_[{order, at}] = lists_.intern({std::move(out)});
}

// ---- levels ---------------------------------------------------------------------------------------------------------

const NamesIndex& Engine::index(Id table) {
  if (indices_.size() <= static_cast<std::size_t>(table)) indices_.resize(static_cast<std::size_t>(table) + 1);
  auto& slot = indices_[static_cast<std::size_t>(table)];
  if (!slot) {
    slot = std::make_unique<NamesIndex>();
    const Names& names = names_[table];
    for (std::size_t i = 0; i < names.names.size(); ++i) {
      slot->texts.push_back(tables_.lexicon.names[names.names[i]].text);
      slot->at[names.names[i]] = static_cast<std::int32_t>(i);
    }
  }
  return *slot;
}

Id Engine::object_level(const std::vector<Alternative>& alternatives, Id order) {
  std::vector<Id> shapes;
  for (const Alternative& a : alternatives) shapes.push_back(a.shape);
  std::sort(shapes.begin(), shapes.end());
  shapes.erase(std::unique(shapes.begin(), shapes.end()), shapes.end());
  std::unordered_map<Id, std::int32_t> ranks;
  for (const KeyClass& c : goals_.classes(shapes))
    if (c.name >= 0) ranks.emplace(c.name, kInf);
  if (order >= 0) {
    const std::vector<Id>& names = order_names(order);
    for (std::size_t i = 0; i < names.size(); ++i) ranks[names[i]] = static_cast<std::int32_t>(i);
  }
  Names table;
  for (const auto& [name, _] : ranks) table.names.push_back(name);
  const auto& texts = tables_.lexicon.names;
  std::sort(table.names.begin(), table.names.end(), [&](Id a, Id b) { return texts[a].text < texts[b].text; });
  for (Id name : table.names) table.ranks.push_back(ranks[name]);
  return levels_.intern({Kind::Object, names_.intern(std::move(table)), alternatives});
}

Id Engine::array_level(std::vector<Alternative> alternatives) {
  const bool records = std::any_of(alternatives.begin(), alternatives.end(), [this](const Alternative& a) { return goals_.compares(a.shape); });
  return levels_.intern({Kind::Array, -1, std::move(alternatives), records});
}

const Engine::ObjectInfo& Engine::info(Id id) {
  if (const ObjectInfo* found = infos_.find(id)) return *found;
  const Level level = levels_[id];
  ObjectInfo out;
  std::vector<Id> shapes;
  for (const Alternative& a : level.alternatives) shapes.push_back(a.shape);
  std::sort(shapes.begin(), shapes.end());
  shapes.erase(std::unique(shapes.begin(), shapes.end()), shapes.end());
  out.classes = &goals_.classes(shapes);
  const NamesIndex& names = index(level.table);
  out.class_of.assign(names.texts.size(), -1);
  for (std::size_t c = 0; c < out.classes->size(); ++c) {
    const KeyClass& cls = (*out.classes)[c];
    if (cls.name < 0) {
      out.text_classes.push_back(static_cast<std::int32_t>(c));
    } else {
      const auto at = names.at.find(cls.name);
      if (at != names.at.end()) out.class_of[static_cast<std::size_t>(at->second)] = static_cast<std::int32_t>(c);
    }
  }
  for (std::size_t i = 0; i < out.class_of.size(); ++i)
    for (std::int32_t c : out.text_classes)
      if (out.class_of[i] < 0 && tables_.lexicon.in_lang((*out.classes)[static_cast<std::size_t>(c)].lang, names_[level.table].names[i])) out.class_of[i] = c;
  out.is_asked.assign(names.texts.size(), 0);
  std::vector<Id> todo = shapes;
  std::unordered_set<Id> known(todo.begin(), todo.end());
  while (!todo.empty()) {
    const Shape& s = goals_.shape(todo.back());
    todo.pop_back();
    out.bare = out.bare && s.lo == 0;
    for (const Rule& r : s.some) {
      const KeySet& k = goals_.key_set(r.keys);
      const auto at = k.kind == KeySet::One ? names.at.find(k.id) : names.at.end();
      if (at != names.at.end()) out.is_asked[static_cast<std::size_t>(at->second)] = 1;
      out.bare = out.bare && at != names.at.end();
    }
    for (const Clause& c : s.clauses)
      for (Id d : c)
        if (known.insert(d).second) todo.push_back(d);
  }
  for (std::size_t i = 0; i < names.texts.size(); ++i) {
    if (out.is_asked[i]) out.asked.push_back(static_cast<std::int32_t>(i));
    out.key_bytes.push_back(2 + spelled_bytes(names.texts[i]));
  }
  out.value_bytes.assign(out.classes->size(), -3);
  std::vector<Id> wanted;
  for (const Alternative& a : level.alternatives)
    for (const KeyClass& cls : *out.classes) wanted.push_back(goals_.base_of(goals_.shape(a.shape), cls));
  goals_.need(wanted);
  out.plain = level.alternatives.size() == 1 && goals_.is_plain(level.alternatives[0].shape);
  if (out.plain && goals_.shape(level.alternatives[0].shape).lo > 0) {
    const Shape& s = goals_.shape(level.alternatives[0].shape);
    out.plain = std::any_of(out.text_classes.begin(), out.text_classes.end(), [&](std::int32_t c) { return goals_.inhabited(goals_.base_of(s, (*out.classes)[static_cast<std::size_t>(c)])); });
  }
  return infos_.put(id, std::move(out));
}

std::vector<Id> Engine::look_ahead(const Config& at) {
  std::vector<Id> out;
  if (!at.top || at.finished || at.top->kind == Kind::Root) return out;
  const Frame& f = *at.top;
  if (at.lex == Lex::Key) {
    if (at.lo < at.hi && static_cast<std::int32_t>(f.names->texts[static_cast<std::size_t>(at.lo)].size()) == at.depth) {
      if (const std::int32_t cls = info(f.level).class_of[static_cast<std::size_t>(at.lo)]; cls >= 0) look_ahead(dues_.intern({Kind::Object, f.level, cls}), &out);
    } else if (at.state != Texts::kDead && texts_.may_end(at.state)) {
      Labels classes;
      texts_.accepted(at.state, at.spec, at.chars, &classes);
      for (Id cls : classes)
        if (cls != kEveryClass) look_ahead(dues_.intern({Kind::Object, f.level, cls}), &out);
    }
  } else if (at.lex == Lex::None && f.due >= 0 && f.phase != Phase::After) {
    look_ahead(f.due, &out);
  }
  return out;
}

void Engine::look_ahead(Id due, std::vector<Id>* out) {
  if (looked_.size() <= static_cast<std::size_t>(due)) looked_.resize(dues_.size());
  if (looked_[static_cast<std::size_t>(due)]) return;
  const Due d = dues_[due];
  std::vector<Id> nodes;
  for (const Alternative& a : levels_[d.level].alternatives) {
    if (!a.vital) continue;
    const Id goal = d.kind == Kind::Object ? goals_.base_of(goals_.shape(a.shape), (*info(d.level).classes)[static_cast<std::size_t>(d.cls)]) : goals_.base_of(goals_.row(a.shape), 0);
    for (Id literal : goals_.literals(goal)) nodes.push_back(literal >> 1);
  }
  Goals::Ahead ahead(nodes);
  if (goals_.lacking(&ahead).empty())
    looked_[static_cast<std::size_t>(due)] = 1;
  else
    out->insert(out->end(), nodes.begin(), nodes.end());
}

Keys Engine::keys_of(const Frame& f) {
  Keys out;
  out.count = f.count;
  if (f.count == 0) return out;
  const Frame* frame = &f;
  const Engine* self = this;
  out.is_open = [self, frame](Id name) {
    const auto at = frame->names->at.find(name);
    if (at == frame->names->at.end()) return true;
    const std::int32_t rank = self->names_[self->levels_[frame->level].table].ranks[static_cast<std::size_t>(at->second)];
    return !bit(frame->seen, at->second) && (!self->options_.schema_order || rank == kInf || rank > frame->rank);
  };
  out.is_seen = [frame](Id name) {
    const auto at = frame->names->at.find(name);
    return at != frame->names->at.end() && bit(frame->seen, at->second);
  };
  out.is_taken = [self, frame](std::string_view key) {
    if (self->asked_) self->asked_->insert(std::string(key));
    const auto& names = frame->names->texts;
    const auto at = std::lower_bound(names.begin(), names.end(), key);
    if (at == names.end() || *at != key) return is_extra(*frame, key);
    const std::int32_t i = static_cast<std::int32_t>(at - names.begin()), rank = self->names_[self->levels_[frame->level].table].ranks[static_cast<std::size_t>(i)];
    return bit(frame->seen, i) || (self->options_.schema_order && rank != kInf && rank <= frame->rank);
  };
  return out;
}

Id Engine::Parts::label(Id literal) const {
  const auto at = std::lower_bound(labels.begin(), labels.end(), std::pair{literal, Id{-1}});
  return at != labels.end() && at->first == literal ? at->second : -1;
}

const Engine::Parts& Engine::parts(Id due, Type type) {
  const Id slot = due * kTypes + static_cast<Id>(type);
  if (const Parts* found = parts_.find(slot)) return *found;
  const Due d = dues_[due];
  Parts out;
  if (d.kind == Kind::Root) {
    const Id root = goals_.goal_of(root_);
    out.list.push_back({goals_.inhabited(root, type) ? root : Goals::kFalse, goals_.open_both({}, false), true});
    out.plain = true;
    return parts_.put(slot, std::move(out));
  }
  const Level& level = levels_[d.level];
  out.plain = d.kind == Kind::Object && info(d.level).plain;
  std::unordered_set<Id> known;
  const auto track = [&](Id literal) {
    if (known.insert(literal).second) out.tracked.push_back(literal);
  };
  for (const Alternative& a : level.alternatives) {
    Part part;
    part.vital = a.vital;
    if (d.kind == Kind::Object) {
      const KeyClass& cls = (*info(d.level).classes)[static_cast<std::size_t>(d.cls)];
      part.base = a.vital ? goals_.base_of(goals_.shape(a.shape), cls) : Goals::kTrue;
      part.open = goals_.open_member(a.shape, cls, a.vital);
    } else {
      part.base = a.vital ? goals_.item_goal(a.shape) : Goals::kTrue;
      const Row& row = goals_.row(a.shape);
      if (level.alternatives.size() == 1 && (type == Type::Array || type == Type::Object) && row.unique > Goals::kFalse) {
        const Id bare = goals_.conj(goals_.base_of(row, 0), goals_.of_type(type));
        goals_.need({bare});
        if (goals_.has_values(bare, std::bit_ceil(goals_.values_in(row.unique).size() + 1))) part.base = bare, part.barred = row.unique;
      }
      part.open = goals_.open_item(a.shape, a.vital);
    }
    goals_.need({part.base});
    if (!goals_.inhabited(part.base, type)) part.base = Goals::kFalse;
    part.open = goals_.settled(part.open, type);
    if (goals_.is_never(part.open)) part.base = Goals::kFalse;
    if (part.base != Goals::kFalse)
      for (Id l : goals_.undecided(part.open)) track(l);
    if (part.base != Goals::kFalse && a.vital && level.records) {
      const Id base = goals_.conj(part.base, goals_.of_type(type));
      part.decides = goals_.may_get_dearer(a.shape);
      std::vector<Id> singles = goals_.reserved(a.shape, d.cls);
      std::erase_if(singles, [&](Id v) { return !goals_.inhabited(goals_.conj(base, goals_.among({v}))); });
      if (!singles.empty()) part.apart = goals_.literals(goals_.negate(goals_.among(singles)))[0];
      if (goals_.repeats(a.shape)) {
        const Id goal = goals_.conj(base, goals_.vital(part.open, base, [&](Id residual) { return goals_.viable_after(residual, d.cls + 1, base); }));
        const std::vector<Id> single = goals_.single_values(goal);
        singles.insert(singles.end(), single.begin(), single.end());
      }
      out.singles.insert(out.singles.end(), singles.begin(), singles.end());
    }
    out.list.push_back(part);
  }
  std::sort(out.singles.begin(), out.singles.end());
  out.singles.erase(std::unique(out.singles.begin(), out.singles.end()), out.singles.end());
  for (Id v : out.singles) track(goals_.literals(goals_.among({v}))[0]);
  for (const Part& part : out.list) {
    if (part.apart >= 0) track(part.apart);
    if (part.decides)
      for (Id l : goals_.undecided(part.open)) track(l ^ 1);
  }
  for (Id l : out.tracked) out.labels.push_back({l, static_cast<Id>(out.list.size() + out.labels.size())});
  std::sort(out.labels.begin(), out.labels.end());
  if (out.tracked.size() > options_.limits.alternatives) throw Limit{"alternatives", -1, "a value decides between too many alternatives"};
  return parts_.put(slot, std::move(out));
}

bool Engine::is_viable(const Frame& f, Id residual) {
  return f.kind == Kind::Object ? goals_.viable(residual, keys_of(f)) : goals_.viable_row(residual, f.count + 1);
}

// A number that decides between literals is spelled so that each of them or its negation can read it: not every set of numbers has
// exponents (docs/reference/keywords.md).
Id Engine::legible(const Frame& f, Id goal, const Parts& parts, Type type) {
  if (type != Type::Number || goal == Goals::kFalse) return goal;
  if (options_.spelling == Spelling::Canonical && is_plain(f)) {
    const Id some = goals_.among({tables_.lexicon.parse("0")});  // any number will do to keep exponents out
    goal = goals_.conj(goal, goals_.any_goal({some, goals_.negate(some)}));
  }
  std::vector<Id> values;  // of all constants among them at once: one by one they would divide numbers into ever more intervals
  for (Id l : parts.tracked) {
    if (goals_.reads_alike(goal, l)) continue;
    const std::vector<Atom>* atoms = goals_.is_defined(l >> 1) ? &goals_.atoms(l >> 1) : nullptr;
    if (atoms && atoms->size() == 1 && ((*atoms)[0].op == Op::Const || (*atoms)[0].op == Op::Enum))
      values.insert(values.end(), (*atoms)[0].values.begin(), (*atoms)[0].values.end());
    else
      goal = goals_.conj(goal, goals_.any_goal({goals_.goal({l}), goals_.goal({l ^ 1})}));
  }
  sort_unique(&values);
  if (const Id listed = goals_.among(std::move(values)); listed != Goals::kFalse) goal = goals_.conj(goal, goals_.any_goal({listed, goals_.negate(listed)}));
  return goal;
}

Id Engine::viable_after(const Frame& f, Id residual, Id base) {
  if (f.kind == Kind::Array) return goals_.viable_after(residual, f.count + 1, base);
  return is_viable(f, residual) ? Goals::kTrue : Goals::kFalse;
}

// Most types decide alike.
template <class Search>
Id Engine::decided(const Frame& f, Id open, Id base, const Search& search) {
  for (const Decided* d = cache(f).decided; d; d = d->before)
    if (d->open == open && d->base == base) return d->goal;
  const Id goal = search();
  cache(f).decided = f.arena->make(Decided{cache(f).decided, open, base, goal});
  return goal;
}

Id Engine::vital(const Frame& f, Type type) {
  Id& slot = cache(f).vital[static_cast<std::size_t>(type)];
  if (slot >= 0) return slot;
  const Parts& parts = this->parts(f.due, type);
  Few<Id, 8> out;
  for (const Part& part : parts.list) try {
    Id goal = part.vital ? part.base : Goals::kFalse;
    if (goal != Goals::kFalse && !parts.plain) {
      const Id base = f.records ? goals_.conj(part.base, goals_.of_type(type)) : part.base;
      const auto search = [&] { return goals_.vital(part.open, part.base, [&](Id residual) { return viable_after(f, residual, base); }); };
      const Id decides = f.records ? search() : decided(f, part.open, part.base, search);
      const Id bare = goal;
      goal = legible(f, goals_.conj(goal, decides), parts, type);
      if (goal != bare && !goals_.inhabited(goal, type)) goal = Goals::kFalse;
    }
    out.push_back(parts.plain ? legible(f, goal, parts, type) : goal);
  } catch (Limit& limit) {
    goals_.blame(&limit, node_of(goals_.literals(part.base)));
    throw;
  }
  const Id id = list_of(out);
  cache(f).vital[static_cast<std::size_t>(type)] = id;
  return id;
}

bool Engine::is_alive(const Frame& f, std::span<const Id> labels) const {
  const std::size_t width = f.kind == Kind::Root ? 1 : levels_[f.level].alternatives.size();
  return !labels.empty() && static_cast<std::size_t>(labels[0]) < width;
}

// `required`: the least rank of the alternative's keys that must still come (kInf: none), in the schema's order.
bool Engine::class_is_writable(const Frame& f, const Alternative& alternative, std::int32_t cls, std::int32_t name, std::int32_t required) {
  const ObjectInfo& info = this->info(f.level);
  const KeyClass& keys = (*info.classes)[static_cast<std::size_t>(cls)];
  const Shape& shape = goals_.shape(alternative.shape);
  const std::int32_t rank = name >= 0 ? names_[levels_[f.level].table].ranks[static_cast<std::size_t>(name)] : kInf;
  if (options_.schema_order && rank > required) return false;
  const Id base = goals_.base_of(shape, keys);
  const bool plain = goals_.is_plain(alternative.shape) && (shape.lo <= f.count + 1 || info.plain);
  if (plain) return goals_.inhabited(base);
  if (f.count + 1 > shape.hi || !goals_.inhabited(base)) return false;
  Frame next = f;
  next.cache = nullptr;
  next.count = f.count + 1;
  next.rank = options_.schema_order ? std::max(f.rank, rank) : f.rank;
  std::vector<std::uint64_t> seen(words_for(names_[levels_[f.level].table].names.size()), 0);
  if (f.seen) std::copy(f.seen, f.seen + seen.size(), seen.begin());
  if (name >= 0) seen[static_cast<std::size_t>(name >> 6)] |= 1ull << (name & 63);
  next.seen = seen.data();
  const auto leads_on = [&](Id shape, Id base) { return goals_.possible(goals_.open_member(shape, keys, true), base, [&](Id residual) { return is_viable(next, residual); }); };
  if (keys.name >= 0)
    if (const auto [few, exact] = goals_.narrowed(alternative.shape, keys.name); few != alternative.shape) {
      const Id narrow = goals_.base_of(goals_.shape(few), keys);
      if (few != Goals::kNever && goals_.inhabited(narrow) && leads_on(few, narrow)) return true;
      if (exact) return false;
    }
  return leads_on(alternative.shape, base);
}

bool Engine::may_write(const Frame& f, std::int32_t cls, std::int32_t name) {
  const Level& level = levels_[f.level];
  const std::int32_t* required = cache(f).writable->required;
  for (std::size_t a = 0; a < level.alternatives.size(); ++a)
    if (level.alternatives[a].vital && class_is_writable(f, level.alternatives[a], cls, name, required[a])) return true;
  return false;
}

bool Engine::name_is_writable(const Frame& f, std::int32_t name) {
  Writable& w = writable(f);
  const std::uint64_t mask = 1ull << (name & 63);
  std::uint64_t &known = w.known[name >> 6], &yes = w.names[name >> 6];
  if (known & mask) return yes & mask;
  const std::int32_t cls = info(f.level).class_of[static_cast<std::size_t>(name)], rank = names_[levels_[f.level].table].ranks[static_cast<std::size_t>(name)];
  const bool out_of_turn = options_.schema_order && rank != kInf && rank <= f.rank;
  if (cls >= 0 && !bit(f.seen, name) && !out_of_turn && may_write(f, cls, name)) yes |= mask;
  known |= mask;
  return yes & mask;
}

bool Engine::any_is_writable(const Frame& f) {
  Writable& w = writable(f);
  if (w.any >= 0) return w.any;
  bool any = w.text != Texts::kDead;
  const std::int32_t n = static_cast<std::int32_t>(names_[levels_[f.level].table].names.size());
  for (std::int32_t i = 0; i < n && !any; ++i) any = name_is_writable(f, i);
  w.any = any;
  return any;
}

Writable& Engine::writable(const Frame& f) {
  if (cache(f).writable) return *f.cache->writable;
  const Level& level = levels_[f.level];
  const ObjectInfo& info = this->info(f.level);
  const Names& names = names_[level.table];
  const std::size_t words = words_for(names.names.size());
  auto* required = static_cast<std::int32_t*>(f.arena->allocate(level.alternatives.size() * sizeof(std::int32_t) + 1));
  std::fill(required, required + level.alternatives.size(), kInf);
  if (options_.schema_order) {
    const NamesIndex& at = index(level.table);
    for (std::size_t a = 0; a < level.alternatives.size(); ++a)
      for (const Id name : goals_.must(level.alternatives[a].shape)) {
        const auto i = at.at.find(name);
        if (i != at.at.end() && !bit(f.seen, i->second)) required[a] = std::min(required[a], names.ranks[static_cast<std::size_t>(i->second)]);
      }
  }
  auto* bits = static_cast<std::uint64_t*>(f.arena->allocate(2 * words * 8));
  std::fill(bits, bits + 2 * words, 0);
  Writable* out = f.arena->make(Writable{bits, bits + words, required, Texts::kDead, 0, -1});
  struct Undo {  // a call that ends early leaves nothing half done
    Frame::Cache& cache;
    bool done = false;
    ~Undo() { if (!done) cache.writable = nullptr; }
  } undo{cache(f)};
  f.cache->writable = out;
  Few<Id, 17> key{-1};
  for (std::int32_t c : info.text_classes)
    if (may_write(f, c, -1)) key.push_back(c), key.push_back((*info.classes)[static_cast<std::size_t>(c)].lang);
  if (key.size() > 1) {
    const auto found = opened_.find(std::span<const Id>(key));
    if (found != opened_.end()) {
      out->text = found->second.state, out->spec = found->second.spec;
    } else {
      std::vector<Labelled> list;
      // Together all classes are every text but the names: then each text goes on, and the classes only tell which one it is.
      const bool every = key.size() == 1 + 2 * info.text_classes.size() && info.text_classes.size() > 1;
      if (every) list.push_back({Langs::kAll, 0, kInf, kEveryClass});
      for (std::size_t i = 1; i < key.size(); i += 2) list.push_back({key[i + 1], 0, kInf, key[i], every});
      out->text = texts_.start(list, options_.spelling, &out->spec, Use::Key);
      opened_[{key.begin(), key.end()}] = {out->text, out->spec};
    }
  }
  undo.done = true;
  return *out;
}

bool Engine::may_have_more(const Frame& f) {
  signed char& more = cache(f).more;
  if (more >= 0) return more;
  const Level level = levels_[f.level];
  bool ok = false;
  if (level.records) {
    Frame next = f;
    next.cache = nullptr;
    next.due = due_item(f.level, f.count);
    for (int t = 0; t < kTypes && !ok; ++t)
      for (Id goal : lists_[vital(*f.arena->make(next), static_cast<Type>(t))].ids) ok = ok || goal != Goals::kFalse;
    cache(f).more = ok;
    return ok;
  }
  for (const Alternative& a : level.alternatives) {
    if (!a.vital || f.count >= goals_.row(a.shape).hi) continue;
    const Id base = goals_.base_of(goals_.row(a.shape), 0);
    ok = goals_.inhabited(base) && (goals_.is_plain_row(a.shape) ||
                                    goals_.possible(goals_.open_item(a.shape, true), base, [&](Id residual) { return is_viable(f, residual); }));
    if (ok) break;
  }
  cache(f).more = ok;
  return ok;
}

// ---- values ---------------------------------------------------------------------------------------------------------

Id Engine::value_of(const KeyText* text, const KeyText* mark, int last) {
  std::string bytes;
  if (last >= 0) bytes.push_back(static_cast<char>(last));
  for (; text != mark; text = text->before) bytes.push_back(static_cast<char>(text->byte));
  bytes.pop_back();  // the bracket or comma
  std::reverse(bytes.begin(), bytes.end());
  return tables_.lexicon.parse(bytes);
}

// ---- items that are compared ----------------------------------------------------------------------------------------
// An item that is an array or an object must not become one of the values written. Told to its level each of these is a clause, so that a
// hundred of them are slow. But mostly the level need not know: as long as more ways to go on remain than there are such values,
// whatever comes next, none of them forbids anything. So the frame keeps them, less those that differ in what has been written;
// and only where the next member or item could be the last in which they can differ the few that are left are told to the level.
// distance() has it all told from the beginning of the item: it reads the text again.

// May the values be kept back until behind the next member or item?
bool Engine::may_wait(const Frame& f) {
  const std::vector<Alternative>& alternatives = levels_[f.level].alternatives;
  if (alternatives.size() != 1) return false;
  const Id shape = alternatives[0].shape;
  const std::size_t values = static_cast<std::size_t>(f.barred->size);
  if (f.kind == Kind::Array) {
    const Row row = goals_.row(shape);
    if (goals_.compares(shape) || !row.some.empty() || !row.counts.empty() || !row.clauses.empty()) return false;
    std::int32_t edge = 0;
    for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
    bool endless = row.hi == kInf;
    for (std::int32_t i = 0; i <= edge && endless; ++i) endless = goals_.inhabited(goals_.base_of(row, i));
    for (std::int32_t i = 1; !endless && i <= edge + 1 && f.count + i < row.lo; ++i)
      if (goals_.has_values(goals_.base_of(row, i), values + 1)) return true;
    return endless;
  }
  const Shape s = goals_.shape(shape);
  if (!s.clauses.empty() || std::any_of(s.some.begin(), s.some.end(), [&](const Rule& r) { return goals_.key_set(r.keys).kind != KeySet::One; })) return false;
  const std::vector<KeyClass>& classes = goals_.own_classes(shape);
  for (const KeyClass& cls : classes)
    if (cls.name < 0 && goals_.inhabited(goals_.base_of(s, cls))) return s.hi == kInf && texts_.langs().is_endless(cls.lang);
  // Closed: of the required members that are not written yet one with so many values must surely be left then.
  const Names& names = names_[levels_[f.level].table];
  std::vector<std::int32_t> roomy;
  std::int32_t first = kInf;
  for (const KeyClass& cls : classes) {
    const auto is_it = [&](const Rule& r) { return goals_.key_set(r.keys).id == cls.name; };
    if (cls.name < 0 || std::none_of(s.some.begin(), s.some.end(), is_it)) continue;
    const std::int32_t at = f.names->at.at(cls.name), rank = options_.schema_order ? names.ranks[static_cast<std::size_t>(at)] : kInf;
    if (bit(f.seen, at)) continue;
    first = std::min(first, rank);
    if (goals_.has_values(goals_.base_of(s, cls), values + 1)) roomy.push_back(rank);
  }
  return roomy.size() > 1 || (roomy.size() == 1 && roomy[0] > first);
}

const Barred* Engine::barred_in(Id among, Type type, Arena& arena) {
  const std::vector<Id>& all = goals_.values_in(among);
  auto* ids = static_cast<Id*>(arena.allocate(sizeof(Id) * all.size()));
  std::int32_t n = 0;
  for (Id v : all)
    if (tables_.lexicon.values[v].kind == (type == Type::Array ? Value::Array : Value::Object)) ids[n++] = v;
  return n > 0 ? arena.make(Barred{n, ids}) : nullptr;
}

// The level of the frame, whose members or items so far are those of all these values, when they are told to it.
Id Engine::with_barred(const Frame& f, Id id, const Barred& barred) {
  const Level level = levels_[id];
  const Id differs = goals_.negate(goals_.among({barred.values, barred.values + barred.size}));
  const bool array = f.kind == Kind::Array;
  Id rest = array ? goals_.array(differs) : goals_.object(differs);
  const Value value = tables_.lexicon.values[barred.values[0]];
  for (std::int32_t i = 0; array && i < f.count; ++i) rest = goals_.residual(goals_.open_item(rest, false), value.items[static_cast<std::size_t>(i)]);
  for (const auto& [name, member] : value.members) {
    const auto at = f.names->at.find(name);
    if (at == f.names->at.end() || !bit(f.seen, at->second)) continue;
    const std::vector<KeyClass>& classes = goals_.own_classes(rest);
    const auto cls = std::find_if(classes.begin(), classes.end(), [name = name](const KeyClass& c) { return c.name == name; });
    if (cls != classes.end()) rest = goals_.residual(goals_.open_member(rest, *cls, false), member);
  }
  const Alternative& a = level.alternatives[0];
  return levels_.intern({level.kind, level.table, {{goals_.conjunction({a.shape, rest}, array), a.parents, a.vital}}, level.records});
}

void Engine::narrow_barred(const Frame& f, Id value, Frame* next, Arena& arena) {
  auto* ids = static_cast<Id*>(arena.allocate(sizeof(Id) * static_cast<std::size_t>(f.barred->size)));
  std::int32_t n = 0;
  const Id key = f.kind == Kind::Object ? f.key : -1;
  for (std::int32_t i = 0; i < f.barred->size; ++i) {
    const Value& v = tables_.lexicon.values[f.barred->values[i]];
    bool same;
    if (f.kind == Kind::Array) {
      same = static_cast<std::int32_t>(v.items.size()) > f.count && v.items[static_cast<std::size_t>(f.count)] == value;
    } else {
      same = std::binary_search(v.members.begin(), v.members.end(), std::pair{key, value});
    }
    if (same) ids[n++] = f.barred->values[i];
  }
  next->barred = n > 0 ? arena.make(Barred{n, ids}) : nullptr;
  if (n == 0) return;
  if (!next->waits || may_wait(*next)) return;
  next->level = with_barred(*next, next->level, *next->barred);
  next->waits = false;
}

// Has a number no exponent in canonical spelling, as beside an excluded one? Where it may still be compared, be it told to its level or not.
bool Engine::is_plain(const Frame& f) const { return f.barred || (f.parent && is_plain(*f.parent)); }

// The configuration as if no container had waited.
Config Engine::told(const Config& at, Arena& arena) {
  const Frame* first = nullptr;
  for (const Frame* f = at.top; f; f = f->parent)
    if (f->waits) first = f;
  if (!first) return at;
  std::string text;
  for (const KeyText* k = at.text; k != first->begun; k = k->before) text.push_back(static_cast<char>(k->byte));
  struct Telling {
    bool* tells;
    bool before;
    ~Telling() { *tells = before; }
  } telling{&tells_, std::exchange(tells_, true)};
  Config now, next;
  now.top = first->parent;
  now.text = first->begun;
  now.gap = 1;  // behind a comma, in spaced text
  for (auto byte = text.rbegin(); byte != text.rend(); ++byte, now = next)
    if (!step(now, static_cast<std::uint8_t>(*byte), &next, arena)) return {};
  return now;
}

// The frame once its due value has ended, with the labels that survive.
const Frame* Engine::after_value(const Frame& f, Type type, std::span<const Id> labels, Id value, Arena& arena) {
  Frame next = f;
  next.arena = &arena;
  next.cache = nullptr;
  next.due = -1;
  if (f.kind == Kind::Root) {
    next.phase = Phase::End;
    return make({&f, next.phase, -1, -1}, next, arena);
  }
  next.phase = Phase::After;
  if (f.kind == Kind::Array) ++next.count;
  const auto at_level = [&](Id level) {
    next.level = level;
    next.records = f.parent->records || levels_[level].records;
    return make({&f, next.phase, level, -1}, next, arena);
  };
  Few<Id, 12> key{f.due, static_cast<Id>(type), value};
  for (Id label : labels) key.push_back(label);
  const auto found = after_.find(std::span<const Id>(key));
  if (found != after_.end()) return at_level(found->second);
  const Parts& parts = this->parts(f.due, type);
  const Level level = levels_[f.level];
  const auto survives = [&](std::size_t label) { return std::binary_search(labels.begin(), labels.end(), static_cast<Id>(label)); };
  std::vector<Alternative> alternatives;
  for (std::size_t i = 0; i < parts.list.size(); ++i) {
    const Part& part = parts.list[i];
    if (part.base == Goals::kFalse || (part.vital && !survives(i))) continue;
    std::vector<Id> literals = goals_.undecided(part.open);
    for (Id& l : literals) l ^= !survives(static_cast<std::size_t>(parts.label(l)));
    Id shape = goals_.fold(goals_.decide(part.open, literals), false);
    if (value >= 0) shape = goals_.with_value(shape, value);
    if (shape != Goals::kNever) add_alternative(&alternatives, {shape, level.alternatives[i].parents, part.vital});
  }
  std::sort(alternatives.begin(), alternatives.end());
  const Id id = f.kind == Kind::Array ? array_level(std::move(alternatives)) : levels_.intern({level.kind, level.table, std::move(alternatives)});
  after_[{key.begin(), key.end()}] = id;
  return at_level(id);
}

// Alternatives that are no longer told apart become one.
void Engine::add_alternative(std::vector<Alternative>* list, const Alternative& a) {
  for (Alternative& known : *list) {
    if (known.shape != a.shape) continue;
    std::vector<Id> parents = sets_[known.parents].ids;
    parents.insert(parents.end(), sets_[a.parents].ids.begin(), sets_[a.parents].ids.end());
    std::sort(parents.begin(), parents.end());
    parents.erase(std::unique(parents.begin(), parents.end()), parents.end());
    known.parents = set_of(std::move(parents));
    known.vital = known.vital || a.vital;
    return;
  }
  list->push_back(a);
}

bool Engine::ended(const Frame& f, Type type, std::span<const Id> labels, const KeyText* text, int last, Config* to, Arena& arena) {
  if (!is_alive(f, labels)) return false;
  const bool compared = f.kind == Kind::Array && levels_[f.level].records;
  *to = Config{};
  to->text = text;
  const Id value = compared || f.barred ? value_of(text, f.mark, last) : -1;
  to->top = after_value(f, type, labels, compared ? value : -1, arena);
  if (f.barred) {
    Frame next = *to->top;
    narrow_barred(f, value, &next, arena);
    to->top = arena.make(next);
  }
  return true;
}

bool Engine::begin_value(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  Type type;
  int literal = -1;
  switch (byte) {
    case '"': type = Type::String; break;
    case '{': type = Type::Object; break;
    case '[': type = Type::Array; break;
    case 'n': type = Type::Null, literal = 0; break;
    case 't': type = Type::Boolean, literal = 1; break;
    case 'f': type = Type::Boolean, literal = 2; break;
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': type = Type::Number; break;
    default: return false;
  }
  const auto begin_scalar = [&](const Scalar& scalar) {
    *to = Config{};
    to->top = &f;
    to->lex = type == Type::String ? Lex::Text : Lex::Number;
    to->spec = scalar.spec;
    to->state = type == Type::String ? scalar.state : numbers_.step(scalar.state, byte);
    if (type == Type::Number && scalar.tracked) to->key = arena.make(KeyText{nullptr, byte});
    return to->state != 0;
  };
  if (cache(f).never >> static_cast<int>(type) & 1) return false;
  if (const Scalar& known = f.cache->scalars[static_cast<std::size_t>(type)]; known.state >= 0) return begin_scalar(known);
  const Id vital = this->vital(f, type);
  const std::vector<Id>& goals = lists_[vital].ids;
  if (std::all_of(goals.begin(), goals.end(), [](Id g) { return g == Goals::kFalse; })) {
    f.cache->never |= static_cast<std::uint8_t>(1 << static_cast<int>(type));
    return false;
  }
  const Parts& parts = this->parts(f.due, type);
  // The goal of each label: of the vital alternatives, then of the tracked literals.
  Few<std::pair<Id, Id>, 8> all;
  for (std::size_t i = 0; i < goals.size(); ++i)
    if (goals[i] != Goals::kFalse) all.push_back({static_cast<Id>(i), goals[i]});
  const std::size_t alive = all.size();
  for (std::size_t i = 0; i < parts.tracked.size(); ++i) all.push_back({static_cast<Id>(goals.size() + i), goals_.goal({parts.tracked[i]})});
  *to = Config{};
  to->top = &f;
  if (literal >= 0) {
    Labels labels;
    for (const auto& [label, goal] : all)
      if (goals_.literals3(goal) >> literal & 1) labels.push_back(label);
    if (!is_alive(f, labels)) return false;
    to->lex = Lex::Literal;
    to->state = literal;
    to->chars = 1;
    to->labels = set_of(labels);
    return true;
  }
  if (type == Type::String || type == Type::Number) {
    const std::array key{f.due, static_cast<Id>(type), vital};
    auto found = opened_.find(std::span<const Id>(key));
    if (found == opened_.end()) {
      Opened opened{0, 0};
      if (type == Type::String) {
        std::vector<Labelled> list;
        for (std::size_t i = 0; i < all.size(); ++i)
          for (const StringPiece& p : std::vector<StringPiece>(goals_.string_set(goals_.strings(all[i].second)).pieces))
            list.push_back({p.lang, p.lo, p.hi, all[i].first, i >= alive});
        opened.state = texts_.start(list, options_.spelling, &opened.spec);
      } else {
        // Labels are positions, so that equal numbers are one automaton everywhere.
        std::vector<NumberComponent> list;
        std::vector<Id> labels;
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (i < alive) labels.push_back(all[i].first);
          const auto add = [&](Id goal, Id label) {
            for (Id p : std::vector<Id>(goals_.numbers(goal))) list.push_back({p, label});
          };
          if (i < alive) add(all[i].second, static_cast<Id>(i));
          // A literal as part of each goal: alone it may have no exponents where, between the goal's bounds, it has.
          for (std::size_t j = 0; i >= alive && j < alive; ++j) add(goals_.conj(all[j].second, all[i].second), Numbers::kTracked + static_cast<Id>(i - alive));
        }
        opened.state = numbers_.start(list, options_.spelling);
        opened.spec = set_of(std::move(labels));
      }
      found = opened_.emplace(std::vector<Id>(key.begin(), key.end()), opened).first;
    }
    return begin_scalar(f.cache->scalars[static_cast<std::size_t>(type)] = {found->second.state, found->second.spec, !parts.tracked.empty()});
  }
  // A container: the distinct shapes become the alternatives of a child.
  Frame child;
  child.arena = &arena;
  child.parent = &f;
  child.depth = f.depth + 1;
  child.kind = type == Type::Object ? Kind::Object : Kind::Array;
  child.phase = Phase::First;
  child.mark = child.begun = from.text;
  if (options_.schema_order)
    child.order = f.kind == Kind::Root ? f.order : f.kind == Kind::Object ? order_of_key(f.order, f.key) : order_of_item(f.order, f.count);
  const auto open = [&](bool tells) {
    const std::vector<Id> key{f.due, static_cast<Id>(type), vital, child.order, tells};
    const auto found = children_.find(key);
    if (found != children_.end()) {
      child.level = found->second;
    } else {
      std::vector<Alternative> alternatives;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Id goal = tells && i < alive ? goals_.conj(all[i].second, goals_.negate(parts.list[static_cast<std::size_t>(all[i].first)].barred)) : all[i].second;
        const Id shape = type == Type::Object ? goals_.object(goal) : goals_.array(goal);
        if (shape != Goals::kNever) add_alternative(&alternatives, {shape, set_of(std::array{all[i].first}), i < alive});
      }
      std::sort(alternatives.begin(), alternatives.end());
      child.level = type == Type::Object ? object_level(alternatives, child.order) : array_level(std::move(alternatives));
      children_[key] = child.level;
    }
    if (child.kind == Kind::Object) child.names = &index(levels_[child.level].table);
    if (child.kind == Kind::Array) child.due = due_item(child.level, 0);
    child.records = f.records || levels_[child.level].records;
  };
  const Id barred = parts.list.size() == 1 ? parts.list[0].barred : Goals::kFalse;
  open(tells_ && barred != Goals::kFalse);
  if (barred != Goals::kFalse) child.barred = barred_in(barred, type, arena);
  child.waits = !tells_ && child.barred && may_wait(child);
  if (!tells_ && child.barred && !child.waits) open(true);
  to->top = make({&f, child.phase, child.level, child.order}, child, arena);
  return true;
}

bool Engine::close(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  const Level& level = levels_[f.level];
  Labels labels;
  bool alive = false;
  const Keys keys = f.kind == Kind::Object ? keys_of(f) : Keys{};
  for (std::int32_t i = 0; f.barred && i < f.barred->size; ++i) {
    const Value& v = tables_.lexicon.values[f.barred->values[i]];
    if (static_cast<std::int32_t>(v.kind == Value::Array ? v.items.size() : v.members.size()) == f.count) return false;
  }
  for (const Alternative& a : level.alternatives) {
    if (f.kind == Kind::Object ? !goals_.done(a.shape, keys) : !goals_.done_row(a.shape, f.count)) continue;
    for (Id parent : sets_[a.parents].ids) labels.push_back(parent);
    alive = alive || a.vital;
  }
  if (!alive) return false;
  labels.sort_unique();
  return ended(*f.parent, type_of(f), labels, from.text, byte, to, arena);
}

bool Engine::end_number(const Config& from, Config* to, Arena& arena) {
  Labels positions, labels;
  numbers_.accepted(from.state, &positions);
  if (positions.empty() || positions[0] >= Numbers::kTracked) return false;
  const Frame& f = *from.top;
  const Id width = f.kind == Kind::Root ? 1 : static_cast<Id>(levels_[f.level].alternatives.size());
  for (Id p : positions) labels.push_back(p < Numbers::kTracked ? sets_[from.spec].ids[static_cast<std::size_t>(p)] : width + p - Numbers::kTracked);
  return ended(f, Type::Number, labels, from.text, -1, to, arena);
}

// ---- white space ----------------------------------------------------------------------------------------------------

std::int32_t Engine::gap_after(const Frame& f, std::int32_t gap, std::uint8_t byte) const {
  const bool leading = f.kind == Kind::Root && f.phase == Phase::Value;
  if (f.phase == Phase::End) return -1;
  switch (options_.whitespace) {
    case Whitespace::Compact: return -1;
    case Whitespace::Any: return gap < options_.longest_run ? gap + 1 : -1;
    case Whitespace::Spaced: return gap == 0 && byte == ' ' && (leading || is_separated(f)) ? 1 : -1;
    case Whitespace::Flexible:
      if (gap == 0) return byte == ' ' && (leading || is_separated(f)) ? 1 : byte == '\n' && !leading ? kNewline : -1;
      if (gap >= kNewline && gap < kNewline + kMaxSpaces && byte == ' ') return gap + 1;
      if (gap == kNewline && byte == '\t') return kTabs + 1;
      return gap > kTabs && gap < kTabs + kMaxTabs && byte == '\t' ? gap + 1 : -1;
  }
  return -1;
}

bool Engine::gap_is_done(const Frame& f, std::int32_t gap) const { return options_.whitespace != Whitespace::Spaced || gap == 1 || !is_separated(f); }

// ---- keys -----------------------------------------------------------------------------------------------------------

bool Engine::narrow_key(Config* c, std::uint8_t byte) {
  const Frame& f = *c->top;
  if (c->lo < c->hi) narrow(&c->lo, &c->hi, c->depth, byte, [&](std::int32_t i) { return f.names->texts[static_cast<std::size_t>(i)]; });
  if (c->xlo < c->xhi) narrow(&c->xlo, &c->xhi, c->depth, byte, [&](std::int32_t i) { return f.extras->texts[i]; });
  ++c->depth;
  return c->lo < c->hi || c->xlo < c->xhi;
}

bool Engine::is_among(const Config& c) const {
  if (!texts_.in_escape(c.decoder)) return c.lo < c.hi || c.xlo < c.xhi;
  const Ranges& chars = texts_.possible(c.decoder);
  for (std::int32_t i = c.lo; i < c.hi; ++i)
    if (in_ranges(chars, char_at(c.top->names->texts[static_cast<std::size_t>(i)], c.depth))) return true;
  for (std::int32_t i = c.xlo; i < c.xhi; ++i)
    if (in_ranges(chars, char_at(c.top->extras->texts[i], c.depth))) return true;
  return false;
}

bool Engine::key_is_live(const Config& c) {
  const Frame& f = *c.top;
  if (c.state != Texts::kDead && (texts_.is_endless(c.state) || (c.lo == c.hi && c.xlo == c.xhi))) return true;
  // UTF-8 narrows the names byte by byte; an escape only with its last byte.
  const Ranges* escaped = texts_.in_escape(c.decoder) ? &texts_.possible(c.decoder) : nullptr;
  for (std::int32_t i = c.lo; i < c.hi; ++i)
    if ((!escaped || in_ranges(*escaped, char_at(f.names->texts[static_cast<std::size_t>(i)], c.depth))) && name_is_writable(f, i)) return true;
  if (c.state == Texts::kDead) return false;
  // Keys of a class that are left when the names and the keys written so far are taken out.
  Langs& langs = texts_.langs();
  const bool whole = texts_.is_whole(c.decoder);
  const Ranges chars = whole ? Ranges{} : texts_.possible(c.decoder);
  const std::size_t from_byte = static_cast<std::size_t>(c.depth - texts_.partial_utf8(c.decoder));
  for (const Component& k : texts_.components(c.state)) {
    if (k.lang == Langs::kAll) return true;
    std::vector<std::pair<Id, Range>> ways;
    if (whole) {
      ways.push_back({k.lang, {1, 0}});
    } else {
      const LangRow row = texts_.row(c.state, k.lang);
      std::uint32_t from = 0;
      for (std::size_t i = 0; i < row.next.size(); from = row.upto[i++] + 1)
        if (row.next[i] != Langs::kNone)
          for (const Range& r : intersection({{from, row.upto[i]}}, chars)) ways.push_back({row.next[i], r});
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
      const std::int64_t each = langs.count(lang, taken + 1), ways_in = whole ? 1 : static_cast<std::int64_t>(range.hi) - range.lo + 1;
      if (each * ways_in > taken) return true;
    }
  }
  return false;
}

bool Engine::step_key(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  if (byte == '"' && texts_.is_whole(from.decoder)) return end_key(from, to, arena);
  *to = from;
  const auto spell = [&](std::uint8_t b) {
    const bool left = narrow_key(to, b);
    if (to->state != Texts::kDead) to->key = arena.make(KeyText{to->key, b});
    return left || to->state != Texts::kDead;
  };
  const bool escaped = texts_.in_escape(from.decoder);
  if (from.state != Texts::kDead) to->state = texts_.step(from.state, byte);
  if (!escaped && byte != '\\' && !spell(byte)) return false;  // most bytes lead away from all names
  to->decoder = texts_.step(from.decoder, byte);
  if (to->decoder == Texts::kDead) return false;
  const bool whole = texts_.is_whole(to->decoder);
  to->chars += whole;
  if (escaped && whole) {
    const char32_t c = texts_.completes(from.decoder, byte);
    for (char b : encode_utf8(std::u32string_view(&c, 1)))
      if (!spell(static_cast<std::uint8_t>(b))) return false;
  }
  return key_is_live(*to);
}

bool Engine::end_key(const Config& from, Config* to, Arena& arena) {
  const Frame& f = *from.top;
  const Level& level = levels_[f.level];
  const NamesIndex& names = *f.names;
  const auto is_exact = [&](std::string_view text) { return static_cast<std::int32_t>(text.size()) == from.depth; };
  Frame next = f;
  next.arena = &arena;
  next.cache = nullptr;
  std::int32_t known = -1;
  if (from.lo < from.hi && is_exact(names.texts[static_cast<std::size_t>(from.lo)])) {
    const std::int32_t name = from.lo;
    if (!name_is_writable(f, name)) return false;
    const std::size_t words = words_for(names.texts.size());
    auto* seen = static_cast<std::uint64_t*>(arena.allocate(words * 8));
    if (f.seen)
      std::copy(f.seen, f.seen + words, seen);
    else
      std::fill(seen, seen + words, 0);
    seen[name >> 6] |= 1ull << (name & 63);
    next.seen = seen;
    next.cls = info(f.level).class_of[static_cast<std::size_t>(name)];
    next.rank = std::max(f.rank, names_[level.table].ranks[static_cast<std::size_t>(name)]);
    next.key = names_[level.table].names[static_cast<std::size_t>(name)];
    known = name;
  } else {
    if (from.state == Texts::kDead || (from.xlo < from.xhi && is_exact(f.extras->texts[from.xlo]))) return false;
    Labels labels;
    texts_.accepted(from.state, from.spec, from.chars, &labels);
    if (labels.empty() || labels[0] == kEveryClass) return false;  // a name of a class that has few
    next.cls = labels[0];
    next.rank = kInf;
    char* text = static_cast<char*>(arena.allocate(static_cast<std::size_t>(from.depth) + 1));
    std::int32_t at = from.depth;
    for (const KeyText* k = from.key; k; k = k->before) text[--at] = static_cast<char>(k->byte);
    const std::string_view key(text, static_cast<std::size_t>(from.depth));
    next.extras = with_extra(f, key, arena);
    if (options_.schema_order || f.barred) next.key = tables_.lexicon.name(std::string(key));
  }
  next.phase = Phase::Colon;
  ++next.count;
  next.due = dues_.intern({Kind::Object, f.level, next.cls});
  *to = Config{};
  to->top = known >= 0 ? make({&f, next.phase, known, -1}, next, arena) : arena.make(next);
  return true;
}

// ---- step -----------------------------------------------------------------------------------------------------------

bool Engine::step(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  if (!advance(from, byte, to, arena)) return false;
  to->text = to->top->records ? arena.make(KeyText{from.text, byte}) : nullptr;
  return !is_too_deep(*to) || distance(*to) < distance(from);
}

bool Engine::advance(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  switch (from.lex) {
    case Lex::Text: {
      if (byte == '"' && texts_.is_whole(from.state)) {
        Labels labels;
        texts_.accepted(from.state, from.spec, from.chars, &labels);
        return ended(*from.top, Type::String, labels, from.text, byte, to, arena);
      }
      const Id next = texts_.step(from.state, byte);
      if (next == Texts::kDead) return false;
      *to = from;
      to->state = next;
      to->chars += texts_.is_whole(next);
      return !texts_.spec(from.spec).bounded || texts_.is_live(next, from.spec, to->chars);
    }
    case Lex::Key: return step_key(from, byte, to, arena);
    case Lex::Number: {
      if ((byte >= '0' && byte <= '9') || byte == '.' || byte == 'e' || byte == 'E' || byte == '-' || byte == '+') {
        const Id next = numbers_.step(from.state, byte);
        if (next == Numbers::kDead) return false;
        *to = from;
        to->state = next;
        if (from.key) to->key = arena.make(KeyText{from.key, byte});
        return true;
      }
      Config after;
      return end_number(from, &after, arena) && advance(after, byte, to, arena);
    }
    case Lex::Literal: {
      const std::string_view word = kLiterals[from.state];
      if (byte != static_cast<std::uint8_t>(word[static_cast<std::size_t>(from.chars)])) return false;
      if (from.chars + 1 == static_cast<std::int32_t>(word.size()))
        return ended(*from.top, from.state == 0 ? Type::Null : Type::Boolean, sets_[from.labels].ids, from.text, byte, to, arena);
      *to = from;
      ++to->chars;
      return true;
    }
    case Lex::None: break;
  }
  const Frame& f = *from.top;
  if (is_space(byte)) {
    const std::int32_t gap = gap_after(f, from.gap, byte);
    if (gap < 0) return false;
    *to = from;
    to->gap = gap;
    return true;
  }
  if (!gap_is_done(f, from.gap)) return false;
  const auto move = [&](Phase phase) {
    Frame next = f;
    next.arena = &arena;
    next.cache = nullptr;
    next.phase = phase;
    if (f.kind == Kind::Array) next.due = due_item(f.level, f.count);
    next.mark = from.text;
    *to = Config{};
    to->top = make({&f, phase, -1, -1}, next, arena);
    return true;
  };
  switch (f.phase) {
    case Phase::Value: return begin_value(from, byte, to, arena);
    case Phase::Colon: return byte == ':' && move(Phase::Value);
    case Phase::First:
      if (f.kind == Kind::Array) return byte == ']' ? close(from, byte, to, arena) : begin_value(from, byte, to, arena);
      if (byte == '}') return close(from, byte, to, arena);
      [[fallthrough]];
    case Phase::Key: {
      if (byte != '"') return false;
      if (!any_is_writable(f)) return false;
      const Writable& w = writable(f);
      *to = Config{};
      to->top = &f;
      to->lex = Lex::Key;
      to->state = w.text;
      to->spec = w.spec;
      to->decoder = decoder_;
      to->hi = static_cast<std::int32_t>(f.names->texts.size());
      to->xhi = f.extras ? f.extras->size : 0;
      return true;
    }
    case Phase::After:
      if (byte == (f.kind == Kind::Object ? '}' : ']')) return close(from, byte, to, arena);
      if (byte != ',') return false;
      return f.kind == Kind::Object ? any_is_writable(f) && move(Phase::Key) : may_have_more(f) && move(Phase::Value);
    case Phase::End: return false;
  }
  return false;
}

bool Engine::can_stop(const Config& at) {
  if (at.finished) return true;
  if (!at.top) return false;
  if (at.lex == Lex::None) return at.top->phase == Phase::End;
  return at.lex == Lex::Number && at.top->kind == Kind::Root && numbers_.accepts_any(at.state);
}

// ---- what is forced -------------------------------------------------------------------------------------------------

std::string Engine::forced(const Config& at, Arena& scratch, std::size_t cap) {
  std::string out;
  if (!at.top || at.finished) return out;
  Config now = at;
  while (out.size() < cap && !can_stop(now)) {
    Config only, next;
    int byte = -1, n = 0;
    const bool text = now.lex == Lex::Text || now.lex == Lex::Key;
    if (text && step(now, 'a', &next, scratch)) ++n, byte = 'a', only = next;
    for (int b = 0; b < 256 && n < 2; ++b) {
      if ((text && b == 'a') || !step(now, static_cast<std::uint8_t>(b), &next, scratch)) continue;
      ++n;
      byte = b;
      only = next;
    }
    if (n != 1) break;
    out.push_back(static_cast<char>(byte));
    now = only;
  }
  return out;
}

Id Engine::node_at(const Config& at) const {
  bool due = at.top && (at.lex == Lex::Text || at.lex == Lex::Number || at.lex == Lex::Literal || at.top->phase == Phase::Value);
  for (const Frame* f = at.top; f; f = f->parent, due = true) {
    if (!due || f->kind == Kind::Root) continue;  // between members the object itself is under way: its parent knows its goal
    for (int t = 0; t < kTypes; ++t)
      if (const Parts* found = parts_.find(f->due * kTypes + t))
        for (const Part& part : found->list)
          if (const Id node = node_of(goals_.literals(part.base)); node >= 0) return node;
  }
  return root_;
}

std::size_t Engine::nbytes() const {
  return sizeof *this + goals_.nbytes() + levels_.size() * 128 + infos_.size() * 256 + parts_.size() * 160 + after_.size() * 96 +
         children_.size() * 96 + opened_.size() * 96 + values_held_ + sets_.size() * 64 + names_.size() * 256;
}

}  // namespace guard
