#include <cstdint>
#include <limits>
#include <type_traits>

#include "catch.hpp"
#include "quipu/sample.hpp"

using quipu::Number;

TEST_CASE("a whole number that is not negative keeps all its digits, whatever its type") {
  for (const Number number : {Number(5), Number(5u), Number(5L), Number(std::uint8_t{5}), Number(std::size_t{5})}) {
    CHECK(number.is_whole());
    CHECK(number.whole() == 5);
    CHECK(number.real() == 5.0);
  }
  const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
  CHECK(Number(largest).whole() == largest);
  CHECK(Number(std::numeric_limits<std::int64_t>::max()).whole() == largest / 2);
  CHECK(Number(0).is_whole());
}

TEST_CASE("a negative integer and a fraction are doubles") {
  for (const Number number : {Number(-3), Number(-3L), Number(std::int8_t{-3}), Number(-3.0), Number(-3.0F)}) {
    CHECK(!number.is_whole());
    CHECK(number.real() == -3.0);
  }
  CHECK(Number(std::numeric_limits<std::int64_t>::min()).real() == -0x1p63);
  CHECK(!Number(2.0).is_whole());
  CHECK(Number(0.5F).real() == 0.5);
}

TEST_CASE("neither a bool nor a character is a number") {
  CHECK(!std::is_convertible_v<bool, Number>);
  CHECK(!std::is_convertible_v<char, Number>);
  CHECK(!std::is_convertible_v<char8_t, Number>);
  CHECK(!std::is_convertible_v<wchar_t, Number>);
  CHECK(!std::is_convertible_v<const char*, Number>);
  STATIC_REQUIRE(Number(-7).real() == -7);
}
