// Isolate: tables that schemas share, behind one lock; they are thrown away as a whole when memory
// runs short.
//
// All that is remembered of languages, texts, numbers and names, and which tokens stay inside of
// them, is a cache: whatever is asked can be worked out again. Nearly all schemas live in a
// common isolate, where they share it. There are as many of those as cores, up to four: a thread
// compiles into the one of its last schema, or into another where it finds somebody in there, so
// that threads with schemas of their own come to be apart, and one thread alone always finds the
// same tables. A schema whose call takes long while others wait for the
// lock, or much memory, is given an isolate of its own (Elsewhere): from then on it makes nobody
// wait, and what it fills goes with it.
//
// Memory. All isolates together may hold so many bytes (Budget); each counts what calls under its
// lock allocate and give back. Beyond that the largest ones are flushed: their tables and their
// engines go at once, as RE2 flushes its automata. What is flushed is made anew by the next call:
// an engine from its options and the front end's nodes, a matcher's place from the bytes that it
// took (matcher.hpp). So nothing pins tables but a Place that is said to be pinned; it has an
// isolate of its own.
//
// Locks, in this order: Isolate::lock, while tables are used; Isolate::listing_ and
// Isolates::lock_, for moments. Another isolate's lock is only tried for. The GIL is never waited
// for under any of them. Tested in tests/kernels/test_interrupted.py and test_isolates.py.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>

#include "runtime/tables.hpp"

namespace guard {

struct Elsewhere {};  // the call begins anew in an isolate of the schema's own; see Turn
struct Full {};       // the call begins anew once the isolate was flushed

class Isolate;

// Where a schema's engine is. Any number of matchers share one; the schema moves to another at most
// once.
class Place {
 public:
  Place(std::shared_ptr<Isolate> isolate, bool pinned);
  ~Place();
  Place(const Place&) = delete;
  const std::shared_ptr<Isolate> isolate;
  const bool pinned;                    // is the engine never flushed?
  std::atomic<bool> is_current = true;  // false: the schema has moved
  std::unique_ptr<Compiled> engine;     // null: not yet, or flushed. Guarded by isolate->lock
  std::atomic<std::size_t> nbytes = 0;  // of the engine, as the last turn left it: read without the
                                        // lock, which may be held for seconds
};

// What was flushed, until the lock is given back: to free much takes long.
struct Flushed {
  void add(std::unique_ptr<Compiled> engine);
  void free();
  bool all = false;  // of an isolate: that is counted off already
  std::vector<std::unique_ptr<Compiled>> engines;
  std::unique_ptr<Tables> tables;
};

class Isolate {
 public:
  explicit Isolate(bool common);
  ~Isolate();
  Isolate(const Isolate&) = delete;
  std::mutex lock;                       // of tables, and of the engines of all places
  std::atomic<int> waiting = 0;          // threads that wait for it
  std::atomic<std::int64_t> nbytes = 0;  // held by tables and engines
  const bool common;
  std::unique_ptr<Tables> tables;  // null: not yet, or flushed
  void flush(Flushed* out);        // requires the lock
  // The lock, where it is free within a few microseconds, as it nearly always is; else none.
  std::unique_lock<std::mutex> soon();
  std::unique_lock<std::mutex> wait();  // for the lock. In an isolate of a schema's own it may be
                                        // held for seconds: not with the GIL
  bool may_be_flushed();

 private:
  friend class Place;
  friend class Isolates;
  void recover();  // in a child of a fork: what another thread was at is left as it is, for good
  std::mutex listing_;
  std::vector<Place*> places_;
};

// All isolates of the process, and what they may hold together.
class Isolates {
 public:
  static constexpr std::int64_t kBudget = 512'000'000;
  static constexpr std::size_t kMostCommon = 4;  // each has tables of its own, and memory for them
  static Isolates& instance();
  // A common isolate for a schema that this thread compiles: the one of its last, unless another
  // thread is in there.
  std::shared_ptr<Isolate> common() const;
  // The one that a program of one thread has: what is warm before there is a schema is there.
  std::shared_ptr<Isolate> first() const { return commons_.front(); }
  std::shared_ptr<Isolate> make();
  std::int64_t nbytes() const { return nbytes_; }  // of all
  bool are_full() const { return nbytes_ > budget_; }
  std::int64_t budget() const { return budget_; }
  void set_budget(std::int64_t nbytes) { budget_ = nbytes; }
  std::size_t flushes() const { return flushes_; }
  std::size_t own() const;      // how many isolates there are beside the common ones
  std::int64_t shared() const;  // bytes of the common ones
  // Flushes the largest isolates until all hold less than the budget. `under`: one whose lock the
  // caller holds; it stays, and others that somebody is in stay, too. Without it common ones are
  // waited for, which nobody holds for long once others wait.
  void make_room(const Isolate* under);
  void forget_vocabularies();  // the masks of those that are gone, where nobody is
  void add(Isolate& isolate, std::int64_t bytes) { isolate.nbytes += bytes, nbytes_ += bytes; }
  // Around a fork. No lock of an isolate is waited for; see Isolate::recover.
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
  std::atomic<std::int64_t> nbytes_ = 0, budget_ = kBudget;
  std::atomic<std::size_t> flushes_ = 0;
};

// Counts for an isolate what this thread allocates and gives back in the meantime, but for arenas,
// which are matchers'. One inside of another (Python may run anything in a call) takes over until
// its end.
class Account {
 public:
  explicit Account(Isolate& isolate);
  ~Account();
  Account(const Account&) = delete;
  void settle();                                  // counts what there was so far
  void forget();                                  // what there was since is not counted
  std::int64_t sum() const { return sum_; }       // of what was counted
  static Account* current() { return current_; }  // this thread's; null: it has none

 private:
  static inline constinit thread_local Account* current_ GUARD_TLS = nullptr;
  Isolate& isolate_;
  Account* outer_;
  std::int64_t before_ = 0, sum_ = 0;
};

// One turn of a call in an isolate: its lock, its clock, its memory. `slowly` is called once the
// turn has taken a while (the binding gives the GIL back then). `used`: see Clock::Running. Throws
// Elsewhere from a tick where a common isolate is held for long and others wait, or much memory is
// taken in it.
class Turn final : private Watch {
 public:
  static constexpr std::chrono::microseconds kWhile{1000}, kLong{3000};
  static constexpr std::int64_t kMuch = 8'000'000;  // bytes of one turn
  // `lock`: of the place's isolate, and held.
  Turn(Place& place, std::unique_lock<std::mutex> lock, Account& account, double* used,
       const Limits& limits, void (*slowly)(void*), void* of);
  ~Turn();
  Turn(const Turn&) = delete;
  void slowly(void (*what)(void*), void* of) { slowly_ = what, of_ = of; }
  // How long it may keep others waiting, and a sign upon which it ends: nobody wants it any more.
  void hurry(std::chrono::microseconds patience, const std::atomic<bool>* is_given_up) {
    patience_ = patience, is_given_up_ = is_given_up;
  }
  // The place's engine, made anew if it is not there.
  Compiled& engine(const Options& options, Id root,
                   const std::shared_ptr<const FormatSource>& format);
  // What a call that ended early may have left half made is thrown away: the engine, which is not
  // to be trusted any more; and the tables, where no other schema has made any, or where memory ran
  // out, which may end a computation anywhere.
  void give_up(bool out_of_memory);

 private:
  void look(Clock::Time now) override;
  Place& place_;
  Isolate& isolate_;
  const std::int64_t memory_;  // Limits.memory
  Account& account_;
  Flushed flushed_;  // freed once the lock is given back
  std::unique_lock<std::mutex> lock_;
  Clock::Time begun_{};  // the first look
  std::chrono::microseconds patience_ = kLong;
  const std::atomic<bool>* is_given_up_ = nullptr;
  void (*slowly_)(void*);
  void* of_;
  const std::int64_t held_;  // by this thread at its start
  Clock::Running clock_;
};

}  // namespace guard
