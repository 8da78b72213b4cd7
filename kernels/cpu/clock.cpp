#include <ctime>

#include "base.hpp"
#include "heap.hpp"

namespace guard {

namespace {
double processor_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
#else
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
#endif
}
}  // namespace

double Clock::longest() {
  measures_ = true;
  return std::exchange(longest_, 0);
}

Clock::Running::Running(Time deadline, std::size_t states, std::int64_t memory, Watch* watch)
    : deadline_(kernel_clock.deadline_), states_(kernel_clock.states_), memory_(kernel_clock.memory_), watch_(kernel_clock.watch_) {
  Clock& clock = kernel_clock;
  clock.deadline_ = deadline, clock.states_ = states, clock.watch_ = watch;
  clock.memory_ = memory > kNoMemory - held() ? kNoMemory : held() + memory;
  clock.last_ = clock.measures_ ? processor_seconds() : -1;
}

Clock::Running::~Running() {
  Clock& clock = kernel_clock;
  clock.deadline_ = deadline_, clock.states_ = states_, clock.memory_ = memory_, clock.watch_ = watch_;
  clock.last_ = -1;
}

bool Clock::fail_at(unsigned n) {
  const bool came = failed_;
  failing_ = n > 0, failed_ = false;
  left_ = n > 0 ? n : kEvery;
  return came;
}

void Clock::look(Op op) {
  left_ = kEvery;
  if (failing_) {
    failing_ = false, failed_ = true;
    throw Limit{"seconds", -1, "a test asked for it", op};
  }
  if (last_ >= 0) {
    const double now = processor_seconds();
    longest_ = std::max(longest_, now - last_);
    last_ = now;
  }
  const Time now = std::chrono::steady_clock::now();
  if (now > deadline_) throw Limit{"seconds", -1, "a search takes too long", op};
  if (held() > memory_) throw Limit{"memory", -1, "what it takes to tell what may come next fills the memory that one call may have", op};
  if (watch_) watch_->look(now);
}

}  // namespace guard
