#include <algorithm>
#include <ctime>

#include "support/allocator.hpp"
#include "support/base.hpp"

// How many times as long an instrumented build takes, whose seconds count less.
#ifndef GUARD_SLOWER
#define GUARD_SLOWER 1
#endif

namespace guard {

namespace {
constexpr double kLeast = 1e-3, kMost = 1e6;  // seconds: less counts as nothing left, more makes no
                                              // difference
constexpr std::chrono::microseconds kShort{100};  // a call's time without a look at the
                                                  // processor's, which takes a system call
constexpr double kCounted = 1e-2;                 // seconds of it that count as the processor's

double processor_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9) / GUARD_SLOWER;
#else
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC / GUARD_SLOWER;
#endif
}

double since(Clock::Time begun, Clock::Time now) {
  return std::min(std::chrono::duration<double>(now - begun).count(), kCounted);
}
}  // namespace

double Clock::longest() {
  measures_ = true;
  return std::exchange(longest_, 0);
}

Clock::Running::Running(double seconds, double* used, std::size_t states, std::int64_t memory,
                        Watch* watch)
    : before_(kernel_clock.now_), used_(used) {
  Clock& clock = kernel_clock;
  clock.now_ = {
      {},
      used ? seconds - *used : seconds,
      -1,
      states,
      memory > kNoMemory - std::max<std::int64_t>(held(), 0) ? kNoMemory : held() + memory,
      watch};
  clock.last_ = clock.measures_ ? processor_seconds() : -1;
}

Clock::Running::~Running() {
  Clock& clock = kernel_clock;
  if (used_ && clock.now_.begun >= 0)
    *used_ += processor_seconds() - clock.now_.begun;
  else if (used_ && clock.now_.deadline != Time{})
    *used_ += since(clock.now_.deadline - kShort, std::chrono::steady_clock::now());
  clock.now_ = before_;
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
  if (now_.deadline == Time{} && now_.seconds >= kLeast) {
    now_.deadline = now + kShort;
  } else if (now > now_.deadline) {
    const double used = processor_seconds();
    if (now_.begun < 0)
      now_.begun = used - (now_.deadline == Time{} ? 0 : since(now_.deadline - kShort, now));
    const double left = now_.seconds - (used - now_.begun);
    if (left < kLeast) throw Limit{"seconds", -1, "a search takes too long", op};
    now_.deadline =
        now + std::chrono::microseconds(static_cast<std::int64_t>(std::min(left, kMost) * 1e6));
  }
  if (held() > now_.memory)
    throw Limit{"memory", -1,
                "what it takes to tell what may come next fills the memory that one call may have",
                op};
  if (now_.watch) now_.watch->look(now);
}

}  // namespace guard
