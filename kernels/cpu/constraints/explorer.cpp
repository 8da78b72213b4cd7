#include "constraints/explorer.hpp"

namespace guard {

namespace {
constexpr std::size_t kMostWays = 256;  // ways in which one value may decide an Open
}

void Explorer::push(Item item) {
  if (seen_[static_cast<std::size_t>(item.kind)].insert(item.id).second) queue_.push_back(item);
}

bool Explorer::run(std::chrono::steady_clock::time_point until) {
  while (!queue_.empty()) {
    // An item leaves the queue only when it is done: a Missing ends the call, and the next call
    // repeats the item.
    const Item item = queue_.front();
    const auto clock = constraints_.start_clock();
    try {
      expand(item);
    } catch (Limit& limit) {
      queue_.pop_front();
      constraints_.goals.blame(
          &limit, item.kind == Kind::Goal ? node_of(constraints_.goals.literals(item.id), item.node)
                                          : item.node);
      throw;
    }
    queue_.pop_front();
    ++expanded_[static_cast<std::size_t>(item.kind)];
    if (std::chrono::steady_clock::now() > until) break;
  }
  return queue_.empty();
}

void Explorer::expand(Item item) {
  // Adds the residuals after a value that must meet `base`, one for each way in which the value can
  // decide the literals of `open`. Each type is explored on its own, since its values decide other
  // literals. `cut_` counts where ways were cut off and the exploration is incomplete.
  const auto add_ways = [&](Id base, Id open, Kind kind) {
    push({Kind::Goal, base, item.node});
    for (int t = 0; t < kTypes; ++t) {
      if (!constraints_.inhabitance.inhabited(base, static_cast<Type>(t))) continue;
      std::size_t ways = 0;
      constraints_.partial.ways(constraints_.partial.settled(open, static_cast<Type>(t)), base,
                                [&](Id goal, Id residual) {
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
      constraints_.goals.need({g});
      item.node = node_of(constraints_.goals.literals(g), item.node);
      if (!constraints_.inhabitance.inhabited(g)) {
        empty_.push_back(item.node);
        return;
      }
      constraints_.costs.of(g);
      for (const StringPiece& piece : std::vector<StringPiece>(
               constraints_.scalars.string_set(constraints_.scalars.strings(g)).pieces))
        push({Kind::Language, piece.lang, item.node});
      if (constraints_.inhabitance.inhabited(g, Type::Object))
        push({Kind::Object, constraints_.objects.of(g), item.node});
      if (constraints_.inhabitance.inhabited(g, Type::Array))
        push({Kind::Array, constraints_.arrays.of(g), item.node});
      return;
    }
    case Kind::Object:
      if (!constraints_.members.viable(item.id, {})) return;
      constraints_.costs.of_object(item.id, {});
      for (const KeyClass& cls : std::vector<KeyClass>(constraints_.objects.own_classes(item.id))) {
        if (cls.name < 0) push({Kind::Language, cls.lang, item.node});
        const Id base = constraints_.objects.base_of(constraints_.objects[item.id], cls);
        if (base != kFalse)
          add_ways(base, constraints_.partial.open_member(item.id, cls, true), Kind::Object);
      }
      return;
    case Kind::Array: {
      if (!constraints_.arrays.viable(item.id, 0)) return;
      constraints_.costs.of_array(item.id, 0);
      const Id base = constraints_.arrays.base_of(constraints_.arrays[item.id], 0);
      if (base != kFalse)
        add_ways(base, constraints_.partial.open_item(item.id, true), Kind::Array);
      return;
    }
    case Kind::Language: expand_language(item);
  }
}

void Explorer::expand_language(Item item) {
  Langs& langs = constraints_.lexicon.langs;
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
