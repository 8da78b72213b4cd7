#include "python/pending_row.hpp"

#include <new>

namespace nb = nanobind;

namespace guard {

void PendingRow::begin(std::int64_t budget, std::chrono::microseconds patience) {
  const Account account(*seat_.place().isolate);
  stage_ = Stage::Asked;
  budget_ = budget, patience_ = patience;
  is_given_up_ = false, used_ = 0;
  limit_.reset(), ahead_.reset(), lowered_.reset(), nodes_.clear();
  row_.resize(matcher_.vocabulary().words());
  queue();
}

void PendingRow::queue() {
  Isolate& isolate = *seat_.place().isolate;
  ++isolate.waiting;
  Lanes::instance().add(&isolate, *this);
}

const void* PendingRow::next() {
  if (stage_ != Stage::Moved) return nullptr;
  Isolate& isolate = *seat_.place().isolate;
  ++isolate.waiting;
  return &isolate;
}

void PendingRow::lower() {
  const Account account(*seat_.place().isolate);
  if (stage_ == Stage::LacksTrees) {
    lowered_->read_trees();
  } else {
    lowered_.emplace(lowered(*seat_.front, nodes_));
  }
  stage_ = Stage::Asked;
  queue();
}

const std::uint32_t* PendingRow::row(std::int64_t budget) {
  if (budget != budget_ || (stage_ != Stage::Made && stage_ != Stage::Failed)) return nullptr;
  if (stage_ == Stage::Made) return row_.data();
  stage_ = Stage::None;  // a later call tries again
  if (!limit_) throw std::bad_alloc();
  raise(*seat_.front, *limit_);
}

void PendingRow::settle() {
  if (!is_busy()) return;
  const WithoutGil others;
  Lanes::Task* const self = this;
  while (is_busy()) Lanes::instance().wait(std::span(&self, 1), std::nullopt);
}

void PendingRow::give_up() {
  if (is_busy()) {
    is_given_up_ = true;
    const WithoutGil others;
    if (Lanes::instance().stop(*this)) --seat_.place().isolate->waiting;
  }
  stage_ = Stage::None;
}

bool PendingRow::run() {
  Place& place = seat_.place();
  Isolate& isolate = *place.isolate;
  --isolate.waiting;
  Account account(isolate);
  for (stage_ = Stage::Asked; stage_ == Stage::Asked;) {
    std::unique_lock lock = isolate.soon();
    if (!lock.owns_lock()) lock = isolate.wait();
    Turn turn(place, std::move(lock), account, &used_, seat_.front->options.limits, nullptr,
              nullptr);
    turn.hurry(patience_, &is_given_up_);
    try {
      stage_ = part(turn.engine(seat_.front->options, seat_.front->root, seat_.front->format));
    } catch (const Limit& limit) {
      turn.give_up(false);
      limit_ = limit, stage_ = Stage::Failed;
    } catch (const Full&) {
      turn.give_up(true);
    } catch (const std::bad_alloc&) {
      turn.give_up(true);
      limit_.reset(), stage_ = Stage::Failed;
    } catch (const Elsewhere&) {
      turn.give_up(false);
      stage_ = Stage::Moved;
    }
  }
  if (stage_ == Stage::Moved) seat_.move();
  return is_lacking();
}

PendingRow::Stage PendingRow::part(Compiled& engine) {
  const auto lacks = [&](const std::vector<Id>& nodes) {
    ahead_.emplace(nodes);
    nodes_ = engine.constraints.goals.lacking(&*ahead_);
    return nodes_.empty() ? Stage::Asked : Stage::Lacking;
  };
  try {
    if (lowered_) {
      if (!lowered_->are_whole(engine.tables)) return Stage::LacksTrees;
      lowered_->define(engine);
      lowered_.reset();
      nodes_ = engine.constraints.goals.lacking(&*ahead_);
      if (!nodes_.empty()) return Stage::Lacking;
    }
    matcher_.enter(engine);
    if (const std::vector<Id> nodes = matcher_.look_ahead(); !nodes.empty()) return lacks(nodes);
    matcher_.fill(row_.data(), budget_);
    return Stage::Made;
  } catch (const Missing& missing) {
    return lacks(missing.nodes);
  } catch (Limit& limit) {
    engine.constraints.goals.blame(&limit, limit.node < 0 ? matcher_.node(engine) : -1);
    throw;
  }
}

}  // namespace guard
