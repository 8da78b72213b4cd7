// Sets of tokens.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "masks/vocabulary.hpp"

TEST_CASE("the tokens of a row of bits are listed, and the row is cleared") {
  std::mt19937 random(7);
  for (const std::size_t words : {0, 1, 2, 15, 16, 17, 4095, 4096, 4097, 9000})
    for (const unsigned one_in : {1u, 2u, 40u, 3000u}) {
      std::vector<std::uint32_t> row(words);
      std::vector<guard::Id> expected;
      for (std::size_t i = 0; i < words * 32; ++i)
        if (random() % one_in == 0) {
          row[i / 32] |= 1u << (i % 32);
          expected.push_back(static_cast<guard::Id>(i));
        }
      std::vector<guard::Id> found = guard::take_tokens(row);
      std::sort(found.begin(), found.end());
      CHECK(found == expected);
      CHECK(std::count(row.begin(), row.end(), 0u) == static_cast<std::ptrdiff_t>(words));
    }
}

TEST_CASE("an empty set of tokens has no first one, whether it is a list or bits") {
  guard::Tokens tokens;
  CHECK(tokens.first() == -1);
  tokens.to_bits(3);
  CHECK(tokens.first() == -1);
  tokens.bits[2] = 1u << 5;
  CHECK(tokens.first() == 69);
}

TEST_CASE("a vocabulary knows whether each byte of UTF-8 has a token of its own") {
  const auto spells = [](int without) {
    std::vector<std::string> tokens{"ab", ""};
    for (int byte = 0; byte < 256; ++byte)
      if (byte != without) tokens.emplace_back(1, static_cast<char>(byte));
    return guard::Vocabulary(std::move(tokens), {1}, {}).spells_bytes();
  };
  CHECK(spells(-1));
  CHECK(spells(0xC0));  // no text holds it
  CHECK(!spells('a'));
  CHECK(!spells(0xF4));
}
