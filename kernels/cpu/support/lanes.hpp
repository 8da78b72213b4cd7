// Lanes: tasks that run beside whoever adds them: those of one lane one after the other, those of
// different lanes at once.
//
// A thread is started when no other is free to take a lane that has something to do, up to a
// limit; it then sleeps until there is more. A task is told of by its address and may be freed
// once it is not busy any more. After a fork the child has lanes of its own, and knows of no task
// that was added before. Tested in tests/kernels/test_pending_rows.py.
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
      std::size_t busy = 0;  // of the tasks that it waits for
      bool is_called = false;
    };
    // Does all there is to do, and throws nothing. True: whoever waits for it has something to do
    // now. It may have itself added again, by `next`.
    virtual bool run() = 0;
    virtual const void* next() {
      return nullptr;
    }  // the lane in which it goes on; null: it is done
    enum { Idle, Queued, Running } state_ = Idle;
    const void* lane_ = nullptr;
    Lanes* of_ = nullptr;
    Waiter* waiter_ = nullptr;
  };

  static Lanes& instance();                // of this process
  void add(const void* lane, Task& task);  // requires a task that is not busy
  bool is_busy(const Task& task);          // is it to be run, or running?
  // Was it running when this process was forked? Then it is half way for good.
  bool is_lost(const Task& task) const;
  // Waits until none of the tasks is busy, or one calls for whoever waits, or the time is out;
  // none: for ever.
  void wait(std::span<Task* const> tasks, std::optional<Time> deadline);
  // Takes it out where it has not begun (true), else waits for its end.
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
  std::unordered_map<const void*, Lane> lanes_;  // those with something to do
  std::deque<const void*> ready_;                // and of them those that nobody is at
  std::size_t started_ = 0, free_ = 0;           // threads; those that are at no lane
};

}  // namespace guard
