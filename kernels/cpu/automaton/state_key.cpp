// Tables: what tables outside of the engine need, such as a GPU's (kernels/gpu/device_tables.py): which configurations go on alike,
// and which tokens lead on alike.
//
// key() is everything of a configuration on which step(), fill() and distance() depend, as bytes: equal keys, equal futures, under the
// same engine and vocabulary; two engines never have one. What no longer matters is left out, so that a free string is one key whatever was written in it, and
// an array without bounds one however many items it has. O(open containers, and keys or items that are compared).
// classes() cuts the tokens inside of a lexeme by where they end. O(tokens inside). Tested in tests/kernels/test_tables.py.

#include <algorithm>
#include <map>

#include "automaton/engine.hpp"

namespace guard {

namespace {
class Writer {
 public:
  explicit Writer(std::string* to) : out(*to) {}
  void number(std::int64_t n) {
    for (int shift = 0; shift < 64; shift += 7) {
      const auto rest = static_cast<std::uint64_t>(n) >> shift;
      out.push_back(static_cast<char>((rest & 0x7F) | 0x80));
      if (n >= 0 && rest <= 0x7F) break;
    }
    out.back() = static_cast<char>(out.back() & 0x7F);
  }
  void text(std::string_view text) {
    number(static_cast<std::int64_t>(text.size()));
    out += text;
  }
  void text(const KeyText* last) {  // in reverse
    number(length(last));
    for (; last; last = last->before) out.push_back(static_cast<char>(last->byte));
  }
  static std::int64_t length(const KeyText* last) {
    std::int64_t n = 0;
    for (; last; last = last->before) ++n;
    return n;
  }
  std::string& out;
};
}  // namespace

// From which number of items on their number does not matter; kInf: it always does.
std::int32_t Engine::last_count(const Frame& f) {
  const auto found = last_counts_.find({f.level, f.order});
  if (found != last_counts_.end()) return found->second;
  std::int32_t out = 1;
  std::vector<Id> todo;
  for (const Alternative& a : levels_[f.level].alternatives) todo.push_back(a.shape);
  std::unordered_set<Id> known(todo.begin(), todo.end());
  while (!todo.empty()) {
    const Row& row = goals_.row(todo.back());  // its spans count from the item that is due
    todo.pop_back();
    out = std::max(out, row.hi == kInf ? row.lo : kInf);
    for (const Clause& c : row.clauses)
      for (Id d : c)
        if (known.insert(d).second) todo.push_back(d);
  }
  if (f.order >= 0)
    for (Id n : in_place(f.order))
      for (const Atom& a : goals_.atoms(n))
        if (a.op == Op::Items) out = std::max({out, a.lo, a.hi == kInf ? 0 : a.hi});
  return last_counts_[{f.level, f.order}] = out;
}

void Engine::key(const Config& at, std::string* out) {
  Writer w(out);
  if (at.finished) out->push_back('.');
  if (!at.top || at.finished) return;
  w.number(static_cast<std::int64_t>(number));  // ids mean what they mean to this engine alone
  const bool compares = at.top->records || at.text;  // then the text is part of what goes on
  w.number(static_cast<int>(at.lex) | compares << 3);
  switch (at.lex) {
    case Lex::None: w.number(at.gap); break;
    case Lex::Literal:
      for (Id id : {at.state, at.chars, at.labels}) w.number(id);
      break;
    case Lex::Number:
      for (Id id : {at.state, at.spec}) w.number(id);
      w.text(at.key);
      break;
    case Lex::Text:
    case Lex::Key: {
      const Spec& spec = texts_.spec(at.spec);
      std::int32_t chars = 0;
      if (spec.bounded && at.state != Texts::kDead) {
        std::int32_t most = 0;
        for (const Bound& b : spec.bounds) most = std::max(most, b.hi == kInf ? b.lo : kInf);
        chars = std::min(at.chars, most);
      }
      for (Id id : {at.state, at.spec, chars}) w.number(id);
      if (at.lex == Lex::Text) break;
      for (Id id : {at.decoder, at.lo, at.hi, at.depth, at.xlo, at.xhi}) w.number(id);
      if (at.state != Texts::kDead) w.text(at.key);
      break;
    }
  }
  if (compares) w.text(at.text);
  for (const Frame* f = at.top; f; f = f->parent) {
    w.number(static_cast<int>(f->kind) | static_cast<int>(f->phase) << 2 | f->records << 5 | f->waits << 6 | (f->barred != nullptr) << 7);
    if (compares)
      for (const KeyText* mark : {f->mark, f->begun}) w.number(Writer::length(mark));
    if (f->barred) {
      w.number(f->barred->size);
      for (std::int32_t i = 0; i < f->barred->size; ++i) w.number(f->barred->values[i]);
    }
    for (Id id : {f->level, f->order, f->due}) w.number(id);
    if (f->kind == Kind::Array) {
      w.number(f->records || f->barred ? f->count : std::min(f->count, last_count(*f)));
    } else if (f->kind == Kind::Object) {  // the count is that of the keys
      w.number(options_.schema_order ? f->rank : -1);
      const bool named = f->phase == Phase::Colon || f->phase == Phase::Value;  // the last key says what is due
      w.number(named && (f == at.top || f->barred) ? f->key : -1);
      w.number(f->seen ? 1 : 0);
      for (std::size_t i = 0; f->seen && i < (f->names->texts.size() + 63) / 64; ++i) w.number(static_cast<std::int64_t>(f->seen[i]));
      w.number(f->extras ? f->extras->size : 0);
      for (std::int32_t i = 0; f->extras && i < f->extras->size; ++i) w.text(f->extras->texts[i]);
    }
  }
}

std::int64_t Engine::lexeme(const Config& at) const {
  const bool inside = at.top && !at.finished && (at.lex == Lex::Text || (at.lex == Lex::Number && !at.key));
  if (!inside || at.top->records || at.text || is_too_deep(at)) return -1;  // there a token's bytes matter, not only where it ends
  const bool bounded = at.lex == Lex::Text && texts_.spec(at.spec).bounded;
  return static_cast<std::int64_t>(tables_.number << 36) + static_cast<std::int64_t>(at.state) * 4 + (at.lex == Lex::Number) * 2 + bounded;
}

int Engine::classes(const Config& at, LexemeMasks& masks, std::uint8_t* of) {
  const Vocabulary& vocabulary = masks.vocabulary();
  std::fill(of, of + vocabulary.size(), std::uint8_t{0});
  if (lexeme(at) < 0) return 0;
  LexemeMask& mask = at.lex == Lex::Text ? masks.text(texts_, at.state, true, vocabulary.whole(), 0) : masks.number(numbers_, at.state);
  const bool bounded = at.lex == Lex::Text && texts_.spec(at.spec).bounded;  // else the number of characters does not matter
  std::map<std::pair<Id, std::int32_t>, std::vector<Id>> found;  // by state, and characters where they matter
  for (const Inside& group : mask.inside)
    group.tokens.each([&](Id t) { found[{group.state, !bounded ? 0 : group.chars == kItsOwn ? vocabulary.chars(t) : group.chars}].push_back(t); });
  std::vector<const std::vector<Id>*> groups;
  for (const auto& [_, tokens] : found) groups.push_back(&tokens);
  // The largest first, where there are more than a byte can tell apart.
  std::stable_sort(groups.begin(), groups.end(), [](const auto* a, const auto* b) { return a->size() > b->size(); });
  if (groups.size() > 255) groups.resize(255);
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (Id t : *groups[i]) of[t] = static_cast<std::uint8_t>(i + 1);
  return static_cast<int>(groups.size());
}

}  // namespace guard
