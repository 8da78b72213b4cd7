#include "support/lanes.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <utility>

namespace guard {
namespace {
std::atomic<Lanes*> lanes = nullptr;  // never destroyed: its threads sleep until the process ends
}

Lanes& Lanes::instance() {
  static const int at_fork =
      pthread_atfork(nullptr, nullptr, [] { lanes = nullptr; });  // a child has none of its threads
  static_cast<void>(at_fork);
  if (Lanes* known = lanes) return *known;
  Lanes* made = new Lanes;
  Lanes* none = nullptr;
  if (lanes.compare_exchange_strong(none, made)) return *made;
  delete made;
  return *none;
}

void Lanes::add(const void* lane, Task& task) {
  const std::lock_guard lock(lock_);
  task.waiter_ = nullptr;
  put(lane, task);
}

void Lanes::put(const void* lane, Task& task) {  // lock_ must be held
  Lane& in = lanes_[lane];
  const bool is_ready = !in.is_busy && in.waiting.empty();
  if (is_ready && free_ <= ready_.size() && started_ < kMost) try {
      std::thread([this] { help(); }).detach();
      ++started_, ++free_;
    } catch (const std::system_error&) {
      if (started_ == 0) throw;  // otherwise the threads that exist do the work
    }
  in.waiting.push_back(&task);
  task.state_ = Task::Queued, task.lane_ = lane, task.of_ = this;
  if (!is_ready) return;
  ready_.push_back(lane);
  wake_.notify_one();
}

bool Lanes::is_busy(const Task& task) {
  const std::lock_guard lock(lock_);
  return task.of_ == this && task.state_ != Task::Idle;
}

bool Lanes::is_lost(const Task& task) {
  const std::lock_guard lock(lock_);
  return task.of_ && task.of_ != this && task.state_ == Task::Running;
}

void Lanes::wait(std::span<Task* const> tasks, std::optional<Time> deadline) {
  Task::Waiter waiter;
  std::unique_lock lock(lock_);
  for (Task* task : tasks)
    if (task->state_ != Task::Idle && task->of_ == this && !task->waiter_)
      task->waiter_ = &waiter, ++waiter.busy;
  const auto is_over = [&] { return waiter.busy == 0 || waiter.is_called; };
  if (deadline)
    waiter.changed.wait_until(lock, *deadline, is_over);
  else
    waiter.changed.wait(lock, is_over);
  for (Task* task : tasks)
    if (task->waiter_ == &waiter) task->waiter_ = nullptr;
}

bool Lanes::stop(Task& task) {
  {
    const std::lock_guard lock(lock_);
    if (task.of_ != this) return false;
    if (task.state_ == Task::Queued) {
      Lane& lane = lanes_.at(task.lane_);
      std::erase(lane.waiting, &task);
      task.state_ = Task::Idle;
      if (lane.waiting.empty() && !lane.is_busy) {
        std::erase(ready_, task.lane_);
        lanes_.erase(task.lane_);
      }
      return true;
    }
  }
  Task* const one = &task;
  wait(std::span(&one, 1), std::nullopt);
  return false;
}

void Lanes::help() {
  std::unique_lock lock(lock_);
  while (true) {
    wake_.wait(lock, [&] { return !ready_.empty(); });
    --free_;
    const void* const at = ready_.front();
    ready_.pop_front();
    Lane& lane = lanes_.at(at);  // the reference stays valid while the lane is busy
    Task& task = *lane.waiting.front();
    lane.waiting.pop_front();
    lane.is_busy = true;
    task.state_ = Task::Running;
    lock.unlock();
    const bool calls = task.run();
    const void* const next = task.next();
    lock.lock();
    ++free_;
    lane.is_busy = false;
    if (lane.waiting.empty())
      lanes_.erase(at);
    else
      ready_.push_back(at);
    if (next) {
      put(next, task);
      continue;
    }
    task.state_ = Task::Idle;
    if (Task::Waiter* const waiter = std::exchange(task.waiter_, nullptr)) {
      waiter->is_called |= calls;
      if (--waiter->busy == 0 || calls) waiter->changed.notify_one();
    }
  }
}

}  // namespace guard
