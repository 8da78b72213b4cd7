#include "automaton/completion_key.hpp"

namespace guard {

namespace {
bool has_text(const Config& at) { return at.top->records || at.text; }  // then all of it matters
void add_number(std::int64_t n, std::string* out) {
  out->append(reinterpret_cast<const char*>(&n), sizeof n);
}
}  // namespace

bool CompletionKeys::find(const Config& at, CompletionKey* out) {
  const bool key = at.lex == Lex::Key;
  if (!at.top || at.finished || has_text(at) || at.lex == Lex::None || (at.key && !key))
    return false;
  *out = {};
  if (key) {
    const ObjectInfo& info = levels_.info(at.top->level);
    if (at.xlo < at.xhi || !is_even(info, *at.top)) return false;
    // Which of the names that share the text so far may come must follow from the required ones.
    for (std::int32_t i = at.lo; at.top->seen && i < at.hi; ++i) {
      const auto word = static_cast<std::size_t>(i) >> 6;
      const std::uint64_t others = (at.top->seen[word] & ~info.asked_bits[word]) >> (i & 63);
      if (others & 1) return false;
      if (others == 0) i |= 63;  // none in the rest of the word
    }
    out->decoder = at.decoder;
    // The names tell the text. Without any, only the class of the key matters.
    if (at.lo < at.hi) out->lo = at.lo, out->hi = at.hi, out->depth = at.depth;
  }
  out->stack = stack(at.top);
  out->lex = at.lex;
  out->state = at.state;
  out->spec = at.lex == Lex::Literal ? at.labels : at.spec;
  out->chars = at.lex == Lex::Literal       ? at.chars
               : key || at.lex == Lex::Text ? keys_.chars_of(at)
                                            : 0;
  return true;
}

void CompletionKeys::add(const Config& at, std::string* out) {
  if (!at.top || at.finished) return out->push_back(at.finished ? '.' : '-');
  if (has_text(at)) return keys_.add(at, 0, out);
  add_number(-1 - static_cast<std::int64_t>(at.lex), out);
  keys_.add_lexeme(at, out);
  keys_.add_frame(*at.top, true, true, out);
  add_number(stack(at.top->parent), out);
}

// Equal numbers: the same completions behind the value in the frame, and behind its key.
std::int64_t CompletionKeys::stack(const Frame* f) {
  if (!f) return -1;
  std::int64_t& number = f->cache().stack;
  if (number >= 0) return number;
  std::string key;
  keys_.add_frame(*f, false, true, &key);
  add_number(stack(f->parent), &key);
  const auto [at, is_new] = stacks_.try_emplace(std::move(key), made_);
  if (is_new) ++made_, held_ += at->first.size() + sizeof *at + 4 * sizeof(void*);
  return number = at->second;
}

}  // namespace guard
