// PyMatcher: the Python object of a matcher: it admits one thread at a time, and makes its calls in
// the engine's place.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstring>
#include <new>
#include <string>

#include "python/call.hpp"
#include "python/pending_row.hpp"
#include "python/rows_array.hpp"
#include "runtime/matcher.hpp"

namespace guard {

void bind_matcher(nanobind::module_& module);  // adds Matcher and fill_bitmasks

using Classes =
    nanobind::ndarray<std::uint8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

inline void check_row(const RowsView& view, std::ptrdiff_t row) {
  if (row < 0 || static_cast<std::size_t>(row) >= view.rows)
    throw nanobind::index_error(
        ("row=" + std::to_string(row) + " is not a row of the bitmask").c_str());
}

// The exclusive use of a matcher by one thread. A long call releases the GIL, and a call of another
// thread would find the matcher in an intermediate state.
class User {
 public:
  bool enter() {  // false: this thread uses it already
    const void* none = nullptr;
    if (of_.compare_exchange_strong(none, me(), std::memory_order_acquire)) return true;
    if (none != me()) refuse();
    return false;
  }
  [[noreturn]] static void refuse() {
    throw std::runtime_error(
        "a matcher belongs to one thread at a time, and another one is using it: give each thread a copy()");
  }
  void leave() { of_.store(nullptr, std::memory_order_release); }

 private:
  static const void* me() {
    static constinit thread_local char here GUARD_TLS = 0;
    return &here;
  }
  std::atomic<const void*> of_ = nullptr;
};

struct PyMatcher {
  Seat seat;
  Matcher matcher;
  User user;
  std::unique_ptr<PendingRow> pending;  // null: no row was requested yet

  PyMatcher(Seat where, Matcher made) : seat(std::move(where)), matcher(std::move(made)) {}
  template <class F>
  static PyMatcher* make(
      Seat seat, F made) {  // its allocations are counted here and subtracted at its destruction
    Matcher matcher = [&] {
      const Account account(*seat.place().isolate);
      return made();
    }();
    return new PyMatcher(std::move(seat), std::move(matcher));
  }
  ~PyMatcher() {
    if (pending && pending->is_lost()) {
      (void)pending.release();  // in a child of fork(): deliberately leaked
      (void)new (std::nothrow) Matcher(std::move(matcher));
      return;
    }
    const Account account(*seat.place().isolate);
    pending.reset();
    const Matcher gone = std::move(matcher);
  }
  // What becomes of a row that is still being made: the use waits for it, gives it up, or leaves
  // it alone.
  enum class Row { Awaited, GivenUp, Left };
  class Use {
   public:
    explicit Use(PyMatcher& matcher, Row row = Row::Awaited)
        : matcher_(matcher), first_(matcher.user.enter()) {
      try {
        settle(row);
      } catch (...) {
        if (first_) matcher_.user.leave();
        throw;
      }
    }
    void settle(Row row) {
      if (!matcher_.pending || row == Row::Left) return;
      if (matcher_.pending->is_lost()) User::refuse();
      if (row == Row::Awaited)
        matcher_.pending->settle();
      else
        matcher_.pending->give_up();
    }
    ~Use() {
      if (first_) matcher_.user.leave();
    }
    Use(const Use&) = delete;

   private:
    PyMatcher& matcher_;
    bool first_;
  };
  std::uint32_t* row_of(const RowsView& view, std::ptrdiff_t row) const {
    check_row(view, row);
    return view.data + row * view.stride;
  }
  // The result of f, after the matcher has entered the engine. A limit without a node is attributed
  // to the due value.
  template <class F, class Ahead>
  auto placed(F f, Ahead ahead, Row row = Row::Awaited) {
    const Use use(*this, row);
    return in_use(f, ahead);
  }
  template <class F, class Ahead>
  auto in_use(F f, Ahead ahead) {  // the same, within a use
    const auto blaming = [this](Compiled& engine, auto g) {
      try {
        return g();
      } catch (Limit& limit) {
        engine.constraints.goals.blame(&limit, limit.node < 0 ? matcher.node(engine) : -1);
        throw;
      }
    };
    Call call(seat);
    const auto found = [&] {
      return call.run([&](Compiled& engine) { return blaming(engine, f); },
                      [&](Compiled& engine) {
                        return blaming(engine, [&] {
                          matcher.enter(engine);
                          return ahead();
                        });
                      });
    };
    if constexpr (std::is_same_v<decltype(f()), std::string>) {
      const std::string out = found();  // freed before the call's account ends
      return nanobind::bytes(out.data(), out.size());
    } else {
      return found();
    }
  }
  template <class F>
  auto placed(F f) {
    return placed(f, [] { return std::vector<Id>(); });
  }
  template <class F>
  auto moved(F f) {  // f moves the matcher, so a row for the old position is given up
    return placed(f, [] { return std::vector<Id>(); }, Row::GivenUp);
  }
  void fill(const RowsView& view, std::ptrdiff_t row, std::optional<std::int64_t> remaining) {
    if (remaining && *remaining < 0)
      throw nanobind::value_error(
          ("remaining=" + std::to_string(*remaining) + " must be at least 0").c_str());
    const Use use(*this);
    std::uint32_t* words = row_of(view, row);
    const std::int64_t budget = remaining.value_or(-1);
    const std::uint32_t* made = pending ? pending->row(budget) : nullptr;
    if (made) std::memcpy(words, made, matcher.vocabulary().words() * 4);
    if (pending) pending->forget();
    const MaskRow* known = made ? nullptr : matcher.known(budget);
    if (!made && !known)
      in_use(
          [&] {
            if (!known) matcher.make(words, budget);
          },
          [&] {
            known = matcher.find(budget);
            return known ? std::vector<Id>() : matcher.look_ahead();
          });
    if (known) known->write(words, matcher.vocabulary().words());
    std::memset(words + matcher.vocabulary().words(), 0,
                (view.words - matcher.vocabulary().words()) * 4);
  }
  // A turn of a batch. False: it must be repeated alone, with the GIL. With the GIL it neither
  // waits for the lock nor reads the text again, and gives the GIL away once it takes long.
  template <class F>
  bool in_batch(bool has_gil, F f) {
    {
      Gil gil;
      Place& place = seat.place();
      Isolate& isolate = *place.isolate;
      Account account(isolate);
      std::unique_lock lock = isolate.soon();
      if (!lock.owns_lock()) {
        if (has_gil) return false;
        lock = isolate.wait();
      }
      Turn turn(place, std::move(lock), account, nullptr, seat.front->options.limits,
                has_gil ? Gil::give : nullptr, &gil);
      try {
        Compiled& engine = turn.engine(seat.front->options, seat.front->root, seat.front->format);
        if (has_gil && !matcher.enters_at_once(engine)) return false;
        matcher.enter(engine);
        return f();
      } catch (const Missing&) {
        return false;
      } catch (const Limit&) {
        turn.give_up(false);
        return false;
      } catch (const Full&) {
        turn.give_up(true);
        return false;
      } catch (const std::bad_alloc&) {
        turn.give_up(true);
        return false;
      } catch (const Elsewhere&) {
        turn.give_up(false);
      }
    }
    seat.move();
    return false;
  }
};

}  // namespace guard
