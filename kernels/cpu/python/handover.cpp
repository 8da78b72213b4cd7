#include "python/handover.hpp"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

#include "python/gil.hpp"
#include "support/allocator.hpp"
#include "support/thread_pool.hpp"

namespace guard {
namespace {

using Steady = std::chrono::steady_clock;

#ifdef Py_GIL_DISABLED
constexpr bool kHasGil = false;
#else
constexpr bool kHasGil = true;
#endif
constexpr std::chrono::microseconds kFewCalls{20}, kWaking{50};
constexpr std::chrono::milliseconds kPeriod{30};  // six times what CPython lets a thread keep it
constexpr std::chrono::milliseconds kPause{100};
constexpr int kBad = 16, kTooBad = 512;  // a pause follows 32 bad waits, or 1 of 16 for long

struct Thread {
  std::uint32_t seen;  // the period of its last call
  bool is_beside, is_asleep, has_waited_well;
};
constinit thread_local Thread here GUARD_TLS{};

// Each on a cache line of its own: they are read again and again by threads that wait.
alignas(64) constinit std::atomic<const Thread*> holder{nullptr};  // last came out of a call
alignas(64) constinit std::atomic<int> beside{0};  // threads in a call, without the GIL
alignas(64) constinit std::atomic<int> asleep{
    0};  // of those, the ones that sleep until they have it

struct alignas(64) {  // guarded by the GIL
  std::uint32_t period = 1;
  Steady::time_point period_end{}, pause_end{};
  int seen = 0, before = 0;  // threads in this period, in the one before
  bool is_on = false, is_paused = false;
  int badness = 0;
  const Thread* quick = nullptr;  // the last caller of is_quick()
} constinit gil;

template <class F>
bool wait(F is_over, std::chrono::microseconds most) {
  if (is_over()) return true;
  const Steady::time_point until = Steady::now() + most;
  while (Steady::now() < until)
    for (int i = 0; i < 8; ++i) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
      if (is_over()) return true;
    }
  return false;
}

void note_this_thread() {
  if (const Steady::time_point time = Steady::now(); time > gil.period_end) {
    gil.period_end = time + kPeriod;
    gil.before = std::exchange(gil.seen, 0);
    ++gil.period;
    gil.is_paused = time < gil.pause_end || cores() == 1;
  }
  if (here.seen == gil.period) return;
  here.seen = gil.period;
  ++gil.seen;
  gil.is_on = std::max(gil.seen, gil.before) > 1 && !gil.is_paused;
}

}  // namespace

void Handover::before_giving() {
  if (!kHasGil) return;
  note_this_thread();
  if (!gil.is_on) return;
  here.is_beside = true;
  ++beside;
  holder = &here;
}

void Handover::after_giving() {
  const Thread* me = &here;
  if (here.is_beside) holder.compare_exchange_strong(me, nullptr);
}

void Handover::before_taking() {
  if (!here.is_beside) return;
  const int sleepers = asleep;
  if (sleepers > 0) wait([&] { return asleep < sleepers || holder != nullptr; }, kWaking);
  here.is_asleep = !wait(
      [] {
        const Thread* nobody = nullptr;
        return holder.load(std::memory_order_relaxed) == nullptr &&
               holder.compare_exchange_strong(nobody, &here);
      },
      kFewCalls);
  here.has_waited_well = sleepers == 0 && !here.is_asleep;
  if (here.is_asleep) ++asleep;
}

void Handover::after_taking() {
  if (!here.is_beside) return;
  here.is_beside = false;
  if (here.is_asleep) --asleep;
  --beside;
  holder = &here;
  gil.badness = here.has_waited_well ? std::max(gil.badness - 1, 0) : gil.badness + kBad;
  if (gil.badness <= kTooBad) return;
  gil.badness = 0;
  gil.pause_end = Steady::now() + kPause;
  gil.is_paused = true, gil.is_on = false;
}

bool Handover::is_quick() {
  if (!kHasGil) return false;
  note_this_thread();
  if (!gil.is_on) return false;
  if (std::exchange(gil.quick, &here) != &here && beside == 0) {
    // The other thread may sleep outside of our calls, until it has the GIL.
    const WithoutGil others;
    wait([] { return beside > 1; }, kWaking);
  }
  return true;
}

void Handover::forget_others() { holder = nullptr, beside = 0, asleep = 0; }

}  // namespace guard
