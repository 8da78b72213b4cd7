// The GIL given up and asked for again, and calls of Python's code, by threads that may be daemons.
//
// Up to Python 3.13 a daemon thread that asks for the GIL while the interpreter ends is unwound by
// pthread_exit. A frame that is noexcept, as nanobind's are, then aborts the process. Here such a
// thread sleeps until the process ends, as all do from Python 3.14 on. The way out is a
// `catch (...)` that is never left: https://github.com/python/cpython/issues/87135.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <exception>
#include <thread>

#include "python/handover.hpp"

namespace guard {

[[noreturn]] inline void sleep_until_the_end() {
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

inline PyThreadState* give_gil() {
  Handover::before_giving();
  PyThreadState* const saved = PyEval_SaveThread();
  Handover::after_giving();
  return saved;
}

inline void take_gil(PyThreadState* saved) noexcept {
  Handover::before_taking();
  try {
    PyEval_RestoreThread(saved);
  } catch (...) {
    sleep_until_the_end();
  }
  Handover::after_taking();
}

// The time in which other threads of Python run. The GIL must be held where it begins.
class WithoutGil {
 public:
  WithoutGil() = default;
  WithoutGil(const WithoutGil&) = delete;
  ~WithoutGil() { take_gil(saved_); }

 private:
  PyThreadState* const saved_ = give_gil();
};

// The result of f(), which calls Python's code.
template <class F>
auto in_python(F f) {
  try {
    return f();
  } catch (const std::exception&) {  // Python's own exceptions, too
    throw;
  } catch (...) {
    sleep_until_the_end();
  }
}

}  // namespace guard
