// Lanes: threads that run tasks beside those who add them. Tasks of one lane run one after the
// other, tasks of different lanes at once.
//
// A thread is started when a lane has tasks and no thread is free, up to a limit; it then sleeps
// between tasks. A task is known by its address; its owner may free it once it is not busy. After a
// fork, the child has lanes of its own, which do not know the tasks that were added before. Tested
// in tests/kernels/test_pending_rows.py.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>

namespace guard {

class Lanes {
 public:
  using Time = std::chrono::steady_clock::time_point;

  class Task {
   public:
    virtual ~Task() = default;

   private:
    friend class Lanes;
    struct Waiter {
      std::condition_variable changed;
      std::size_t busy = 0;  // how many of the tasks that it waits for are busy
      bool is_called = false;
    };
    // Does all the work there is; must not throw. Returns true if whoever waits for the task now
    // has something to do. next() can have the task added again.
    virtual bool run() = 0;
    virtual const void* next() {
      return nullptr;
    }  // the lane in which the task runs again; null: it is done
    enum { Idle, Queued, Running } state_ = Idle;
    const void* lane_ = nullptr;
    Lanes* of_ = nullptr;
    Waiter* waiter_ = nullptr;
  };

  static Lanes& instance();                // of this process
  void add(const void* lane, Task& task);  // requires a task that is not busy
  bool is_busy(const Task& task);          // whether it is queued or running
  // Whether it was running when this process was forked. It will then never end here.
  bool is_lost(const Task& task);
  // Waits until none of the tasks is busy, or the run() of one has returned true, or the deadline
  // has passed. Without a deadline it waits for as long as that takes.
  void wait(std::span<Task* const> tasks, std::optional<Time> deadline);
  // If the task has not begun, removes it from its lane and returns true; else waits for its end.
  bool stop(Task& task);

 private:
  static constexpr std::size_t kMost = 64;  // threads
  struct Lane {
    std::deque<Task*> waiting;
    bool is_busy = false;
  };
  void put(const void* lane, Task& task);
  void help();
  std::mutex lock_;
  std::condition_variable wake_;
  std::unordered_map<const void*, Lane> lanes_;  // lanes with something to do
  std::deque<const void*> ready_;                // those of them that no thread works on
  std::size_t started_ = 0, free_ = 0;           // threads, and those of them that work on no lane
};

}  // namespace guard
