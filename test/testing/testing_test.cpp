#include "quipu/testing.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "support/page.hpp"

using namespace quipu::testing;
using namespace std::string_literals;

namespace {

constexpr std::string_view text_type = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view utf8_type = "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
constexpr std::string_view open_metrics_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
constexpr std::string_view open_metrics_utf8_type =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

ParsedPage read_text(std::string_view body) { return read_page(body, text_type); }

/// What is wrong with a page, "" if nothing is.
std::string refusal(std::string_view body, std::string_view content_type) {
  try {
    static_cast<void>(read_page(body, content_type));
  } catch (const ParseError& error) {
    return error.what();
  }
  return "";
}

struct Row {
  std::string body;
  std::string_view why;  // a part of the message; "" for a page that is read
};

void check_rows(const std::vector<Row>& rows, std::string_view content_type, std::string_view end = "") {
  for (const auto& [body, why] : rows) {
    INFO(body);
    const std::string message = refusal(body + std::string(end), content_type);
    if (why.empty()) {
      CHECK(message == "");
    } else {
      CHECK_THAT(message, Catch::Matchers::ContainsSubstring(std::string(why)));
    }
  }
}

/// A histogram h in the text format, of which a part may be replaced.
std::string histogram(std::string_view lines) { return "# TYPE h histogram\n" + std::string(lines); }

constexpr std::string_view sum_and_count = "h_sum 1\nh_count 4\n";

}  // namespace

// Reading.

TEST_CASE("a page of the text format is read with its families, labels and values") {
  const ParsedPage page = read_text(
      "# HELP http_requests_total Requests\\n\\\\served \"all\".\n"
      "# TYPE http_requests_total counter\n"
      "http_requests_total{method=\"post\",path=\"C:\\\\a\\n\\\"b\\\"\"} 1027 1395066363000\n"
      "\n"
      "# a comment\n"
      "# TYPE rpc_seconds summary\n"
      "rpc_seconds{quantile=\"0.5\"} NaN\n"
      "rpc_seconds_sum 1.5e+3\n"
      "rpc_seconds_count 2693\n"
      "metric_without_type -Inf\n");
  REQUIRE(page.families.size() == 3);

  const ParsedFamily& requests = page.families[0];
  CHECK(requests.name == "http_requests_total");
  CHECK(requests.type == FamilyType::counter);
  CHECK(requests.help == "Requests\n\\served \"all\".");
  CHECK(!requests.unit);
  REQUIRE(requests.samples.size() == 1);
  CHECK(requests.samples[0].labels == std::vector<ParsedLabel>{{"method", "post"}, {"path", "C:\\a\n\"b\""}});
  CHECK(requests.samples[0].value == 1027);
  CHECK(requests.samples[0].text == "1027");
  CHECK(requests.samples[0].time == 1395066363.0);

  CHECK(page.families[1].type == FamilyType::summary);
  CHECK(!page.families[1].help);
  REQUIRE(page.families[1].samples.size() == 3);
  CHECK(std::isnan(page.families[1].samples[0].value));
  CHECK(page.families[1].samples[1].name == "rpc_seconds_sum");
  CHECK(page.families[1].samples[1].value == 1500);

  CHECK(!page.families[2].type);
  CHECK(page.families[2].samples[0].value == -std::numeric_limits<double>::infinity());
  CHECK(page.family("rpc_seconds") == &page.families[1]);
  CHECK(page.family("rpc_seconds_sum") == nullptr);
}

TEST_CASE("a page of OpenMetrics is read with units, exemplars and timestamps") {
  const ParsedPage page = read_page(
      "# TYPE cpu_seconds counter\n"
      "# UNIT cpu_seconds seconds\n"
      "# HELP cpu_seconds CPU \\\"time\\\".\n"
      "cpu_seconds_total{core=\"1\"} 17.5 1520879607.789 # {trace_id=\"ab\"} 0.25 1520879607.5\n"
      "cpu_seconds_created{core=\"1\"} 1520430000.125 1520879607.789\n"
      "# TYPE h gaugehistogram\n"
      "h_bucket{le=\"-1.0\"} 1 # {} -2\n"
      "h_bucket{le=\"+Inf\"} 3\n"
      "h_gcount 3\n"
      "h_gsum -4.0\n"
      "# TYPE build info\n"
      "build_info{version=\"1\"} 1\n"
      "# TYPE feature stateset\n"
      "feature{feature=\"a\"} 1\n"
      "feature{feature=\"b\"} 0\n"
      "# TYPE what unknown\n"
      "what 1.0\n"
      "# EOF",
      open_metrics_type);
  REQUIRE(page.families.size() == 5);
  const ParsedFamily& cpu = page.families[0];
  CHECK(cpu.name == "cpu_seconds");
  CHECK(cpu.unit == "seconds");
  CHECK(cpu.help == "CPU \"time\".");
  REQUIRE(cpu.samples.size() == 2);
  CHECK(cpu.samples[0].time == 1520879607.789);
  REQUIRE(cpu.samples[0].exemplar);
  CHECK(cpu.samples[0].exemplar->labels == std::vector<ParsedLabel>{{"trace_id", "ab"}});
  CHECK(cpu.samples[0].exemplar->value == 0.25);
  CHECK(cpu.samples[0].exemplar->time == 1520879607.5);
  CHECK(page.families[1].samples[0].exemplar->labels.empty());
  CHECK(!page.families[1].samples[0].exemplar->time);
  std::vector<std::string_view> types;
  for (const ParsedFamily& family : page.families) types.push_back(to_string(*family.type));
  CHECK(types == std::vector<std::string_view>{"counter", "gaugehistogram", "info", "stateset", "untyped"});
}

TEST_CASE("names in quotes are read where the content type allows them") {
  const std::string body =
      "# HELP \"my.metric\" My \"metric\".\n"
      "# TYPE \"my.metric\" counter\n"
      "{\"my.metric\",\"label.dot\"=\"x\",plain=\"y\"} 3\n"
      "{\"my.metric\"} 4\n"
      "# TYPE \"my \\\"hist\" histogram\n"
      "{\"my \\\"hist_bucket\",le=\"+Inf\"} 0\n"
      "{\"my \\\"hist_sum\"} 0\n"
      "{\"my \\\"hist_count\"} 0\n";
  const ParsedPage page = read_page(body, utf8_type);
  REQUIRE(page.families.size() == 2);
  CHECK(page.families[0].name == "my.metric");
  CHECK(page.families[0].samples[0].labels == std::vector<ParsedLabel>{{"label.dot", "x"}, {"plain", "y"}});
  CHECK(page.families[1].name == "my \"hist");
  CHECK_THAT(refusal(body, text_type), Catch::Matchers::ContainsSubstring("escaping=allow-utf-8"));
  CHECK(value_of(page, "my.metric", {{"plain", "y"}, {"label.dot", "x"}}) == 3);

  check_rows({{"{\"x\"} 1\n", ""},
              {"{\"x\",} 1\n", ""},
              {"{\"x\",\"a b\"=\"1\"} 1\n", ""},
              {"x{\"a b\"=\"1\"} 1\n", ""},
              {"{ \"x\" , a = \"1\" } 1\n", ""},
              {"{a=\"1\",\"x\"} 1\n", "first"},
              {"{a=\"1\"} 1\n", "a metric name is expected"},
              {"{\"a\"=\"1\"} 1\n", "a metric name is expected"},
              {"{\"\"} 1\n", "the metric name is empty"},
              {"{\"x\" a=\"1\"} 1\n", "a comma"},
              {"x{\"y\"} 1\n", "="},
              {"x{\"\"=\"1\"} 1\n", "a label name is empty"},
              {"x{\"__name__\"=\"y\"} 1\n", "__name__"},
              {"x{\"a:b\"=\"1\"} 1\n", ""},
              {"x{a:b=\"1\"} 1\n", "\"a:b\" is not a label name"},
              {"{\"x.y} 1\n", "is not closed"},
              {"{\"x\\ty\"} 1\n", "is no escape"},
              {"# TYPE \"x.y counter\n", "is not closed"},
              {"# TYPE \"x.y\"counter\n", "a space is expected"}},
             utf8_type);
  check_rows({{"# TYPE \"x.y\" counter\n{\"x.y_total\",\"a b\"=\"1\"} 1\n", ""},
              {"{\"x\",} 1\n", "comma"},
              {"{\"x\", a=\"1\"} 1\n", "label name"},
              {"{\"x\" } 1\n", "comma"}},
             open_metrics_utf8_type, "# EOF\n");
}

TEST_CASE("the content type says what is read") {
  for (const std::string_view type :
       {"text/plain", "text/plain; version=0.0.4", "TEXT/Plain;Version=\"0.0.4\";charset=UTF-8",
        "text/plain; version=1.0.0; escaping=underscores"}) {
    CHECK(refusal("x 1\n", type) == "");
  }
  for (const std::string_view type : {"application/openmetrics-text", "application/openmetrics-text; version=0.0.1"}) {
    CHECK(refusal("x 1\n# EOF\n", type) == "");
  }
  for (const std::string_view type :
       {"", "text/html", "text/plain; version=0.0.5", "text/plain; charset=latin-1", "text/plain; charset",
        "text/plain; version=0.0.4; version=0.0.4", "application/openmetrics-text; version=2.0.0", "text/plain;",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"}) {
    INFO(type);
    CHECK_THAT(refusal("x 1\n", type), Catch::Matchers::ContainsSubstring("Content-Type: " + std::string(type)));
  }
}

TEST_CASE("a parse error names the line, shows it, and says what is wrong") {
  try {
    static_cast<void>(read_text("# TYPE x gauge\nx{a=\"1\"} 1\nx{a=\"2\"} 1,5\n"));
    FAIL("no error");
  } catch (const ParseError& error) {
    CHECK(error.line() == 3);
    CHECK(error.what() ==
          "line 3: the value \"1,5\" is not a number, or none that a double can be (a decimal comma, or a separator of "
          "thousands?): x{a=\"2\"} 1,5"s);
  }
  CHECK(refusal("x 1\ny 2\nx{a=\"1\"} 3\n", text_type) ==
        "line 3: x again, whose lines ended at line 1: all lines of a family stand together: x{a=\"1\"} 3");
  CHECK(refusal("x{a=\"caf\xE9\"} 1\n", text_type) == "line 1: not UTF-8: x{a=\"caf\\xE9\"} 1");
  CHECK(refusal("x 1\n", "text/plain;\xE9") == "\"\\xE9\" is no parameter: name=value: Content-Type: text/plain;\\xE9");
  CHECK(refusal("x 1\n", "text/plain;\n=1;\n=2").find('\n') == std::string::npos);
  CHECK(refusal(histogram("h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 1\nh_count 5\n"), text_type) ==
        "line 5: the bucket le=\"+Inf\" says 4: h_count 5");
  CHECK(refusal(std::string(10'000, 'x') + "\n", text_type).size() < 700);
}

TEST_CASE("the text format: series and families") {
  check_rows({{"", ""},
              {"\n \n\t\n", ""},
              {"x 1\nx 2\n", "the series comes twice"},
              {"x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\n", "the series comes twice"},
              {"x 1\nx{a=\"\"} 2\n", "the series comes twice"},
              {"x 1 5\nx 2 6\n", "the series comes twice"},
              {"x{a=\"1\",a=\"2\"} 1\n", "label a comes twice"},
              {"a 1\nb 1\na{x=\"1\"} 1\n", "all lines of a family stand together"},
              {"# HELP a A.\n# HELP b B.\n# TYPE a gauge\n", "all lines of a family stand together"},
              {"# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\n", "a second HELP"},
              {"# TYPE a gauge\na 1\nb 1\n# TYPE a gauge\na 1\n", "a again, whose lines ended at line 2"},
              {"# TYPE x gauge\n# TYPE x gauge\n", "a second TYPE"},
              {"# HELP x X.\n# HELP x X.\n", "a second HELP"},
              {"x 1\n# TYPE x gauge\n", "TYPE comes after the samples"},
              {"# TYPE x gauge\nx 1\n# HELP x X.\n", ""},
              {"# TYPE x gauge\n# HELP x X.\nx 1\n", ""},
              {"# HELP x\nx 1\n", ""},
              {"# HELP x \nx 1\n", ""},
              {"x 1\n", ""},
              {"# TYPE x gauge\n", ""},
              {"#HELP x X.\n#TYPE x counter\nx 1\n", ""},
              {"#\n##\n# \n# HELPER x\n# TYPES\n# EOF\n# UNIT x y\nx 1\n", ""},
              {"# HELP\n", ""},
              {"# HELP 1x X.\n", "\"1x\" is not a metric name"},
              {"# HELP x{a=\"1\"} X.\n", "labels stand in the lines of samples only"},
              {"#\tHELP\t x\tX.\n  # \tTYPE  x\tgauge\nx 1\n", ""}},
             text_type);
}

TEST_CASE("the text format: types") {
  check_rows({{"# TYPE x unknown\n", "\"unknown\" is not a type"},
              {"# TYPE x info\n", "\"info\" is not a type"},
              {"# TYPE x stateset\n", "\"stateset\" is not a type"},
              {"# TYPE x gaugehistogram\n", "\"gaugehistogram\" is not a type"},
              {"# TYPE x GAUGE\n", "\"GAUGE\" is not a type"},
              {"# TYPE x gauge \n", "\"gauge \" is not a type"},
              {"# TYPE x  gauge\n", "\" gauge\" is not a type"},
              {"# TYPE x\tgauge\n", ""},
              {"# TYPE x\n", "a space is expected"},
              {"# TYPE x \n", "\"\" is not a type"},
              {"# TYPE x counter\nx 1\n", ""},
              {"# TYPE x counter\nx_total 1\n", "x_total is not a sample of the counter x, whose samples are: x"},
              {"# TYPE x_total gauge\nx_total 1\n", ""},
              {"# TYPE x untyped\nx -1\n", ""},
              {"# TYPE x_total counter\nx_total -1\n", "neither negative nor NaN"},
              {"# TYPE x_total counter\nx_total NaN\n", "neither negative nor NaN"},
              {"# TYPE x_total counter\nx_total +Inf\n", ""}},
             text_type);
}

TEST_CASE("the text format: histograms and summaries") {
  const std::string end(sum_and_count);
  const std::string infinite = "h_bucket{le=\"+Inf\"} 4\n" + end;
  check_rows(
      {{histogram("h_bucket{le=\"1\"} 4\n" + infinite), ""},
       {histogram(infinite), ""},
       {histogram(""), ""},
       {histogram("h_sum 1\nh_count 4\nh_bucket{le=\"1\"} 4\nh_bucket{le=\"+Inf\"} 4\n"), ""},
       {histogram("h_bucket{le=\"1\"} 4\n" + end), "le=\"+Inf\" of this histogram is missing"},
       {histogram(end), "le=\"+Inf\" of this histogram is missing"},
       {histogram("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 1\n" + infinite), "not cumulative: the one before has 3"},
       {histogram("h_bucket{le=\"1\"} 9007199254740993\nh_bucket{le=\"+Inf\"} 9007199254740992\n"
                  "h_sum 1\nh_count 9007199254740992\n"),
        "not cumulative"},
       {histogram("h_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 5\n"), "the bucket le=\"+Inf\" says 2"},
       {histogram("h_bucket{le=\"+Inf\"} 1e+06\nh_sum 1\nh_count 1000000\n"), ""},
       {histogram("h_bucket{le=\"+Inf\"} 4\nh_sum 1\n"), "no _count"},
       {histogram("h_bucket{le=\"+Inf\"} 4\nh_count 4\n"), "no _sum"},
       {histogram("h_bucket{le=\"10\"} 1\nh_bucket{le=\"2\"} 2\n" + infinite), "do not rise"},
       {histogram("h_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\n" + infinite), "the series comes twice"},
       {histogram("h_bucket{le=\"+Inf\"} 4\nh_bucket{le=\"1\"} 1\n" + end), "do not rise"},
       {histogram("h_bucket{le=\"inf\"} 4\n" + end), "spelled le=\"+Inf\""},
       {histogram("h_bucket{le=\"-Inf\"} 0\n" + infinite), "spelled le=\"+Inf\""},
       {histogram("h_bucket{le=\"one\"} 1\n" + infinite), "a label le, which is a number"},
       {histogram("h_bucket{le=\"NaN\"} 1\n" + infinite), "a label le, which is a number"},
       {histogram("h_bucket 1\n" + infinite), "a label le, which is a number"},
       {histogram("h_bucket{le=\"1\"} 1.5\n" + infinite), "a whole number"},
       {histogram("h_bucket{le=\"1\"} -1\n" + infinite), "a whole number"},
       {histogram("h_bucket{le=\"+Inf\"} NaN\nh_sum 1\nh_count NaN\n"), "a whole number"},
       {histogram("h_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum NaN\nh_count 4\n"), ""},
       {histogram("h_bucket{le=\"+Inf\"} 4\nh_sum{le=\"1\"} 1\nh_count 4\n"), "h_sum has no label le"},
       {histogram("h 1\n" + infinite), "h is not a sample of the histogram h"},
       {"# TYPE h_bucket histogram\n" + infinite, "h_bucket is not a sample of the histogram h_bucket"},
       {infinite, ""},
       {infinite + histogram(infinite), "h_bucket would be a sample of h_bucket and of h"},
       {histogram(infinite) + "# TYPE h_count gauge\nh_count{a=\"1\"} 1\n", "h_count would be a sample of h and of"},
       {histogram(infinite) + "x 1\nh_count{a=\"1\"} 1\n", "h_count of h again, whose lines ended at line 4"},
       // The samples of two label sets need not be apart here.
       {histogram("h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 2\nh_sum{a=\"1\"} 1\n"
                  "h_sum{a=\"2\"} 1\nh_count{a=\"1\"} 1\nh_count{a=\"2\"} 2\n"),
        ""},
       {histogram("h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 2\nh_sum{a=\"1\"} 1\n"
                  "h_sum{a=\"2\"} 1\nh_count{a=\"1\"} 2\nh_count{a=\"2\"} 2\n"),
        "the bucket le=\"+Inf\" says 1"},
       {"# TYPE s summary\ns{quantile=\"0.5\"} -1\ns{quantile=\"1\"} 2\ns_sum -1\ns_count 2\n", ""},
       {"# TYPE s summary\ns{quantile=\"p50\"} 1\n", "a label quantile, which is a number"},
       {"# TYPE s summary\ns 1\n", "a label quantile, which is a number"},
       {"# TYPE s summary\ns{quantile=\"50\"} 1\n", "between 0 and 1"},
       {"# TYPE s summary\ns{quantile=\"0.9\"} 1\ns{quantile=\"0.5\"} 1\n", "the quantiles do not rise"},
       {"# TYPE s summary\ns{quantile=\"0.9\"} 1 5\ns_sum 1 5\ns_count 1 5\n", ""},
       {"# TYPE s summary\ns{quantile=\"0.9\"} 1 5\ns_sum 1 5\ns_count 1\n", "different timestamps"},
       {"# TYPE s summary\ns_count 1.5\n", "a whole number"},
       {"# TYPE s summary\ns_count{quantile=\"1\"} 1\n", "s_count has no label quantile"}},
      text_type);
}

TEST_CASE("the text format: escapes and encoding") {
  check_rows({{"x{a=\"say \"hi\"\"} 1\n", "a comma or }"},
              {"x{a=\"1\n2\"} 1\n", "is a line feed or a quote not escaped?"},
              {"x{a=\"C:\\dir\"} 1\n", "before \"d\" is no escape"},
              {"x{a=\"C:\\\"} 1\n", "is not closed"},
              {"x{a=\"\\\xC3\xA9\"} 1\n", "before \"\xC3\xA9\" is no"},
              {"x{a=\"\\t\"} 1\n", "before \"t\" is no escape"},
              {"x{a=\"\\u00e9\"} 1\n", "before \"u\" is no escape"},
              {"x{a=\"\\", "cut off"},
              {"x{a=\"\\\n", "before \"\" is no escape"},
              {"x{a=\"\xFF\xFE\"} 1\n", "not UTF-8"},
              {"x{a=\"caf\xE9\"} 1\n", "not UTF-8"},
              {"# HELP x caf\xE9\nx 1\n", "not UTF-8"},
              {"# caf\xE9\nx 1\n", "not UTF-8"},
              {"# HELP x one\ntwo\nx 1\n", "a space is expected before the value"},
              {"# HELP x one\ntwo words\nx 1\n", "\"words\" is not a number"},
              {"# HELP x \\d\n", "before \"d\" is no escape"},
              {"# HELP x \\\"\n", "is no escape"},
              {"# HELP x \"\n", ""},
              {"x{a=\"\r\"} 1\n", ""},
              {"x{a=\"\t\xC3\xA9\"} 1\n", ""},
              {"x{a=\"1\0002\"} 1\n"s, ""},
              {"# TYPE x gauge\r\nx 1\r\n", "CR LF"},
              {"x 1\r\n", "CR LF"},
              {"x 1\n\r\n", "CR LF"},
              {"\xEF\xBB\xBFx 1\n", "byte order mark"},
              {"x 1", "no line feed"},
              {"x 1\n# TYPE", "no line feed"},
              {"x{a=\"b", "no line feed"}},
             text_type);
}

TEST_CASE("the text format: numbers and timestamps") {
  std::vector<Row> rows{{"x 1 1700000000\n", ""},
                        {"x 1 1700000000.5\n", "a whole number of milliseconds"},
                        {"x 1 -5\n", "a whole number of milliseconds"},
                        {"x 1 +5\n", "a whole number of milliseconds"},
                        {"x 1 99999999999999999999\n", "a whole number of milliseconds"},
                        {"x 1 5 \n", "a whole number of milliseconds"},
                        {"x 1 5 6\n", "a whole number of milliseconds"},
                        {"x 1 \n", "ends with a blank"},
                        {"x_total 1 # {trace_id=\"a\"} 1\n", "no exemplars"},
                        {"x\n", "a space is expected before the value"},
                        {"x \n", "the value is missing"},
                        {"x{a=\"1\"}\n", "the value is missing"},
                        {"x\t 1 \t5\n", ""},
                        {" x 1\n", "blanks stand before the name"},
                        {"\tx 1\n", "blanks stand before the name"}};
  for (const std::string_view good : {"0",
                                      "-0",
                                      "+1",
                                      "1.5",
                                      ".5",
                                      "5.",
                                      "1e6",
                                      "1e+06",
                                      "1E6",
                                      "1e-6",
                                      "1000000",
                                      "nan",
                                      "NaN",
                                      "inf",
                                      "+Inf",
                                      "-inf",
                                      "Infinity",
                                      "-INFINITY",
                                      "1.7976931348623157e+308",
                                      "5e-324",
                                      "1e-400",
                                      "0e999999999999999999999",
                                      "0.0000000000000000000000000000000000000000000000000000000000000000001",
                                      "00012",
                                      "18446744073709551615",
                                      "123456789012345678901234567890",
                                      "1e-99999999999999999999"}) {
    rows.push_back({"x " + std::string(good) + "\n", ""});
  }
  for (const std::string_view bad : {"1,5",
                                     "1,000",
                                     "1_000",
                                     "0x1p-2",
                                     "0x10",
                                     "-nan",
                                     "+nan",
                                     "nan(ind)",
                                     "1e400",
                                     "-1e400",
                                     "1e99999999999999999999",
                                     "true",
                                     "1e",
                                     "1e+",
                                     ".",
                                     "-",
                                     "+",
                                     "--1",
                                     "+-1",
                                     "1.2.3",
                                     "1f",
                                     "e5",
                                     "infinit",
                                     "in",
                                     "\xC2\xBD",
                                     "1e+308.5",
                                     "NaN0",
                                     "0.001e9999",
                                     "st@1"}) {
    rows.push_back({"x " + std::string(bad) + "\n", "is not a number"});
  }
  rows.push_back({"x " + std::string(400, '9') + "\n", "is not a number"});
  rows.push_back({"x 0." + std::string(400, '0') + "1\n", ""});
  check_rows(rows, text_type);
  CHECK(value_of(read_text("x 1e-400\n"), "x") == 0);
  CHECK(value_of(read_text("x -1e-400\n"), "x") == 0);
  CHECK(value_of(read_text("x 5e-324\n"), "x") == std::numeric_limits<double>::denorm_min());
  CHECK(value_of(read_text("x .5\n"), "x") == 0.5);
  CHECK(std::signbit(value_of(read_text("x -0\n"), "x")));
  CHECK(read_text("x 18446744073709551615\n").families[0].samples[0].text == "18446744073709551615");
}

TEST_CASE("the text format: names and labels") {
  check_rows({{"x-y 1\n", "\"x-y\" is not a metric name"},
              {"x.y{a=\"1\"} 1\n", "\"x.y\" is not a metric name"},
              {"1x 1\n", "\"1x\" is not a metric name"},
              {"caf\xC3\xA9 1\n", "is not a metric name"},
              {"a:b_9 1\n", ""},
              {"{\"x.y\"} 1\n", "escaping=allow-utf-8"},
              {"{a=\"b\"} 1\n", "a metric name is expected"},
              {"x{a-b=\"1\"} 1\n", "\"a-b\" is not a label name"},
              {"x{a:b=\"1\"} 1\n", "\"a:b\" is not a label name"},
              {"x{1a=\"1\"} 1\n", "\"1a\" is not a label name"},
              {"x{=\"1\"} 1\n", "\"\" is not a label name"},
              {"x{__name__=\"y\"} 1\n", "__name__"},
              {"x{__foo=\"1\"} 1\n", ""},
              {"x{a='b'} 1\n", "not in double quotes"},
              {"x{a=b} 1\n", "not in double quotes"},
              {"x{a} 1\n", "= is expected"},
              {"x{a=\"b\",,c=\"d\"} 1\n", "is not a label name"},
              {"x{,} 1\n", "is not a label name"},
              {"x{a=\"b\" c=\"d\"} 1\n", "a comma or } is expected"},
              {"x{a=\"b\" 1\n", "a comma or } is expected"},
              {"x{ 1\n", "is not a label name"},
              {"x{\n", "} is missing"},
              {"x{a=\"b\",} 1\n", ""},
              {"x{} 1\n", ""},
              {"x { a = \"b\" , c\t= \"d\" , } 1\n", ""},
              {"x{instance=\"1\",job=\"2\"} 1\n", ""},
              {"<html>\n<body>500</body></html>\n", "is not a metric name"}},
             text_type);
}

TEST_CASE("OpenMetrics: the page and its metadata") {
  CHECK_THAT(refusal("x 1\n", open_metrics_type),
             Catch::Matchers::ContainsSubstring("line 2: the page does not end with # EOF"));
  CHECK_THAT(refusal("", open_metrics_type), Catch::Matchers::ContainsSubstring("# EOF"));
  CHECK_THAT(refusal("x 1\n# EO", open_metrics_type), Catch::Matchers::ContainsSubstring("cut off"));
  CHECK(refusal("x 1\n# EOF", open_metrics_type) == "");
  CHECK(refusal("# EOF\n", open_metrics_type) == "");
  CHECK_THAT(refusal("x 1\n# EOF\n\n", open_metrics_type),
             Catch::Matchers::ContainsSubstring("nothing may follow # EOF"));
  CHECK_THAT(refusal("# EOF\nx 1\n# EOF\n", open_metrics_type),
             Catch::Matchers::ContainsSubstring("nothing may follow"));
  check_rows({{"# TYPE x untyped\n", "\"untyped\" is not a type"},
              {"# TYPE x_total counter\nx_total 1.0\n",
               "x_total is not a sample of the counter x_total, whose samples are: "
               "x_total_total, x_total_created"},
              {"# TYPE x counter\nx 1.0\n", "x is not a sample of the counter x"},
              {"# TYPE x counter\nx_created 1.0\n", "the _total of this counter is missing"},
              {"# TYPE x counter\nx_total 1.0\nx_created NaN\n", "_created is a time"},
              {"# UNIT x seconds\n", "does not end in _ and the unit"},
              {"# TYPE x_seconds counter\n# UNIT x_seconds seconds\nx_seconds_total 1\n", ""},
              {"# UNIT x_seconds_total seconds\n", "does not end in _ and the unit"},
              {"# UNIT x \n", ""},
              {"# TYPE x_seconds info\n# UNIT x_seconds seconds\n", "this type has no unit"},
              {"# UNIT x_s s\n# UNIT x_s s\n", "a second UNIT"},
              {"# HELP x\n", "a space is expected"},
              {"# HELP x \n", ""},
              {"# HELP x a \"b\" \\\"c\\\" \\\\ \\n\n", ""},
              {"# HELP x \\d\n", "before \"d\" is no escape"},
              {"# TYPE x gauge\nx 1\n# HELP x X.\n", "HELP comes after the samples"},
              {"# TYPE x gauge\nx 1\n# UNIT x \n", "UNIT comes after the samples"},
              {"\n", "no blank lines"},
              {"# a comment\n", "no comments"},
              {"#TYPE x gauge\n", "no comments"},
              {"#  TYPE x gauge\n", "no comments"},
              {" x 1\n", "is not a metric name"},
              {"# TYPE x gauge\r\nx 1\r\n", "CR LF"},
              {"# TYPE a gauge\n# TYPE b gauge\na 1\n", "all lines of a family stand together"},
              {"a 1\nb 1\na{x=\"1\"} 1\n", "all lines of a family stand together"},
              {"# TYPE a gauge\na 1\n# TYPE a gauge\n", "TYPE comes after the samples"},
              {"# TYPE a counter\na_total 1\n# TYPE a_total gauge\na_total 1\n",
               "a_total would be a sample of a and of a_total"},
              {"# TYPE a_created gauge\na_created 1\n# TYPE a counter\na_total 1\n", "would be a sample of"},
              {"# TYPE x gauge\nx 1\nx_created 1\n", "x_created is not a sample of the gauge x"},
              {"# TYPE x gauge\nx 1\nx_bytes 1\n", ""}},
             open_metrics_type, "# EOF\n");
}

TEST_CASE("OpenMetrics: blanks, labels and timestamps") {
  check_rows(
      {{"x 1.0\n", ""},
       {"x{} 1.0\n", ""},
       {"x  1.0\n", "more than one space"},
       {"x\t1.0\n", "one space is expected"},
       {"x 1.0 \n", "the timestamp \"\" is not a number"},
       {"x{a=\"b\"}1.0\n", "one space is expected"},
       {"x {a=\"b\"} 1.0\n", "is not a number"},
       {"x{a=\"b\", c=\"d\"} 1.0\n", "is not a label name"},
       {"x{a=\"b\" ,c=\"d\"} 1.0\n", "a comma or } is expected"},
       {"x{a =\"b\"} 1.0\n", "= is expected"},
       {"x{a=\"b\",} 1.0\n", "no comma after the last label"},
       {"x{a=\"b\n\"} 1.0\n", "is not closed"},
       {"x{__a=\"b\"} 1.0\n", "reserved"},
       {"x{_a=\"b\"} 1.0\n", ""},
       {"{\"x.y\"} 1\n", "escaping=allow-utf-8"},
       {"x 1 st@1\n", "the timestamp \"st@1\" is not a number"},
       {"h {count:1,sum:1}\n", "is not a number"},
       {"x 1 1700000000000\n", ""},
       {"x 1 1.5e9\n", ""},
       {"x 1 NaN\n", "is not finite"},
       {"x 1 5 6\n", "an exemplar is expected"},
       {"x 1\nx 2\n", "the series comes twice"},
       {"x 1 5\nx 2 5\n", "the series comes twice"},
       {"# TYPE x gauge\nx 1 5\nx 2 6\n", ""},
       {"# TYPE x gauge\nx 1 5\nx 2 4\n", "the timestamps of a label set go back"},
       {"# TYPE x gauge\nx 1 5\nx 2\n", "either all lines of a label set have a timestamp or none"},
       {"# TYPE x gauge\nx{a=\"1\"} 1 5\nx{a=\"2\"} 1 5\nx{a=\"1\"} 1 6\n", "do not stand together"},
       {"# TYPE x counter\nx_total{a=\"1\"} 1\nx_total{a=\"2\"} 1\nx_created{a=\"1\"} 1\n", "do not stand together"}},
      open_metrics_type, "# EOF\n");
}

TEST_CASE("OpenMetrics: exemplars") {
  const auto counter = [](std::string_view exemplar) {
    return "# TYPE x counter\nx_total 1" + std::string(exemplar) + "\n";
  };
  const auto bucket = [](std::string_view exemplar) {
    return "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1" + std::string(exemplar) + "\nh_bucket{le=\"+Inf\"} 1\n";
  };
  const std::string most(126, 'x');
  std::string wide;  // 126 code points in more bytes
  for (int i = 0; i < 126; ++i) wide += "\xC3\xA9";
  check_rows({{counter(" # {a=\"b\"} 1.0"), ""},
              {counter(" # {} 1.0 1.5"), ""},
              {counter(" 5 # {} 1.0 1.5"), ""},
              {counter(" # {a=\"\\\"\\\\\\n\"} 1.0"), ""},
              {counter(" # {ab=\"" + most + "\"} 1"), ""},
              {counter(" # {ab=\"" + wide + "\"} 1"), ""},
              {counter(" # {ab=\"" + most + "x\"} 1"), "129 code points"},
              {counter(" #{a=\"b\"} 1.0"), "an exemplar is expected"},
              {counter(" # {a=\"b\"}"), "one space is expected before the value of the exemplar"},
              {counter(" # {a=\"b\"} x"), "the value of the exemplar \"x\" is not a number"},
              {counter(" # {a=\"b\"} 1 1 1"), "goes on"},
              {counter(" # {a=\"b\"} 1 # {a=\"b\"} 1"), "the timestamp \"#\" is not a number"},
              {counter(" # {a=\"b\",a=\"c\"} 1"), "comes twice"},
              {counter(" # {a=\"b\"} 1 "), "is not a number"},
              {"# TYPE x counter\nx_total 1\nx_created 1 # {} 1\n", "have exemplars"},
              {"# TYPE x gauge\nx 1 # {} 1\n", "have exemplars"},
              {"x_total 1 # {} 1\n", "have exemplars"},
              {"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1 # {} 1\n", "have exemplars"},
              {bucket(" # {} 1.0"), ""},
              {bucket(" # {} 0.5 1"), ""},
              {bucket(" # {} 1.5"), "not within the bound"},
              {bucket(" # {} NaN"), "not within the bound"}},
             open_metrics_type, "# EOF\n");
}

TEST_CASE("OpenMetrics: what each type demands") {
  const std::string infinite = "h_bucket{le=\"+Inf\"} 4\n";
  const auto gauge_histogram = [](std::string_view lines) { return "# TYPE h gaugehistogram\n" + std::string(lines); };
  check_rows(
      {{histogram(infinite), ""},
       {histogram(infinite + "h_count 4\nh_sum 1.5\nh_created 1.5\n"), ""},
       {histogram("h_bucket{le=\"1\"} 1\n" + infinite), ""},
       {histogram("h_bucket{le=\"inf\"} 4\n"), "spelled le=\"+Inf\""},
       {histogram("h_bucket{le=\"1.0\"} 4\n"), "is missing"},
       {histogram("h_count 4\nh_sum 1\n"), "is missing"},
       {histogram("h_bucket{le=\"1.0\"} 5\n" + infinite), "not cumulative"},
       {histogram(infinite + "h_count 5\nh_sum 1\n"), "the bucket le=\"+Inf\" says 4"},
       {histogram("h_bucket{le=\"+Inf\"} 4.5\n"), "a whole number"},
       {histogram(infinite + "h_sum 1\n"), "of count and sum"},
       {histogram(infinite + "h_count 4\n"), "of count and sum"},
       {histogram("h_bucket{le=\"-1.0\"} 1\n" + infinite), ""},
       {histogram("h_bucket{le=\"-1.0\"} 1\n" + infinite + "h_count 4\nh_sum 1\n"), "are left out"},
       {histogram(infinite + "h_count 4\nh_sum NaN\n"), "are left out"},
       {histogram(infinite + "h_count 4\nh_sum -1\n"), "are left out"},
       {histogram("h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 2\nh_count{a=\"1\"} 1\n"),
        "do not stand together"},
       {histogram(
            "h_bucket{le=\"+Inf\"} 1 5\nh_count 1 5\nh_sum 1 5\nh_bucket{le=\"+Inf\"} 2 6\nh_count 2 6\nh_sum 2 6\n"),
        ""},
       {histogram(
            "h_bucket{le=\"+Inf\"} 1 5\nh_count 1 5\nh_sum 1 5\nh_bucket{le=\"+Inf\"} 2 6\nh_count 3 6\nh_sum 2 6\n"),
        "the bucket le=\"+Inf\" says 2"},
       {gauge_histogram(infinite + "h_gcount 4\nh_gsum 4\n"), ""},
       {gauge_histogram(infinite + "h_count 4\nh_sum 4\n"), "h_count is not a sample of the gaugehistogram h"},
       {gauge_histogram(infinite + "h_gcount 4\nh_gsum -4\n"), "the sum is negative"},
       {gauge_histogram("h_bucket{le=\"-1.0\"} 1\n" + infinite + "h_gcount 4\nh_gsum -4\n"), ""},
       {"# TYPE x counter\nx_total NaN\n", "neither negative nor NaN"},
       {"# TYPE x counter\nx_total -1\n", "neither negative nor NaN"},
       {"# TYPE x info\nx 1\n", "x is not a sample of the info x"},
       {"# TYPE x info\nx_info 2\n", "the value of an info is 1"},
       {"# TYPE x stateset\nx{a=\"b\"} 1\n", "a state is named by a label x"},
       {"# TYPE x stateset\nx{x=\"b\"} 2\n", "0 or 1"},
       {"# TYPE x stateset\nx{a=\"1\",x=\"b\"} 1\nx{a=\"1\",x=\"c\"} 0\nx{a=\"2\",x=\"b\"} 0\n", ""},
       {"# TYPE x stateset\nx{a=\"1\",x=\"b\"} 1\nx{a=\"2\",x=\"b\"} 0\nx{a=\"1\",x=\"c\"} 0\n",
        "do not stand together"},
       {"# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 1\ns_count 1\ns_created 1\n", ""},
       {"# TYPE s summary\ns{quantile=\"0.5\"} -1\n", "not negative"},
       {"# TYPE s summary\ns_sum NaN\ns_count 1\n", "neither negative nor NaN"},
       {"# TYPE s summary\ns{quantile=\"1.5\"} 1\n", "between 0 and 1"},
       {"# TYPE s summary\ns_sum -1\n", "neither negative nor NaN"},
       {"# TYPE x unknown\nx -1\n", ""}},
      open_metrics_type, "# EOF\n");
}

// Round trips.

namespace {

using Random = std::mt19937_64;

template <class T>
const T& one_of(const std::vector<T>& values, Random& random) {
  return values[random() % values.size()];
}

std::string odd_text(Random& random) {
  static const std::vector<std::string> parts{
      "a",        "B",   "\\",          "\"", "\n", "{",   "}",        ",",
      "=",        " ",   "\t",          "\r", "#",  "\\n", "\xC3\xA9", "\xF0\x9F\xA6\x99",
      "le=\"1\"", "\0"s, "\xEF\xBB\xBF"};
  std::string text;
  for (std::size_t n = random() % 6; n > 0; --n) text += one_of(parts, random);
  return text;
}

double odd_number(Random& random) {
  static const std::vector<double> numbers{0,
                                           -0.0,
                                           1,
                                           -1,
                                           0.1,
                                           1e6,
                                           1e-5,
                                           123456.7,
                                           9007199254740993.0,
                                           5e-324,
                                           std::numeric_limits<double>::max(),
                                           std::numeric_limits<double>::infinity(),
                                           -std::numeric_limits<double>::infinity(),
                                           std::nan("")};
  if (random() % 2 == 0) return one_of(numbers, random);
  return std::bit_cast<double>(random());
}

bool is_equal(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

TEST_CASE("what a registry holds is what is read of its page, whatever the labels and numbers") {
  Random random(20240229);
  for (int round = 0; round < 200; ++round) {
    const auto registry = page::empty_registry();
    const auto counters =
        registry.counter<std::string_view, int>({.name = "x_total", .help = "X."}, {"text", "number"});
    const auto gauges = registry.gauge({.name = "g", .help = odd_text(random)}, {"a", "b"});
    const auto histograms = registry.histogram({.name = "h", .buckets = {-1.5, 0, 0.001, 1e6}}, {"a"});
    std::map<std::pair<std::string, std::string>, std::uint64_t> counted;
    std::map<std::pair<std::string, std::string>, double> set;
    std::map<std::string, std::vector<double>> observed;
    for (std::size_t n = random() % 12; n > 0; --n) {
      const std::pair<std::string, std::string> key{odd_text(random), std::to_string(static_cast<int>(random()))};
      const std::uint64_t step = random() >> (random() % 64);
      counters(key.first, std::stoi(key.second)).inc(step);
      counted[key] += step;
    }
    for (std::size_t n = random() % 12; n > 0; --n) {
      const std::pair<std::string, std::string> key{odd_text(random), odd_text(random)};
      const double value = odd_number(random);
      gauges(key.first, key.second).set(value);
      set[key] = value;
    }
    for (std::size_t n = random() % 12; n > 0; --n) {
      const std::string key = odd_text(random);
      const double value = static_cast<double>(static_cast<std::int64_t>(random() % 4000) - 1000) / 16;
      histograms(key).observe(value);
      observed[key].push_back(value);
    }

    const ParsedPage page = read_page(registry);
    std::size_t samples = 0;
    for (const ParsedFamily& family : page.families) samples += family.samples.size();
    CHECK(samples == counted.size() + set.size() + observed.size() * 7);
    for (const auto& [key, value] : counted) {
      CHECK(value_of(page, "x_total", {{"number", key.second}, {"text", key.first}}) == static_cast<double>(value));
    }
    for (const auto& [key, value] : set) {
      CHECK(is_equal(value_of(page, "g", {{"b", key.second}, {"a", key.first}}), value));
    }
    for (const auto& [key, values] : observed) {
      const ParsedHistogram histogram = histogram_of(page, "h", {{"a", key}});
      double sum = 0;
      for (const double value : values) sum += value;
      CHECK(histogram.count == static_cast<double>(values.size()));
      CHECK(histogram.sum == sum);
      REQUIRE(histogram.buckets.size() == 5);
      for (const auto& bucket : histogram.buckets) {
        CHECK(bucket.count ==
              static_cast<double>(std::ranges::count_if(values, [&](double value) { return value <= bucket.bound; })));
      }
    }
    // And the page is what it is, in all its digits.
    CHECK(difference(registry, quipu::render(registry).body) == "");
  }
}

// Values.

namespace {

/// The message of the NoSuchSeries that `call` throws.
template <class Call>
std::string absence(Call call) {
  try {
    call();
  } catch (const NoSuchSeries& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

quipu::Registry shop() {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "test"}}});
  const auto orders =
      registry.counter<std::string_view, int>({.name = "orders_total", .help = "Orders."}, {"item", "code"});
  orders("tea", 200).inc(3);
  orders("tea", 500).inc();
  orders("cake", 200).inc();
  registry.gauge({.name = "queue_length", .help = "Jobs."}).set(2.5);
  const auto latency =
      registry.histogram({.name = "latency_seconds", .help = "Time.", .buckets = {0.5, 1.0}}, {"route"});
  latency("/").observe(0.25);
  latency("/").observe(0.75);
  return registry;
}

}  // namespace

TEST_CASE("a value is found by its sample name and its labels in any order") {
  const auto registry = shop();
  CHECK(value_of(registry, "shop_orders_total", {{"code", "200"}, {"item", "tea"}, {"env", "test"}}) == 3);
  CHECK(value_of(registry, "shop_queue_length", {{"env", "test"}}) == 2.5);
  CHECK(value_of(registry, "shop_queue_length", {{"env", "test"}, {"none", ""}}) == 2.5);
  CHECK(value_of(registry, "shop_latency_seconds_bucket", {{"env", "test"}, {"route", "/"}, {"le", "0.50"}}) == 1);
  CHECK(value_of(registry, "shop_latency_seconds_bucket", {{"env", "test"}, {"route", "/"}, {"le", "inf"}}) == 2);
  CHECK(value_of(registry, "shop_latency_seconds_sum", {{"env", "test"}, {"route", "/"}}) == 1);
  const std::vector<quipu::Label> labels{{"env", "test"}, {"route", "/"}};
  CHECK(find_value(registry, "shop_latency_seconds_count", quipu::Labels(labels)) == 2.0);
  CHECK(!find_value(registry, "shop_latency_seconds_count", {{"env", "test"}, {"route", "/x"}}));
  CHECK(!find_value(registry, "shop_latency_seconds", {{"env", "test"}, {"route", "/"}}));
  CHECK(!find_value(registry, "shop_queue_length"));
}

TEST_CASE("of a series with several points, the last is its value") {
  const ParsedPage page = read_page(
      "# TYPE x gauge\nx 1 5\nx 2 6\n# TYPE h histogram\nh_bucket{le=\"1\"} 1 5\nh_bucket{le=\"+Inf\"} 1 5\n"
      "h_bucket{le=\"1\"} 2 6\nh_bucket{le=\"+Inf\"} 3 6\n# EOF\n",
      open_metrics_type);
  CHECK(value_of(page, "x") == 2);
  CHECK(histogram_of(page, "h").buckets.size() == 2);
  CHECK(histogram_of(page, "h").count == 3);
  CHECK(std::isnan(histogram_of(page, "h").sum));
}

TEST_CASE("a series that is not there throws with what looks like it") {
  const auto registry = shop();
  CHECK(absence([&] {
          static_cast<void>(value_of(registry, "shop_orders_total", {{"item", "cake"}}));
        }) ==
        "there is no series shop_orders_total{item=\"cake\"} on the page; of that name there are:\n"
        "  shop_orders_total{env=\"test\",item=\"cake\",code=\"200\"}\n"
        "  shop_orders_total{env=\"test\",item=\"tea\",code=\"200\"}\n"
        "  shop_orders_total{env=\"test\",item=\"tea\",code=\"500\"}");
  CHECK(absence([&] { static_cast<void>(value_of(registry, "shop_order_total")); }) ==
        "there is no shop_order_total on the page; what looks like it: shop_orders_total");
  CHECK(absence([&] { static_cast<void>(value_of(registry, "orders_total")); }) ==
        "there is no orders_total on the page; what looks like it: shop_orders_total");
  CHECK(absence([&] { static_cast<void>(value_of(registry, "shop_latency_seconds")); }) ==
        "there is no shop_latency_seconds on the page; what looks like it: shop_latency_seconds_sum, "
        "shop_latency_seconds_count, shop_latency_seconds_bucket");
  CHECK(absence([&] { static_cast<void>(value_of(registry, "zzz")); }) ==
        "there is no zzz on the page, nor a name that looks like it (it has 3 families)");
  CHECK(absence([&] {
          static_cast<void>(histogram_of(registry, "shop_latency_seconds", {{"route", "/x"}}));
        }) ==
        "there is no series shop_latency_seconds_bucket{route=\"/x\"} on the page; of that name there are:\n"
        "  shop_latency_seconds_bucket{env=\"test\",route=\"/\",le=\"0.5\"}\n"
        "  shop_latency_seconds_bucket{env=\"test\",route=\"/\",le=\"1\"}\n"
        "  shop_latency_seconds_bucket{env=\"test\",route=\"/\",le=\"+Inf\"}");
  CHECK(absence([&] {
          static_cast<void>(histogram_of(registry, "shop_queue_length", {{"env", "test"}}));
        }) == "shop_queue_length is not a histogram");
  CHECK_THROWS_AS(histogram_of(registry, "latency"), NoSuchSeries);

  std::string many;
  for (int i = 0; i < 25; ++i) many += "x{i=\"" + std::to_string(i) + "\"} 1\n";
  const std::string message = absence([&] { static_cast<void>(value_of(read_text(many), "x", {{"i", "24\n"}})); });
  CHECK(page::missing(message, {"x{i=\"24\\n\"}", "x{i=\"9\"}", "and 15 more"}) == "");
}

TEST_CASE("a histogram is read with its cumulative buckets") {
  const ParsedHistogram histogram = histogram_of(shop(), "shop_latency_seconds", {{"route", "/"}, {"env", "test"}});
  CHECK(histogram.count == 2);
  CHECK(histogram.sum == 1);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(histogram.buckets == std::vector<ParsedHistogram::Bucket>{{0.5, 1}, {1, 2}, {infinity, 2}});
}

// Differences.

TEST_CASE("nothing differs from a page that says the same in another way") {
  const auto registry = shop();
  CHECK(difference(registry, "") == "");
  CHECK(difference(registry, "shop_queue_length{env=\"test\"} 2.50") == "");
  CHECK(difference(registry, R"(
    # TYPE shop_queue_length gauge
    shop_queue_length{env="test"} 25e-1

    # HELP shop_orders_total Orders.
    shop_orders_total{code="500", item="tea",  env="test"} 1
    shop_orders_total{code="200", item="cake", env="test"} 1.0
    shop_orders_total{code="200", item="tea",  env="test"} 3
  )") == "");
  CHECK(difference(registry, R"(
    # TYPE shop_latency_seconds histogram
    shop_latency_seconds_count{route="/",env="test"} 2
    shop_latency_seconds_sum{route="/",env="test"} 1
    shop_latency_seconds_bucket{le="0.500",route="/",env="test"} 1
    shop_latency_seconds_bucket{le="1.0",route="/",env="test"} 2
    shop_latency_seconds_bucket{le="+Inf",route="/",env="test"} 2
  )") == "");
  CHECK(difference(registry, "shop_latency_seconds_count{route=\"/\",env=\"test\"} 2\n") == "");
  CHECK(difference("x NaN\ny 1 5\n", "y 1\nx nan") == "");
}

TEST_CASE("a difference shows what is expected and what is there instead") {
  const auto registry = shop();
  CHECK(difference(registry, R"(
    # HELP shop_orders_total Sales.
    # TYPE shop_orders_total gauge
    shop_orders_total{env="test",item="tea",code="200"} 4
    shop_orders_total{env="test",item="tea",code="404"} 1
  )") == R"(not as expected (- expected, + on the page):
- # TYPE shop_orders_total gauge
+ # TYPE shop_orders_total counter
- # HELP shop_orders_total Sales.
+ # HELP shop_orders_total Orders.
- shop_orders_total{env="test",item="tea",code="200"} 4
+ shop_orders_total{env="test",item="tea",code="200"} 3
- shop_orders_total{env="test",item="tea",code="404"} 1
+ shop_orders_total{env="test",item="tea",code="500"} 1
+ shop_orders_total{env="test",item="cake",code="200"} 1
)");
  CHECK(difference(registry, "# TYPE orders_total counter\norders_total 1") ==
        R"(not as expected (- expected, + on the page):
- # TYPE orders_total counter
- orders_total 1
  (there is no orders_total on the page; what looks like it: shop_orders_total)
)");
  CHECK(difference(registry, "shop_latency_seconds_count 2") == R"(not as expected (- expected, + on the page):
- shop_latency_seconds_count 2
+ shop_latency_seconds_count{env="test",route="/"} 2
)");
  CHECK(difference("x 1\n", "# TYPE x untyped\nx 1\n") ==
        "not as expected (- expected, + on the page):\n- # TYPE x untyped\n");
  CHECK(difference("x 1 5\n", "x 1 6\n") ==
        "not as expected (- expected, + on the page):\n- x 1 at 0.006 s\n+ x 1 at 0.005 s\n");
}

TEST_CASE("whole numbers differ in their last digit") {
  const std::string report = difference("x 18446744073709551615\n", "x 18446744073709551614\n");
  CHECK(page::missing(report, {"- x 18446744073709551614", "+ x 18446744073709551615"}) == "");
  CHECK(difference("x 00018446744073709551615\n", "x +18446744073709551615\n") == "");
  CHECK(difference("x 9007199254740993\n", "x 9007199254740993.0\n") == "");  // a double, to which all are equal
}

TEST_CASE("with family names, those families are compared and no others") {
  const auto registry = shop();
  const std::string queue = "# TYPE shop_queue_length gauge\nshop_queue_length{env=\"test\"} 2.5\n";
  CHECK(difference(registry, queue, {"shop_queue_length"}) == "");
  CHECK(difference(registry, queue + "nothing 1\n", {"shop_queue_length", "shop_nothing"}) == "");
  CHECK(difference(registry, "", {"shop_queue_length"}) ==
        "not as expected (- expected, + on the page):\n+ shop_queue_length{env=\"test\"} 2.5\n");
  CHECK(page::missing(difference(registry, queue, {"shop_queue_length", "shop_orders_total"}),
                      {"+ shop_orders_total{env=\"test\",item=\"tea\",code=\"500\"} 1"}) == "");
  // Lines without a TYPE belong to the family that has them.
  const std::string report =
      difference(registry, "shop_latency_seconds_count{route=\"/\",env=\"test\"} 2\n", {"shop_latency_seconds"});
  CHECK(report.find("_count") == std::string::npos);
  CHECK(page::missing(report, {"+ shop_latency_seconds_sum", "+ shop_latency_seconds_bucket"}) == "");
}

TEST_CASE("pages of OpenMetrics are compared with units and exemplars") {
  const auto read = [](std::string_view exemplar, std::string_view unit) {
    return read_page("# TYPE x_seconds counter\n# UNIT x_seconds " + std::string(unit) +
                         "\nx_seconds_total{a=\"1\"} 1.0" + std::string(exemplar) + "\n# EOF\n",
                     open_metrics_type);
  };
  CHECK(difference(read(" # {b=\"1\"} 0.5 5", "seconds"), read("", "seconds")) == "");
  CHECK(difference(read(" # {b=\"1\"} 0.5 5", "seconds"), read(" # {b=\"1\"} 0.50", "seconds")) == "");
  CHECK(difference(read(" # {b=\"1\"} 0.5 5", "seconds"), read(" # {b=\"2\"} 0.5 6", "")) ==
        R"(not as expected (- expected, + on the page):
- # UNIT x_seconds 
+ # UNIT x_seconds seconds
- x_seconds_total{a="1"} 1.0 # {b="2"} 0.5 at 6 s
+ x_seconds_total{a="1"} 1.0 # {b="1"} 0.5 at 5 s
)");
  CHECK(difference(read("", "seconds"), "x_seconds_total{a=\"1\"} 1") == "");
  // A unit alone, of a family without samples.
  const auto unit = read_page("# UNIT x_seconds seconds\n# EOF\n", open_metrics_type);
  CHECK(difference(unit, unit) == "");
}

TEST_CASE("a mistake in what is expected is an error that says so") {
  const auto registry = shop();
  try {
    static_cast<void>(difference(registry, "\n\nshop_queue_length 1,5"));
    FAIL("no error");
  } catch (const ParseError& error) {
    CHECK(error.line() == 3);
    CHECK(page::missing(error.what(), {"what is expected is not a page of the text format: line 3", "1,5"}) == "");
  }
  CHECK_THROWS_AS(difference("x 1,5\n", "x 1"), ParseError);
  CHECK_THROWS_AS(difference("x 1", "x 1"), ParseError);  // a page ends with a line feed
}
