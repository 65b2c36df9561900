#include "quipu/detail/family/label_key.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

namespace {

using quipu::detail::hash_of;
using quipu::detail::HashSeed;

constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15u;

std::string bytes_of(std::uint64_t word) {
  std::string text(sizeof word, '\0');
  std::memcpy(text.data(), &word, sizeof word);
  return text;
}

/// How many entries the look-ups of all these hashes see in a table as that of a family: linear probing, half full.
std::size_t probes(std::span<const std::uint32_t> hashes) {
  const std::size_t mask = std::bit_ceil(2 * hashes.size()) - 1;
  std::vector<bool> is_taken(mask + 1);
  std::size_t seen = 0;
  for (const std::uint32_t hash : hashes) {
    std::size_t i = hash & mask;
    for (; is_taken[i]; i = (i + 1) & mask) ++seen;
    is_taken[i] = true;
    ++seen;
  }
  return seen;
}

template <class Hash>
std::vector<std::uint32_t> hashes(const std::vector<std::string>& texts, Hash hash) {
  std::vector<std::uint32_t> result;
  for (const std::string& text : texts) result.push_back(hash(text));
  return result;
}

}  // namespace

TEST_CASE("texts that collide for a known seed do not collide for another one") {
  // The first word is the secret, so a product is 0, whatever the second word is.
  constexpr HashSeed known{0x0123456789ABCDEF, 0x6161616161616161};
  std::vector<std::string> texts;
  for (int i = 0; i < 4000; ++i) texts.push_back("aaaaaaaa" + std::to_string(10'000'000 + i));
  const auto colliding = hashes(texts, [&](const std::string& text) { return hash_of(known, std::string_view(text)); });
  REQUIRE(std::set(colliding.begin(), colliding.end()).size() == 1);
  CHECK(probes(colliding) > 1'000 * texts.size());

  for (int i = 0; i < 20; ++i) {
    const HashSeed seed = quipu::detail::random_seed();
    const auto spread = hashes(texts, [&](const std::string& text) { return hash_of(seed, std::string_view(text)); });
    CHECK(probes(spread) < 10 * texts.size());  // 1.5 of each is usual
  }
}

TEST_CASE("no texts collide for every seed, whatever their sizes and however many labels there are") {
  // Each size is compensated in a word that is hashed beside it, in case the two meet in a way that needs no secret.
  // The rest is the same for all sizes, in however many words it is read.
  std::vector<std::string> of_one_label;
  for (std::size_t size = 24; size <= 32; ++size) {
    of_one_label.push_back("same for" + bytes_of(size * golden_ratio) + std::string(size - 16, 'x'));
  }
  for (std::size_t size = 20; size <= 23; ++size) {
    of_one_label.push_back("same for" + bytes_of(size * golden_ratio) + std::string(size - 16, 'x'));
  }
  for (std::size_t size = 17; size <= 19; ++size) {
    of_one_label.push_back("same for" + bytes_of(size * golden_ratio) + std::string(size - 16, 'x'));
  }
  for (int i = 0; i < 20; ++i) {
    const HashSeed seed = quipu::detail::random_seed();
    std::vector<std::uint32_t> all;
    for (const std::string_view a : of_one_label) {
      for (const std::string_view b : of_one_label) {
        for (const std::string_view c : of_one_label) all.push_back(hash_of(seed, a, b, c));
      }
    }
    CHECK(std::set(all.begin(), all.end()).size() > all.size() - 10);
    CHECK(probes(all) < 10 * all.size());
  }
}

TEST_CASE("what differs in one place only is spread over a table: numbers, short texts and long ones") {
  const HashSeed seed = quipu::detail::random_seed();
  constexpr std::uint64_t count = 5'000;
  const auto check = [&](auto hash_of_number) {
    std::vector<std::uint32_t> all;
    for (std::uint64_t i = 0; i < count; ++i) all.push_back(hash_of_number(i));
    CHECK(std::set(all.begin(), all.end()).size() > count - 20);
    CHECK(probes(all) < 10 * count);
  };
  check([&](std::uint64_t i) { return hash_of(seed, i); });
  check([&](std::uint64_t i) { return hash_of(seed, i << 32); });
  check([&](std::uint64_t i) { return hash_of(seed, i, i); });
  check([&](std::uint64_t i) { return hash_of(seed, std::string_view(std::to_string(i))); });
  check([&](std::uint64_t i) { return hash_of(seed, std::string_view(std::string(i, 'x'))); });
  check([&](std::uint64_t i) { return hash_of(seed, std::string_view(std::to_string(i) + std::string(500, 'x'))); });
  check([&](std::uint64_t i) { return hash_of(seed, std::string_view(std::string(500, 'x') + std::to_string(i))); });
}

TEST_CASE("every table of series has a seed of its own") {
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 100; ++i) {
    const HashSeed seed = quipu::detail::random_seed();
    numbers.insert(seed.start);
    numbers.insert(seed.secret);
  }
  CHECK(numbers.size() == 200);
}
