#include <array>
#include <span>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "fuzz/accept_properties.hpp"
#include "fuzz/environment_properties.hpp"
#include "fuzz/inputs.hpp"
#include "fuzz/json_line_properties.hpp"
#include "fuzz/page_properties.hpp"
#include "fuzz/series_properties.hpp"
#include "fuzz/statsd_properties.hpp"

#if QUIPU_HAS_HTTP
#include "fuzz/accept_encoding_properties.hpp"
#endif

// What the fuzzers check, for the same bytes every time.

namespace {

/// Checks the corpus of that name, and changed inputs.
template <class Check>
void check_all(const std::string& name, std::span<const std::string_view> pieces, int rounds, Check check) {
  const auto inputs = fuzz::corpus(name);
  REQUIRE(inputs.size() >= 5);
  const auto require = [&](const std::string& input) {
    if (const std::string wrong = check(input); !wrong.empty()) {
      CAPTURE(input);
      FAIL_CHECK(wrong);
    }
  };
  for (const std::string& input : inputs) require(input);
  fuzz::Mutator mutator(pieces);
  for (int round = 0; round < rounds; ++round) require(mutator.next(inputs));
}

}  // namespace

TEST_CASE("whatever an Accept header says, the format is one that is offered, and the one that is preferred") {
  static constexpr std::array<std::string_view, 16> pieces = {
      ",",
      ";",
      "q=0.5",
      "q=\"1\"",
      "\"",
      "\\",
      "=",
      " ",
      "\t",
      "*/*",
      "text/plain",
      "version=1.0.0",
      "application/openmetrics-text;version=2.0.0",
      "escaping=allow-utf-8",
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
      "\x80"};
  check_all("accept", pieces, 3000, accept_properties::check);
}

#if QUIPU_HAS_HTTP
TEST_CASE("whatever an Accept-Encoding header says, no client gets gzip that refuses it") {
  static constexpr std::array<std::string_view, 13> pieces = {",", ";",    "q=0",    "q=1",      "q=0.5", " ",   "\t",
                                                              "*", "gzip", "x-gzip", "identity", "br",    "\x80"};
  check_all("accept_encoding", pieces, 3000, accept_encoding_properties::check);
}
#endif

TEST_CASE(
    "whatever the environment says, it is refused by the name of the variable, or makes options for whole pages") {
  static constexpr std::array<std::string_view, 22> pieces = {"\nQUIPU_PREFIX=",
                                                              "\nQUIPU_CONST_LABELS=",
                                                              "\nQUIPU_PROCESS_METRICS=",
                                                              "\nQUIPU_SELF_METRICS=",
                                                              "\nQUIPU_RUNTIME_METRICS=",
                                                              "\nQUIPU_CREATED_LINES=",
                                                              "\nQUIPU_OPEN_METRICS_2=",
                                                              "\nQUIPU_UTF8_NAMES=",
                                                              "\nQUIPU_LISTEN=",
                                                              "\nQUIPU_PATH=",
                                                              "\nQUIPU_MAX_CONCURRENT_SCRAPES=",
                                                              "\nQUIPU_GZIP=",
                                                              "on",
                                                              "off",
                                                              "a=b",
                                                              ", ",
                                                              "\"",
                                                              "\\\"",
                                                              "\\n",
                                                              "/",
                                                              "localhost:1",
                                                              "\xC3\xA9"};
  check_all("environment", pieces, 500, environment_properties::check);
}

TEST_CASE(
    "whatever is read as a page is refused with a line, or has a meaning that it keeps when it is written again") {
  static constexpr std::array<std::string_view, 29> pieces = {"\n",
                                                              "# TYPE ",
                                                              "# HELP ",
                                                              "# UNIT ",
                                                              "# EOF\n",
                                                              " counter\n",
                                                              " gauge\n",
                                                              " histogram\n",
                                                              " summary\n",
                                                              " info\n",
                                                              " stateset\n",
                                                              "_total",
                                                              "_bucket{le=\"1\"} 1\n",
                                                              "_bucket{le=\"+Inf\"} 1\n",
                                                              "_sum",
                                                              "_count",
                                                              "_created",
                                                              "{",
                                                              "}",
                                                              "a=\"b\"",
                                                              ",",
                                                              "\"",
                                                              "\\",
                                                              " # {} 1",
                                                              " 1",
                                                              " 1e3",
                                                              "NaN",
                                                              "{\"a.b\"}",
                                                              "; escaping=allow-utf-8"};
  check_all("page", pieces, 4000, page_properties::check);
}

TEST_CASE("whatever is recorded for StatsD, its datagrams are whole lines in UTF-8, of the size that is allowed") {
  static constexpr std::array<std::string_view, 18> pieces = {
      "\n", "|", "=", "\\n", "c 1 ", "g -1 ", "h 1 ",     "t 1 ",         ":",
      "|#", "@", ",", ".",   "\x01", "\x80",  "\xC3\xA9", "\xED\xA0\x80", "18446744073709551615"};
  check_all("statsd", pieces, 300, statsd_properties::check);
}

TEST_CASE("whatever is recorded as JSON lines, each line is one object that has all of it") {
  static constexpr std::array<std::string_view, 16> pieces = {
      "\n", "|",  "=", "\\n",  "c 1 ", "g -1e300 ", "h nan ",   "t 1 ",
      "\"", "\\", "/", "\x01", "\x7F", "\x80",      "\xC3\xA9", "\xED\xA0\x80"};
  check_all("json_line", pieces, 2000, json_line_properties::check);
}

TEST_CASE("whatever the values of labels are, each series is counted on its own, and comes and goes on its own") {
  static constexpr std::array<std::string_view, 16> pieces = {
      "\n",  "|",   "\\n",   "\n+",   "\n#",      "\n-", "\n~",  "\n=",
      "\n!", "\n?", "\n*\n", "\n.\n", "overflow", "\"",  "\x80", "\xEF\xBF\xBD"};
  check_all("series", pieces, 1000, series_properties::check);
}
