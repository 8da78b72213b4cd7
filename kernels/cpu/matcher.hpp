// Matcher: one generation under a compiled schema: what was accepted so far, and the way back.
//
// A configuration is immutable, so that rollback is a pointer and copy shares what was built. A matcher belongs to one
// thread at a time; every call takes the kernel lock, but for those that say so. A call that ends in Missing or Limit leaves the
// matcher unchanged.
#pragma once
#include "engine.hpp"

namespace guard {

class Matcher {
 public:
  Matcher(std::shared_ptr<Engine> engine, std::shared_ptr<Vocabulary> vocabulary)
      : engine_(std::move(engine)), vocabulary_(std::move(vocabulary)), arena_(std::make_shared<Arena>()) {}

  std::vector<Id> look_ahead() { return engine_->look_ahead(now()); }
  void fill(std::uint32_t* row, std::int64_t budget) {
    const std::int64_t enough = engine_->fill(now(), *vocabulary_, budget, row, scratch_);
    const bool alone = budget >= 0 && enough == kNoLimit;  // it is of this budget, and of no other
    if (is_held() && held_.row) {  // a batch may be reading the row
      if (held_.budget < 0 && !alone) held_.enough = std::min(held_.enough, enough);
      return;
    }
    if (alone) return hold(is_held() ? own(row) : nullptr, enough, budget);
    const bool again = is_held() || (budget >= 0 && now().lex == Lex::Text);  // it is asked for twice, or surely will be
    hold(again ? own(row) : nullptr, enough);
  }
  void fill_by_bytes(std::uint32_t* row, std::int64_t budget) {
    Scratch scratch;
    engine_->fill(now(), *vocabulary_, budget, row, scratch, false);
  }
  // The mask of where it is, under a budget or without one (-1); null: it is not known. Valid until the next call. Takes no lock.
  const MaskRow* known(std::int64_t budget = -1) const {
    const bool is_of = held_.budget >= 0 ? budget == held_.budget : budget < 0 || budget >= held_.enough;
    return is_of && is_held() ? held_.row.get() : nullptr;
  }
  // The same, of what any matcher knows.
  const MaskRow* find() {
    if (const MaskRow* row = known()) return row;
    key_.assign(reinterpret_cast<const char*>(&engine_->number), sizeof engine_->number);
    engine_->key(now(), &key_);
    if (std::shared_ptr<const MaskRow> row = vocabulary_->rows().find(key_)) hold(std::move(row));
    return known();
  }
  // And fill, where find() has found nothing.
  void fill_found(std::uint32_t* row) {
    fill(row, -1);
    if (std::shared_ptr<const MaskRow> kept = vocabulary_->rows().keep(key_, row)) hold(std::move(kept));
  }
  bool accept(Id token) {
    const Config& at = now();
    if (vocabulary_->is_end(token)) {
      if (!engine_->can_stop(at)) return false;
      Config end = at;
      end.finished = true;
      history_.push_back(end);
      return true;
    }
    return token >= 0 && token < vocabulary_->size() && vocabulary_->is_allowed_somewhere(token) && accept(vocabulary_->bytes(token));
  }
  bool accept(std::string_view bytes) {
    Config at = now();
    if (!at.top || at.finished) return false;
    for (char b : bytes) {
      Config next;
      if (!engine_->step(at, static_cast<std::uint8_t>(b), &next, *arena_)) return false;
      at = next;
    }
    history_.push_back(at);
    return true;
  }
  bool can_stop() { return engine_->can_stop(now()); }
  bool is_finished() { return now().finished; }
  std::int64_t distance() {
    return engine_->distance(now());
  }
  std::string forced() {
    Arena scratch;
    return engine_->forced(now(), scratch, kForced);
  }
  std::string key() {
    std::string out;
    engine_->key(now(), &out);
    return out;
  }
  std::int64_t lexeme() { return engine_->lexeme(now()); }
  int classes(std::uint8_t* of) { return engine_->classes(now(), *vocabulary_, of); }
  std::size_t steps() const { return history_.empty() ? 0 : history_.size() - 1; }
  void rollback(std::size_t steps) { history_.resize(history_.size() - steps); }  // requires steps <= this->steps()
  void reset() {
    if (!history_.empty()) history_.resize(1);
  }
  Matcher copy() const {
    Matcher out(engine_, vocabulary_);
    out.history_ = history_;
    out.held_ = held_;
    out.shared_ = shared_;
    out.shared_.push_back(arena_);
    return out;
  }
  Id node() const { return history_.empty() ? -1 : engine_->node_at(history_.back()); }
  Engine& engine() { return *engine_; }
  Vocabulary& vocabulary() { return *vocabulary_; }
  const std::shared_ptr<Engine>& engine_pointer() const { return engine_; }

 private:
  static constexpr std::size_t kForced = 4096;  // bytes of one answer
  const Config& now() {
    if (history_.empty()) history_.push_back(engine_->start(*arena_));
    return history_.back();
  }
  struct Held {  // the row of one configuration; null: it came once
    Config at;
    bool counts = false;  // does the number of characters matter?
    std::shared_ptr<const MaskRow> row;
    std::int64_t enough = kNoLimit;  // of a budget, for that row
    std::int64_t budget = -1;        // the one that it is of; -1: of all that suffice
  };
  void hold(std::shared_ptr<const MaskRow> row, std::int64_t enough = kNoLimit, std::int64_t budget = -1) {
    held_ = {now(), engine_->counts(now()), std::move(row), enough, budget};
  }
  std::shared_ptr<const MaskRow> own(const std::uint32_t* row) {
    held_.row = nullptr;
    if (!own_ || own_.use_count() > 1) own_ = std::make_shared<MaskRow>();
    own_->assign(row, vocabulary_->words());
    return own_;
  }
  bool is_held() const {
    if (history_.empty() || !held_.at.top) return false;
    Config at = history_.back();
    if (!held_.counts) at.chars = held_.at.chars;
    return at == held_.at;
  }
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Vocabulary> vocabulary_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::shared_ptr<Arena>> shared_;  // of the matchers from which this one was copied
  std::vector<Config> history_;                 // the start, then one for each step
  Scratch scratch_;
  Held held_;
  std::shared_ptr<MaskRow> own_;  // for what is held, unless others hold it, too: a text is tens of tokens, and its row no one else's
  std::string key_;  // of the last find()
};

}  // namespace guard
