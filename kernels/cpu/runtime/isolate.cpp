#include "runtime/isolate.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "support/allocator.hpp"
#include "support/lanes.hpp"
#include "support/thread_pool.hpp"

namespace guard {

// ---- places -------------------------------------------------------------------------------------

Place::Place(std::shared_ptr<Isolate> where, bool stays)
    : isolate(std::move(where)), pinned(stays) {
  const std::lock_guard lock(isolate->listing_);
  isolate->places_.push_back(this);
}

Place::~Place() {
  {
    const std::lock_guard lock(isolate->listing_);
    std::erase(isolate->places_, this);
  }
  const Account account(*isolate);
  engine.reset();  // no other thread can access this engine
}

void Flushed::add(std::unique_ptr<Compiled> engine) {
  if (!engine) return;
  try {
    engines.push_back(nullptr);
  } catch (const std::bad_alloc&) {
    return;  // the engine is freed here, under the lock
  }
  engines.back() = std::move(engine);
}

void Flushed::free() {
  if (engines.empty() && !tables) {
    all = false;
    return;
  }
  Account* const account = Account::current();
  if (account) account->settle();
  if (all && Isolates::instance().free_beside(this)) return;
  engines.clear();
  tables.reset();
  if (account && all) account->forget();
  all = false;
}

// ---- isolates -----------------------------------------------------------------------------------

Isolate::Isolate(bool is_common) : common(is_common) {}

Isolate::~Isolate() {
  tables.reset();
  Isolates::instance().nbytes_ -= nbytes;
}

bool Isolate::may_be_flushed() {
  const std::lock_guard lock(listing_);
  return std::none_of(places_.begin(), places_.end(), [](const Place* p) { return p->pinned; });
}

void Isolate::flush(Flushed* out) {
  if (Account* const account = Account::current())
    account->settle();  // counts what the call has freed so far, so that it is subtracted only once
  const std::lock_guard lock(listing_);
  for (Place* place : places_) out->add(std::move(place->engine)), place->nbytes = 0;
  out->tables = std::move(tables);
  out->all = true;
  Isolates::instance().add(*this, -nbytes);  // also drops any error in the count
  ++Isolates::instance().flushes_;
}

void Isolate::recover() {
  waiting = 0;
  if (lock.try_lock()) return lock.unlock();
  new (&lock) std::mutex;
  for (Place* place : places_) {
    if (place->engine) place->engine->frames.leave();
    (void)place->engine.release();
  }
  (void)tables.release();
  Isolates::instance().add(*this, -nbytes);
}

Isolates& Isolates::instance() {
  static Isolates* isolates =
      new Isolates;  // never destroyed: matchers may outlive static destruction
  return *isolates;
}

Isolates::Isolates() {
  for (std::size_t i = 0; i < std::min(cores(), kMostCommon); ++i) {
    commons_.push_back(std::make_shared<Isolate>(true));
    all_.push_back(commons_.back());
  }
}

namespace {
struct Home {  // of a thread
  std::size_t at = 0;
  bool has_moved = false;
  int contended = 0;  // times that it found a common isolate locked since then
  std::chrono::steady_clock::time_point since{};
};
constinit thread_local Home here GUARD_TLS;
constexpr int kContended = 64;  // times within kWindow after which a thread moves
constexpr std::chrono::milliseconds kWindow{1000};
}  // namespace

std::shared_ptr<Isolate> Isolates::common() const {
  const std::size_t n = commons_.size();
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t at = (here.at + i) % n;
    if (const std::unique_lock lock(commons_[at]->lock, std::try_to_lock); lock.owns_lock()) {
      here.at = at;
      break;
    }
  }
  return commons_[here.at];
}

std::shared_ptr<Isolate> Isolates::home() const {
  return here.has_moved ? commons_[here.at] : nullptr;
}

void Isolates::note_contention() const {
  const auto now = std::chrono::steady_clock::now();
  if (now - here.since > kWindow) here.contended = 0, here.since = now;
  if (++here.contended < kContended || commons_.size() == 1) return;
  here.at = (here.at + 1) % commons_.size();
  here.has_moved = true;
  here.contended = 0;
}

std::shared_ptr<Isolate> Isolates::make() {
  auto made = std::make_shared<Isolate>(false);
  const std::lock_guard lock(lock_);
  std::erase_if(all_, [](const auto& known) { return known.expired(); });
  all_.push_back(made);
  return made;
}

std::vector<std::shared_ptr<Isolate>> Isolates::all() const {
  std::vector<std::shared_ptr<Isolate>> out;
  const std::lock_guard lock(lock_);
  for (const auto& known : all_)
    if (std::shared_ptr<Isolate> isolate = known.lock()) out.push_back(std::move(isolate));
  return out;
}

std::size_t Isolates::own() const { return all().size() - commons_.size(); }

std::int64_t Isolates::shared() const {
  std::int64_t sum = 0;
  for (const std::shared_ptr<Isolate>& isolate : commons_) sum += isolate->nbytes;
  return sum;
}

void Isolates::make_room(const Isolate* under) {
  // Other threads change the sizes: each is read once, or the order would not be one.
  std::vector<std::pair<std::int64_t, std::shared_ptr<Isolate>>> by_size;
  for (std::shared_ptr<Isolate>& isolate : all()) {
    const std::int64_t nbytes = isolate->nbytes;
    by_size.emplace_back(nbytes, std::move(isolate));
  }
  std::sort(by_size.begin(), by_size.end(), std::greater());
  for (const auto& [nbytes, isolate] : by_size) {
    if (!are_full()) return;
    if (isolate.get() == under || !isolate->may_be_flushed()) continue;
    Flushed flushed;
    std::unique_lock lock(isolate->lock, std::defer_lock);
    if (isolate->common && !under) {
      ++isolate->waiting;
      lock.lock();
      --isolate->waiting;
    } else if (!lock.try_lock()) {
      continue;  // its holder checks the budget, too
    }
    isolate->flush(&flushed);
    lock.unlock();
    flushed.free();
  }
}

struct Isolates::Freeing final : Lanes::Task {
  Flushed what;
  bool run() override {
    what.engines.clear();
    what.tables.reset();
    return false;
  }
};

bool Isolates::free_beside(Flushed* what) {
  constexpr std::size_t kMost = 2;  // that may wait: a thread that flushes more frees it itself
  Lanes& lanes = Lanes::instance();
  const std::lock_guard lock(lock_);
  std::erase_if(freeing_, [&](std::unique_ptr<Freeing>& task) {
    if (lanes.is_busy(*task)) return false;
    if (lanes.is_lost(*task)) (void)task.release();  // half freed, by a thread of the parent
    return true;
  });
  if (freeing_.size() >= kMost) return false;
  std::unique_ptr<Freeing> task;
  try {
    task = std::make_unique<Freeing>();
    freeing_.reserve(kMost);
    task->what = std::exchange(*what, {});
    lanes.add(this, *task);
  } catch (const std::exception&) {  // no memory, or no thread
    if (task) *what = std::move(task->what);
    return false;
  }
  freeing_.push_back(std::move(task));
  return true;
}

void Isolates::forget_vocabularies() {
  for (const std::shared_ptr<Isolate>& isolate : all()) {
    std::vector<std::unique_ptr<LexemeMasks>> gone;
    const Account account(*isolate);
    if (const std::unique_lock lock(isolate->lock, std::try_to_lock);
        lock.owns_lock() && isolate->tables)
      gone = isolate->tables->abandoned();
    gone.clear();
  }
}

void Isolates::before_fork() {
  lock_.lock();
  for (const auto& known : all_)
    if (const std::shared_ptr<Isolate> isolate = known.lock())
      isolate->listing_.lock(), forking_.push_back(isolate);
}

void Isolates::after_fork(bool child) {
  for (const std::shared_ptr<Isolate>& isolate : forking_) {
    isolate->listing_.unlock();
    if (child) isolate->recover();
  }
  std::vector<std::shared_ptr<Isolate>> done = std::move(forking_);
  forking_.clear();
  lock_.unlock();
}

// ---- turns --------------------------------------------------------------------------------------

Account::Account(Isolate& isolate) : isolate_(isolate), outer_(current_) {
  if (outer_) outer_->settle();
  forget();
  current_ = this;
}
Account::~Account() {
  settle();
  current_ = outer_;
  if (outer_) outer_->forget();
}
void Account::forget() { before_ = held() - Arena::nbytes(); }
void Account::settle() {
  const std::int64_t now = held() - Arena::nbytes(), more = now - before_;
  if (more == 0) return;
  Isolates::instance().add(isolate_, more);
  before_ = now, sum_ += more;
}

std::unique_lock<std::mutex> Isolate::soon() {
  constexpr int kSpins = 400;
  for (int i = 0; i < kSpins; ++i) {
    if (std::unique_lock held(lock, std::try_to_lock); held.owns_lock()) return held;
    if (i == 0 && common) Isolates::instance().note_contention();
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }
  return {};
}

std::unique_lock<std::mutex> Isolate::wait() {
  ++waiting;
  std::unique_lock held(lock);
  --waiting;
  return held;
}

Turn::Turn(Place& place, std::unique_lock<std::mutex> lock, Account& account, double* used,
           const Limits& limits, void (*slowly)(void*), void* of)
    : place_(place),
      isolate_(*place.isolate),
      memory_(limits.memory),
      account_(account),
      lock_(std::move(lock)),
      slowly_(slowly),
      of_(of),
      held_(held()),
      clock_(limits.seconds, used, limits.states, limits.memory, this) {
  let_allocations_fail(true);
}

Turn::~Turn() {
  let_allocations_fail(false);
  if (held() != held_)
    place_.nbytes.store(place_.engine ? place_.engine->held_nbytes() : 0,
                        std::memory_order_relaxed);  // skipped by most calls, which change nothing
  lock_.unlock();
  flushed_.free();
}

Compiled& Turn::engine(const Options& options, Id root,
                       const std::shared_ptr<const FormatSource>& format) {
  if (!isolate_.tables) isolate_.tables = std::make_unique<Tables>(isolate_.common);
  if (!place_.engine)
    place_.engine = std::make_unique<Compiled>(*isolate_.tables, options, root, format);
  return *place_.engine;
}

void Turn::let_others_run() {
  if (slowly_) std::exchange(slowly_, nullptr)(of_);
}

void Turn::give_up(bool out_of_memory) {
  let_allocations_fail(false);
  let_others_run();  // what is given up may take long to be freed
  if (place_.pinned) return;
  if (out_of_memory || !isolate_.common)
    isolate_.flush(&flushed_);
  else
    flushed_.add(std::move(place_.engine));
}

void Turn::look(Clock::Time now) {
  if (begun_ == Clock::Time{}) begun_ = now;
  if (now - begun_ > kWhile) let_others_run();
  if (is_given_up_ && *is_given_up_) throw Limit{"seconds", -1, "nobody waits for it any more"};
  account_.settle();
  if (isolate_.common && !place_.pinned) {
    if (isolate_.waiting > 0 && now - begun_ > patience_) throw Elsewhere{};
    if (account_.sum() > kMuch) throw Elsewhere{};
  } else if (!place_.pinned && isolate_.nbytes > memory_) {
    if (account_.sum() < memory_ / 2) throw Elsewhere{};  // other calls filled it
    throw Limit{"memory", -1, "the tables of this schema fill the memory that it may have"};
  }
  Isolates& all = Isolates::instance();
  if (!all.are_full()) return;
  let_others_run();
  all.make_room(&isolate_);
  if (!all.are_full()) return;
  if (!place_.pinned && account_.sum() < all.budget() / 2) throw Full{};
  throw Limit{"process_memory", -1,
              "the tables of all schemas fill the memory that they may have together"};
}

}  // namespace guard
