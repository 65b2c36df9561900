#include "base/text.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.hpp"
#include "catch.hpp"

using quipu::detail::equals_ignoring_case;
using quipu::detail::parse_quality;
using quipu::detail::to_number;
using quipu::detail::trimmed;

namespace {

using Items = std::vector<std::string>;

/// Takes a list apart with take(list, separator).
template <class Take>
Items items(std::string_view list, Take take) {
  Items result;
  while (!list.empty()) result.emplace_back(take(list, ','));
  return result;
}

}  // namespace

TEST_CASE("lower case is of ASCII letters only") {
  CHECK(quipu::detail::to_lower("Accept-Encoding_09 @[`{") == "accept-encoding_09 @[`{");
  CHECK(quipu::detail::to_lower("ZÜRICH") == "zÜrich");
  CHECK(quipu::detail::to_lower("").empty());
}

TEST_CASE("texts that differ in the case of ASCII letters are equal ignoring case") {
  CHECK(equals_ignoring_case("", ""));
  CHECK(equals_ignoring_case("GZip", "gzIP"));
  CHECK_FALSE(equals_ignoring_case("gzip", "gzi"));
  CHECK_FALSE(equals_ignoring_case("gzi", "gzip"));
  CHECK_FALSE(equals_ignoring_case("@", "`"));
  CHECK_FALSE(equals_ignoring_case("[", "{"));
}

TEST_CASE("trimming removes spaces and tabs at the ends, and nothing else") {
  CHECK(trimmed("") == "");
  CHECK(trimmed(" \t ") == "");
  CHECK(trimmed("\t a \t b ") == "a \t b");
  CHECK(trimmed("\na\r") == "\na\r");
}

TEST_CASE("a list is taken apart at its separators") {
  const auto parts = [](std::string_view list) { return items(list, quipu::detail::take_until); };
  CHECK(parts("").empty());
  CHECK(parts("a") == Items{"a"});
  CHECK(parts("a, b") == Items{"a", " b"});
  CHECK(parts(",a,,b,") == Items{"", "a", "", "b"});
  CHECK(parts("\"a,b\"") == Items{"\"a", "b\""});
}

TEST_CASE("a separator in quotes separates nothing where quotes count") {
  const auto parts = [](std::string_view list) { return items(list, quipu::detail::take_until_unquoted); };
  CHECK(parts("").empty());
  CHECK(parts("a, b,") == Items{"a", " b"});
  CHECK(parts(R"(x="a,b",c)") == Items{R"(x="a,b")", "c"});
  CHECK(parts(R"("a\",b",c)") == Items{R"("a\",b")", "c"});
  CHECK(parts(R"(a\,b)") == Items{R"(a\)", "b"});
  CHECK(parts(R"("never, closed)") == Items{R"("never, closed)"});
  CHECK(parts(R"("ends with \)") == Items{R"("ends with \)"});
}

TEST_CASE("a number is all of a text, or nothing") {
  CHECK(to_number<std::uint64_t>("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  CHECK(to_number<std::uint64_t>("007") == std::uint64_t{7});
  CHECK(to_number<std::int64_t>("-5") == std::int64_t{-5});
  CHECK(to_number<double>("2.5e-1") == 0.25);
  for (const std::string_view text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616"}) {
    CAPTURE(text);
    CHECK_FALSE(to_number<std::uint64_t>(text));
  }
  CHECK_FALSE(to_number<std::uint16_t>("65536"));
  CHECK_FALSE(to_number<double>("1e999"));
}

TEST_CASE("a weight is from 0 to 1: more counts as 1, and what cannot be read as 0") {
  CHECK(parse_quality("0") == 0);
  CHECK(parse_quality("0.000") == 0);
  CHECK(parse_quality("0.001") == 0.001);
  CHECK(parse_quality("0.5") == 0.5);
  CHECK(parse_quality("1") == 1);
  CHECK(parse_quality("1.5") == 1);
  CHECK(parse_quality("2") == 1);
  for (const std::string_view text : {"", ".", "-1", "+1", "1e-1", "nan", "inf", "high", "0.5.5", "0,5", " 1", "1 "}) {
    CAPTURE(text);
    CHECK(parse_quality(text) == 0);
  }
}

TEST_CASE("code points are counted and taken one by one") {
  std::string_view text = "aü€🙂";
  CHECK(quipu::detail::count_code_points(text) == 4);
  CHECK(quipu::detail::count_code_points("") == 0);
  CHECK(quipu::detail::take_code_point(text) == U'a');
  CHECK(quipu::detail::take_code_point(text) == U'ü');
  CHECK(quipu::detail::take_code_point(text) == U'€');
  CHECK(quipu::detail::take_code_point(text) == U'🙂');
  CHECK(text.empty());
}
