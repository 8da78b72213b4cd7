// Keys: queries about an object under construction: which keys were written, and which may still
// come. Also a memo for results that depend on the answers.
#pragma once
#include <functional>
#include <string>

#include "support/base.hpp"

namespace guard {

struct Answers {  // given so far
  std::unordered_map<Id, std::uint8_t> names;
  std::unordered_map<std::string, bool> taken;
};
struct Keys {
  std::int32_t count = 0;
  std::function<bool(Id)>
      is_open;  // whether this name may still be written; null: every name may (no key was written)
  std::function<bool(Id)> is_seen;  // null: none
  std::function<bool(std::string_view)>
      is_taken;                // whether this key was written, or can no longer be; null: no key
  Answers* answers = nullptr;  // if not null, records the answers
  bool fresh() const { return !is_open && count == 0; }
  bool open(Id name) const { return !is_open || answer(name, is_open, 1); }
  bool seen(Id name) const { return is_seen && answer(name, is_seen, 4); }
  bool taken(std::string_view key) const {
    if (!is_taken || !answers) return is_taken && is_taken(key);
    const auto [at, fresh] = answers->taken.try_emplace(std::string(key), false);
    if (fresh) at->second = is_taken(key);
    return at->second;
  }

 private:
  bool answer(Id name, const std::function<bool(Id)>& ask, std::uint8_t asked) const {
    if (!answers) return ask(name);
    std::uint8_t& known = answers->names[name];
    if (!(known & asked)) known |= static_cast<std::uint8_t>(asked | (ask(name) ? asked << 1 : 0));
    return known & asked << 1;
  }
};

// A memo of results about a shape. Each result is stored with the answers that its computation got
// from the keys. If all answers are the same, so is the result. Keeps the last kKept results for
// each shape and count.
class AnswerMemo {
 public:
  // Returns the known result, or else find(keys), which is stored if may_keep() is true afterwards.
  // `counts`: whether the number of members matters.
  template <class Find, class MayKeep>
  std::int64_t get(Id shape, const Keys& keys, bool counts, Find find, MayKeep may_keep) {
    const std::pair<Id, Id> key{shape, counts ? keys.count : std::min(keys.count, 1)};
    Answers answers;
    Keys asked = keys;
    asked.answers = &answers;
    if (const auto known = found_.find(key); known != found_.end())
      for (const Found& f : known->second)
        if (f.fits(asked)) return f.value;
    answers = {};
    Found out{{}, {}, find(asked)};
    if (!may_keep()) return out.value;
    out.names.assign(answers.names.begin(), answers.names.end());
    out.taken.assign(answers.taken.begin(), answers.taken.end());
    std::vector<Found>& list = found_[key];
    if (list.size() == kKept) list.erase(list.begin());
    list.push_back(std::move(out));
    return list.back().value;
  }

 private:
  static constexpr std::size_t kKept = 8;
  struct Found {
    std::vector<std::pair<Id, std::uint8_t>> names;
    std::vector<std::pair<std::string, bool>> taken;
    std::int64_t value;
    bool fits(const Keys& asked) const {
      const auto name = [&](const auto& n) {
        return (!(n.second & 1) || asked.open(n.first) == !!(n.second & 2)) &&
               (!(n.second & 4) || asked.seen(n.first) == !!(n.second & 8));
      };
      return std::all_of(names.begin(), names.end(), name) &&
             std::all_of(taken.begin(), taken.end(),
                         [&](const auto& t) { return asked.taken(t.first) == t.second; });
    }
  };
  PairMap<std::vector<Found>> found_;
};

}  // namespace guard
