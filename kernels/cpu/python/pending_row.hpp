// PendingRow: a matcher's row that one of our own threads computes (support/lanes.hpp), so that the
// caller need not wait for it.
//
// Rows of one isolate are computed one after another, because they share its lock; rows of
// different isolates run in parallel. If a row takes long in a common isolate while others wait, it
// moves to its schema's own isolate (Elsewhere). A deadline never cancels a row: the computation
// continues to its end.
//
// The thread never acquires the GIL. If the row needs nodes that are not lowered yet, the thread
// stops, and the caller lowers them and queues the row again. While the row is busy, its thread
// owns the matcher, except for the methods that need no turn and change nothing; PyMatcher::Use
// ensures this.
#pragma once
#include <atomic>
#include <chrono>
#include <optional>
#include <vector>

#include "python/call.hpp"
#include "runtime/matcher.hpp"
#include "support/lanes.hpp"

namespace guard {

class PendingRow final : public Lanes::Task {
 public:
  PendingRow(Seat& seat, Matcher& matcher) : seat_(seat), matcher_(matcher) {}
  ~PendingRow() override { give_up(); }

  // Requires the GIL, and the exclusive use of the matcher. `patience`: how long the row may keep
  // others waiting for the isolate.
  void begin(std::int64_t budget, std::chrono::microseconds patience);
  bool is_busy() { return Lanes::instance().is_busy(*this); }
  bool is_lost() { return Lanes::instance().is_lost(*this); }
  bool is_asked() { return is_busy() || stage_ != Stage::None; }
  // Requires that the row is not busy. Does it wait for nodes to be lowered?
  bool is_lacking() const { return stage_ == Stage::Lacking || stage_ == Stage::LacksTrees; }
  void lower();
  // The row, if it was computed for this budget; else null. Raises the error with which the
  // computation ended.
  const std::uint32_t* row(std::int64_t budget);
  void forget() { stage_ = Stage::None; }  // requires that the row is not busy
  // Waits for the thread to leave the matcher. give_up() also makes the thread stop when it next
  // looks at the clock.
  void settle();
  void give_up();

 private:
  enum class Stage { None, Asked, Moved, Lacking, LacksTrees, Made, Failed };
  bool run() override;
  const void* next() override;
  void queue();
  Stage part(Compiled& engine);  // continues as far as the defined nodes allow

  Seat& seat_;
  Matcher& matcher_;
  Stage stage_ = Stage::None;
  std::int64_t budget_ = -1;
  std::chrono::microseconds patience_{};
  std::atomic<bool> is_given_up_ = false;
  double used_ = 0;  // processor seconds
  std::vector<std::uint32_t> row_;
  std::optional<Limit> limit_;  // the limit that was exceeded; none: memory ran out
  std::vector<Id> nodes_;       // the nodes that it lacks
  std::optional<Goals::Ahead> ahead_;
  std::optional<Definitions> lowered_;
};

}  // namespace guard
