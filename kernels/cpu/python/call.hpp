// Call: one call of the user, as a sequence of turns in the isolate of the schema's engine.
//
// No thread waits for the GIL while it holds an isolate's lock. A call that needs nodes not lowered
// yet throws Missing; the lock is released, the nodes are lowered, and the call is repeated. A
// long call releases the GIL meanwhile.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "python/gil.hpp"
#include "python/lower_fast.hpp"
#include "python/read_records.hpp"
#include "runtime/isolate.hpp"
#include "support/allocator.hpp"

namespace guard {

constexpr std::size_t kLargePlace = 1'000'000;  // bytes that take a millisecond to be freed

// A place that is freed without the GIL if that takes long.
inline std::shared_ptr<Place> place_in(std::shared_ptr<Isolate> isolate, bool pinned) {
  return {new Place(std::move(isolate), pinned), [](Place* place) {
            const bool is_large = place->nbytes > kLargePlace ||
                                  (!place->isolate->common &&
                                   place->isolate->nbytes > static_cast<std::int64_t>(kLargePlace));
#ifdef Py_LIMITED_API
            const bool has_gil = false;  // the stable ABI does not tell
#else
            const bool has_gil = PyGILState_Check();
#endif
            if (!is_large || !has_gil) return delete place;
            const WithoutGil others;
            delete place;
          }};
}

// A compiled schema: everything from which its engine is made, in any isolate. Python's collector
// doesn't look into it: `lower` and `fail` must not refer to what owns the engine, or all stays.
struct Front : std::enable_shared_from_this<Front> {
  Options options;
  Id root;
  std::shared_ptr<const FormatSource> format;  // null: one value
  nanobind::object lower, fail;
  const NodeLowering* direct;  // what `lower` is; null: any callable

  Front(Options how, Id at, std::shared_ptr<const FormatSource> around, nanobind::object lowering,
        nanobind::object failing, bool apart)
      : options(how),
        root(at),
        format(std::move(around)),
        lower(std::move(lowering)),
        fail(std::move(failing)),
        direct(NodeLowering::of(lower)),
        places_{
            place_in(apart ? Isolates::instance().make() : Isolates::instance().common(), false)} {
    prepare_heap();
  }
  // A place for this thread: where the schema was compiled, unless the thread has a home elsewhere.
  std::shared_ptr<Place> place() {
    const std::shared_ptr<Isolate> home = Isolates::instance().home();
    if (std::shared_ptr<Place> known = known_at(home)) return known;
    const std::shared_ptr<Place> made =
        place_in(home, false);  // without the lock: a fork may come amid it
    {
      const std::lock_guard lock(lock_);
      if (places_.front()->isolate->common) places_.push_back(made);
    }
    return known_at(home);
  }
  void leave(const Place* old) {  // moves to an isolate of its own
    std::vector<std::shared_ptr<Place>> places{place_in(Isolates::instance().make(), false)};
    const std::lock_guard lock(lock_);
    if (std::none_of(places_.begin(), places_.end(), [&](const auto& p) { return p.get() == old; }))
      return;
    for (const std::shared_ptr<Place>& left : places_) left->is_current = false;
    places_.swap(places);
  }
  std::size_t nbytes() {
    const std::lock_guard lock(lock_);
    std::size_t sum = 0;
    for (const std::shared_ptr<Place>& place : places_) sum += place->nbytes;
    return sum;
  }

 private:
  // Null: there is none yet in the thread's home.
  std::shared_ptr<Place> known_at(const std::shared_ptr<Isolate>& home) {
    const std::lock_guard lock(lock_);
    if (!home || !places_.front()->isolate->common) return places_.front();
    for (const std::shared_ptr<Place>& known : places_)
      if (known->isolate == home) return known;
    return nullptr;
  }

  std::mutex lock_;
  std::vector<std::shared_ptr<Place>> places_;  // one of its own, or one in each common isolate
                                                // where threads use it; that where it began first
};

// The handle by which matchers and other users find an engine.
class Seat {
 public:
  explicit Seat(std::shared_ptr<Front> front)
      : front(std::move(front)), place_(this->front->place()) {}
  Seat(std::shared_ptr<Front> front, std::shared_ptr<Place> place)
      : front(std::move(front)), place_(std::move(place)) {}
  static Seat pinned(std::shared_ptr<Front> front) {
    return {std::move(front), place_in(Isolates::instance().make(), true)};
  }
  Place& place() {
    if (!place_->is_current) place_ = front->place();
    return *place_;
  }
  void move() { front->leave(place_.get()); }
  std::shared_ptr<Front> front;

 private:
  std::shared_ptr<Place> place_;
};

// The GIL, which a call releases once it takes long, until its end.
class Gil {
 public:
  Gil() = default;
  Gil(const Gil&) = delete;
  ~Gil() { take(); }
  static void give(void* self) {
    if (Gil& gil = *static_cast<Gil*>(self); !gil.saved_) gil.saved_ = give_gil();
  }
  void take() {
    if (saved_) take_gil(std::exchange(saved_, nullptr));
  }

 private:
  PyThreadState* saved_ = nullptr;
};

[[noreturn]] inline void raise(const Front& front, const Limit& limit) {
  const nanobind::object error = in_python(
      [&] { return front.fail(limit.name, limit.node, limit.detail, static_cast<int>(limit.op)); });
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nanobind::python_error();
}

// What the front end says of nodes. With the GIL.
inline Drafts lowered(const Front& front, const std::vector<Id>& nodes) {
  if (front.direct) return front.direct->lower(nodes);
  nanobind::list asked;
  for (Id node : nodes) asked.append(node);
  return drafts_of(nodes, in_python([&] { return front.lower(asked); }));
}

// One call of the user: takes turns until one succeeds. The limit of seconds applies to all of them
// together.
class Call {
 public:
  explicit Call(Seat& seat) : seat_(seat) {
    Kept::give_back();
    if (Isolates& all = Isolates::instance(); all.are_full()) {
      Gil gil;
      Gil::give(&gil);
      all.make_room(nullptr);
    }
    account_.emplace(*seat_.place().isolate);
  }

  // The result of f(engine), after lowering the nodes that it needs: those of `ahead`, and those of
  // each Missing. Requires the GIL.
  template <class F, class Ahead>
  auto run(F f, Ahead ahead) {
    try {
      while (true) {
        std::vector<Id> missing;
        if constexpr (std::is_void_v<decltype(f(std::declval<Compiled&>()))>) {
          if (take_turn(f, ahead, &missing)) return;
        } else {
          std::optional<decltype(f(std::declval<Compiled&>()))> out;
          if (take_turn([&](Compiled& engine) { out = f(engine); }, ahead, &missing))
            return std::move(*out);
        }
        if (!missing.empty()) define(missing);
      }
    } catch (const Limit& limit) {
      raise(*seat_.front, limit);
    }
  }
  template <class F>
  auto run(F f) {
    return run(f, [](Compiled&) { return std::vector<Id>(); });
  }

  // Lowers nodes, and those that a mask will need next: throwing Missing costs as much as lowering
  // two nodes.
  void define(const std::vector<Id>& nodes) {
    Goals::Ahead ahead(nodes);
    std::vector<Id> missing;
    turn([&](Compiled& engine) { missing = engine.constraints.goals.lacking(&ahead); });
    while (!missing.empty()) {
      Definitions read(lowered(*seat_.front, missing));
      for (bool are_defined = false; !are_defined;) {
        turn([&](Compiled& engine) {
          if (!read.are_whole(engine.tables)) return;
          read.define(engine);
          are_defined = true;
          missing = engine.constraints.goals.lacking(&ahead);
        });
        if (!are_defined) read.read_trees();
      }
    }
  }

 private:
  const Limits& limits() const { return seat_.front->options.limits; }

  // Acquires an isolate's lock. While it waits, the GIL is released.
  static std::unique_lock<std::mutex> held(Isolate& isolate, Gil& gil) {
    if (std::unique_lock lock = isolate.soon(); lock.owns_lock()) return lock;
    Gil::give(&gil);
    return isolate.wait();
  }
  // Takes one turn of f(engine). After an early end nothing is left incomplete. False: the turn
  // must be repeated.
  template <class F>
  bool turn(F f) {
    bool moves = false;
    {
      Gil gil;
      Place& place = seat_.place();
      Turn turn(place, held(*place.isolate, gil), *account_, &used_, limits(), Gil::give, &gil);
      try {
        f(turn.engine(seat_.front->options, seat_.front->root, seat_.front->format));
      } catch (const Elsewhere&) {
        turn.give_up(false);
        moves = true;
      } catch (const Full&) {
        turn.give_up(true);
        return false;
      } catch (const Limit&) {
        turn.give_up(false);
        throw;
      } catch (const std::bad_alloc&) {
        turn.give_up(true);
        throw;
      }
    }
    if (moves) {
      seat_.move();
      account_.reset();
      account_.emplace(*seat_.place().isolate);
    }
    return !moves;
  }
  // False: the turn must be repeated, after lowering these nodes.
  template <class F, class Ahead>
  bool take_turn(F f, Ahead ahead, std::vector<Id>* missing) {
    return turn([&](Compiled& engine) {
             try {
               *missing = ahead(engine);
               if (missing->empty()) f(engine);
             } catch (Missing& m) {
               *missing = std::move(m.nodes);
             }
           }) &&
           missing->empty();
  }

  Seat& seat_;
  double used_ = 0;                 // processor seconds
  std::optional<Account> account_;  // memory that the call allocates and frees again does not count
};

}  // namespace guard
