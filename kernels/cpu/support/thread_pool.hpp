// Crew: threads that help with one piece of work on memory: rows of a batch to be copied or masked.
//
// They are started when work first pays for them, one less than there are cores to this thread (its
// affinity, the cgroup's quota), and sleep in between. The caller works too and waits for nobody
// who has not begun, so that a busy machine costs what one thread would; a second caller at the
// same time works alone. After a fork the child has a crew of its own. Tested in
// tests/kernels/test_batches.py.
#pragma once
#include <cstddef>
#include <functional>

namespace guard {

// Calls work(i) for each i < n, from several threads where the bytes that all of it touches are
// worth it. `work` throws nothing.
void share_out(std::size_t n, std::size_t nbytes, const std::function<void(std::size_t)>& work);

// As many cores as this thread may use.
std::size_t cores();

}  // namespace guard
