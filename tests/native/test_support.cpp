// FlatMap against std::unordered_map, by random calls: few keys, so that runs form, break and grow.
#include <doctest/doctest.h>

#include <random>
#include <unordered_map>

#include "support/flat_map.hpp"

using namespace guard;

TEST_CASE("a flat map holds what a map of the library holds") {
  for (const std::uint32_t seed : {1u, 2u, 3u, 4u}) {
    std::mt19937 random(seed);
    FlatMap<Id, Id, IdHash> flat;
    std::unordered_map<Id, Id> plain;
    for (int turn = 0; turn < 20'000; ++turn) {
      // Keys that lie together, and keys of which many have one home.
      const Id key = static_cast<Id>(random() % 40) * (random() % 2 ? 1 : 64);
      const Id value = static_cast<Id>(random() % 1000);
      switch (random() % 4) {
        case 0: flat[key] = plain[key] = value; break;
        case 1: {
          const auto [at, is_new] = flat.try_emplace(key, value);
          const auto [found, fresh] = plain.try_emplace(key, value);
          CHECK(is_new == fresh);
          CHECK(at->second == found->second);
          break;
        }
        case 2: flat.erase(key), plain.erase(key); break;
        default: {
          const auto* at = flat.find(key);
          const auto found = plain.find(key);
          CHECK((at != flat.end()) == (found != plain.end()));
          if (at && found != plain.end()) CHECK(at->second == found->second);
        }
      }
      CHECK(flat.size() == plain.size());
      if (turn % 5'000 == 4'999) flat.clear(), plain.clear();
    }
  }
}

TEST_CASE("a flat map of pairs") {
  PairMemo<Id> flat;
  for (Id a = 0; a < 60; ++a)
    for (Id b = 0; b < 60; ++b) flat[{a, b}] = a * 100 + b;
  CHECK(flat.size() == 3600);
  for (Id a = 0; a < 60; ++a)
    for (Id b = 0; b < 60; ++b) CHECK(flat.find({a, b})->second == a * 100 + b);
  CHECK(!flat.contains({60, 0}));
}
