#include "automaton/state_key.hpp"

#include <algorithm>

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

// The characters of a text or key that were read, as far as they matter.
std::int32_t StateKeys::chars_of(const Config& at) const {
  const Spec& spec = constraints_.lexicon.texts.spec(at.spec);
  if (!spec.bounded || at.state == Texts::kDead) return 0;
  std::int32_t most = 0;
  for (const Bound& b : spec.bounds) most = std::max(most, b.hi == kInf ? b.lo : kInf);
  return std::min(at.chars, most);
}

void StateKeys::add_lexeme(const Config& at, std::string* out) {
  Writer w(out);
  switch (at.lex) {
    case Lex::None: w.number(at.gap); break;
    case Lex::Literal:
      for (Id id : {at.state, at.chars, at.labels}) w.number(id);
      break;
    case Lex::Raw:
      for (Id id : {at.state, at.spec}) w.number(id);
      break;
    case Lex::Number:
      for (Id id : {at.state, at.spec}) w.number(id);
      w.text(at.key);
      break;
    case Lex::Text:
    case Lex::Key:
      for (Id id : {at.state, at.spec, chars_of(at)}) w.number(id);
      if (at.lex == Lex::Text) break;
      for (Id id : {at.decoder, at.lo, at.hi, at.depth, at.xlo, at.xhi}) w.number(id);
      if (at.state != Texts::kDead) w.text(at.key);
      break;
  }
}

void StateKeys::add_frame(const Frame& f, bool is_top, bool completes, std::string* out) {
  Writer w(out);
  w.number(static_cast<int>(f.kind) | static_cast<int>(f.phase) << 2 | f.records << 5 |
           f.waits << 6 | (f.barred != nullptr) << 7);
  if (f.barred) {
    w.number(f.barred->size);
    for (std::int32_t i = 0; i < f.barred->size; ++i) w.number(f.barred->values[i]);
  }
  for (Id id : {f.level, f.order, f.due}) w.number(id);
  if (f.kind == Kind::Array) w.number(f.count);
  if (f.kind != Kind::Object) return;
  // The count follows from the keys.
  w.number(options_.schema_order ? f.rank : -1);
  const ObjectInfo& info = levels_.info(f.level);
  const bool even = completes && is_even(info, f);
  const bool few = even && !(is_top && f.phase == Phase::Key);
  const bool keyed = (is_top || f.barred) && (f.phase == Phase::Colon || f.phase == Phase::Value);
  w.number(!keyed                  ? -1  // otherwise the last key determines the due value
           : !even                 ? f.key
           : options_.schema_order ? orders_.of_member(f.order, f.key)
                                   : -1);
  const auto written = [&](std::size_t i) {
    return static_cast<std::int64_t>(few ? f.seen[i] & info.asked_bits[i] : f.seen[i]);
  };
  std::size_t words = f.seen ? info.asked_bits.size() : 0;
  while (words > 0 && written(words - 1) == 0) --words;
  w.number(static_cast<std::int64_t>(words));
  for (std::size_t i = 0; i < words; ++i) w.number(written(i));
  const std::int32_t extras = f.extras && !few ? f.extras->size : 0;
  w.number(extras);
  for (std::int32_t i = 0; i < extras; ++i) w.text(f.extras->texts[i]);
}

void StateKeys::add(const Config& at, std::uint64_t engine, std::string* out) {
  if (at.finished) out->push_back('.');
  if (!at.top || at.finished) return;
  Writer w(out);
  w.number(static_cast<std::int64_t>(engine));       // ids are valid for this engine only
  const bool compares = at.top->records || at.text;  // then the text affects the continuations
  w.number(static_cast<int>(at.lex) | compares << 3);
  add_lexeme(at, out);
  if (compares) w.text(at.text);
  for (const Frame* f = at.top; f; f = f->parent) {
    if (compares)
      for (const KeyText* mark : {f->mark, f->begun}) w.number(Writer::length(mark));
    add_frame(*f, f == at.top, false, out);
  }
}

bool StateKeys::find(const Config& at, LexemeKey* out) const {
  const bool is_key = at.lex == Lex::Key;
  // The text of a key matters while it may be undeclared; where it begins a name, the names tell
  // it.
  if (is_key ? at.state != Texts::kDead && at.lo == at.hi && at.depth > 0 : at.key != nullptr)
    return false;
  *out = {.lex = at.lex};
  if (at.lex == Lex::None) {
    out->state = at.gap;
    return true;
  }
  out->state = at.state;
  out->spec = at.lex == Lex::Literal ? at.labels : at.spec;
  out->chars = at.lex == Lex::Literal ? at.chars : is_key || at.lex == Lex::Text ? chars_of(at) : 0;
  if (is_key) out->decoder = at.decoder, out->lo = at.lo, out->hi = at.hi, out->depth = at.depth;
  return true;
}

std::int64_t StateKeys::lexeme(const Config& at) const {
  const bool inside =
      at.top && !at.finished && (at.lex == Lex::Text || (at.lex == Lex::Number && !at.key));
  if (!inside || at.top->records || at.text || is_too_deep(options_, at))
    return -1;  // the bytes of a token matter, not only the state in which it ends
  const bool bounded = at.lex == Lex::Text && constraints_.lexicon.texts.spec(at.spec).bounded;
  return static_cast<std::int64_t>(constraints_.lexicon.number << 36) +
         static_cast<std::int64_t>(at.state) * 4 + (at.lex == Lex::Number) * 2 + bounded;
}

}  // namespace guard
