#include <clocale>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/golden.hpp"
#include "support/page.hpp"

namespace {

using golden::infinity;
using golden::not_a_number;

/// What a German's numbers look like, and worse.
class Punctuation : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\1"; }
  std::string do_truename() const override { return "wahr"; }
};

/// Sets the global locale of C++ and, if the system has one with a decimal comma, of C.
class DecimalComma {
 public:
  DecimalComma()
      : before_(std::locale::global(std::locale(std::locale::classic(), new Punctuation))),
        c_before_(std::setlocale(LC_ALL, nullptr)) {
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE", "German"}) {
      if (std::setlocale(LC_ALL, name) != nullptr) break;
    }
  }
  DecimalComma(const DecimalComma&) = delete;
  DecimalComma& operator=(const DecimalComma&) = delete;
  ~DecimalComma() {
    std::locale::global(before_);
    std::setlocale(LC_ALL, c_before_.c_str());
  }

 private:
  std::locale before_;
  std::string c_before_;
};

}  // namespace

TEST_CASE("a page of every kind is as it should be") {
  CHECK(page::body(golden::kinds()) == golden::page("kinds.txt"));
}

TEST_CASE("a page with const labels is as it should be") {
  CHECK(page::body(golden::const_labels()) == golden::page("const_labels.txt"));
}

TEST_CASE("a page with odd label values is as it should be") {
  CHECK(page::body(golden::label_values()) == golden::page("label_values.txt"));
}

TEST_CASE("a page with odd help texts is as it should be") {
  CHECK(page::body(golden::help()) == golden::page("help.txt"));
}

TEST_CASE("a page with odd numbers is as it should be") {
  CHECK(page::body(golden::numbers()) == golden::page("numbers.txt"));
}

TEST_CASE("carriage returns, NULs and other control bytes stand in help texts as they are") {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.gauge({.name = "a", .help = std::string("x\r\n\0\t\x7Fy", 7)}));
  CHECK(page::body(registry) == std::string("# HELP a x\r\\n\0\t\x7Fy\n# TYPE a gauge\na 0\n", 37));
}

TEST_CASE("pages do not depend on the locale") {
  const DecimalComma comma;
  {
    std::ostringstream stream;
    stream << 1234.5;
    REQUIRE(stream.str() == "1.2.3.4,5");
  }
  CHECK(page::body(golden::kinds()) == golden::page("kinds.txt"));
  CHECK(page::body(golden::numbers()) == golden::page("numbers.txt"));
  CHECK(page::body(golden::const_labels()) == golden::page("const_labels.txt"));
  const auto registry = page::empty_registry();
  registry.counter<int>({.name = "a_total"}, {"n"})(-1234567).inc(1234567);
  registry.gauge<std::uint64_t>({.name = "b"}, {"n"})(1234567).set(0.5);
  CHECK(page::samples(registry) ==
        std::vector<std::string>{R"(a_total{n="-1234567"} 1234567)", R"(b{n="1234567"} 0.5)"});
}

TEST_CASE("error messages do not depend on the locale") {
  const DecimalComma comma;
  CHECK(page::refusal([] {
          static_cast<void>(quipu::Buckets(std::vector<double>{1234.5, 1000}));
        }) == "buckets: bound 1 (1000) is not above bound 0 (1234.5); bounds increase strictly");
}

TEST_CASE("numbers are the shortest that read back the same, as Go writes them") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "x"});
  const std::vector<std::pair<double, std::string_view>> table = {
      {0, "0"},
      {-0.0, "0"},
      {1, "1"},
      {-1, "-1"},
      {0.5, "0.5"},
      {2.5, "2.5"},
      {0.1 + 0.2, "0.30000000000000004"},
      {10, "10"},
      {100, "100"},
      {12345, "12345"},
      {99999, "99999"},
      {100000, "100000"},
      {999999, "999999"},
      {999999.5, "999999.5"},
      {1000000, "1e+06"},
      {123456.7, "123456.7"},
      {1234567, "1.234567e+06"},
      {12345678.9, "1.23456789e+07"},
      {1e10, "1e+10"},
      {9007199254740991, "9.007199254740991e+15"},
      {9007199254740992, "9.007199254740992e+15"},
      {1e21, "1e+21"},
      {1e100, "1e+100"},
      {0.001, "0.001"},
      {0.0001, "0.0001"},
      {0.00012345, "0.00012345"},
      {0.00001, "1e-05"},
      {0.0000123, "1.23e-05"},
      {1e-100, "1e-100"},
      {5e-324, "5e-324"},
      {2.2250738585072014e-308, "2.2250738585072014e-308"},
      {1.7976931348623157e+308, "1.7976931348623157e+308"},
      {1700000000.123456, "1.700000000123456e+09"},
      {not_a_number, "NaN"},
      {-not_a_number, "NaN"},
      {std::numeric_limits<double>::signaling_NaN(), "NaN"},
      {infinity, "+Inf"},
      {-infinity, "-Inf"},
  };
  for (const auto& [number, text] : table) {
    gauge.set(number);
    CHECK(page::value(registry, "x") == text);
    if (number == number) CHECK(std::strtod(page::value(registry, "x").c_str(), nullptr) == number);
  }
}

TEST_CASE("buckets on the page are cumulative, and the last is the count") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "x", .buckets = quipu::buckets::linear(0, 1, 100)});
  std::uint64_t observed = 0;
  for (int i = -3; i < 120; i += 3) {
    histogram.observe(i);
    ++observed;
  }
  const auto lines = page::samples(registry);
  REQUIRE(lines.size() == 100 + 1 + 2);
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    const std::string begin = "x_bucket{le=\"" + std::to_string(i) + "\"} ";
    REQUIRE(lines[i].starts_with(begin));
    const auto count = std::stoull(lines[i].substr(begin.size()));
    CHECK(count == i / 3 + 2);
    CHECK(count >= last);
    last = count;
  }
  CHECK(lines[100] == "x_bucket{le=\"+Inf\"} " + std::to_string(observed));
  CHECK(lines[102] == "x_count " + std::to_string(observed));
}
