// Isolate: tables that schemas share, behind one lock. They are discarded as a whole when memory
// runs short.
//
// The tables of languages, texts, numbers, names and lexeme masks are a cache: all of it can be
// computed again. Nearly all schemas share the tables of a common isolate. There are as many common
// ones as cores, up to four. A thread compiles into the one of its last schema, or into another one
// if that is locked, so threads with different schemas separate, and a lone thread always finds the
// same tables. A thread that finds its isolate locked again and again moves to another common one,
// and has matchers of all schemas there: each schema has an engine in every isolate where it is
// used. A schema whose call takes long while others wait for the lock, or takes much memory,
// moves to its own isolate (Elsewhere). From then on it delays no one, and its tables are freed
// with it.
//
// Memory. All isolates together have a budget of bytes (Isolates::budget); each counts what calls
// under its lock allocate and free. Beyond the budget the largest ones are flushed: their tables
// and engines are freed as a whole, as RE2 flushes its automata. The next call makes them again: an
// engine from its options and the front end's nodes, a matcher's configuration from the bytes that
// it accepted (matcher.hpp). So only a pinned Place keeps tables alive, and that has its own
// isolate.
//
// Locks, in the order of acquisition: Isolate::lock, while tables are used; Isolate::listing_ and
// Isolates::lock_, for moments. With one isolate's lock held, another one's is only tried
// (try_lock). No thread waits for the GIL while it holds any of them. Tested in
// tests/kernels/test_interrupted.py and test_isolates.py.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>

#include "runtime/tables.hpp"

namespace guard {

struct Elsewhere {};  // thrown: the call is repeated in the schema's own isolate; see Turn
struct Full {};       // thrown: the call is repeated after the isolate is flushed

class Isolate;

// The location of a schema's engine: an isolate, and the engine in it, which the place owns. Any
// number of matchers share one place. A schema moves to another at most once.
class Place {
 public:
  Place(std::shared_ptr<Isolate> isolate, bool pinned);
  ~Place();
  Place(const Place&) = delete;
  const std::shared_ptr<Isolate> isolate;
  const bool pinned;                    // if true, the engine is never flushed
  std::atomic<bool> is_current = true;  // false: the schema has moved
  std::unique_ptr<Compiled> engine;     // null: not made yet, or flushed. Guarded by isolate->lock
  std::atomic<std::size_t> nbytes =
      0;  // the engine's, after the last turn; atomic, because the lock may be held for seconds
};

// Flushed tables and engines, owned until the lock is released: freeing them takes long.
struct Flushed {
  void add(std::unique_ptr<Compiled> engine);
  void free();       // what a whole isolate held, beside the caller: 0.2 s for half a gigabyte
  bool all = false;  // whether it is a whole isolate's, which is already subtracted from the count
  std::vector<std::unique_ptr<Compiled>> engines;
  std::unique_ptr<Tables> tables;
};

class Isolate {
 public:
  explicit Isolate(bool common);
  ~Isolate();
  Isolate(const Isolate&) = delete;
  std::mutex lock;                       // guards the tables, and the engines of all its places
  std::atomic<int> waiting = 0;          // number of threads that wait for the lock
  std::atomic<std::int64_t> nbytes = 0;  // bytes of tables and engines
  const bool common;
  std::unique_ptr<Tables> tables;  // null: not made yet, or flushed
  void flush(Flushed* out);        // requires the lock
  // The lock, if it becomes free within a few microseconds, as it nearly always does; else an
  // unlocked object.
  std::unique_lock<std::mutex> soon();
  std::unique_lock<std::mutex> wait();  // waits for the lock. Requires that the GIL is not held: a
                                        // schema's own isolate may be locked for seconds
  bool may_be_flushed();

 private:
  friend class Place;
  friend class Isolates;
  void recover();  // in a forked child: abandons tables that another thread was changing, for good
  std::mutex listing_;
  std::vector<Place*> places_;
};

// All isolates of the process, and their common budget of memory. Thread-safe.
class Isolates {
 public:
  static constexpr std::int64_t kBudget = 512'000'000;
  static constexpr std::size_t kMostCommon = 4;  // each has its own tables in memory
  static Isolates& instance();
  // A common isolate for a schema that this thread compiles: that of its last schema, unless
  // another thread has locked it.
  std::shared_ptr<Isolate> common() const;
  // The common isolate to which this thread moved, because the one that it used was locked so often
  // when it came. Null for nearly all threads: they use a schema where it was compiled.
  std::shared_ptr<Isolate> home() const;
  void note_contention() const;  // of this thread, at a common isolate's lock
  // The one that a single-threaded program uses; tables that are warmed before any schema are
  // there.
  std::shared_ptr<Isolate> first() const { return commons_.front(); }
  std::shared_ptr<Isolate> make();
  std::int64_t nbytes() const { return nbytes_ + FrameStore::all_nbytes(); }  // of all
  bool are_full() const { return nbytes() > budget_; }
  std::int64_t budget() const { return budget_; }
  void set_budget(std::int64_t nbytes) { budget_ = nbytes; }
  std::size_t flushes() const { return flushes_; }
  std::size_t own() const;      // number of isolates that belong to one schema
  std::int64_t shared() const;  // bytes of the common ones
  // Flushes the largest isolates until all hold less than the budget. `under` is an isolate whose
  // lock the caller holds; it is not flushed, and neither are locked ones. Without `under`, it
  // waits for common isolates, which are never locked for long while others wait.
  void make_room(const Isolate* under);
  void forget_vocabularies();  // frees the masks of destroyed vocabularies, in isolates that are
                               // not locked
  // Never below none: a matcher may hold frames that were counted before a flush, which counts all
  // of an isolate as freed.
  void add(Isolate& isolate, std::int64_t bytes) {
    std::int64_t before = isolate.nbytes, after = 0;
    do after = std::max<std::int64_t>(0, before + bytes);
    while (!isolate.nbytes.compare_exchange_weak(before, after));
    nbytes_ += after - before;
  }
  // Frees it on a thread of its own. False: as much as may waits already, or there is no thread.
  bool free_beside(Flushed* what);
  // To be called around fork(). Does not wait for isolates' locks; see Isolate::recover.
  void before_fork();
  void after_fork(bool child);

 private:
  friend class Isolate;
  Isolates();
  std::vector<std::shared_ptr<Isolate>> all() const;
  mutable std::mutex lock_;
  std::vector<std::weak_ptr<Isolate>> all_;
  std::vector<std::shared_ptr<Isolate>> forking_;  // while a fork is under way
  std::vector<std::shared_ptr<Isolate>> commons_;
  struct Freeing;
  std::vector<std::unique_ptr<Freeing>> freeing_;  // guarded by lock_
  std::atomic<std::int64_t> nbytes_ = 0, budget_ = kBudget;
  std::atomic<std::size_t> flushes_ = 0;
};

// While it lives, counts for an isolate what this thread allocates and frees, except arenas, which
// belong to matchers. A nested one (Python may run anything during a call) replaces the outer one
// until its end.
class Account {
 public:
  explicit Account(Isolate& isolate);
  ~Account();
  Account(const Account&) = delete;
  void settle();                                  // adds the bytes so far to the isolate
  void forget();                                  // drops the bytes since the last settle()
  std::int64_t sum() const { return sum_; }       // all bytes added
  static Account* current() { return current_; }  // this thread's; null: it has none

 private:
  static inline constinit thread_local Account* current_ GUARD_TLS = nullptr;
  Isolate& isolate_;
  Account* outer_;
  std::int64_t before_ = 0, sum_ = 0;
};

// One turn of a call in an isolate: it owns the lock, the clock and the account of memory. `slowly`
// is called once the turn has taken a while, or frees much; the binding then releases the GIL.
// `used`: see Clock::Running. A tick throws Elsewhere where a common isolate has been locked for
// long while others wait, or the turn has taken much memory there.
class Turn final : private Watch {
 public:
  static constexpr std::chrono::microseconds kWhile{1000}, kLong{3000};
  static constexpr std::int64_t kMuch = 16'000'000;  // bytes of one turn
  // Requires `lock` to hold the lock of the place's isolate. `account` must outlive the turn.
  Turn(Place& place, std::unique_lock<std::mutex> lock, Account& account, double* used,
       const Limits& limits, void (*slowly)(void*), void* of);
  ~Turn();
  Turn(const Turn&) = delete;
  void slowly(void (*what)(void*), void* of) { slowly_ = what, of_ = of; }
  // `patience`: how long the turn may keep others waiting. Once *is_given_up is true, the next look
  // at the clock throws Limit.
  void hurry(std::chrono::microseconds patience, const std::atomic<bool>* is_given_up) {
    patience_ = patience, is_given_up_ = is_given_up;
  }
  // The place's engine, which is made if it does not exist. Valid until the turn's end.
  Compiled& engine(const Options& options, Id root,
                   const std::shared_ptr<const FormatSource>& format);
  // Discards what a call that ended early may have left incomplete: the engine; and the tables, if
  // no other schema uses them, or after bad_alloc, which may interrupt a computation anywhere.
  void give_up(bool out_of_memory);

 private:
  void look(Clock::Time now) override;
  void let_others_run();  // calls `slowly`, once
  Place& place_;
  Isolate& isolate_;
  const std::int64_t memory_;  // Limits.memory
  Account& account_;
  Flushed flushed_;  // freed after the lock is released
  std::unique_lock<std::mutex> lock_;
  Clock::Time begun_{};  // the first look
  std::chrono::microseconds patience_ = kLong;
  const std::atomic<bool>* is_given_up_ = nullptr;
  void (*slowly_)(void*);
  void* of_;
  const std::int64_t held_;  // bytes that this thread held at the turn's start
  Clock::Running clock_;
};

}  // namespace guard
