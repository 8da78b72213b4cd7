#include "automaton/engine.hpp"

#include <algorithm>

#include "lexers/outline.hpp"

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
  if (!at.top || at.finished) return out;
  if (format && (at.lex == Lex::Raw || at.top->kind == Kind::Root)) return values_ahead(at);
  if (at.top->kind == Kind::Root) return out;
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

// Of a format: the value that is due, or those that one of a few arcs leads to.
std::vector<Id> Engine::values_ahead(const Config& at) {
  constexpr std::size_t kFewArcs = 2;
  std::vector<Id> out;
  if (at.lex != Lex::Raw) {
    if (at.lex == Lex::None) levels.add_missing(at.top->due, &out);
    return out;
  }
  const auto add = [&](Id exit) {
    if (const FormatExit& e = format->exit(exit); e.kind == FormatExit::Value)
      levels.add_missing(levels.due_root(e.what), &out);
  };
  Texts& texts = lexicon().texts;
  const Net& net = texts.net(format->net);
  const std::vector<Component>& arcs = texts.components(at.state);
  if (arcs.size() > kFewArcs) return out;
  for (const Component& c : arcs) {
    const Id to = net.arcs[static_cast<std::size_t>(c.index)].to;
    if (to < 0) {
      add(~to);
      continue;
    }
    for (Id next : net.points[static_cast<std::size_t>(to)])
      if (const Net::Arc& arc = net.arcs[static_cast<std::size_t>(next)];
          arc.to < 0 && arc.lang == Langs::kEps)
        add(~arc.to);
  }
  return out;
}

namespace {
// The bytes to try in a configuration. Two of the first `likely` ones are usually allowed if there
// is a choice at all.
struct Candidates {
  std::string_view bytes;
  std::size_t likely;
};
Candidates candidates(const Config& at) {
  const auto all = [](std::string_view first) {
    std::string out(first);
    for (int b = 0; b < 256; ++b)
      if (first.find(static_cast<char>(b)) == first.npos) out.push_back(static_cast<char>(b));
    return out;
  };
  static const std::string between = std::string(kStarts) + std::string(kSpaces);
  static const std::string number = all("01"), text = all("a \"");
  switch (at.lex) {
    case Lex::None: return {between, 0};
    case Lex::Literal:
      return {kLiterals[at.state].substr(static_cast<std::size_t>(at.chars), 1), 0};
    case Lex::Number: return {number, 2};
    case Lex::Text:
    case Lex::Key:
    case Lex::Raw: return {text, 3};
  }
  return {text, 0};
}
}  // namespace

// Counts the bytes of `among` that are allowed, up to two. Sets `byte` and `to` to the last of them
// and the configuration after it. Frames are allocated in `scratch`.
int Engine::choices(const Config& at, std::string_view among, std::string_view except, char* byte,
                    Config* to, Arena& scratch) {
  int n = 0;
  Config next;
  for (const char b : among) {
    if (except.find(b) != except.npos || !step(at, static_cast<std::uint8_t>(b), &next, scratch))
      continue;
    *byte = b, *to = next;
    if (++n == 2) break;
  }
  return n;
}

std::string Engine::forced(const Config& at, Arena& scratch, std::string_view except) {
  const auto may_end = [this](const Config& from) {
    if (can_stop(from)) return true;
    Labels exits;
    stepper.exits(from, &exits);
    return std::any_of(exits.begin(), exits.end(),
                       [this](Id id) { return format->exit(id).is_symbol(); });
  };
  std::string out, key;
  char byte = 0;
  Config now = at, next;
  if (!at.top || at.finished || may_end(at)) return out;
  if (const Candidates first = candidates(at);
      choices(at, first.bytes.substr(0, first.likely), except, &byte, &next, scratch) == 2)
    return out;
  if (except.empty()) {
    state_keys.add(at, number, &key);
    if (const auto found = forced_.find(key); found != forced_.end()) return found->second;
  }
  do {
    const std::string_view none = out.empty() ? except : std::string_view();
    if (choices(now, candidates(now).bytes, none, &byte, &next, scratch) != 1) break;
    out.push_back(byte);
    now = next;
  } while (out.size() < kForced && !may_end(now));
  if (!except.empty()) return out;
  if (forced_nbytes_ > kMostForced) forced_.clear(), forced_nbytes_ = 0;
  const std::size_t nbytes =
      sizeof(std::pair<std::string, std::string>) + 32 + key.size() + out.size();
  forced_.emplace(std::move(key), out);
  forced_nbytes_ += nbytes;
  return out;
}

Id Engine::node_at(const Config& at) const {
  bool due = at.top && (at.lex == Lex::Text || at.lex == Lex::Number || at.lex == Lex::Literal ||
                        at.top->phase == Phase::Value);
  for (const Frame* f = at.top; f; f = f->parent, due = true) {
    if (!due || f->kind == Kind::Root || f->kind == Kind::Format)
      continue;  // between members the object itself is unfinished, and its parent has its goal
    for (int t = 0; t < kTypes; ++t)
      if (const Parts* found = levels.known_parts(f->due, static_cast<Type>(t)))
        for (const Part& part : found->list)
          if (const Id node = node_of(constraints.goals.literals(part.base)); node >= 0)
            return node;
  }
  return root;
}

}  // namespace guard
