// Matcher: one generation under a compiled schema: the configuration, the bytes accepted, and their
// history for rollback.
//
// Configurations are immutable, so a rollback drops the latest ones, and a copy shares frames. A
// matcher also keeps the bytes that it accepted. If the engine has been replaced (tables were
// flushed, the schema has moved, a call ended early), enter() reads them again, step by step, and
// restores the same state. A matcher belongs to one thread at a time. Every call requires a turn of
// the place (isolate.hpp), so the isolate's lock, and enter() before it, except those marked "needs
// no turn". A call that throws Missing or Limit leaves the matcher unchanged. The matcher shares
// ownership of the vocabulary and of its arenas; it does not own the engine.
#pragma once
#include "automaton/closed_texts.hpp"
#include "automaton/format_spans.hpp"
#include "runtime/tables.hpp"

namespace guard {

class Matcher {
 public:
  explicit Matcher(std::shared_ptr<const Vocabulary> vocabulary,
                   std::shared_ptr<const Symbols> symbols = nullptr)
      : vocabulary_(std::move(vocabulary)),
        symbols_(std::move(symbols)),
        arena_(std::make_shared<Arena>()) {}

  // Whether enter() takes O(1).
  bool enters_at_once(const Compiled& engine) const {
    return steps_.empty() || (engine_number_ == engine.number && history_.size() > steps_.size());
  }
  // Attaches the matcher to this engine. O(1) if it already is attached, else O(bytes accepted).
  void enter(Compiled& engine) {
    if (engine_number_ != engine.number) {
      engine_number_ = 0;
      history_.clear();
      shared_.clear();
      held_ = {};
      scratch_.clear();
      arena_ = std::make_shared<Arena>();
      store_ = nullptr;
      engine_ = &engine;
      masks_ = &engine.tables.masks(vocabulary_);
      engine_number_ = engine.number;
    }
    if (steps_.empty() && store_ != engine.frames.store()) {
      history_.clear();  // a text begins; no old frame's address may be taken for a new one's
      held_ = {};
      scratch_.clear();
    }
    if (history_.empty()) store_ = engine.frames.store();
    while (history_.size() <= steps_.size()) read_again();
  }
  std::vector<Id> look_ahead() { return engine_->look_ahead(now()); }
  // Writes the mask of the present configuration, under a budget or without one (-1).
  void fill(std::uint32_t* row, std::int64_t budget) {
    if (const MaskRow* known = find(budget))
      known->write(row, vocabulary_->words());
    else
      make(row, budget);
  }
  // The same, after find() has returned null.
  void make(std::uint32_t* row, std::int64_t budget) {
    RowLog& log = masks_->log;
    const std::int64_t text =
        engine_->filler.fill(now(), *masks_, budget, row, scratch_, symbols_.get());
    const std::int64_t enough =
        std::max(text, fill_symbols(budget, row, &log));  // second, since it changes the row
    engine_->filler.check_end(now(), *vocabulary_, budget, row, symbols_.get());
    const bool alone = scarce_ =
        budget >= 0 && enough == kNoLimit;  // the row is valid for this budget only
    if (!alone && has_key_)
      if (const KeptRow* kept =
              MaskRows::keep(*store_, *now().top, key_, *vocabulary_, row, log, enough))
        return share(*kept);
    if (is_held() && held_.row) {  // another thread's batch may be reading the row
      if (held_.budget < 0 && !alone) held_.enough = std::min(held_.enough, enough);
      return;
    }
    const bool again =
        is_held() || (!alone && budget >= 0 &&
                      now().lex == Lex::Text);  // it was asked for twice, or certainly will be
    hold(again ? own(row) : nullptr, enough, alone ? budget : -1);
  }
  void fill_by_bytes(std::uint32_t* row, std::int64_t budget) {
    Scratch scratch;
    engine_->filler.fill(now(), *masks_, budget, row, scratch, symbols_.get(), false);
    fill_symbols(budget, row, &masks_->log);
    engine_->filler.check_end(now(), *vocabulary_, budget, row, symbols_.get());
  }
  // The mask of the present configuration, under a budget or without one (-1); null: unknown. Valid
  // until the next call. Needs no turn.
  const MaskRow* known(std::int64_t budget = -1) {
    const bool is_of =
        held_.budget >= 0 ? budget == held_.budget : budget < 0 || budget >= held_.enough;
    const MaskRow* row = is_of && is_held() ? held_.row : nullptr;
    if (row) scarce_ = held_.budget >= 0;
    return row;
  }
  bool is_scarce() const { return scarce_; }  // needs no turn
  // The same, including masks of equivalent configurations, of this matcher or another one.
  const MaskRow* find(std::int64_t budget) {
    if (const MaskRow* row = known(budget)) return row;
    const Config& at = now();
    has_key_ =
        at.top && !at.finished && store_->has(*at.top) && engine_->state_keys.find(at, &key_);
    if (!has_key_) return nullptr;
    const KeptRow* found = MaskRows::find(*at.top, key_, vocabulary_->id());
    if (!found || !found->is_made || (budget >= 0 && budget < found->enough)) return nullptr;
    share(*found);
    return known(budget);
  }
  bool accept(Id token) {
    const Config& at = now();
    if (vocabulary_->is_end(token) && engine_->can_stop(at)) {
      Config end = at;
      end.finished = true;
      push(end, {});
      return true;
    }
    if (symbols_) {  // a format may name a token that ends a turn, too
      const auto found = symbols_->of.find(token);
      const bool is_named = found != symbols_->of.end();
      if ((is_named && accept_symbol(found->second, token)) || accept_any(token)) return true;
      if (is_named) return false;
    }
    if (vocabulary_->is_end(token)) return false;
    if (token < 0 || token >= vocabulary_->size() || !vocabulary_->is_allowed_somewhere(token) ||
        !accept(vocabulary_->bytes(token)))
      return false;
    find(-1);  // in this turn, since the mask of where a token led is mostly the next thing asked
    return true;
  }
  bool accept(std::string_view bytes) {
    Config at = now();
    if (!at.top || at.finished || !read(bytes, &at)) return false;
    push(at, bytes);
    return true;
  }
  bool can_stop() { return engine_->can_stop(now()); }
  bool is_finished() const { return !steps_.empty() && steps_.back().finished; }  // needs no turn
  std::int64_t distance() { return distance_from(now()); }
  std::string forced(std::string_view except) {
    Arena scratch;
    return engine_->forced(now(), scratch, except);
  }
  std::vector<std::string> closed_texts(std::size_t most) {
    return guard::closed_texts(*engine_, now(), most);
  }
  std::string key() {
    std::string out;
    engine_->state_keys.add(now(), engine_->number, &out);
    return out;
  }
  std::int64_t lexeme() { return engine_->state_keys.lexeme(now()); }
  int classes(std::uint8_t* of) { return engine_->filler.classes(now(), *masks_, of); }
  std::size_t steps() const { return steps_.size(); }
  bool is_format() const { return engine_->format.has_value(); }
  // Of a format: the parts of the accepted bytes, in order, each with what it was read as. The last
  // may be incomplete. O(bytes).
  std::vector<FormatSpan> spans() {
    if (!engine_->format || !history_.front().top) return {};
    Arena arena;
    Stepper& stepper = engine_->stepper;
    std::vector<FormatEvent> events;
    const Stepper::Telling telling(stepper, &events);
    Config at = engine_->start(arena), next;
    std::size_t done = 0;
    for (const Step& step : steps_) {
      if (step.symbol >= 0) {
        const std::size_t before = events.size();
        stepper.tell_offset(done);
        if (!engine_->step_symbol(at, step.symbol, &next, arena)) return {};
        at = next;
        stepper.tell_offset(done = step.end);  // the text after the symbol begins after its bytes
        bool is_behind = false;
        for (std::size_t i = before; i < events.size(); ++i) {
          if (is_behind) events[i].offset = done;
          is_behind |= events[i].kind == FormatEvent::Symbol;
        }
      }
      for (; done < step.end; at = next) {
        stepper.tell_offset(done);
        if (!engine_->step(at, static_cast<std::uint8_t>(text_[done]), &next, arena)) return {};
        stepper.tell_offset(++done);
      }
    }
    return spans_of(*engine_, events, text_);
  }
  void rollback(std::size_t steps) {  // requires steps <= this->steps(); needs no turn
    steps_.resize(steps_.size() - steps);
    text_.resize(steps_.empty() ? 0 : steps_.back().end);
    if (history_.size() > steps_.size() + 1) history_.resize(steps_.size() + 1);
  }
  void reset() { rollback(steps_.size()); }
  Matcher copy() const {  // needs no turn
    Matcher out(vocabulary_, symbols_);
    out.engine_ = engine_, out.masks_ = masks_, out.engine_number_ = engine_number_;
    out.text_ = text_, out.steps_ = steps_, out.history_ = history_;
    out.held_ = held_;
    out.shared_ = shared_;
    out.shared_.push_back(arena_);
    out.store_ = store_;
    out.own_ = own_;
    return out;
  }
  Id node(const Compiled& engine) const {
    return history_.empty() || engine_number_ != engine.number ? -1
                                                               : engine.node_at(history_.back());
  }
  const Vocabulary& vocabulary() const { return *vocabulary_; }

 private:
  struct Step {
    std::size_t end;  // end of its bytes in text_
    bool finished;    // whether it was an end-of-sequence token; else it was bytes or a symbol
    Id symbol = -1;
  };
  const Config& now() const { return history_.back(); }
  std::int64_t distance_from(const Config& at) {
    return engine_->filler.distance(at, *vocabulary_, symbols_.get());
  }
  static constexpr std::size_t kLongToken = 1024;  // bytes that are read within microseconds
  bool read(std::string_view bytes, Config* at) {
    const FrameMaker::Keeping keeping(engine_->frames, *store_);
    const bool is_long = bytes.size() > kLongToken;
    for (char b : bytes) {
      if (is_long) kernel_clock.tick();  // else the clock is looked at between two calls
      Config next;
      if (!engine_->step(*at, static_cast<std::uint8_t>(b), &next, *arena_)) return false;
      *at = next;
    }
    return true;
  }
  bool take(Id symbol, Config* at) {
    const FrameMaker::Keeping keeping(engine_->frames, *store_);
    Config next;
    if (!engine_->step_symbol(*at, symbol, &next, *arena_)) return false;
    *at = next;
    return true;
  }
  bool accept_symbol(const std::vector<Id>& symbols, Id token) {
    for (Id symbol : symbols) {
      Config at = now();
      if (!at.top || at.finished || !take(symbol, &at)) continue;
      push(at, vocabulary_->bytes(token), symbol);
      return true;
    }
    return false;
  }
  bool accept_any(Id token) {
    if (symbols_->any_tokens.empty() || token < 0 || token >= vocabulary_->size()) return false;
    Labels exits;
    engine_->stepper.exits(now(), &exits);
    for (Id id : exits)
      if (const FormatExit& exit = engine_->format->exit(id);
          exit.kind == FormatExit::AnyToken && symbols_->is_any(exit.what, token))
        return accept_symbol({exit.what}, token);
    return false;
  }
  // Sets the bits of named tokens, which never count as text. Where any token is allowed, a token
  // that is also named there only counts as named. Returns a budget from which none of them is
  // excluded.
  std::int64_t fill_symbols(std::int64_t budget, std::uint32_t* row, RowLog* log) {
    if (!symbols_) return 0;
    const auto set = [=](Id token) { row[token >> 5] |= 1u << (token & 31), log->add(token); };
    const auto clear = [=](Id token) { row[token >> 5] &= ~(1u << (token & 31)), log->add(token); };
    for (const auto& [token, _] : symbols_->of)
      if (!vocabulary_->is_end(token)) clear(token);
    Labels exits;
    engine_->stepper.exits(now(), &exits);
    std::int64_t enough = 0;
    Arena scratch;
    const auto may_come = [&](Id id, FormatExit::Kind kind) {
      Config after;
      if (engine_->format->exit(id).kind != kind ||
          !engine_->stepper.take(now(), id, &after, scratch))
        return false;
      if (budget < 0) return true;
      const std::int64_t needs = 1 + distance_from(after);
      const bool fits = needs > 0 && needs <= budget;
      enough = std::max(enough, fits ? needs : kNoLimit);
      return fits;
    };
    const auto tokens = [&](Id id) -> const std::vector<Id>& {
      return symbols_->tokens[static_cast<std::size_t>(engine_->format->exit(id).what)];
    };
    for (Id id : exits)
      if (may_come(id, FormatExit::AnyToken)) {
        const std::vector<std::uint32_t>& any =
            symbols_->any_tokens.at(engine_->format->exit(id).what);
        for (std::size_t i = 0; i < any.size(); ++i) row[i] |= any[i];
        log->is_whole = false;
        for (Id other : exits)
          if (engine_->format->exit(other).kind == FormatExit::Symbol)
            for (Id token : tokens(other)) clear(token);
      }
    for (Id id : exits)
      if (may_come(id, FormatExit::Symbol))
        for (Id token : tokens(id)) set(token);
    return enough;
  }
  // Appends a step. Allocates first, so an exception changes nothing.
  void push(const Config& at, std::string_view bytes, Id symbol = -1) {
    const auto room = [](auto& list) {
      if (list.size() == list.capacity()) list.reserve(std::max<std::size_t>(16, list.size() * 2));
    };
    room(steps_), room(history_);
    text_.append(bytes);
    steps_.push_back({text_.size(), at.finished, symbol});
    history_.push_back(at);
  }
  void read_again() {  // computes the configuration of the first step without one
    if (history_.empty()) {
      const FrameMaker::Keeping keeping(engine_->frames, *store_);
      return history_.push_back(engine_->start(*arena_));
    }
    const std::size_t step = history_.size() - 1, from = step ? steps_[step - 1].end : 0;
    Config at = now();
    if (steps_[step].finished)
      at.finished = true;
    else if (steps_[step].symbol >= 0
                 ? !take(steps_[step].symbol, &at)
                 : !read(std::string_view(text_).substr(from, steps_[step].end - from), &at))
      throw Limit{"replay", -1,
                  "what was accepted before is not accepted now, which is a fault of the engine"};
    history_.push_back(at);
  }
  struct Held {  // the row of one configuration; null: it was asked for once
    Config at;
    bool counts = false;  // whether the number of characters matters
    const MaskRow* row = nullptr;
    std::int64_t enough = kNoLimit;  // the least budget for which the row is valid
    std::int64_t budget = -1;  // the only budget for which it is valid; -1: all from `enough` on
  };
  void hold(const MaskRow* row, std::int64_t enough = kNoLimit, std::int64_t budget = -1) {
    held_ = {now(), engine_->counts(now()), row, enough, budget};
  }
  void share(const KeptRow& found) {
    if (is_held() && held_.row && held_.budget < 0)  // the same row, which a batch may be reading
      held_.enough = std::min(held_.enough, found.enough);
    else
      hold(&found.row, found.enough);
  }
  const MaskRow* own(const std::uint32_t* row) {
    held_.row = nullptr;
    if (!own_ || own_.use_count() > 1) own_ = std::make_shared<OwnRow>();
    return own_->assign(row, vocabulary_->words());
  }
  bool is_held() const {
    if (history_.size() != steps_.size() + 1 || !held_.at.top) return false;
    Config at = history_.back();
    if (!held_.counts) at.chars = held_.at.chars;
    return at == held_.at;
  }
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const Symbols> symbols_;  // null: no token is named
  Compiled* engine_ = nullptr;  // of the last enter(); dangling once engine_number_ is outdated
  LexemeMasks* masks_ = nullptr;
  std::uint64_t engine_number_ = 0;
  std::shared_ptr<Arena> arena_;
  MatcherVector<std::shared_ptr<Arena>>
      shared_;  // arenas of the matchers from which this one was copied: they own shared frames
  std::shared_ptr<FrameStore> store_;  // where its frames are, if they are kept
  MatcherText text_;
  MatcherVector<Step> steps_;
  MatcherVector<Config>
      history_;  // the start, then one for each step that the engine has read so far
  Scratch scratch_;
  Held held_;
  bool scarce_ = false;          // whether the last mask may lack tokens because of its budget
  std::shared_ptr<OwnRow> own_;  // the buffer of the held row, reused unless it is shared: a row
                                 // inside of a text belongs to no other matcher
  bool has_key_ = false;         // whether the last find() found where the mask may be kept
  LexemeKey key_;
};

}  // namespace guard
