// FlatMap against std::unordered_map, by random calls: few keys, so that runs form, break and grow,
// and many, so that parts are split. And what one insertion costs at most.
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

namespace {
std::size_t hashed = 0;  // calls
struct CountedHash {
  std::size_t operator()(Id id) const {
    return ++hashed, static_cast<std::size_t>(id) * 0x9E3779B97F4A7C15u;
  }
};
struct SameHash {
  std::size_t operator()(Id) const { return 7; }
};
}  // namespace

TEST_CASE("a flat map of many parts") {
  std::mt19937 random(1);
  Memo<Id> flat;
  std::unordered_map<Id, Id> plain;
  for (int turn = 0; turn < 200'000; ++turn) {
    const Id key = static_cast<Id>(random() % 30'000);
    if (random() % 3 == 0)
      flat.erase(key), plain.erase(key);
    else
      flat[key] = plain[key] = turn;
  }
  CHECK(flat.size() == plain.size());
  for (Id key = 0; key < 30'000; ++key) {
    const auto* at = flat.find(key);
    const auto found = plain.find(key);
    CHECK((at != nullptr) == (found != plain.end()));
    if (at && found != plain.end()) CHECK(at->second == found->second);
  }
}

TEST_CASE("an insertion moves few entries, however large the table") {
  FlatMap<Id, Id, CountedHash> flat;
  std::size_t most = 0;
  for (Id key = 0; key < 300'000; ++key) {
    hashed = 0;
    flat[key] = key;
    most = std::max(most, hashed);
  }
  CHECK(most < 4'000);
  for (Id key = 0; key < 300'000; ++key) CHECK(flat.find(key)->second == key);
}

TEST_CASE("keys with one hash stay together") {  // no part of them could be split
  FlatMap<Id, Id, SameHash> flat;
  for (Id key = 0; key < 1'500; ++key) flat[key] = key;
  for (Id key = 0; key < 1'500; key += 2) flat.erase(key);
  for (Id key = 0; key < 1'500; ++key) CHECK(flat.contains(key) == (key % 2 == 1));
}

namespace {
struct Number {
  int value;
  bool operator==(const Number&) const = default;
  std::size_t hash() const { return static_cast<std::size_t>(value % 977) * 31; }  // many are equal
};
}  // namespace

TEST_CASE("an interner gives equal values one id, before and after it is sealed") {
  Interner<Number> numbers;
  std::unordered_map<int, Id> plain;
  std::mt19937 random(2);
  for (int turn = 0; turn < 60'000; ++turn) {
    if (turn == 3 || turn == 500 || turn == 30'000) numbers.seal();
    const int value = static_cast<int>(random() % (turn < 1'000 ? 50u : 5'000u));
    const Id id = numbers.intern({value});
    CHECK(plain.try_emplace(value, id).first->second == id);
    CHECK(numbers[id].value == value);
    CHECK(numbers.find(Number{value}) == id);
    CHECK(numbers.find(Number{-1 - value}) == -1);
  }
  CHECK(numbers.size() == plain.size());
}
