#include "constraints/explorer.hpp"

namespace guard {

namespace {
constexpr std::size_t kMostWays = 256;  // in which one value is taken to decide what is open
}

void Explorer::push(Item item) {
  if (seen_[static_cast<std::size_t>(item.kind)].insert(item.id).second) queue_.push_back(item);
}

bool Explorer::run(std::chrono::steady_clock::time_point until) {
  while (!queue_.empty()) {
    const Item item = queue_.front();
    const auto clock = goals_.start_clock();
    try {
      expand(item);
    } catch (Limit& limit) {
      queue_.pop_front();
      goals_.blame(&limit, item.kind == Kind::Goal ? node_of(goals_.literals(item.id), item.node) : item.node);
      throw;
    }
    queue_.pop_front();
    ++expanded_[static_cast<std::size_t>(item.kind)];
    if (std::chrono::steady_clock::now() > until) break;
  }
  return queue_.empty();
}

void Explorer::expand(Item item) {
  // What is left behind a value that must meet `base`, for each way in which the value can decide what is open.
  const auto add_ways = [&](Id base, Id open, Kind kind) {
    push({Kind::Goal, base, item.node});
    for (int t = 0; t < kTypes; ++t) {
      if (!goals_.inhabited(base, static_cast<Type>(t))) continue;
      std::size_t ways = 0;
      goals_.ways(goals_.settled(open, static_cast<Type>(t)), base, [&](Id goal, Id residual) {
        push({Kind::Goal, goal, item.node});
        push({kind, residual, item.node});
        return ++ways == kMostWays;
      });
      cut_ += ways == kMostWays;
    }
  };
  switch (item.kind) {
    case Kind::Goal: {
      const Id g = item.id;
      goals_.need({g});
      item.node = node_of(goals_.literals(g), item.node);
      if (!goals_.inhabited(g)) {
        empty_.push_back(item.node);
        return;
      }
      goals_.cost(g);
      for (const StringPiece& piece : std::vector<StringPiece>(goals_.string_set(goals_.strings(g)).pieces)) push({Kind::Language, piece.lang, item.node});
      if (goals_.inhabited(g, Type::Object)) push({Kind::Object, goals_.object(g), item.node});
      if (goals_.inhabited(g, Type::Array)) push({Kind::Array, goals_.array(g), item.node});
      return;
    }
    case Kind::Object:
      if (!goals_.viable(item.id, {})) return;
      goals_.cost_object(item.id, {});
      for (const KeyClass& cls : std::vector<KeyClass>(goals_.own_classes(item.id))) {
        if (cls.name < 0) push({Kind::Language, cls.lang, item.node});
        const Id base = goals_.base_of(goals_.shape(item.id), cls);
        if (base != Goals::kFalse) add_ways(base, goals_.open_member(item.id, cls, true), Kind::Object);
      }
      return;
    case Kind::Array: {
      if (!goals_.viable_row(item.id, 0)) return;
      goals_.cost_array(item.id, 0);
      const Id base = goals_.base_of(goals_.row(item.id), 0);
      if (base != Goals::kFalse) add_ways(base, goals_.open_item(item.id, true), Kind::Array);
      return;
    }
    case Kind::Language: expand_language(item);
  }
}

void Explorer::expand_language(Item item) {
  Langs& langs = goals_.lexicon().langs;
  langs.cheapest(item.id, 0, kInf);
  std::vector<Id> todo{item.id};
  for (std::size_t count = 0; !todo.empty(); ++count) {
    if (count > most_) {
      large_.push_back(item.node);
      return;
    }
    const Id at = todo.back();
    todo.pop_back();
    for (Id next : std::vector<Id>(langs.row(at).next))
      if (next != Langs::kNone && states_seen_.insert(next).second) todo.push_back(next), ++states_;
  }
}

}  // namespace guard
