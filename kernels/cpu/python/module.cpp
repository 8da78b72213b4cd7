// Bindings: the module guard.kernels._native. Only the files of this room know Python.
//
// Records and trees come from guard.schemas and are checked here once more: a wrong shape is a TypeError, never undefined
// behaviour. The GIL is never waited for while an isolate's lock is held: a call that needs nodes not lowered yet ends in
// Missing, the lock is given back, the nodes are lowered in Python, and the call is made again. A call that takes long gives
// the GIL back in the meantime.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <pthread.h>

#include <cstring>
#include <thread>

#include "python/apply.hpp"
#include "python/copy_json.hpp"
#include "python/lower_fast.hpp"
#include "python/read_records.hpp"
#include "python/validate_fast.hpp"
#include "support/thread_pool.hpp"
#include "constraints/explorer.hpp"
#include "support/allocator.hpp"
#include "runtime/isolate.hpp"
#include "runtime/matcher.hpp"
#include "sampling/sampler.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {
namespace {

[[noreturn]] void bad(const char* what) { throw nb::type_error(what); }

// ---- a schema and its engine ------------------------------------------------------------------------------------------

constexpr std::size_t kLargePlace = 1'000'000;  // bytes that take a millisecond to be freed

// A place that is freed without the GIL where that takes long.
std::shared_ptr<Place> place_in(std::shared_ptr<Isolate> isolate, bool pinned) {
  return {new Place(std::move(isolate), pinned), [](Place* place) {
            const bool is_large = place->nbytes > kLargePlace || (!place->isolate->common && place->isolate->nbytes > static_cast<std::int64_t>(kLargePlace));
#ifdef Py_LIMITED_API
            const bool has_gil = false;  // the stable ABI does not tell
#else
            const bool has_gil = PyGILState_Check();
#endif
            if (!is_large || !has_gil) return delete place;
            const nb::gil_scoped_release others;
            delete place;
          }};
}

// A compiled schema: all that its engine is made of, in whatever isolate.
struct Front : std::enable_shared_from_this<Front> {
  Options options;
  Id root;
  nb::object lower, fail;

  Front(Options how, Id at, nb::object lowering, nb::object failing) : options(how), root(at), lower(std::move(lowering)), fail(std::move(failing)), place_(place_in(Isolates::instance().common(), false)) {}
  std::shared_ptr<Place> place() {
    const std::lock_guard lock(lock_);
    return place_;
  }
  void leave(const Place* old) {  // for an isolate of its own
    auto made = place_in(Isolates::instance().make(), false);
    const std::lock_guard lock(lock_);
    if (place_.get() != old) return;
    place_->is_current = false;
    place_ = std::move(made);
  }

 private:
  std::mutex lock_;
  std::shared_ptr<Place> place_;
};

// Where a matcher, or whoever else asks an engine, finds it.
class Seat {
 public:
  explicit Seat(std::shared_ptr<Front> front) : front(std::move(front)), place_(this->front->place()) {}
  Seat(std::shared_ptr<Front> front, std::shared_ptr<Place> place) : front(std::move(front)), place_(std::move(place)) {}
  static Seat pinned(std::shared_ptr<Front> front) { return {std::move(front), place_in(Isolates::instance().make(), true)}; }
  Place& place() {
    if (!place_->is_current) place_ = front->place();
    return *place_;
  }
  void move() { front->leave(place_.get()); }
  std::shared_ptr<Front> front;

 private:
  std::shared_ptr<Place> place_;
};

// The GIL, which a call gives back once it takes long, until its end.
class Gil {
 public:
  Gil() = default;
  Gil(const Gil&) = delete;
  ~Gil() { take(); }
  static void give(void* self) {
    if (Gil& gil = *static_cast<Gil*>(self); !gil.saved_) gil.saved_ = PyEval_SaveThread();
  }
  void take() {
    if (saved_) PyEval_RestoreThread(std::exchange(saved_, nullptr));
  }

 private:
  PyThreadState* saved_ = nullptr;
};

[[noreturn]] void raise(const Front& front, const Limit& limit) {
  const nb::object error = front.fail(limit.name, limit.node, limit.detail, static_cast<int>(limit.op));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

// One call of a user's: turns, until one of them ends well, with the same limit of seconds for all of them.
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

  // What `f` returns for the engine, with the nodes that it misses: those that `ahead` names, and each that it ends in.
  template <class F, class Ahead>
  auto run(F f, Ahead ahead) {
    try {
      while (true) {
        std::vector<Id> missing;
        if constexpr (std::is_void_v<decltype(f(std::declval<Engine&>()))>) {
          if (take_turn(f, ahead, &missing)) return;
        } else {
          std::optional<decltype(f(std::declval<Engine&>()))> out;
          if (take_turn([&](Engine& engine) { out = f(engine); }, ahead, &missing)) return std::move(*out);
        }
        if (!missing.empty()) define(missing);
      }
    } catch (const Limit& limit) {
      raise(*seat_.front, limit);
    }
  }
  template <class F>
  auto run(F f) {
    return run(f, [](Engine&) { return std::vector<Id>(); });
  }

  // Lowers nodes, and with them what a mask would miss next: a throw of Missing costs as much as lowering two nodes.
  void define(const std::vector<Id>& nodes) {
    Goals::Ahead ahead(nodes);
    std::vector<Id> missing;
    turn([&](Engine& engine) { missing = engine.goals().lacking(&ahead); });
    while (!missing.empty()) {
      nb::list asked;
      for (Id n : missing) asked.append(n);
      const nb::list records = nb::cast<nb::list>(seat_.front->lower(asked));
      if (records.size() != missing.size()) bad("lower must return a record for each node");
      Records read(missing, records);
      for (bool are_defined = false; !are_defined;) {
        turn([&](Engine& engine) {
          if (!read.are_whole(engine.tables())) return;
          std::vector<std::vector<Atom>> atoms = read.atoms(engine.tables());
          for (std::size_t i = 0; i < missing.size(); ++i) engine.goals().define(missing[i], std::move(atoms[i]));
          are_defined = true;
          missing = engine.goals().lacking(&ahead);
        });
        if (!are_defined) read.read_trees();
      }
    }
  }

 private:
  const Limits& limits() const { return seat_.front->options.limits; }

  // The lock of an isolate. While it is waited for, others have the GIL.
  static std::unique_lock<std::mutex> held(Isolate& isolate, Gil& gil) {
    std::unique_lock lock(isolate.lock, std::try_to_lock);
    if (lock.owns_lock()) return lock;
    Gil::give(&gil);
    return isolate.wait();
  }
  // A turn of f(engine); whatever ends early leaves nothing half made. False: it is to be taken again.
  template <class F>
  bool turn(F f) {
    bool moves = false;
    {
      Gil gil;
      Place& place = seat_.place();
      Turn turn(place, held(*place.isolate, gil), *account_, &used_, limits(), Gil::give, &gil);
      try {
        f(turn.engine(seat_.front->options, seat_.front->root));
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
  // False: it is to be taken again, with these nodes.
  template <class F, class Ahead>
  bool take_turn(F f, Ahead ahead, std::vector<Id>* missing) {
    return turn([&](Engine& engine) {
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
  double used_ = 0;  // processor seconds
  std::optional<Account> account_;  // what is made and freed within the call counts for nothing
};

using Rows = nb::ndarray<nb::device::cpu>;
using Classes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct RowsView {
  std::uint32_t* data;
  std::size_t rows, words;
  std::ptrdiff_t stride;
};
RowsView view_of(const Rows& bitmask, std::size_t words) {
  if (bitmask.dtype().bits != 32 || bitmask.dtype().lanes != 1 ||
      (bitmask.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int) && bitmask.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt)))
    throw nb::type_error("bitmask must be int32");
  if (bitmask.ndim() != 1 && bitmask.ndim() != 2) throw nb::value_error("bitmask must have one or two dimensions");
  const std::size_t last = bitmask.ndim() - 1;
  if (bitmask.stride(last) != 1) throw nb::value_error("the rows of bitmask must be contiguous");
  if (bitmask.shape(last) < words) {
    throw nb::value_error(("a row of bitmask has " + std::to_string(bitmask.shape(last)) + " words; the vocabulary needs " + std::to_string(words)).c_str());
  }
  return {static_cast<std::uint32_t*>(bitmask.data()), bitmask.ndim() == 2 ? bitmask.shape(0) : 1, bitmask.shape(last),
          bitmask.ndim() == 2 ? static_cast<std::ptrdiff_t>(bitmask.stride(0)) : 0};
}

// Who uses a matcher: one thread at a time. A call that takes long gives the GIL back, and another thread's would find the matcher half way.
class User {
 public:
  bool enter() {  // false: this thread is in it already
    const void* none = nullptr;
    if (of_.compare_exchange_strong(none, me(), std::memory_order_acquire)) return true;
    if (none != me()) throw std::runtime_error("a matcher belongs to one thread at a time, and another one is using it: give each thread a copy()");
    return false;
  }
  void leave() { of_.store(nullptr, std::memory_order_release); }

 private:
  static const void* me() {
    static thread_local char here;
    return &here;
  }
  std::atomic<const void*> of_ = nullptr;
};

struct PyMatcher {
  Seat seat;
  Matcher matcher;
  User user;

  PyMatcher(Seat where, Matcher made) : seat(std::move(where)), matcher(std::move(made)) {}
  template <class F>
  static PyMatcher* make(Seat seat, F made) {  // what the matcher holds is counted here, and counted off in the end
    Matcher matcher = [&] {
      const Account account(*seat.place().isolate);
      return made();
    }();
    return new PyMatcher(std::move(seat), std::move(matcher));
  }
  ~PyMatcher() {
    const Account account(*seat.place().isolate);
    const Matcher gone = std::move(matcher);
  }
  class Use {
   public:
    explicit Use(PyMatcher& matcher) : matcher_(matcher), first_(matcher.user.enter()) {}
    ~Use() {
      if (first_) matcher_.user.leave();
    }
    Use(const Use&) = delete;

   private:
    PyMatcher& matcher_;
    bool first_;
  };
  std::uint32_t* row_of(const RowsView& view, std::ptrdiff_t row) const {
    if (row < 0 || static_cast<std::size_t>(row) >= view.rows) throw nb::index_error(("row=" + std::to_string(row) + " is not a row of the bitmask").c_str());
    return view.data + row * view.stride;
  }
  // What f returns once the matcher is where it was; a limit that names no node is met at the value that is due.
  template <class F, class Ahead>
  auto placed(F f, Ahead ahead) {
    const Use use(*this);
    const auto blaming = [this](Engine& engine, auto g) {
      try {
        return g();
      } catch (Limit& limit) {
        engine.goals().blame(&limit, limit.node < 0 ? matcher.node(engine) : -1);
        throw;
      }
    };
    Call call(seat);
    const auto found = [&] {
      return call.run([&](Engine& engine) { return blaming(engine, f); }, [&](Engine& engine) {
        return blaming(engine, [&] {
          matcher.enter(engine);
          return ahead();
        });
      });
    };
    if constexpr (std::is_same_v<decltype(f()), std::string>) {
      const std::string out = found();  // goes before the call's account ends
      return nb::bytes(out.data(), out.size());
    } else {
      return found();
    }
  }
  template <class F>
  auto placed(F f) {
    return placed(f, [] { return std::vector<Id>(); });
  }
  void fill(const RowsView& view, std::ptrdiff_t row, std::optional<std::int64_t> remaining) {
    if (remaining && *remaining < 0) throw nb::value_error(("remaining=" + std::to_string(*remaining) + " must be at least 0").c_str());
    const Use use(*this);
    std::uint32_t* words = row_of(view, row);
    if (const MaskRow* known = matcher.known(remaining.value_or(-1)))
      known->write(words);
    else
      placed([&] { matcher.fill(words, remaining.value_or(-1)); }, [&] { return matcher.look_ahead(); });
    std::memset(words + matcher.vocabulary().words(), 0, (view.words - matcher.vocabulary().words()) * 4);
  }
  // A turn of a batch, without the GIL. False: it is to be taken again, alone and with the GIL.
  template <class F>
  bool in_batch(F f) {
    {
      Place& place = seat.place();
      Isolate& isolate = *place.isolate;
      Account account(isolate);
      std::unique_lock lock(isolate.lock, std::try_to_lock);
      if (!lock.owns_lock()) lock = isolate.wait();
      Turn turn(place, std::move(lock), account, nullptr, seat.front->options.limits, nullptr, nullptr);
      try {
        matcher.enter(turn.engine(seat.front->options, seat.front->root));
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

struct PyExplorer {
  explicit PyExplorer(std::shared_ptr<Front> front) : seat(Seat::pinned(std::move(front))) {}
  Seat seat;
  std::optional<Explorer> explorer;
};

struct PySampler {
  explicit PySampler(std::shared_ptr<Front> front) : seat(std::move(front)) {}
  Seat seat;
  std::optional<Sampler> sampler;
  std::uint64_t engine = 0;  // whose it is
};

// A free string is in almost every schema: its mask is made with the vocabulary, and not in somebody's first token.
void warm_free_strings(const std::shared_ptr<Vocabulary>& vocabulary) {
  const std::shared_ptr<Isolate> common = Isolates::instance().common();
  const Account account(*common);
  const std::lock_guard lock(common->lock);
  if (!common->tables) common->tables = std::make_unique<Tables>(true);
  Texts& texts = common->tables->lexicon.texts;
  LexemeMasks& masks = common->tables->masks(vocabulary);
  for (const Spelling spelling : {Spelling::Canonical, Spelling::Any}) {
    Id spec;
    for (const Use use : {Use::Value, Use::Key}) {
      const Id free = texts.start({{Langs::kAll, 0, kInf, 0}}, spelling, &spec, use);
      for (const bool detailed : {false, true}) masks.text(texts, free, detailed, vocabulary->whole(), 0);
    }
  }
}

std::string hex(int byte) {
  static const char* digits = "0123456789ABCDEF";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

}  // namespace
}  // namespace guard

NB_MODULE(_native, m) {
  using namespace guard;
  m.doc() = "The mask engine: vocabularies, engines, matchers. Use guard.Vocabulary and guard.compile.";
  nb::set_leak_warnings(false);
  bind_apply(m);
  bind_copy(m);
  bind_lower(m);
  bind_plain(m);
  // A child of fork() must not wait for a thread that is not there.
  pthread_atfork([] { Isolates::instance().before_fork(); }, [] { Isolates::instance().after_fork(false); }, [] { Isolates::instance().after_fork(true); });

  m.def("seal", [] {
    const std::shared_ptr<Isolate> common = Isolates::instance().common();
    const Account account(*common);
    const std::lock_guard lock(common->lock);
    if (common->tables) common->tables->lexicon.seal();
  });
  m.def("memory", [] {
    const Isolates& all = Isolates::instance();
    nb::dict out;
    out["budget"] = all.budget();
    out["tables"] = all.nbytes();
    out["shared"] = all.common()->nbytes.load();
    out["isolates"] = all.own();
    out["flushes"] = all.flushes();
    out["held"] = total_held();
    return out;
  });
  m.def("limit_memory", [](std::int64_t nbytes) { Isolates::instance().set_budget(nbytes); }, "nbytes"_a);
  m.def("fail_at", [](unsigned ticks, std::int64_t allocations) {
    const bool limit = kernel_clock.fail_at(ticks), allocation = fail_allocation_at(allocations);
    return limit || allocation;
  }, "ticks"_a = 0, "allocations"_a = 0);
  m.def("longest_search", [] { return kernel_clock.longest(); });

  nb::class_<Vocabulary>(m, "Vocabulary")
      .def(
          nb::new_([](const std::vector<nb::bytes>& tokens, std::vector<Id> eos, const std::vector<Id>& special, std::optional<nb::bytes> alphabet) {
            std::vector<std::string> bytes;
            bytes.reserve(tokens.size());
            std::array<bool, 256> single{};
            for (const nb::bytes& t : tokens) {
              bytes.emplace_back(t.c_str(), t.size());
              if (t.size() > 60000) throw nb::value_error("a token has more than 60,000 bytes");
            }
            for (const std::vector<Id>* list : {&std::as_const(eos), &special})
              for (Id t : *list)
                if (t < 0 || static_cast<std::size_t>(t) >= bytes.size()) throw nb::value_error(("token " + std::to_string(t) + " is not in the vocabulary of " + std::to_string(bytes.size())).c_str());
            std::vector<char> excluded(bytes.size(), 0);
            for (Id t : eos) excluded[static_cast<std::size_t>(t)] = 1;
            for (Id t : special) excluded[static_cast<std::size_t>(t)] = 1;
            for (std::size_t t = 0; t < bytes.size(); ++t)
              if (bytes[t].size() == 1 && !excluded[t]) single[static_cast<std::uint8_t>(bytes[t][0])] = true;
            for (int b = 0x20; b < 256; ++b) {
              const bool needed = alphabet ? std::memchr(alphabet->c_str(), b, alphabet->size()) != nullptr : b < 0x7F || (b >= 0x80 && b <= 0xBF) || (b >= 0xC2 && b <= 0xF4);
              if (needed && !single[static_cast<std::size_t>(b)])
                throw nb::value_error(("no token spells the byte " + hex(b) + ", which JSON text may need; declare alphabet= if this vocabulary is meant to be small").c_str());
            }
            const std::shared_ptr<Vocabulary> made(new Vocabulary(std::move(bytes), std::move(eos), special), [](Vocabulary* gone) {
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
                     const std::shared_ptr<Isolate> common = Isolates::instance().common();
                     const std::lock_guard lock(common->lock);
                     return v->nbytes() + (common->tables ? common->tables->masks(v).nbytes() : 0);
                   })
      .def("limit",
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
      .def("greedy", [](Vocabulary& v, const nb::bytes& data) { return v.greedy({data.c_str(), data.size()}); }, "data"_a);

  nb::class_<Front>(m, "Engine")
      .def(nb::new_([](nb::object lower, nb::object fail, Id root, int key_order, int whitespace, int spelling, const nb::dict& limits) {
             Options o;
             o.schema_order = key_order == 0;
             o.whitespace = static_cast<Whitespace>(whitespace);
             o.spelling = static_cast<Spelling>(spelling);
             const auto limit = [&](const char* name, auto* into) {
               if (limits.contains(name)) *into = static_cast<std::remove_pointer_t<decltype(into)>>(std::min(nb::cast<double>(limits[name]), 2e9));
             };
             limit("alternatives", &o.limits.alternatives);
             limit("states", &o.limits.states);
             limit("nesting", &o.limits.nesting);
             limit("seconds", &o.limits.seconds);
             if (limits.contains("memory")) o.limits.memory = static_cast<std::int64_t>(std::min(nb::cast<double>(limits["memory"]), 1e18));
             return std::make_shared<Front>(o, root, std::move(lower), std::move(fail));
           }),
           "lower"_a, "fail"_a, "root"_a, "key_order"_a, "whitespace"_a, "spelling"_a, "limits"_a)
      .def("matcher", [](const std::shared_ptr<Front>& f, const std::shared_ptr<Vocabulary>& v) { return PyMatcher::make(Seat(f), [&] { return Matcher(v); }); }, "vocabulary"_a)
      .def("start",
           [](const std::shared_ptr<Front>& f) {
             Seat seat(f);
             Call(seat).run(
                 [](Engine& engine) {
                   Arena arena;
                   engine.start(arena);
                 },
                 [](Engine& engine) { return engine.goals().is_defined(engine.root()) ? std::vector<Id>() : std::vector<Id>{engine.root()}; });
           })
      .def_prop_ro("nbytes", [](const std::shared_ptr<Front>& f) { return f->place()->nbytes.load(); })
      .def("stats", [](const std::shared_ptr<Front>& f) {
        std::array<std::size_t, 4> counts{};
        Seat seat(f);
        Call(seat).run([&](Engine& engine) {
          Lexicon& l = engine.tables().lexicon;
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
            Call(self->seat).run([&](Engine& engine) { self->explorer.emplace(engine.goals(), static_cast<std::size_t>(std::max<std::int64_t>(most, 0))); });
          },
          "engine"_a, "most"_a)
      .def("add",
           [](PyExplorer& self, Id node) {
             if (node < 0 || node >= kOwnNodes) throw nb::value_error("a node must be an index");
             Call(self.seat).run([&](Engine&) { self.explorer->add(node); });
           },
           "node"_a)
      .def("run",
           [](PyExplorer& self, double seconds) {
             const auto until = Clock::after(std::clamp(seconds, 0.0, 1e6));
             return Call(self.seat).run([&](Engine&) { return self.explorer->run(until); });
           },
           "seconds"_a)
      .def("stats", [](const PyExplorer& self) {
        const Explorer& e = *self.explorer;
        nb::dict out;
        out["goals"] = e.expanded(0);
        out["objects"] = e.expanded(1);
        out["arrays"] = e.expanded(2);
        out["languages"] = e.expanded(3);
        out["states"] = e.states();
        out["waiting"] = e.waiting();
        return out;
      })
      .def("large", [](const PyExplorer& self) { return self.explorer->large(); })
      .def("empty", [](const PyExplorer& self) { return self.explorer->empty(); });

  nb::class_<PySampler>(m, "Sampler")
      .def("__init__", [](PySampler* self, const std::shared_ptr<Front>& f) { new (self) PySampler(f); }, "engine"_a)
      .def("sample",
           [](PySampler& self, const std::vector<nb::bytes>& choices) -> nb::object {
             std::vector<std::string_view> units;
             for (const nb::bytes& unit : choices) units.emplace_back(unit.c_str(), unit.size());
             Call call(self.seat);
             std::string text;
             std::size_t used = 0;
             const bool any = call.run([&](Engine& engine) {
               if (self.engine != engine.number) self.sampler.emplace(engine), self.engine = engine.number;
               return self.sampler->sample(units, &text, &used);
             });
             if (!any) return nb::none();
             return nb::make_tuple(nb::bytes(text.data(), text.size()), used);
           },
           "choices"_a);

  nb::class_<PyMatcher>(m, "Matcher")
      .def("fill_bitmask", [](PyMatcher& self, const Rows& bitmask, std::ptrdiff_t row, std::optional<std::int64_t> remaining) {
        self.fill(view_of(bitmask, self.matcher.vocabulary().words()), row, remaining);
      }, "bitmask"_a, "row"_a = 0, "remaining"_a.none() = nb::none())
      .def("fill_bitmask_by_bytes", [](PyMatcher& self, const Rows& bitmask, std::optional<std::int64_t> remaining) {
        const RowsView view = view_of(bitmask, self.matcher.vocabulary().words());
        self.placed([&] { self.matcher.fill_by_bytes(self.row_of(view, 0), remaining.value_or(-1)); });
      }, "bitmask"_a, "remaining"_a.none() = nb::none())
      .def("is_scarce", [](PyMatcher& self) {
        const PyMatcher::Use use(self);
        return self.matcher.is_scarce();
      })
      .def("accept", [](PyMatcher& self, Id token) { return self.placed([&] { return self.matcher.accept(token); }); }, "token"_a)
      .def("accept_bytes", [](PyMatcher& self, const nb::bytes& data) {
        return self.placed([&] { return self.matcher.accept(std::string_view(data.c_str(), data.size())); });
      }, "data"_a)
      .def("can_stop", [](PyMatcher& self) { return self.placed([&] { return self.matcher.can_stop(); }); })
      .def("is_finished", [](PyMatcher& self) {
        const PyMatcher::Use use(self);
        return self.matcher.is_finished();
      })
      .def("forced_bytes", [](PyMatcher& self) {
        return self.placed([&] { return self.matcher.forced(); });
      })
      .def("distance", [](PyMatcher& self) { return self.placed([&] { return self.matcher.distance(); }); })
      .def("key", [](PyMatcher& self) {
        return self.placed([&] { return self.matcher.key(); });
      })
      .def("lexeme", [](PyMatcher& self) { return self.placed([&] { return self.matcher.lexeme(); }); })
      .def("fill_classes", [](PyMatcher& self, const Classes& of) {
        if (of.shape(0) < static_cast<std::size_t>(self.matcher.vocabulary().size()))
          throw nb::value_error(("classes has " + std::to_string(of.shape(0)) + " items; the vocabulary needs " + std::to_string(self.matcher.vocabulary().size())).c_str());
        return self.placed([&] { return self.matcher.classes(of.data()); });
      }, "classes"_a.noconvert())
      .def("rollback", [](PyMatcher& self, std::int64_t steps) {
        const PyMatcher::Use use(self);
        if (steps < 0 || static_cast<std::size_t>(steps) > self.matcher.steps())
          throw nb::value_error(("steps=" + std::to_string(steps) + " must be at least 0 and at most " + std::to_string(self.matcher.steps()) + ", the steps accepted").c_str());
        self.matcher.rollback(static_cast<std::size_t>(steps));
      }, "steps"_a = 1)
      .def("reset", [](PyMatcher& self) {
        const PyMatcher::Use use(self);
        self.matcher.reset();
      })
      .def("copy", [](PyMatcher& self) {
        const PyMatcher::Use use(self);
        return PyMatcher::make(self.seat, [&] { return self.matcher.copy(); });
      });

  m.def("fill_bitmasks",
        [](const std::vector<PyMatcher*>& matchers, const Rows& bitmask, std::optional<std::vector<std::ptrdiff_t>> rows, std::optional<std::vector<std::optional<std::int64_t>>> remaining) {
          if (rows && rows->size() != matchers.size()) throw nb::value_error("rows must have an item for each matcher");
          if (remaining && remaining->size() != matchers.size()) throw nb::value_error("remaining must have an item for each matcher");
          for (const auto& left : remaining.value_or(std::vector<std::optional<std::int64_t>>{}))
            if (left && *left < 0) throw nb::value_error(("remaining=" + std::to_string(*left) + " must be at least 0").c_str());
          std::size_t words = 0;
          for (PyMatcher* matcher : matchers) words = std::max(words, matcher->matcher.vocabulary().words());
          const RowsView view = view_of(bitmask, words);
          const auto row_of = [&](std::size_t i) { return matchers[i]->row_of(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i)); };
          const auto left_of = [&](std::size_t i) { return remaining ? (*remaining)[i] : std::nullopt; };
          for (std::size_t i = 0; i < matchers.size(); ++i) row_of(i);  // is each there?
          std::deque<PyMatcher::Use> uses;
          for (PyMatcher* matcher : matchers) uses.emplace_back(*matcher);
          // All rows without the GIL; those that miss nodes, or meet a limit, are made again with it.
          std::vector<std::size_t> again;
          {
            const nb::gil_scoped_release release;
            std::vector<const MaskRow*> known(matchers.size());
            for (std::size_t i = 0; i < matchers.size(); ++i) {
              Matcher& matcher = matchers[i]->matcher;
              if ((known[i] = matcher.known(left_of(i).value_or(-1)))) continue;
              const bool made = matchers[i]->in_batch([&] {
                if (!matcher.look_ahead().empty()) return false;
                if (left_of(i) || matchers.size() == 1)
                  matcher.fill(row_of(i), left_of(i).value_or(-1));
                else if (!(known[i] = matcher.find()))
                  matcher.fill_found(row_of(i));
                return true;
              });
              if (!made) again.push_back(i);
            }
            share_out(matchers.size(), matchers.size() * view.words * 4, [&](std::size_t i) {
              const std::size_t used = matchers[i]->matcher.vocabulary().words();
              if (known[i]) known[i]->write(row_of(i));
              std::memset(row_of(i) + used, 0, (view.words - used) * 4);
            });
          }
          for (std::size_t i : again) matchers[i]->fill(view, rows ? (*rows)[i] : static_cast<std::ptrdiff_t>(i), left_of(i));
        },
        "matchers"_a, "bitmask"_a, "rows"_a.none() = nb::none(), "remaining"_a.none() = nb::none());
}
