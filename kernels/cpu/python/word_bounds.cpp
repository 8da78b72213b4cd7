// Finds where in a text a quotation may begin and end, in one pass.
// schemas/grounding/word_bounds.py defines words and the classes of characters.
#include "python/word_bounds.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

// Numbered as in word_bounds.py.
enum Class : std::uint16_t {
  kLetter = 1,  // of a word
  kAlone = 2,   // a word of its own, in a script without spaces
  kMark = 4,    // continues the character before it
  kDigit = 8,
  kJoiner = 16,    // joins two letters
  kStarter = 32,   // may belong to the word after it
  kEnder = 64,     // may belong to the word before it
  kAnyWord = 128,  // a letter of any script, or a mark
  kUnit = 256,     // belongs to a number also where a space stands between
  kKnown = 512
};

// Asks Python once for each distinct character. The GIL must be held.
class Classes {
 public:
  std::uint16_t of(Py_UCS4 c, nb::handle classify) {
    if (c >= known_.size()) known_.resize(c < 0x80 ? 0x80 : c < 0x3000 ? 0x3000 : 0x110000);
    std::uint16_t& found = known_[c];
    if (!found) {
      const nb::object asked = classify(nb::int_(c));  // the call may grow known_, which
                                                       // invalidates `found`
      const auto classes = static_cast<std::uint16_t>(nb::cast<int>(asked) | kKnown);
      return known_[c] = classes;
    }
    return found;
  }

 private:
  std::vector<std::uint16_t> known_;
};

nb::tuple word_bounds(const nb::str& text, nb::handle classify) {
  static thread_local Classes classes;
  const Py_ssize_t size = PyUnicode_GetLength(text.ptr());
  const std::unique_ptr<Py_UCS4, decltype(&PyMem_Free)> copy(PyUnicode_AsUCS4Copy(text.ptr()),
                                                             PyMem_Free);
  if (!copy) throw nb::python_error();
  const Py_UCS4* c = copy.get();
  const std::size_t n = static_cast<std::size_t>(size);
  std::vector<std::uint16_t> is(n + 1);  // the classes of each character; the last entry is empty
  for (std::size_t i = 0; i < n; ++i) is[i] = classes.of(c[i], classify);
  std::string starts(n + 1, '\0'), ends(n + 1, '\0');
  const auto joins = [&](std::size_t i) {
    if (!(is[i + 1] & kLetter)) return false;
    const bool behind = is[i - 1] & kDigit, before = is[i + 1] & kDigit;
    if (c[i] == ',' || c[i] == ':') return behind && before;
    return c[i] == '/' ? behind || before : (is[i] & kJoiner) != 0;
  };
  for (std::size_t i = 0; i < n;) {
    if (!(is[i] & (kLetter | kAlone))) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    if (is[i] & kLetter)
      while (end < n && ((is[end] & kLetter) || joins(end))) ++end;
    else
      while (is[end] & kMark) ++end;
    starts[i] = ends[end] = 1;
    if (c[end - 1] == 's' && end - i > 2 && (c[end - 2] == '\'' || c[end - 2] == 0x2019))
      ends[end - 2] = 1;  // Anna's
    i = end;
  }
  const auto is_space = [&](std::size_t i) { return c[i] == ' ' || c[i] == '\n'; };
  const auto in_word = [&](std::size_t i) { return (is[i] & kAnyWord) != 0; };
  for (std::size_t i = 0; i < n; ++i) {
    const bool minus = (c[i] == '-' || c[i] == 0x2212) && (is[i + 1] & kDigit);
    if (((is[i] & kStarter) || minus) && (i == 0 || !in_word(i - 1)) &&
        (i + 1 == n || !is_space(i + 1)))
      starts[i] = 1;
    if ((is[i] & kEnder) && (i == 0 || !is_space(i - 1)) && !in_word(i + 1)) ends[i + 1] = 1;
    if (!(is[i] & kUnit)) continue;
    if ((is[i] & kStarter) && (i == 0 || !in_word(i - 1)) && i + 2 < n && c[i + 1] == ' ' &&
        (is[i + 2] & kDigit))
      starts[i] = 1;
    if (i > 1 && (is[i - 2] & kDigit) && c[i - 1] == ' ' && !in_word(i + 1)) ends[i + 1] = 1;
  }
  return nb::make_tuple(nb::bytes(starts.data(), n + 1), nb::bytes(ends.data(), n + 1));
}

}  // namespace

void guard::bind_word_bounds(nb::module_& module) {
  module.def("word_bounds", word_bounds, "text"_a, "classify"_a);
}
