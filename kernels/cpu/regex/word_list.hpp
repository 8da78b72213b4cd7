// A list of texts, as characters, packed one behind the other: an enum has hundreds.
#pragma once
#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "regex/unicode.hpp"
#include "support/base.hpp"

namespace guard {

class WordList {
 public:
  WordList() = default;
  // The texts in order, each once.
  explicit WordList(std::vector<std::u32string_view> words) {
    sort_unique(&words);
    make_room(words);
    for (std::u32string_view word : words) text_.append(word), ends_.push_back(text_.size());
  }
  // The same of texts in UTF-8, whose bytes have the order of their characters.
  static WordList of_utf8(std::vector<std::string_view> words) {
    WordList out;
    sort_unique(&words);
    out.make_room(words);
    for (std::string_view word : words)
      append_utf8(word, &out.text_), out.ends_.push_back(out.text_.size());
    return out;
  }
  std::u32string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return {text_.data() + begin, ends_[i] - begin};
  }
  std::size_t size() const { return ends_.size(); }
  std::u32string_view text() const { return text_; }  // all of them
  bool operator==(const WordList&) const = default;
  std::size_t hash() const {
    const std::string_view bytes(reinterpret_cast<const char*>(text_.data()),
                                 text_.size() * sizeof(char32_t));
    return mix(hash_of(bytes), hash_of(ends_));
  }

 private:
  template <class List>
  void make_room(const List& words) {
    ends_.reserve(words.size());
    text_.reserve(std::accumulate(words.begin(), words.end(), std::size_t{0},
                                  [](std::size_t n, const auto& word) { return n + word.size(); }));
  }
  std::u32string text_;
  std::vector<std::size_t> ends_;  // of each text
};

}  // namespace guard
