// Languages by derivatives, against what can be counted by hand.
#include <doctest/doctest.h>

#include <random>
#include <set>

#include "regex/words.hpp"

using namespace guard;

namespace {

WordList listed(std::vector<std::u32string_view> list) { return WordList(std::move(list)); }

struct Languages {
  Clock::Running clock{10, nullptr, Clock::kStates, Clock::kNoMemory, nullptr};
  Langs langs;
  Id letters(char32_t lo, char32_t hi) { return langs.set({{lo, hi}}); }
  Tree set(char32_t lo, char32_t hi) {
    Tree out;
    out.kind = Tree::Set;
    out.ranges = {{lo, hi}};
    return out;
  }
  Tree of(Tree::Kind kind, std::vector<Tree> kids) {
    Tree out;
    out.kind = kind;
    out.kids = std::move(kids);
    return out;
  }
};

}  // namespace

TEST_CASE("a list of words holds each once and in order, however they were spelt") {
  std::mt19937 random(7);
  const std::u32string letters = U"ab\"\u00E9\uFFFD\U0001F600";
  for (int round = 0; round < 200; ++round) {
    std::set<std::u32string> expected;
    std::vector<std::u32string> texts;
    for (std::size_t n = random() % 12; n > 0; --n) {
      std::u32string text;
      for (std::size_t m = random() % 4; m > 0; --m) text += letters[random() % letters.size()];
      expected.insert(text), texts.push_back(text);
    }
    std::vector<std::string> spelt;
    for (const std::u32string& text : texts) spelt.push_back(encode_utf8(text));
    const WordList a = listed({texts.begin(), texts.end()});
    const WordList b = WordList::of_utf8({spelt.begin(), spelt.end()});
    CHECK(a == b);
    CHECK(a.hash() == b.hash());
    REQUIRE(a.size() == expected.size());
    std::size_t i = 0;
    for (const std::u32string& text : expected) CHECK(a[i++] == text);
  }
}

TEST_CASE_FIXTURE(Languages, "equal languages that are built alike have one id") {
  const Id a = letters('a', 'a'), b = letters('b', 'b');
  CHECK(langs.alt({a, b}) == langs.alt({b, a}));
  CHECK(langs.cat(Langs::kEps, a) == a);
  CHECK(langs.both({a, Langs::kAll}) == a);
  CHECK(langs.no(langs.no(a)) == a);
}

TEST_CASE_FIXTURE(Languages, "a repetition counts its characters") {
  const Id r = langs.repeat(letters('a', 'b'), 2, 3);
  CHECK_FALSE(langs.contains(r, U"a"));
  CHECK(langs.contains(r, U"ab"));
  CHECK(langs.contains(r, U"bab"));
  CHECK_FALSE(langs.contains(r, U"abab"));
  CHECK(langs.count(r, 100) == 4 + 8);
  CHECK(langs.shortest(r) == 2);
}

TEST_CASE_FIXTURE(
    Languages,
    "a language that is cut has the same short beginnings and texts, and all longer ones") {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto drawn = [&](auto& again, int depth) -> Id {
    switch (depth == 0 ? below(2) : below(6)) {
      case 0: return letters('a', 'a');
      case 1: return letters('a', 'b');
      case 2: return langs.alt({again(again, depth - 1), again(again, depth - 1)});
      case 3: return langs.cat(again(again, depth - 1), again(again, depth - 1));
      default: {
        const int lo = below(12);
        return langs.repeat(again(again, depth - 1), lo, below(3) == 0 ? kInf : lo + below(2) * 4);
      }
    }
  };
  const auto ends = [&](Id r, const std::u32string& text) {
    for (char32_t c : text) r = langs.row(r).at(c);
    return std::pair(langs.live(r), langs.accepts(r));
  };
  int shorter = 0;
  for (int n = 0; n < 2000; ++n) {
    const std::int32_t chars = below(6);
    const Id r = drawn(drawn, 3);
    Langs::Cut how;
    const Id cut = langs.cut(r, chars, &how);
    shorter += how.counts;
    std::vector<std::u32string> texts{U""};
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto [goes_on, ended] = ends(r, texts[i]);
      if (texts[i].size() <= static_cast<std::size_t>(chars))
        REQUIRE(ends(cut, texts[i]) == std::pair(goes_on, ended));
      else  // further on it has all of them
        REQUIRE((ends(cut, texts[i]).first || !goes_on));
      if (texts[i].size() < static_cast<std::size_t>(chars) + 3)
        for (char32_t c : {U'a', U'b'}) texts.push_back(texts[i] + c);
    }
  }
  CHECK(shorter > 500);
  Langs::Cut how;
  const Id hex = letters('a', 'f');
  CHECK(langs.cut(langs.repeat(hex, 40, 40), 5, &how) ==
        langs.cut(langs.repeat(hex, 7, 90), 5, &how));
}

TEST_CASE_FIXTURE(Languages, "a complement holds every other text") {
  const Id not_ab = langs.no(langs.words(listed({U"ab"})));
  CHECK(langs.contains(not_ab, U""));
  CHECK(langs.contains(not_ab, U"abc"));
  CHECK_FALSE(langs.contains(not_ab, U"ab"));
  CHECK_FALSE(langs.live(langs.both({not_ab, langs.words(listed({U"ab"}))})));
}

TEST_CASE_FIXTURE(Languages, "a derivative leads where the character says") {
  const Id r = langs.words(listed({U"cat", U"car", U"dog"}));
  const Id after_c = langs.row(r).at('c');
  CHECK(langs.count(after_c, 100) == 2);
  CHECK(langs.row(r).at('x') == Langs::kNone);
  CHECK(langs.contains(after_c, U"ar"));
}

TEST_CASE_FIXTURE(Languages, "a search finds a pattern anywhere, an anchor binds it") {
  const Tree a = set('a', 'a');
  const Id anywhere = langs.search(a),
           at_start = langs.search(of(Tree::Cat, {of(Tree::Start, {}), a}));
  CHECK(langs.contains(anywhere, U"xay"));
  CHECK(langs.contains(at_start, U"ax"));
  CHECK_FALSE(langs.contains(at_start, U"xa"));
}

TEST_CASE_FIXTURE(Languages, "a look-behind is decided where it is reached") {
  Tree behind = of(Tree::Look, {set('a', 'a')});
  behind.ahead = false;
  const Id r = langs.search(of(Tree::Cat, {behind, set('b', 'b')}));  // (?<=a)b
  CHECK(langs.contains(r, U"xab"));
  CHECK_FALSE(langs.contains(r, U"xbb"));
}

TEST_CASE_FIXTURE(Languages, "the cheapest text is counted as JSON spells it") {
  CHECK(langs.cheapest(langs.words(listed({U"\"", U"\n\n"})), 0, kInf) == 2);
  CHECK(langs.cheapest(langs.words(listed({U"\u0001"})), 0, kInf) == 6);
  CHECK(langs.cheapest(letters('a', 'z'), 2, 5) == -1);
}

TEST_CASE_FIXTURE(Languages, "characters that no set of a tree tells apart lead to one state") {
  constexpr std::int64_t kLetters = 40;
  Tree even = set(0, 0);
  even.ranges.clear();
  for (char32_t c = 0x100; c < 0x100 + 2 * kLetters; c += 2) even.ranges.push_back({c, c});
  const Id two = langs.whole(of(Tree::Cat, {even, even}));
  CHECK(langs.contains(two, U"\u0100\u014E"));
  CHECK_FALSE(langs.contains(two, U"\u0100\u0101"));
  CHECK_FALSE(langs.contains(two, U"\u0100\u0150"));
  CHECK(langs.row(two).at(0x100) == langs.row(two).at(0x14E));
  CHECK(langs.count(two, 10'000) == kLetters * kLetters);
  CHECK(langs.cheapest(two, 0, kInf) == 4);
  const Id others = langs.both({langs.whole(of(Tree::Not, {even})), langs.of_length(1, 1)});
  CHECK(langs.contains(others, U"\u0101"));
  CHECK_FALSE(langs.contains(others, U"\u0102"));
  CHECK(langs.live(langs.both({others, letters(0xE000, 0xE000)})));
  CHECK_FALSE(langs.live(langs.both({others, letters(0x102, 0x102)})));
}

TEST_CASE_FIXTURE(Languages, "words come the cheapest first") {
  Words words(langs);
  const Id r = langs.words(listed({U"bb", U"a", U"\n\n"}));
  REQUIRE(words.at(r, 2) != nullptr);
  CHECK(words.at(r, 0)->text == "a");
  CHECK(words.at(r, 1)->text == "bb");
  CHECK(words.at(r, 2)->bytes == 4);
  CHECK(words.at(r, 3) == nullptr);
}

TEST_CASE("text is decoded and encoded back") {
  for (const std::u32string text : {U"", U"a\u00E9\u20AC\U0001F600", U"\uFFFD"})
    CHECK(decode_utf8(encode_utf8(text)) == text);
  CHECK(spelled_bytes("a\"\n\u00E9") == 1 + 2 + 2 + 2);
  CHECK(intersection({{1, 5}, {9, 9}}, {{4, 9}}) == Ranges{{4, 5}, {9, 9}});
  CHECK(normalised({{5, 9}, {1, 4}}) == Ranges{{1, 9}});
}

TEST_CASE("what is beyond its part of the states is a limit") {
  const Clock::Running clock(10, nullptr, 100, Clock::kNoMemory, nullptr);
  CHECK_NOTHROW(bounded(100, 1, "states"));
  CHECK_THROWS_AS(bounded(51, 2, "states"), const Limit&);
}
