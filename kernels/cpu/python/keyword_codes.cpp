#include "python/keyword_codes.hpp"

#include <atomic>
#include <mutex>
#include <string>

#include "python/objects.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {
namespace {

constexpr std::size_t kSlots = 1024;  // four times as many as there can be keywords

struct Known {
  std::string text;
  PyObject* object = nullptr;  // interned, and never released
};

// All keywords of the process. Whoever adds one holds the lock; a reader needs none, since an entry
// is complete before its slot names it.
struct Registry {
  std::array<Known, 256> known;
  std::array<std::atomic<Keyword>, kSlots> slots{};
  std::mutex adding;
  std::size_t count = 0;
};
Registry& registry() {
  static Registry* const all = new Registry;  // never destroyed: threads may outlive the module
  return *all;
}

std::size_t slot_of(std::string_view key) {
  const auto at = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(key[i]));
  };
  const std::size_t n = key.size();
  std::size_t hash = n;
  if (n > 0) hash += at(0) * 31 + at(n - 1) * 131 + at(n / 2) * 517 + at(n / 3) * 1031;
  return (hash ^ (hash >> 9)) % kSlots;
}

Keyword add(PyObject* key) {
  const auto text = utf8(key);
  if (!text) throw nb::value_error("a keyword must be text");
  if (const Keyword known = keyword_of(*text)) return known;
  Registry& all = registry();
  const std::lock_guard lock(all.adding);
  if (const Keyword known = keyword_of(*text)) return known;
  if (all.count + 1 >= all.known.size()) throw nb::value_error("too many keywords");
  const auto word = static_cast<Keyword>(++all.count);
  PyObject* object =
      PyUnicode_FromStringAndSize(text->data(), static_cast<Py_ssize_t>(text->size()));
  if (!object) throw nb::python_error();
  PyUnicode_InternInPlace(&object);
  all.known[word] = {std::string(*text), object};
  std::size_t slot = slot_of(*text);
  while (all.slots[slot].load(std::memory_order_relaxed)) slot = (slot + 1) % kSlots;
  all.slots[slot].store(word, std::memory_order_release);
  return word;
}

std::uint32_t next_number() {
  static std::atomic<std::uint32_t> made = 0;
  return ++made;
}

}  // namespace

Keyword keyword_of(std::string_view key) {
  const Registry& all = registry();
  for (std::size_t slot = slot_of(key);; slot = (slot + 1) % kSlots) {
    const Keyword word = all.slots[slot].load(std::memory_order_acquire);
    if (!word || all.known[word].text == key) return word;
  }
}

PyObject* text_of(Keyword word) { return registry().known[word].object; }

KeywordTable::KeywordTable(nb::handle given) {
  for (const auto [key, value] : nb::cast<nb::dict>(given)) {
    const long number = PyLong_AsLong(value.ptr());
    if (number == -1 && PyErr_Occurred()) throw nb::python_error();
    if (number < 0 || number > 254) throw nb::value_error("a keyword's number is from 0 to 254");
    values_[add(key.ptr())] = static_cast<std::uint8_t>(number + 1);
  }
}

const DialectTables& tables_of(PyObject* dialect) {
  static PyObject* const name = PyUnicode_InternFromString("tables");
  const nb::object tables = attribute(dialect, name);  // the dialect keeps them
  return nb::cast<const DialectTables&>(tables);
}

void bind_keyword_codes(nb::module_& module) {
  nb::class_<KeywordTable>(module, "KeywordTable").def(nb::init<nb::handle>(), "numbers"_a);
  nb::class_<DialectTables>(module, "DialectTables")
      .def(
          "__init__",
          [](DialectTables* self, const nb::str& name, const nb::dict& keywords,
             const nb::dict& looked_into, long integer, bool ref_alone, bool boolean_bounds) {
            new (self) DialectTables{.keywords = KeywordTable(keywords),
                                     .looked_into = KeywordTable(looked_into),
                                     .integer = integer,
                                     .ref_alone = ref_alone,
                                     .boolean_bounds = boolean_bounds,
                                     .number = next_number(),
                                     .name = name};
          },
          "name"_a, "keywords"_a, "looked_into"_a, "integer"_a, "ref_alone"_a, "boolean_bounds"_a);
}

}  // namespace guard
