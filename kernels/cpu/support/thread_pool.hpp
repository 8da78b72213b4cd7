// Thread pool: threads that share one piece of work on memory, such as copying the rows of a batch.
//
// The threads are started by the first work that is large enough, and sleep in between. Together
// with the caller there are as many as the calling thread may use cores (by its affinity and the
// cgroup's quota). The caller works too, and does not wait for threads that have not begun, so on a
// busy machine the work takes no longer than in one thread. Only one caller uses the pool at a
// time; another one works alone. A child of fork() has its own pool. Thread-safe. Tested in
// tests/kernels/test_batches.py.
#pragma once
#include <cstddef>
#include <functional>

namespace guard {

// Calls work(i) for each i < n, and returns when all calls have ended. Uses several threads if the
// calls touch enough memory: `nbytes` in total. `work` must be thread-safe and must not throw.
void share_out(std::size_t n, std::size_t nbytes, const std::function<void(std::size_t)>& work);

// The number of cores that this thread may use.
std::size_t cores();

}  // namespace guard
