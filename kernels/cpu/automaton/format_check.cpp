#include "automaton/format_check.hpp"

#include <algorithm>
#include <unordered_set>

namespace guard {

namespace {
constexpr std::size_t kMostChecked = 20'000;  // states

// The bytes that may begin a value of the node.
std::string first_bytes(Engine& engine, Id node) {
  constexpr const char* kFirst[] = {"n", "tf", "-0123456789", "\"", "[", "{"};
  static_assert(kTypes == 6);
  std::string out;
  const Id goal = engine.constraints.goals.goal_of(node);
  for (const auto& [type, bytes] :
       {std::pair(Type::Null, kFirst[0]), std::pair(Type::Boolean, kFirst[1]),
        std::pair(Type::Number, kFirst[2]), std::pair(Type::String, kFirst[3]),
        std::pair(Type::Array, kFirst[4]), std::pair(Type::Object, kFirst[5])})
    if (engine.constraints.inhabitance.inhabited(goal, type)) out += bytes;
  return out;
}
[[noreturn]] void ambiguous(const std::string& what) { throw Limit{"format", -1, what}; }

// Where any token may come, nothing else may come unless it is a token, too.
void check_any_token(Engine& engine, Id state, const Labels& exits, Id what) {
  for (Id id : exits) {
    const FormatExit& exit = engine.format->exit(id);
    if (exit.kind == FormatExit::AnyToken && exit.what != what)
      ambiguous("any token could be of two parts");
    if (exit.kind == FormatExit::Value) ambiguous("a value could begin where any token may come");
  }
  for (int byte = 0; byte < 256; ++byte)
    if (engine.lexicon().texts.step(state, static_cast<std::uint8_t>(byte)) != Texts::kDead)
      ambiguous("text could go on where any token may come");
}

// Whether a state is in no two copies of a repeated part but neighbours. One instance a format.
class Copies {
 public:
  explicit Copies(const std::vector<Id>& copies) : copies_(copies) {
    Id most = -1;
    for (Id copy : copies) most = std::max(most, copy);
    seen_.resize(static_cast<std::size_t>(most / 4) + 1);
  }
  bool are_near(const Texts& texts, Id state) {
    if (copies_.empty()) return true;
    bool is_near = true;
    texts.arcs(state, [&](Id arc) {
      const Id copy = copies_[static_cast<std::size_t>(arc)];
      if (copy < 0) return;
      std::uint8_t& seen = seen_[static_cast<std::size_t>(copy / 4)];
      seen = static_cast<std::uint8_t>(seen | 1U << copy % 4);
      is_near &= (seen & seen >> 2) == 0;
    });
    texts.arcs(state, [&](Id arc) {
      const Id copy = copies_[static_cast<std::size_t>(arc)];
      if (copy >= 0) seen_[static_cast<std::size_t>(copy / 4)] = 0;
    });
    return is_near;
  }

 private:
  const std::vector<Id>& copies_;
  std::vector<std::uint8_t> seen_;  // by part, a bit a copy
};
}  // namespace

void check_format(Engine& engine) {
  const Format& format = *engine.format;
  Texts& texts = engine.lexicon().texts;
  const Net& net = texts.net(format.net);
  std::vector<Id> todo;
  std::unordered_set<Id> known;
  const auto add = [&](Id state) {
    if (state != Texts::kDead && known.insert(state).second) todo.push_back(state);
  };
  Copies copies(format.source->copies);
  Id spec;
  for (std::size_t p = 0; p < net.points.size(); ++p)
    add(texts.enter(format.net, static_cast<Id>(p), &spec));
  while (!todo.empty()) {
    kernel_clock.tick();
    if (known.size() > kMostChecked)
      ambiguous(
          "whether its values can be told from the text around them takes too long to find out");
    const Id state = todo.back();
    todo.pop_back();
    if (!copies.are_near(texts, state))
      ambiguous("a text could be of copies of a repeated part that lie further and further apart");
    Labels exits;
    texts.exits(state, &exits);
    for (Id id : exits) {
      const FormatExit& exit = format.exit(id);
      if (exit.kind == FormatExit::AnyToken) check_any_token(engine, state, exits, exit.what);
      if (!exit.is_symbol()) continue;
      std::vector<Id> points;
      for (Id other : exits)
        if (const FormatExit& e = format.exit(other); e.kind == exit.kind && e.what == exit.what)
          points.push_back(e.next);
      if (points.size() > 1) add(texts.enter(format.net, points, &spec));
    }
    std::string begun;
    for (Id id : exits) {
      if (format.exit(id).kind != FormatExit::Value) continue;
      for (char byte : first_bytes(engine, format.exit(id).what)) {
        if (begun.find(byte) != begun.npos)
          ambiguous("two values could begin at one place with the same character");
        if (texts.step(state, static_cast<std::uint8_t>(byte)) != Texts::kDead)
          ambiguous(std::string("a value could begin where ") + byte + " could also be text");
        begun += byte;
      }
      if (id != texts.open(state)) ambiguous("two values could begin at one place");
    }
    if (texts.commit(state) >= 0) continue;
    const Bytes among = texts.begins(state);
    for (int byte = among.next(0); byte < 256; byte = among.next(byte + 1))
      add(texts.step(state, static_cast<std::uint8_t>(byte)));
  }
  for (const FormatExit& exit : format.source->exits) {
    if (exit.kind != FormatExit::Value ||
        !engine.constraints.inhabitance.inhabited(engine.constraints.goals.goal_of(exit.what),
                                                  Type::Number))
      continue;
    const Id behind = texts.enter(format.net, exit.next, &spec);
    Labels exits;
    texts.exits(behind, &exits);
    for (char byte : std::string_view("0123456789.eE+-"))
      if (texts.step(behind, static_cast<std::uint8_t>(byte)) != Texts::kDead)
        ambiguous(std::string("a number could go on with ") + byte +
                  ", which could also be the text behind it");
    for (Id id : exits)
      if (format.exit(id).kind == FormatExit::AnyToken)
        ambiguous("a number could go on where any token may come");
    for (Id id : exits)
      if (format.exit(id).kind == FormatExit::Value)
        if (first_bytes(engine, format.exit(id).what).find('0') != std::string::npos)
          ambiguous("a number could follow a number at once");
  }
}

std::vector<Id> dead_parts(Engine& engine, const std::vector<Id>& arcs,
                           const std::vector<Id>& exits) {
  const Format& format = *engine.format;
  const Net& net = engine.lexicon().texts.net(format.net);
  std::vector<char> has_text(net.arcs.size(), 1), has_value(format.source->exits.size(), 1);
  for (Id a : arcs)
    has_text[static_cast<std::size_t>(a)] =
        engine.lexicon().langs.cheapest(net.arcs[static_cast<std::size_t>(a)].lang, 0, kInf) >= 0;
  std::vector<Id> out;
  for (Id e : exits)
    if (!engine.constraints.inhabitance.inhabited(
            engine.constraints.goals.goal_of(format.exit(e).what)))
      has_value[static_cast<std::size_t>(e)] = 0, out.push_back(~e);
  std::vector<char> alive(net.points.size(), 0);
  const auto leads_on = [&](Id to) {
    if (to >= 0) return alive[static_cast<std::size_t>(to)] != 0;
    const Id left = ~to;
    const FormatExit& e = format.exit(left);
    return e.kind == FormatExit::End || (has_value[static_cast<std::size_t>(left)] != 0 &&
                                         alive[static_cast<std::size_t>(e.next)] != 0);
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t p = 0; p < alive.size(); ++p) {
      kernel_clock.tick();
      if (alive[p]) continue;
      for (Id a : net.points[p])
        if (has_text[static_cast<std::size_t>(a)] &&
            leads_on(net.arcs[static_cast<std::size_t>(a)].to))
          alive[p] = 1, changed = true;
    }
  }
  for (std::size_t p = 0; p < alive.size(); ++p)
    if (!alive[p]) out.push_back(static_cast<Id>(p));
  return out;
}

}  // namespace guard
