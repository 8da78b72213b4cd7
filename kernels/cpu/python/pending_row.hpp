// PendingRow: a matcher's row that a thread of our own makes (support/lanes.hpp), so that whoever
// asked for it need not wait for its end.
//
// Rows of one isolate are made one after the other, for they share its lock; those of different
// isolates beside each other. A row that takes long in a common isolate goes on in one of its
// schema's own once others are behind it (Elsewhere). Nothing is ended for the sake of the time:
// what was begun goes on, and so comes to its end.
//
// The thread never has the GIL. Where the row needs nodes that were never lowered, it calls for
// whoever asked, who lowers them and adds it again. While it is busy it has the matcher, but for
// what Matcher says needs no turn and does not change; PyMatcher::Use sees to that.
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

  // With the GIL, for whoever has the matcher. `patience`: how long it may keep others waiting.
  void begin(std::int64_t budget, std::chrono::microseconds patience);
  bool is_busy() { return Lanes::instance().is_busy(*this); }
  bool is_lost() const { return Lanes::instance().is_lost(*this); }
  bool is_asked() const { return stage_ != Stage::None; }
  // Of one that is not busy: does it wait for nodes to be lowered?
  bool is_lacking() const { return stage_ == Stage::Lacking || stage_ == Stage::LacksTrees; }
  void lower();
  // Its row under that budget; null: it is none of it. Raises what it ended in.
  const std::uint32_t* row(std::int64_t budget);
  void forget() { stage_ = Stage::None; }  // one that is not busy
  // Waits for the thread to leave the matcher; `give_up` has it leave at its next look at the
  // clock.
  void settle();
  void give_up();

 private:
  enum class Stage { None, Asked, Moved, Lacking, LacksTrees, Made, Failed };
  bool run() override;
  const void* next() override;
  void queue();
  Stage part(Compiled& engine);  // as far as it comes with the nodes that there are

  Seat& seat_;
  Matcher& matcher_;
  Stage stage_ = Stage::None;
  std::int64_t budget_ = -1;
  std::chrono::microseconds patience_{};
  std::atomic<bool> is_given_up_ = false;
  double used_ = 0;  // processor seconds
  std::vector<std::uint32_t> row_;
  std::optional<Limit> limit_;  // in which it ended; none: memory ran out
  std::vector<Id> nodes_;       // that it lacks
  std::optional<Goals::Ahead> ahead_;
  std::optional<Records> records_;
};

}  // namespace guard
