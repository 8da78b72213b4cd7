// JSON strings and numbers as automata.
#include <doctest/doctest.h>

#include "lexers/json_number.hpp"
#include "lexers/outline.hpp"

using namespace guard;

namespace {

struct Strings {
  Clock::Running clock{10, nullptr, Clock::kStates, Clock::kNoMemory, nullptr};
  Langs langs;
  Texts texts{langs};
  Id spec = 0;
  Id begin(std::vector<Labelled> components, Spelling spelling = Spelling::Canonical) {
    return texts.start(components, spelling, &spec);
  }
  Id read(Id state, std::string_view bytes) {
    for (char b : bytes)
      state = state == Texts::kDead ? state : texts.step(state, static_cast<std::uint8_t>(b));
    return state;
  }
};

WordList listed(std::vector<std::u32string_view> list) { return WordList(std::move(list)); }

Piece between(int lo, int hi) {
  Piece p;
  p.has_lo = p.has_hi = true;
  p.lo = decimal(std::to_string(lo), 0, false);
  p.hi = decimal(std::to_string(hi), 0, false);
  return p;
}

struct Figures {
  Clock::Running clock{10, nullptr, Clock::kStates, Clock::kNoMemory, nullptr};
  Numbers numbers;
  bool accepts(const Piece& piece, std::string_view text, Spelling spelling = Spelling::Canonical) {
    Id state = numbers.start({{numbers.piece(piece), 0}}, spelling);
    for (char b : text)
      state = state == Numbers::kDead ? state : numbers.step(state, static_cast<std::uint8_t>(b));
    return state != Numbers::kDead && numbers.accepts_any(state);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Strings, "a string's components end with their labels") {
  const Id state = begin({{langs.words(listed({U"ab"})), 0, kInf, 3}, {Langs::kAll, 0, kInf, 5}});
  Labels labels;
  texts.accepted(read(state, "ab"), spec, 2, &labels);
  CHECK(std::vector<Id>(labels.begin(), labels.end()) == std::vector<Id>{3, 5});
  texts.accepted(read(state, "a"), spec, 1, &labels);
  CHECK(std::vector<Id>(labels.begin(), labels.end()) == std::vector<Id>{5});
}

TEST_CASE_FIXTURE(Strings, "an escape is the character that it spells") {
  const Id state = begin({{langs.words(listed({U"\n\U0001F600"})), 0, kInf, 0}}, Spelling::Any);
  CHECK(read(state, "\\n\\uD83D\\uDE00") != Texts::kDead);
  CHECK(read(state, "\\n\xF0\x9F\x98\x80") != Texts::kDead);
  CHECK(read(state, "\\t") == Texts::kDead);
  CHECK(read(state, "\n") == Texts::kDead);  // it must be escaped
}

TEST_CASE_FIXTURE(Strings, "a string of bounded length lives as long as an end is in reach") {
  const Id state = begin({{Langs::kAll, 2, 3, 0}});
  CHECK_FALSE(texts.is_live(state, spec, 4));
  CHECK(texts.is_live(state, spec, 3));
  CHECK(texts.cheapest(state, spec, 0, std::vector<Id>{0}) == 2);
}

TEST_CASE_FIXTURE(Strings, "half of a character is not whole") {
  const Id half = read(begin({{Langs::kAll, 0, kInf, 0}}), "\xC3");
  REQUIRE(half != Texts::kDead);
  CHECK_FALSE(texts.is_whole(half));
  CHECK(texts.is_whole(read(half, "\xA9")));
  CHECK(read(half, "a") == Texts::kDead);
}

TEST_CASE_FIXTURE(Figures, "numbers keep their bounds") {
  const Piece p = between(7, 12);
  CHECK(accepts(p, "7"));
  CHECK(accepts(p, "12"));
  CHECK(accepts(p, "7.5"));
  CHECK_FALSE(accepts(p, "13"));
  CHECK_FALSE(accepts(p, "6.9"));
  CHECK_FALSE(accepts(p, "-7"));
}

TEST_CASE_FIXTURE(Figures, "numbers are multiples, exactly") {
  Piece p;
  p.multiples.push_back(decimal("1", -1, false));  // 0.1
  CHECK(accepts(p, "0.3"));
  CHECK_FALSE(accepts(p, "0.35"));
  CHECK(accepts(p, "1000000000000.1"));
}

TEST_CASE_FIXTURE(Figures, "the intersection of pieces is a piece, or nothing") {
  Piece both;
  CHECK(Numbers::merge(between(1, 5), between(4, 9), &both));
  CHECK(both == between(4, 5));
  CHECK_FALSE(Numbers::merge(between(1, 2), between(4, 9), &both));
  CHECK(Numbers::covers(between(1, 9), between(2, 3)));
}

TEST_CASE("naturals are exact at any size") {
  CHECK(natural::times("99999999999999999999", "99999999999999999999") ==
        "9999999999999999999800000000000000000001");
  CHECK(natural::mod("100000000000000000000000000000000000001", "3") == "2");
  CHECK(natural::lcm("4", "6") == "12");
  CHECK(is_multiple(decimal("30", -2, false), decimal("1", -1, false)));
}

TEST_CASE("the outline of a text is told from its bytes") {
  std::int32_t deepest = 0;
  CHECK(reach("1,", false, &deepest) == Reach::Beyond);
  CHECK(reach(": [1", true, &deepest) == Reach::Within);
  CHECK(deepest == 1);
  CHECK(reach("}", false, &deepest) == Reach::Never);
}
