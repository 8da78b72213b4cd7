#include "support/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace guard {
namespace {

constexpr std::size_t kPays =
    8'000'000;  // bytes from which it pays to wake others: a smaller copy ends before they run
constexpr std::size_t kThreads =
    8;  // threads, the caller's included: memory bandwidth is the limit
constexpr std::size_t kParts =
    4;  // parts per thread, so that others take over the share of a thread that is delayed

// The number of cores that the cgroup's quota lets the process use at once.
std::size_t quota() {
  double most = 0, period = 0;
  std::string word;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period)
    most = word == "max" ? 0 : std::atof(word.c_str());
  else if (std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
           of("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
           !(v1 >> most && of >> period))
    most = 0;
  return most > 0 && period > 0 ? std::max<std::size_t>(static_cast<std::size_t>(most / period), 1)
                                : kThreads;
}

class Crew {
 public:
  void run(std::size_t n, std::size_t threads, const std::function<void(std::size_t)>& work) {
    const std::unique_lock alone(busy_, std::try_to_lock);
    if (!alone) return each(n, work);
    {
      const std::lock_guard lock(lock_);
      for (; started_ + 1 < threads; ++started_) std::thread([this] { help(); }).detach();
      work_ = &work, n_ = n, next_ = 0;
    }
    wake_.notify_all();
    each_left(n, work);
    std::unique_lock lock(lock_);
    work_ = nullptr;  // no further thread begins
    done_.wait(lock, [&] { return helping_ == 0; });
  }
  static void each(std::size_t n, const std::function<void(std::size_t)>& work) {
    for (std::size_t i = 0; i < n; ++i) work(i);
  }

 private:
  void each_left(std::size_t n, const std::function<void(std::size_t)>& work) {
    for (std::size_t i; (i = next_.fetch_add(1)) < n;) work(i);
  }
  void help() {
    std::unique_lock lock(lock_);
    while (true) {
      wake_.wait(lock, [&] { return work_ && next_ < n_; });
      const auto* work = work_;
      const std::size_t n = n_;
      ++helping_;
      lock.unlock();
      each_left(n, *work);
      lock.lock();
      if (--helping_ == 0) done_.notify_one();
    }
  }
  std::mutex busy_, lock_;
  std::condition_variable wake_, done_;
  const std::function<void(std::size_t)>* work_ = nullptr;  // null: there is none
  std::size_t n_ = 0, started_ = 0, helping_ = 0;
  std::atomic<std::size_t> next_ = 0;
};

std::atomic<Crew*> crew = nullptr;  // never destroyed: its threads sleep until the process ends

Crew& instance() {
  static const int at_fork = pthread_atfork(
      nullptr, nullptr, [] { crew = nullptr; });  // a child of a fork lacks its threads
  static_cast<void>(at_fork);
  if (Crew* known = crew) return *known;
  Crew* made = new Crew;
  Crew* none = nullptr;
  if (crew.compare_exchange_strong(none, made)) return *made;
  delete made;
  return *none;
}

}  // namespace

std::size_t cores() {
  static const std::size_t limit = std::min(quota(), kThreads);
  cpu_set_t set;
  const std::size_t allowed = sched_getaffinity(0, sizeof set, &set) == 0
                                  ? static_cast<std::size_t>(CPU_COUNT(&set))
                                  : std::thread::hardware_concurrency();
  return std::clamp<std::size_t>(allowed, 1, limit);
}

void share_out(std::size_t n, std::size_t nbytes, const std::function<void(std::size_t)>& work) {
  const std::size_t threads = n < 2 || nbytes < kPays ? 1 : std::min(cores(), n);
  if (threads == 1) return Crew::each(n, work);
  const std::size_t parts = std::min(n, threads * kParts);
  instance().run(parts, threads, [&](std::size_t part) {
    for (std::size_t i = n * part / parts; i < n * (part + 1) / parts; ++i) work(i);
  });
}

}  // namespace guard
