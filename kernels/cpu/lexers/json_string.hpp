// Text: a byte automaton for the inside of a JSON string. It decodes escapes and UTF-8, and runs
// languages over the decoded characters.
//
// A state is a partial character (an escape, a UTF-8 lead, half a surrogate pair) and a list of
// components: (language, index). All components read the same characters. The meaning of an index
// is part of a Spec, not of the state: bounds on the number of characters, and a label, which names
// the alternative of the surrounding value. So strings of at most 10 and of at most 1,000,000
// characters share one automaton, and a free string is one state in every schema. After its first
// use, a byte's transition is a table look-up. Not thread-safe: the isolate's lock must be held for
// all methods. States and specs stay valid as long as the Texts.
#pragma once
#include <array>
#include <optional>

#include "lexers/char_classes.hpp"
#include "lexers/net.hpp"
#include "support/bytes.hpp"

namespace guard {

enum class Spelling : std::uint8_t {
  Canonical,
  Any,
  Raw
};  // Raw: not JSON; each character stands for itself
enum class Use : std::uint8_t {
  Value,
  Key,
  Decoder
};  // the role of a text; a Decoder keeps partial characters distinct even if they lead to the same
    // state

constexpr Id kTracked = 1 << 20;

struct Component {
  Id lang;
  Id index;  // into the Spec; the bit kTracked marks a component that keeps no state alive
  auto operator<=>(const Component&) const = default;
};

struct Bound {          // one component's part of a Spec
  std::int32_t lo, hi;  // characters; kInf: no upper bound
  Id label;
  bool operator==(const Bound&) const = default;
};
struct Spec {
  std::vector<Bound> bounds;
  bool bounded = false;  // whether any length matters
  const Bound& at(Id index) const {
    return bounds[static_cast<std::size_t>(index & (kTracked - 1))];
  }
  bool operator==(const Spec&) const = default;
  std::size_t hash() const {
    std::size_t h = bounds.size();
    for (const Bound& b : bounds)
      h = mix(mix(mix(h, static_cast<std::size_t>(b.lo)), static_cast<std::size_t>(b.hi)),
              static_cast<std::size_t>(b.label));
    return h;
  }
};
struct StringPiece {
  std::int32_t lo, hi;  // lengths, closed
  Id lang;
  auto operator<=>(const StringPiece&) const = default;
};
struct Labelled {  // an argument of start(): a language, limited to lo to hi characters, and its
                   // label
  Id lang;
  std::int32_t lo, hi;
  Id label;
  bool tracked = false;  // reports whether the text matches, but keeps no state alive
};

// A partial character. Kind 0: none. 1: after a backslash. 2: after "\u" and `got` hex digits,
// whose value is `value`. 3: after the high surrogate `high` and `got` characters of "\uXXXX",
// whose digits have the value `value`. 4: inside a UTF-8 sequence of `high` bytes, of which `got`
// are missing; `value` has the bits so far. 5: like 4, where all characters with this beginning
// lead to one state; the components are already those of that state, and `value` is the lead byte
// if it restricts the next byte, else 0.
struct Pending {
  std::uint8_t kind = 0, got = 0;
  std::uint32_t value = 0, high = 0;
  bool operator==(const Pending&) const = default;
};

class Texts {
 public:
  static constexpr Id kDead = 0;
  static constexpr std::int64_t kOneChar =
      11;  // bytes that complete any partial character: the rest of two escapes
  explicit Texts(Langs& langs) : langs_(langs) { states_.intern({}), quick_.push_back({}); }

  // The state at the start of a string, and its spec; kDead when no component is live.
  Id start(const std::vector<Labelled>& components, Spelling spelling, Id* spec,
           Use use = Use::Value);
  // Text along the arcs of a net, in Raw spelling. enter() returns the state at one of the net's
  // points (kDead if no arc is live there) and its spec. The spec's labels are exits, or kNoExit
  // for an arc that leads to a point.
  static constexpr Id kNoExit = kInf - 1;
  Id net_of(Net net);                                      // equal nets have equal ids
  Id enter(Id net, std::span<const Id> points, Id* spec);  // at any of these points
  Id enter(Id net, Id point, Id* spec) { return enter(net, std::span(&point, 1), spec); }
  Id open(Id state) const {
    return quick_[static_cast<std::size_t>(state)].open;
  }  // the open exit that may be taken here; -1: there is none
  Id commit(Id state) const {
    return quick_[static_cast<std::size_t>(state)].alone ? open(state) : -1;
  }  // the same, if nothing else can follow, else -1
  void exits(Id state, Labels* exits) const;  // the exits at which the text may end, sorted
  // Calls best(arc, bytes) for each current arc that can end, with the fewest bytes to its end.
  template <class F>
  void ways(Id state, F best) {
    const std::vector<std::int64_t>& rests = this->rests(state);
    const std::vector<Component>& components = states_[state].components;
    for (std::size_t i = 0; i < components.size(); ++i)
      if (rests[i] >= 0) best(components[i].index, rests[i]);
  }
  // Calls f(arc) for each current arc, whether it can end or not.
  template <class F>
  void arcs(Id state, F f) const {
    for (const Component& c : states_[state].components) f(c.index);
  }
  const Net& net(Id id) const { return nets_[id]; }
  bool is_raw(Id state) const { return states_[state].net >= 0; }
  // A superset of the bytes that may come next, where none is spelled as an escape: those with
  // which a component goes on. Computed once. Valid as long as the Texts.
  const Bytes& begins(Id state);
  // The bytes that may come next in raw text; null if they are more than a few.
  const Bytes* few_next(Id state);
  // The state to which all characters beyond ASCII lead, or kSplit. Requires is_whole(state).
  Id beyond(Id state) { return common(states_[state], beyond_ascii()); }
  // The transition by one byte, which must not be the closing quote. kDead if no component has a
  // text that continues so, lengths aside. O(1) after the first use.
  [[gnu::always_inline]] Id step(Id state, std::uint8_t byte) {
    const Quick& q = quick_[static_cast<std::size_t>(state)];
    if (q.next) {
      const Id next = q.next[byte];
      if (next >= 0) return next;
    } else {
      for (std::size_t i = 0; i < q.few; ++i)
        if (byte >= q.from[i] && byte <= q.upto[i]) return q.to[i];
    }
    return fill(state, byte);
  }
  // The state after complete characters, of which none is spelled as an escape. Makes no tables for
  // the states on the way, which nobody else may come to. Requires is_whole(state).
  Id after(Id state, std::string_view text);
  // The common transition of all characters of a class; kSplit if they lead to different states.
  // Requires is_whole(state).
  static constexpr Id kSplit = -2;
  Id step_class(Id state, std::uint8_t cls) {
    const Quick& q = quick_[static_cast<std::size_t>(state)];
    if (q.by_class)
      if (const Id next = q.by_class[cls]; next != -1) return next;
    return fill_class(state, cls);
  }
  bool is_whole(Id state) const {
    return quick_[static_cast<std::size_t>(state)].kind == 0;
  }  // whether the state is between characters
  // partial_utf8: how many bytes of an incomplete UTF-8 character were read; 0 elsewhere.
  // in_escape: whether the state is inside an escape. begins_escape: right after its backslash.
  std::int32_t partial_utf8(Id state) const {
    return quick_[static_cast<std::size_t>(state)].partial;
  }
  bool in_escape(Id state) const {
    const Quick& q = quick_[static_cast<std::size_t>(state)];
    return q.kind != 0 && q.kind < 4;
  }
  bool begins_escape(Id state) const { return quick_[static_cast<std::size_t>(state)].kind == 1; }
  // Whether every component accepts every further text, lengths aside.
  bool is_free(Id state) const { return quick_[static_cast<std::size_t>(state)].free; }
  bool has_all(Id state) const;  // whether every text can be continued to an end, lengths aside
  bool is_endless(Id state);     // whether every prefix has infinitely many continuations in each
                                 // component, so that no finite set of texts exhausts the state
  bool is_key(Id state) const { return states_[state].use == Use::Key; }
  // A component's transitions by the next character, or by the rest of a partial one.
  LangRow row(Id state, Id lang) {
    return states_[state].pending.kind == 5 ? LangRow{{kMaxChar}, {lang}} : langs_.row(lang);
  }
  const Spec& spec(Id id) const { return specs_[id]; }
  // The character that the byte completes in this state; kMaxChar + 1 if it completes none.
  std::uint32_t completes(Id state, std::uint8_t byte) const;
  const Ranges& possible(Id state) {
    return possible(states_[state].pending, states_[state].spelling);
  }
  // Whether some component can still accept, after `read` complete characters. Exact.
  // O(components).
  bool is_live(Id state, Id spec, std::int64_t read);
  // The lists of a state between characters whose texts are all listed in plain ASCII
  // (Langs::listed). Returns false for any other state.
  bool listed(Id state, std::vector<Langs::Listed>* out) const;
  bool quoting(Id state, Langs::Quoting* out);  // the same for a state of quotations
  Id goes_on(Id state);  // a state (a free string or `.*`) whose texts can all be continued to an
                         // end from this one, lengths aside; kDead: unknown
  // A number of bytes inside the quotes that suffices to end the text for this label, after any
  // further text within the bounds. -1: unknown.
  std::int64_t enough(Id state, Id spec, std::int64_t read, Id label) const;
  Id free(Id state);  // the state of an unconstrained string, in the same spelling
  // The state without large bounds on repetitions (see Langs::relaxed). Its components correspond
  // one to one to those of `state`.
  Id relaxed(Id state, std::int32_t* most);
  // A state of a value that has the same next `chars` characters, and the same ends among them (see
  // Langs::cut), with components one to one. kDead: no repetition was cut short.
  Id cut(Id state, std::int32_t chars);
  std::int64_t near(Id state);   // characters that suffice to end some component that keeps the
                                 // state alive, lengths aside; -1: unknown
  bool may_end(Id state) const;  // whether the text may end here, lengths aside
  // The labels of the components that may end here, sorted; none inside a character.
  void accepted(Id state, Id spec, std::int64_t read, Labels* labels);
  // Calls best(label, bytes) for each live component, with the fewest bytes to the closing quote,
  // which is not counted.
  template <class F>
  void cheapest(Id state, Id spec, std::int64_t read, F best);
  // The fewest bytes to the end of a text that components of all these labels accept; -1: there is
  // none. Requires that start() got the components in the order of their labels.
  std::int64_t cheapest(Id state, Id spec, std::int64_t read, const std::vector<Id>& labels);
  std::int64_t rest_of_char(Id state, const Ranges& chars) const {
    return rest_of_char(states_[state].pending, chars, states_[state].spelling);
  }
  const std::vector<Component>& components(Id state) const { return states_[state].components; }
  std::size_t size() const { return states_.size(); }
  Langs& langs() { return langs_; }
  void seal() { states_.seal(), specs_.seal(); }

 private:
  using Table = std::array<Id, 256>;
  struct State {
    Pending pending;
    Spelling spelling = Spelling::Canonical;
    Use use = Use::Value;
    Id net = -1;  // of raw text
    std::vector<Component> components;
    signed char endless = -1;
    bool operator==(const State& o) const {
      return pending == o.pending && spelling == o.spelling && use == o.use && net == o.net &&
             components == o.components;
    }
    std::size_t hash() const {
      std::size_t h = mix(
          mix(mix(pending.kind, pending.got), pending.value),
          pending.high + static_cast<std::size_t>(spelling) * 4 + static_cast<std::size_t>(use));
      h = mix(h, static_cast<std::size_t>(net));
      for (const Component& c : components) {
        h = mix(mix(h, static_cast<std::size_t>(c.lang)), static_cast<std::size_t>(c.index));
      }
      return h;
    }
  };
  Id fill(Id state, std::uint8_t byte);
  Id fill_class(Id state, std::uint8_t cls);
  std::array<Id, kClasses> fill_ascii(Id state);  // by class; -1: not computed
  std::int64_t cheapest_of(const State& state, Id lang, std::int64_t lo, std::int64_t hi);
  const std::vector<std::int64_t>& rests(
      Id state);  // by component: the fewest bytes to an end, lengths aside; -1: there is none
  static bool is_alive(const std::vector<Component>& components) {
    return !components.empty() && components[0].index < kTracked;
  }
  Id intern(State state);
  State after(const State& from) const;  // a state of the same kind, without components
  // For each arc that may end here, adds the arcs of the point that it leads to. An arc that must
  // end here is then redundant, and removed.
  void close(State* state) const;
  // The transition that all of these characters have in common; kSplit if they have several.
  Id common(const State& from, const Ranges& chars);
  static const Ranges& beyond_ascii();
  Id any_char(const State& state, Pending pending);
  Id after_char(const State& state, std::uint32_t c,
                Range* alike = nullptr);  // alike: is narrowed to the characters around c with the
                                          // same transition
  static bool advance(const Pending& from, std::uint8_t byte, Spelling spelling, Pending* to,
                      std::uint32_t* c);
  // The characters that a partial one may become. Memoised: all texts share few partial characters.
  const Ranges& possible(const Pending& pending, Spelling spelling);
  static Ranges find_possible(const Pending& pending, Spelling spelling);
  std::unordered_map<std::uint64_t, Ranges> possible_;
  // The fewest bytes that complete the partial character to one of `chars`. Each byte of such a
  // completion lowers the number by one.
  static std::int64_t rest_of_char(const Pending& pending, const Ranges& chars, Spelling spelling);

  Langs& langs_;
  static constexpr std::size_t kFew = 4;
  struct Quick {                    // per state, the data for walks over many bytes
    const Bytes* begins = nullptr;  // null: not computed
    Id* by_class = nullptr;
    Id* next = nullptr;  // by byte; null while the few ranges below suffice, as they do for most
                         // states
    std::uint8_t kind = 0, partial = 0, few = 0;
    bool free = false;
    std::array<std::uint8_t, kFew> from{}, upto{};
    std::array<Id, kFew> to{};
    Id open = -1;
    bool alone = false;
  };
  void keep(Id state, std::uint8_t from, std::uint8_t upto, Id to);
  Interner<State> states_;
  Blocks<Quick> quick_;
  Interner<Spec> specs_;
  Interner<Net> nets_;
  std::vector<Id> net_specs_;  // by net
  std::deque<Table> tables_;
  std::deque<std::array<Id, kClasses>> class_tables_;
  std::deque<Bytes> begins_;
  std::unordered_map<Id, std::vector<std::int64_t>> rests_;
  std::unordered_map<Id, std::optional<Bytes>> few_next_;
};

template <class F>
void Texts::cheapest(Id state, Id spec, std::int64_t read, F best) {
  const std::vector<Component>& components = states_[state].components;
  const bool bounded = specs_[spec].bounded;
  const std::vector<std::int64_t>* rests = bounded ? nullptr : &this->rests(state);
  for (std::size_t i = 0; i < components.size(); ++i) {
    const Bound& b = specs_[spec].at(components[i].index);
    const std::int64_t least = rests ? (*rests)[i]
                                     : cheapest_of(states_[state], components[i].lang, b.lo - read,
                                                   b.hi == kInf ? kInf : b.hi - read);
    if (least >= 0) best(b.label, least);
  }
}

}  // namespace guard
