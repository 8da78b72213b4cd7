#include "automaton/engine.hpp"

#include <algorithm>

namespace guard {

Engine::Engine(Lexicon& lexicon, const Options& chosen, Id node,
               std::shared_ptr<const FormatSource> source)
    : options(chosen),
      root(node),
      format(source ? std::optional<Format>(std::in_place, lexicon, std::move(source))
                    : std::nullopt),
      constraints(lexicon, options.spelling, options.limits,
                  static_cast<std::int32_t>(options.gap())),
      orders(constraints),
      levels(constraints, orders, options),
      viability(constraints, levels, options),
      keys(constraints, levels, viability, frames, options),
      stepper(constraints, orders, levels, viability, keys, frames, options, root,
              format ? &*format : nullptr),
      distances(constraints, levels, viability, keys, stepper, options,
                format ? &*format : nullptr),
      state_keys(constraints, orders, levels, options) {}

bool Engine::step(const Config& from, std::uint8_t byte, Config* to, Arena& arena) {
  return stepper.step(from, byte, to, arena) &&
         (!is_too_deep(*to) || distance(*to) < distance(from));
}

bool Engine::step_symbol(const Config& from, Id symbol, Config* to, Arena& arena) {
  Labels exits;
  stepper.exits(from, &exits);
  for (Id id : exits)
    if (const FormatExit& exit = format->exit(id); exit.is_symbol() && exit.what == symbol)
      return stepper.take(from, id, to, arena);
  return false;
}

bool Engine::counts(const Config& at) {
  return at.lex == Lex::Literal ||
         ((at.lex == Lex::Text || at.lex == Lex::Key) && lexicon().texts.spec(at.spec).bounded);
}

std::vector<Id> Engine::look_ahead(const Config& at) {
  std::vector<Id> out;
  if (!at.top || at.finished || at.top->kind == Kind::Root || at.top->kind == Kind::Format)
    return out;
  const Frame& f = *at.top;
  Texts& texts = lexicon().texts;
  if (at.lex == Lex::Key) {
    if (at.lo < at.hi && static_cast<std::int32_t>(
                             f.names->texts[static_cast<std::size_t>(at.lo)].size()) == at.depth) {
      if (const std::int32_t cls = levels.info(f.level).class_of[static_cast<std::size_t>(at.lo)];
          cls >= 0)
        levels.add_missing(levels.due_member(f.level, cls), &out);
    } else if (at.state != Texts::kDead && texts.may_end(at.state)) {
      Labels classes;
      texts.accepted(at.state, at.spec, at.chars, &classes);
      for (Id cls : classes)
        if (cls != kEveryClass) levels.add_missing(levels.due_member(f.level, cls), &out);
    }
  } else if (at.lex == Lex::None && f.due >= 0 && f.phase != Phase::After) {
    levels.add_missing(f.due, &out);
  }
  return out;
}

std::string Engine::forced(const Config& at, Arena& scratch, std::size_t cap) {
  std::string out;
  if (!at.top || at.finished) return out;
  Config now = at;
  const auto may_take_symbol = [this](const Config& from) {
    Labels exits;
    stepper.exits(from, &exits);
    return std::any_of(exits.begin(), exits.end(),
                       [this](Id id) { return format->exit(id).is_symbol(); });
  };
  while (out.size() < cap && !can_stop(now) && !may_take_symbol(now)) {
    Config only, next;
    int byte = -1, n = 0;
    const bool text = now.lex == Lex::Text || now.lex == Lex::Key || now.lex == Lex::Raw;
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
  bool due = at.top && (at.lex == Lex::Text || at.lex == Lex::Number || at.lex == Lex::Literal ||
                        at.top->phase == Phase::Value);
  for (const Frame* f = at.top; f; f = f->parent, due = true) {
    if (!due || f->kind == Kind::Root || f->kind == Kind::Format)
      continue;  // between members the object itself is under way: its parent knows its goal
    for (int t = 0; t < kTypes; ++t)
      if (const Parts* found = levels.known_parts(f->due, static_cast<Type>(t)))
        for (const Part& part : found->list)
          if (const Id node = node_of(constraints.goals.literals(part.base)); node >= 0)
            return node;
  }
  return root;
}

}  // namespace guard
