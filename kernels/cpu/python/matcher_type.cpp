// Binds Matcher, and masks of whole batches.
#include "python/matcher_type.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <exception>
#include <functional>

#include "python/refusal.hpp"
#include "support/thread_pool.hpp"

#define GUARD_BITMASK "bitmask: an int32 array of NumPy or torch on the CPU"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {

constexpr std::size_t kShortCopy = 1'000'000;  // bytes of a batch; about 20 us
constexpr std::chrono::microseconds kLeastPatience{200};
constexpr double kForEver = 1e6;  // seconds

// Waits until the deadline for the rows that our own threads compute, and calls `write(i, words)`
// for each that is ready. Requires the exclusive use of the matchers. Returns for each row whether
// it is pending. Raises the error of a failed row, but only after the others are ready or the time
// is up.
static std::vector<bool> fill_in_time(
    const std::vector<PyMatcher*>& matchers,
    const std::function<std::int64_t(std::size_t)>& budget_of, double seconds,
    const std::function<void(std::size_t, const std::uint32_t*)>& write) {
  const auto within =
      std::chrono::microseconds(static_cast<std::int64_t>(std::min(seconds, kForEver) * 1e6));
  const Lanes::Time deadline = std::chrono::steady_clock::now() + within;
  const auto patience =
      std::clamp(within / 4, kLeastPatience, std::chrono::microseconds(Turn::kLong));
  std::vector<bool> is_pending(matchers.size(), true);
  std::vector<Lanes::Task*> busy;
  std::exception_ptr failed;
  std::vector<std::uint32_t> row;
  while (true) {
    busy.clear();
    for (std::size_t i = 0; i < matchers.size(); ++i) {
      if (!is_pending[i]) continue;
      PyMatcher& at = *matchers[i];
      if (!at.pending) at.pending = std::make_unique<PendingRow>(at.seat, at.matcher);
      PendingRow& pending = *at.pending;
      if (pending.is_lost()) User::refuse();
      const std::int64_t budget = budget_of(i);
      if (!pending.is_busy()) try {
          if (const std::uint32_t* made = pending.row(budget)) {
            write(i, made);
            is_pending[i] = false;
          } else if (const MaskRow* known = at.matcher.known(budget)) {
            row.assign(at.matcher.vocabulary().words(), 0);
            known->write(row.data(), row.size());
            write(i, row.data());
            is_pending[i] = false;
          } else if (pending.is_lacking()) {
            pending.lower();
          } else {
            pending.begin(budget, patience);
          }
        } catch (...) {
          pending.forget();
          if (!failed) failed = std::current_exception();
          is_pending[i] = false;
        }
      if (is_pending[i]) busy.push_back(&pending);
    }
    if (busy.empty() || std::chrono::steady_clock::now() >= deadline) break;
    const WithoutGil others;
    Lanes::instance().wait(busy, deadline);
  }
  for (std::size_t i = 0; i < matchers.size(); ++i)
    if (!is_pending[i]) matchers[i]->pending->forget();
  if (failed) std::rethrow_exception(failed);
  return is_pending;
}

void bind_matcher(nb::module_& m) {
  nb::class_<PyMatcher> type(m, "Matcher");
  type.def(
          "fill_bitmask",
          [](PyMatcher& self, const RowsArray& bitmask, std::ptrdiff_t row,
             std::optional<std::int64_t> remaining) {
            self.fill(bitmask.view(self.matcher.vocabulary().words()), row, remaining);
          },
          "bitmask"_a, "row"_a = 0, "remaining"_a.none() = nb::none())
      .def(
          "fill_bitmask_by_bytes",
          [](PyMatcher& self, const RowsArray& bitmask, std::optional<std::int64_t> remaining) {
            const RowsView view = bitmask.view(self.matcher.vocabulary().words());
            self.placed(
                [&] { self.matcher.fill_by_bytes(self.row_of(view, 0), remaining.value_or(-1)); });
          },
          "bitmask"_a, "remaining"_a.none() = nb::none())
      .def("is_scarce",
           [](PyMatcher& self) {
             const PyMatcher::Use use(self, PyMatcher::Row::Left);
             return self.matcher.is_scarce();
           })
      .def(
          "accept",
          [](PyMatcher& self, Id token) {
            return self.moved([&] { return self.matcher.accept(token); });
          },
          "token"_a)
      .def(
          "accept_bytes",
          [](PyMatcher& self, const nb::bytes& data) {
            return self.moved(
                [&] { return self.matcher.accept(std::string_view(data.c_str(), data.size())); });
          },
          "data"_a)
      .def("spans",
           [](PyMatcher& self) {
             std::vector<std::tuple<int, Id, std::size_t, std::size_t>> out;
             for (const FormatSpan& s : self.placed([&] { return self.matcher.spans(); }))
               out.emplace_back(s.kind, s.what, s.begin, s.end);
             return out;
           })
      .def("is_format",
           [](PyMatcher& self) { return self.placed([&] { return self.matcher.is_format(); }); })
      .def("can_stop",
           [](PyMatcher& self) { return self.placed([&] { return self.matcher.can_stop(); }); })
      .def("is_finished",
           [](PyMatcher& self) {
             const PyMatcher::Use use(self, PyMatcher::Row::Left);
             return self.matcher.is_finished();
           })
      .def(
          "forced_bytes",
          [](PyMatcher& self, const nb::bytes& without) {
            const std::string_view except(without.c_str(), without.size());
            return self.placed([&] { return self.matcher.forced(except); });
          },
          "without"_a = nb::bytes(""))
      .def(
          "closed_texts",
          [](PyMatcher& self, std::size_t most) {
            nb::list out;
            for (const std::string& text :
                 self.placed([&] { return self.matcher.closed_texts(most); }))
              out.append(nb::bytes(text.data(), text.size()));
            return out;
          },
          "most"_a)
      .def("distance",
           [](PyMatcher& self) { return self.placed([&] { return self.matcher.distance(); }); })
      .def("key", [](PyMatcher& self) { return self.placed([&] { return self.matcher.key(); }); })
      .def("lexeme",
           [](PyMatcher& self) { return self.placed([&] { return self.matcher.lexeme(); }); })
      .def(
          "fill_classes",
          [](PyMatcher& self, const Classes& of) {
            if (of.shape(0) < static_cast<std::size_t>(self.matcher.vocabulary().size()))
              throw nb::value_error(("classes has " + std::to_string(of.shape(0)) +
                                     " items; the vocabulary needs " +
                                     std::to_string(self.matcher.vocabulary().size()))
                                        .c_str());
            return self.placed([&] { return self.matcher.classes(of.data()); });
          },
          "classes"_a.noconvert())
      .def(
          "rollback",
          [](PyMatcher& self, std::int64_t steps) {
            const PyMatcher::Use use(self, PyMatcher::Row::GivenUp);
            if (steps < 0 || static_cast<std::size_t>(steps) > self.matcher.steps())
              throw nb::value_error(("steps=" + std::to_string(steps) +
                                     " must be at least 0 and at most " +
                                     std::to_string(self.matcher.steps()) + ", the steps accepted")
                                        .c_str());
            self.matcher.rollback(static_cast<std::size_t>(steps));
          },
          "steps"_a = 1)
      .def("reset",
           [](PyMatcher& self) {
             const PyMatcher::Use use(self, PyMatcher::Row::GivenUp);
             self.matcher.reset();
           })
      .def("copy", [](PyMatcher& self) {
        const PyMatcher::Use use(self);
        return PyMatcher::make(self.seat, [&] { return self.matcher.copy(); });
      });
  refuse_others(type, "fill_bitmask",
                "fill_bitmask() takes " GUARD_BITMASK
                ", row: int = 0, remaining: int | None = None",
                {"bitmask", "row", "remaining"});
  refuse_others(type, "fill_bitmask_by_bytes",
                "fill_bitmask_by_bytes() takes " GUARD_BITMASK ", remaining: int | None = None",
                {"bitmask", "remaining", "_3"});
  refuse_others(type, "accept", "accept() takes one token: int", {"token", "_2", "_3"});
  refuse_others(type, "accept_bytes", "accept_bytes() takes data: bytes", {"data", "_2", "_3"});
  refuse_others(type, "forced_bytes", "forced_bytes() takes without: bytes = b\"\"",
                {"without", "_2", "_3"});
  refuse_others(type, "fill_classes",
                "fill_classes() takes classes: an array of uint8 in one dimension",
                {"classes", "_2", "_3"});
  refuse_others(type, "rollback", "rollback() takes steps: int = 1", {"steps", "_2", "_3"});

  m.def(
      "fill_bitmasks",
      [](const std::vector<PyMatcher*>& matchers, const RowsArray& bitmask,
         std::optional<std::vector<std::ptrdiff_t>> rows,
         std::optional<std::vector<std::optional<std::int64_t>>> remaining,
         std::optional<double> within) -> nb::object {
        if (within && !(*within >= 0)) throw nb::value_error("within must be at least 0 seconds");
        if (rows && rows->size() != matchers.size())
          throw nb::value_error("rows must have an item for each matcher");
        if (remaining && remaining->size() != matchers.size())
          throw nb::value_error("remaining must have an item for each matcher");
        for (const auto& left : remaining.value_or(std::vector<std::optional<std::int64_t>>{}))
          if (left && *left < 0)
            throw nb::value_error(
                ("remaining=" + std::to_string(*left) + " must be at least 0").c_str());
        std::size_t words = 0;
        for (PyMatcher* matcher : matchers)
          words = std::max(words, matcher->matcher.vocabulary().words());
        const RowsView view = bitmask.view(words);
        const auto row_of = [&](std::size_t i) {
          return matchers[i]->row_of(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i));
        };
        const auto left_of = [&](std::size_t i) {
          return remaining ? (*remaining)[i] : std::nullopt;
        };
        for (std::size_t i = 0; i < matchers.size(); ++i) row_of(i);  // checks that each row exists
        std::deque<PyMatcher::Use> uses;
        for (PyMatcher* matcher : matchers) uses.emplace_back(*matcher, PyMatcher::Row::Left);
        const bool is_in_time =
            within || std::any_of(matchers.begin(), matchers.end(), [](const PyMatcher* m) {
              return m->pending && m->pending->is_asked();
            });
        if (!is_in_time)
          for (PyMatcher::Use& use : uses) use.settle(PyMatcher::Row::Awaited);
        const auto end = [&](std::size_t i) {
          const std::size_t used = matchers[i]->matcher.vocabulary().words();
          std::memset(row_of(i) + used, 0, (view.words - used) * 4);
        };
        const auto write = [&](const MaskRow* known, std::size_t i) {
          if (known) known->write(row_of(i), matchers[i]->matcher.vocabulary().words());
          end(i);
        };
        if (is_in_time) {
          const std::vector<bool> is_pending = fill_in_time(
              matchers, [&](std::size_t i) { return left_of(i).value_or(-1); },
              within.value_or(kForEver),
              [&](std::size_t i, const std::uint32_t* words) {
                std::memcpy(row_of(i), words, matchers[i]->matcher.vocabulary().words() * 4);
                end(i);
              });
          if (!within) return nb::none();
          nb::list out;
          for (const bool yes : is_pending) out.append(yes);
          return out;
        }
        const std::size_t nbytes = matchers.size() * view.words * 4;
        std::vector<const MaskRow*> known(matchers.size());
        const auto are_known = [&] {
          bool yes = true;
          for (std::size_t i = 0; i < matchers.size(); ++i)
            yes &= (known[i] = matchers[i]->matcher.known(left_of(i).value_or(-1))) != nullptr;
          for (std::size_t i = 0; !yes && matchers.size() > 1; ++i) {
            if (!known[i])
              matchers[i]->in_batch(true, [&] {
                known[i] = matchers[i]->matcher.find(left_of(i).value_or(-1));
                return true;
              });
            if (!known[i]) break;
            yes = i + 1 == matchers.size();
          }
          return yes;
        };
        // Finding and copying rows that this or other matchers have made takes less time than
        // reacquiring the GIL from a thread that sleeps.
        if (nbytes <= kShortCopy && !Handover::is_quick() && are_known()) {
          for (std::size_t i = 0; i < matchers.size(); ++i) write(known[i], i);
          return nb::none();
        }
        // Fills all rows without the GIL. Rows that lack nodes or exceed a limit are filled again
        // with it.
        std::vector<std::size_t> again;
        {
          const WithoutGil release;
          for (std::size_t i = 0; i < matchers.size(); ++i) {
            Matcher& matcher = matchers[i]->matcher;
            const std::int64_t budget = left_of(i).value_or(-1);
            if (known[i] || (known[i] = matcher.known(budget))) continue;
            const bool made = matchers[i]->in_batch(false, [&] {
              if ((known[i] = matcher.find(budget))) return true;
              if (!matcher.look_ahead().empty()) return false;
              matcher.make(row_of(i), budget);
              return true;
            });
            if (!made) again.push_back(i);
          }
          share_out(matchers.size(), nbytes, [&](std::size_t i) { write(known[i], i); });
        }
        for (std::size_t i : again)
          matchers[i]->fill(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i), left_of(i));
        return nb::none();
      },
      "matchers"_a, "bitmask"_a, "rows"_a.none() = nb::none(), "remaining"_a.none() = nb::none(),
      "within"_a.none() = nb::none());

  m.def(
      "allow_tokens",
      [](const RowsArray& bitmask, const std::vector<std::ptrdiff_t>& rows,
         const std::vector<Id>& tokens) {
        if (rows.size() != tokens.size())
          throw nb::value_error("tokens must have an item for each row");
        const RowsView view = bitmask.view(0);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          check_row(view, rows[i]);
          if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= view.words * 32)
            throw nb::index_error(
                ("token " + std::to_string(tokens[i]) + " is not in the bitmask").c_str());
        }
        for (std::size_t i = 0; i < rows.size(); ++i) {
          std::uint32_t* row = view.data + rows[i] * view.stride;
          std::memset(row, 0, view.words * 4);
          row[tokens[i] >> 5] = 1u << (tokens[i] & 31);
        }
      },
      "bitmask"_a, "rows"_a, "tokens"_a);
  refuse_others(m, "allow_tokens",
                "allow_tokens() takes " GUARD_BITMASK ", rows: list of int, tokens: list of int");
  refuse_others(m, "fill_bitmasks",
                "fill_bitmasks() takes matchers: a list of Matcher, " GUARD_BITMASK
                ", rows: list of int | None = None, remaining: list of int or None | None = None, "
                "within: float | None = None");
}

}  // namespace guard
