// Binds Vocabulary: tokens come in as bytes and are checked.
#include "python/vocabulary_type.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "runtime/isolate.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {
namespace {

// Almost every schema has a free string, so its mask is computed with the vocabulary rather than at
// the first token.
void warm_free_strings(const std::shared_ptr<Vocabulary>& vocabulary) {
  const std::shared_ptr<Isolate> common = Isolates::instance().first();
  const Account account(*common);
  const std::lock_guard lock(common->lock);
  if (!common->tables) common->tables = std::make_unique<Tables>(true);
  Texts& texts = common->tables->lexicon.texts;
  LexemeMasks& masks = common->tables->masks(vocabulary);
  for (const Spelling spelling : {Spelling::Canonical, Spelling::Any}) {
    Id spec;
    for (const Use use : {Use::Value, Use::Key}) {
      const Id free = texts.start({{Langs::kAll, 0, kInf, 0}}, spelling, &spec, use);
      for (const bool detailed : {false, true})
        masks.text(texts, free, detailed, vocabulary->whole(), 0);
    }
  }
}

std::string hex(int byte) {
  static const char* digits = "0123456789ABCDEF";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

}  // namespace

void bind_vocabulary(nb::module_& m) {
  nb::class_<Vocabulary>(m, "Vocabulary")
      .def(
          nb::new_([](const std::vector<nb::bytes>& tokens, std::vector<Id> eos,
                      const std::vector<Id>& special, std::optional<nb::bytes> alphabet) {
            std::vector<std::string> bytes;
            bytes.reserve(tokens.size());
            std::array<bool, 256> single{};
            for (const nb::bytes& t : tokens) {
              bytes.emplace_back(t.c_str(), t.size());
              if (t.size() > 60000) throw nb::value_error("a token has more than 60,000 bytes");
            }
            for (const std::vector<Id>* list : {&std::as_const(eos), &special})
              for (Id t : *list)
                if (t < 0 || static_cast<std::size_t>(t) >= bytes.size())
                  throw nb::value_error(("token " + std::to_string(t) +
                                         " is not in the vocabulary of " +
                                         std::to_string(bytes.size()))
                                            .c_str());
            std::vector<char> excluded(bytes.size(), 0);
            for (Id t : eos) excluded[static_cast<std::size_t>(t)] = 1;
            for (Id t : special) excluded[static_cast<std::size_t>(t)] = 1;
            for (std::size_t t = 0; t < bytes.size(); ++t)
              if (bytes[t].size() == 1 && !excluded[t])
                single[static_cast<std::uint8_t>(bytes[t][0])] = true;
            for (int b = 0x20; b < 256; ++b) {
              const bool needed =
                  alphabet ? std::memchr(alphabet->c_str(), b, alphabet->size()) != nullptr
                           : b < 0x7F || (b >= 0x80 && b <= 0xBF) || (b >= 0xC2 && b <= 0xF4);
              if (needed && !single[static_cast<std::size_t>(b)])
                throw nb::value_error(
                    ("no token spells the byte " + hex(b) +
                     ", which JSON text may need; declare alphabet= if this vocabulary is meant to be small")
                        .c_str());
            }
            const std::shared_ptr<Vocabulary> made(
                new Vocabulary(std::move(bytes), std::move(eos), special), [](Vocabulary* gone) {
                  delete gone;
                  Isolates::instance().forget_vocabularies();
                });
            warm_free_strings(made);
            return made;
          }),
          "tokens"_a, "eos"_a, "special"_a, "alphabet"_a.none() = nb::none())
      .def_prop_ro("size", &Vocabulary::size)
      .def_prop_ro("eos", &Vocabulary::ends)
      .def_prop_ro("nbytes",
                   [](const std::shared_ptr<Vocabulary>& v) {
                     const std::shared_ptr<Isolate> common = Isolates::instance().first();
                     const std::lock_guard lock(common->lock);
                     return v->nbytes() + (common->tables ? common->tables->masks(v).nbytes() : 0);
                   })
      .def(
          "limit",
          [](Vocabulary& v, std::size_t masks, std::size_t rows) {
            v.most_masks = masks;
            v.most_rows = rows;
          },
          "masks"_a, "rows"_a)
      .def("token_bytes",
           [](Vocabulary& v, Id token) {
             if (token < 0 || token >= v.size()) throw nb::index_error("no such token");
             const std::string_view b = v.raw_bytes(token);
             return nb::bytes(b.data(), b.size());
           })
      .def(
          "greedy",
          [](Vocabulary& v, const nb::bytes& data) {
            return v.greedy({data.c_str(), data.size()});
          },
          "data"_a);
}

}  // namespace guard
