// Bindings: the module guard.kernels._native. Only the files in this folder use Python.
//
// Records and trees come from guard.schemas and are checked here again: a wrong structure is a
// TypeError, never undefined behaviour. No thread waits for the GIL while it holds an isolate's
// lock. A call that needs nodes not lowered yet throws Missing; the lock is released, Python lowers
// the nodes, and the call is repeated. A long call releases the GIL meanwhile.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <pthread.h>

#include "automaton/format_check.hpp"
#include "constraints/explorer.hpp"
#include "python/apply.hpp"
#include "python/json_parts.hpp"
#include "python/json_tree.hpp"
#include "python/keyword_codes.hpp"
#include "python/lower_fast.hpp"
#include "python/matcher_type.hpp"
#include "python/read_records.hpp"
#include "python/refusal.hpp"
#include "python/scan_fast.hpp"
#include "python/schema_positions.hpp"
#include "python/validate_fast.hpp"
#include "python/vocabulary_type.hpp"
#include "python/word_bounds.hpp"
#include "sampling/sampler.hpp"
#include "support/allocator.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {
namespace {

struct PyExplorer {
  explicit PyExplorer(std::shared_ptr<Front> front) : seat(Seat::pinned(std::move(front))) {}
  Seat seat;
  std::optional<Explorer> explorer;
};

struct PySampler {
  explicit PySampler(std::shared_ptr<Front> front) : seat(std::move(front)) {}
  Seat seat;
  std::optional<Sampler> sampler;
  std::uint64_t engine = 0;  // the number of its engine
};

}  // namespace
}  // namespace guard

NB_MODULE(_native, m) {
  using namespace guard;
  m.doc() =
      "The mask engine: vocabularies, engines, matchers. Use guard.Vocabulary and guard.compile.";
  nb::set_leak_warnings(false);
  bind_apply(m);
  bind_keyword_codes(m);
  bind_json_tree(m);
  bind_schema_positions(m);
  bind_parts(m);
  bind_lower(m);
  bind_plain(m);
  bind_scan(m);
  bind_vocabulary(m);
  bind_word_bounds(m);
  bind_matcher(m);
  // A child of fork() must not wait for a thread that does not exist there.
  pthread_atfork([] { Isolates::instance().before_fork(); },
                 [] { Isolates::instance().after_fork(false); },
                 [] {
                   Isolates::instance().after_fork(true);
                   Handover::forget_others();
                 });

  m.def("seal", [] {
    const std::shared_ptr<Isolate> common = Isolates::instance().first();
    const Account account(*common);
    const std::lock_guard lock(common->lock);
    if (common->tables) common->tables->lexicon.seal();
  });
  m.def("memory", [] {
    const Isolates& all = Isolates::instance();
    nb::dict out;
    out["budget"] = all.budget();
    out["tables"] = all.nbytes();
    out["shared"] = all.shared();
    out["isolates"] = all.own();
    out["flushes"] = all.flushes();
    out["held"] = total_held();
    return out;
  });
  m.def(
      "limit_memory", [](std::int64_t nbytes) { Isolates::instance().set_budget(nbytes); },
      "nbytes"_a);
  refuse_others(m, "limit_memory", "limit_memory() takes nbytes: int");
  m.def(
      "fail_at",
      [](unsigned ticks, std::int64_t allocations) {
        const bool limit = kernel_clock.fail_at(ticks),
                   allocation = fail_allocation_at(allocations);
        return limit || allocation;
      },
      "ticks"_a = 0, "allocations"_a = 0);
  m.def("longest_search", [] { return kernel_clock.longest(); });

  nb::class_<Options>(m, "EngineOptions")
      .def(
          "__init__",
          [](Options* made, int key_order, int whitespace, int spelling, const nb::dict& limits) {
            Options o;
            o.schema_order = key_order == 0;
            o.whitespace = static_cast<Whitespace>(whitespace);
            o.spelling = static_cast<Spelling>(spelling);
            const auto limit = [&](const char* name, auto* into) {
              if (limits.contains(name))
                *into = static_cast<std::remove_pointer_t<decltype(into)>>(
                    std::min(nb::cast<double>(limits[name]), 2e9));
            };
            limit("alternatives", &o.limits.alternatives);
            limit("states", &o.limits.states);
            limit("nesting", &o.limits.nesting);
            limit("seconds", &o.limits.seconds);
            if (limits.contains("memory"))
              o.limits.memory =
                  static_cast<std::int64_t>(std::min(nb::cast<double>(limits["memory"]), 1e18));
            new (made) Options(o);
          },
          "key_order"_a, "whitespace"_a, "spelling"_a, "limits"_a);

  nb::class_<Front>(m, "Engine")
      .def(nb::new_([](nb::object lower, nb::object fail, Id root, const Options& options,
                       const nb::object& format, bool apart) {
             return std::make_shared<Front>(options, root,
                                            format.is_none() ? nullptr : source_of(format),
                                            std::move(lower), std::move(fail), apart);
           }),
           "lower"_a, "fail"_a, "root"_a, "options"_a, "format"_a = nb::none(), "apart"_a = false)
      .def(
          "matcher",
          [](const std::shared_ptr<Front>& f, const std::shared_ptr<Vocabulary>& v,
             const std::vector<std::vector<Id>>& symbols, const std::vector<Id>& special) {
            std::vector<Id> any;
            if (f->format)
              for (const FormatExit& exit : f->format->exits)
                if (exit.kind == FormatExit::AnyToken) any.push_back(exit.what);
            std::sort(any.begin(), any.end());
            any.erase(std::unique(any.begin(), any.end()), any.end());
            if (!any.empty() && static_cast<std::size_t>(any.back()) >= symbols.size())
              throw nb::value_error("a symbol of the format has no tokens");
            const auto known = symbols.empty()
                                   ? nullptr
                                   : std::make_shared<const Symbols>(symbols, any, special, *v);
            return PyMatcher::make(Seat(f), [&] { return Matcher(v, known); });
          },
          "vocabulary"_a, "symbols"_a = std::vector<std::vector<Id>>(),
          "special"_a = std::vector<Id>())
      .def("start",
           [](const std::shared_ptr<Front>& f) {
             Seat seat(f);
             Call(seat).run(
                 [](Compiled& engine) {
                   Arena arena;
                   engine.start(arena);
                   if (engine.format && engine.format->source->is_checked) check_format(engine);
                 },
                 [](Compiled& engine) {
                   Arena arena;  // of a format: the value with which every turn begins, if one does
                   if (engine.format) return engine.look_ahead(engine.start(arena));
                   return engine.constraints.goals.is_defined(engine.root)
                              ? std::vector<Id>()
                              : std::vector<Id>{engine.root};
                 });
           })
      .def(
          "dead_parts",
          [](const std::shared_ptr<Front>& f, const std::vector<Id>& arcs,
             const std::vector<Id>& exits) {
            Seat seat(f);
            std::vector<Id> out;
            Call(seat).run([&](Compiled& engine) { out = dead_parts(engine, arcs, exits); });
            return out;
          },
          "arcs"_a, "exits"_a)
      .def_prop_ro("nbytes", [](const std::shared_ptr<Front>& f) { return f->nbytes(); })
      .def("stats", [](const std::shared_ptr<Front>& f) {
        std::array<std::size_t, 4> counts{};
        Seat seat(f);
        Call(seat).run([&](Compiled& engine) {
          Lexicon& l = engine.tables.lexicon;
          counts = {engine.states(), l.langs.size(), l.texts.size(), l.numbers.size()};
        });
        nb::dict out;
        out["states"] = counts[0];
        out["languages"] = counts[1];
        out["texts"] = counts[2];
        out["numbers"] = counts[3];
        return out;
      });

  nb::class_<PyExplorer>(m, "Explorer")
      .def(
          "__init__",
          [](PyExplorer* self, const std::shared_ptr<Front>& f, std::int64_t most) {
            new (self) PyExplorer(f);
            Call(self->seat).run([&](Compiled& engine) {
              self->explorer.emplace(engine.constraints,
                                     static_cast<std::size_t>(std::max<std::int64_t>(most, 0)));
            });
          },
          "engine"_a, "most"_a)
      .def(
          "add",
          [](PyExplorer& self, Id node) {
            if (node < 0 || node >= kOwnNodes) throw nb::value_error("a node must be an index");
            Call(self.seat).run([&](Compiled&) { self.explorer->add(node); });
          },
          nb::lock_self(), "node"_a)
      .def(
          "run",
          [](PyExplorer& self, double seconds) {
            const auto until = Clock::after(std::clamp(seconds, 0.0, 1e6));
            return Call(self.seat).run([&](Compiled&) { return self.explorer->run(until); });
          },
          nb::lock_self(), "seconds"_a)
      .def(
          "stats",
          [](const PyExplorer& self) {
            const Explorer& e = *self.explorer;
            nb::dict out;
            out["goals"] = e.expanded(0);
            out["objects"] = e.expanded(1);
            out["arrays"] = e.expanded(2);
            out["languages"] = e.expanded(3);
            out["states"] = e.states();
            out["waiting"] = e.waiting();
            return out;
          },
          nb::lock_self())
      .def(
          "large", [](const PyExplorer& self) { return self.explorer->large(); }, nb::lock_self())
      .def("empty", [](const PyExplorer& self) { return self.explorer->empty(); }, nb::lock_self());

  nb::class_<PySampler>(m, "Sampler")
      .def(
          "__init__",
          [](PySampler* self, const std::shared_ptr<Front>& f) { new (self) PySampler(f); },
          "engine"_a)
      .def(
          "sample",
          [](PySampler& self, const std::vector<nb::bytes>& choices) -> nb::object {
            std::vector<std::string_view> units;
            for (const nb::bytes& unit : choices) units.emplace_back(unit.c_str(), unit.size());
            Call call(self.seat);
            std::string text;
            std::size_t used = 0;
            const bool any = call.run([&](Compiled& engine) {
              if (self.engine != engine.number)
                self.sampler.emplace(engine), self.engine = engine.number;
              return self.sampler->sample(units, &text, &used);
            });
            if (!any) return nb::none();
            return nb::make_tuple(nb::bytes(text.data(), text.size()), used);
          },
          nb::lock_self(), "choices"_a);
}
