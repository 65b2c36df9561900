#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "exposition/encoders.hpp"
#include "exposition/format.hpp"
#include "family/escaping.hpp"
#include "quipu/exposition.hpp"
#include "quipu/sample.hpp"
#include "quipu/testing.hpp"
#include "support/golden.hpp"
#include "support/page.hpp"

using quipu::ExemplarView;
using quipu::HistogramSample;
using quipu::Label;
using quipu::MetricType;
using quipu::NativeBuckets;
using quipu::Quantile;
using quipu::Visitor;
using quipu::WallTime;
using quipu::detail::escape_label_name;
using quipu::detail::escape_metric_name;
using quipu::detail::Escaping;
using quipu::detail::Format;
using quipu::detail::Syntax;

namespace {

using Lines = std::vector<std::string>;

constexpr Format text;
constexpr Format open_metrics{.syntax = Syntax::open_metrics, .version = "1.0.0"};
constexpr Format open_metrics_2{.syntax = Syntax::open_metrics_2, .version = "2.0.0"};
constexpr Format with_created{.syntax = Syntax::open_metrics, .version = "1.0.0", .created_lines = true};

Format in(Format format, Escaping escaping) {
  format.escaping = escaping;
  return format;
}

/// What an encoder makes of what `show` shows it.
template <class Show>
std::string encoded(const Format& format, Show show) {
  quipu::detail::PageBuffer buffer(16);
  const auto encoder = quipu::detail::make_encoder(format, buffer);
  show(*encoder);
  encoder->finish();
  return std::string(buffer.view());
}

/// One series without labels.
std::string page_of(const Format& format, const quipu::FamilyView& family, const quipu::Sample& sample) {
  return encoded(format, [&](Visitor& visitor) {
    visitor.family(family);
    visitor.sample(sample);
  });
}

std::string page_of(const Format& format, const quipu::FamilyView& family, const HistogramSample& sample) {
  return encoded(format, [&](Visitor& visitor) {
    visitor.family(family);
    visitor.histogram(sample);
  });
}

std::string page_of(const Format& format, const quipu::FamilyView& family, const quipu::SummarySample& sample) {
  return encoded(format, [&](Visitor& visitor) {
    visitor.family(family);
    visitor.summary(sample);
  });
}

std::string page_of(const quipu::Registry& registry) {
  return quipu::render(registry, "application/openmetrics-text;version=1.0.0").body;
}

WallTime at(std::int64_t milliseconds) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::milliseconds(milliseconds)));
}

const std::vector<Label> trace = {{"trace_id", "4bf92f3577b34da6"}, {"span_id", "00f067aa"}};
const std::vector<Label> other_trace = {{"trace_id", "0af7651916cd43dd"}};
const ExemplarView slow{.labels = trace, .value = 0.5, .time = at(1'790'000'000'123)};
const ExemplarView slower{.labels = other_trace, .value = 3, .time = at(1'790'000'001'000)};
const ExemplarView without_labels{.labels = {}, .value = 1e9, .time = at(1'790'000'002'050)};

/// What registries do not show, or not yet.
void show_everything(Visitor& visitor) {
  const std::vector<Label> const_labels = {{"env", "prod"}};
  const std::vector<std::string> info_labels = {"version", "compiler"};
  visitor.family({.name = "build_info",
                  .help = "What runs.",
                  .unit = "",
                  .type = MetricType::info,
                  .const_labels = const_labels,
                  .label_names = info_labels});
  const std::vector<Label> build = {const_labels[0], {"version", "1.2.3"}, {"compiler", "g++ \"12\""}};
  visitor.sample({.labels = build, .value = std::uint64_t{1}});

  visitor.family(
      {.name = "cpu_seconds_total", .help = "CPU \"time\".\n", .unit = "seconds", .type = MetricType::counter});
  visitor.sample({.labels = {}, .value = 12.0, .created = at(1'789'999'999'999), .exemplar = &slow});

  const std::vector<std::string> method = {"method"};
  visitor.family(
      {.name = "requests_total", .help = "Requests.", .unit = "", .type = MetricType::counter, .label_names = method});
  const std::vector<Label> get = {{"method", "get"}};
  const std::vector<Label> post = {{"method", "po\nst"}};
  visitor.sample({.labels = get, .value = std::uint64_t{1'000'000}, .created = at(5), .exemplar = &without_labels});
  visitor.sample({.labels = post, .value = std::uint64_t{17}, .created = at(1'789'999'999'000)});

  const std::vector<double> bounds = {0.25, 1, 2.5};
  const std::vector<std::uint64_t> counts = {0, 2, 0, 1};
  const std::vector<const ExemplarView*> exemplars = {nullptr, &slow, nullptr, &slower};
  visitor.family({.name = "wait_seconds",
                  .help = "Waits.",
                  .unit = "seconds",
                  .type = MetricType::histogram,
                  .label_names = method});
  visitor.histogram({.labels = get,
                     .bounds = bounds,
                     .counts = counts,
                     .sum = 4,
                     .created = at(1'789'999'999'000),
                     .exemplars = exemplars});
  visitor.histogram({.labels = post, .bounds = bounds, .counts = counts, .sum = 4.5});

  visitor.family({.name = "size_bytes", .help = "", .unit = "bytes", .type = MetricType::gauge});
  visitor.sample({.labels = {}, .value = 1e6});

  const std::vector<std::string> states = {"engine", "state"};
  visitor.family(
      {.name = "state", .help = "What it does.", .unit = "", .type = MetricType::stateset, .label_names = states});
  const std::vector<Label> on = {{"engine", "left"}, {"state", "on"}};
  const std::vector<Label> off = {{"engine", "left"}, {"state", "off"}};
  visitor.sample({.labels = on, .value = std::uint64_t{1}});
  visitor.sample({.labels = off, .value = std::uint64_t{0}});

  visitor.family(
      {.name = "rpc_seconds", .help = "Calls.", .unit = "seconds", .type = MetricType::summary, .label_names = method});
  const std::vector<Quantile> quantiles = {{0.5, 0.125}, {0.99, 2}, {1, 3.5}};
  const std::vector<Quantile> idle = {{0.5, golden::not_a_number}, {0.99, golden::not_a_number}};
  visitor.summary({.labels = get,
                   .quantiles = quantiles,
                   .count = 1'000'000,
                   .sum = 250'000,
                   .created = at(1'789'999'999'000),
                   .timestamp = at(1'790'000'000'500)});
  visitor.summary({.labels = post, .quantiles = idle, .count = 0, .sum = 0});

  visitor.family({.name = "calls", .help = "Calls, of one program.", .unit = "", .type = MetricType::summary});
  visitor.summary({.labels = {}, .quantiles = {}, .count = 3, .sum = 0.5});

  // What another program measured a while ago.
  visitor.family({.name = "copied", .help = "Copied.", .unit = "", .type = MetricType::unknown, .label_names = method});
  visitor.sample({.labels = get, .value = -3, .timestamp = at(1'790'000'000'000)});
  visitor.sample({.labels = post, .value = 0.5});
  visitor.family({.name = "sent_total", .help = "Copied.", .unit = "", .type = MetricType::counter});
  visitor.sample({.labels = {},
                  .value = 5,
                  .created = at(1'789'999'999'000),
                  .exemplar = &slow,
                  .timestamp = at(1'790'000'000'007)});
  visitor.family({.name = "copied_bytes", .help = "Copied.", .unit = "bytes", .type = MetricType::histogram});
  visitor.histogram({.labels = {},
                     .bounds = bounds,
                     .counts = counts,
                     .sum = 4,
                     .created = at(1'789'999'999'000),
                     .exemplars = exemplars,
                     .timestamp = at(1'790'000'000'999)});

  visitor.family({.name = "visits", .help = "No total.", .unit = "", .type = MetricType::counter});
  visitor.sample({.labels = {}, .value = std::uint64_t{5}, .created = at(5), .exemplar = &slow});
}

/// Names that are not legacy names. Two that are stand among them.
void show_names(Visitor& visitor) {
  const std::vector<Label> const_labels = {{"cloud.region", "eu"}};
  const std::vector<std::string> labels = {"plain", "a:b", "\xC3\xA9"};
  const std::vector<Label> own = {const_labels[0], {"plain", "x"}, {"a:b", "y"}, {"\xC3\xA9", "z"}};
  visitor.family({.name = "my.requests_total",
                  .help = "All.",
                  .unit = "requests",
                  .type = MetricType::counter,
                  .const_labels = const_labels,
                  .label_names = labels});
  visitor.sample({.labels = own, .value = std::uint64_t{3}, .created = at(1500), .exemplar = &slow});

  visitor.family({.name = "say \"hi\"\\", .help = "", .unit = "", .type = MetricType::gauge});
  visitor.sample({.labels = {}, .value = 4.0});

  const std::vector<double> bounds = {1};
  const std::vector<std::uint64_t> counts = {1, 1};
  visitor.family({.name = "my.wait_seconds", .help = "", .unit = "seconds", .type = MetricType::histogram});
  visitor.histogram({.labels = {}, .bounds = bounds, .counts = counts, .sum = 3});
  visitor.family({.name = "my.size",
                  .help = "",
                  .unit = "",
                  .type = MetricType::histogram,
                  .const_labels = const_labels,
                  .label_names = {}});
  visitor.histogram({.labels = const_labels, .bounds = bounds, .counts = counts, .sum = 3});
  const std::vector<Quantile> quantiles = {{0.5, 2}};
  visitor.family({.name = "my.calls", .help = "", .unit = "", .type = MetricType::summary});
  visitor.summary({.labels = {}, .quantiles = quantiles, .count = 1, .sum = 2});

  const std::vector<std::string> target = {"host.name"};
  const std::vector<Label> host = {{"host.name", "a"}};
  visitor.family({.name = "target.of_info", .help = "", .unit = "", .type = MetricType::info, .label_names = target});
  visitor.sample({.labels = host, .value = std::uint64_t{1}});

  const std::vector<std::string> state = {"my.state"};
  const std::vector<Label> on = {{"my.state", "on"}};
  visitor.family({.name = "my.state", .help = "", .unit = "", .type = MetricType::stateset, .label_names = state});
  visitor.sample({.labels = on, .value = std::uint64_t{1}});

  visitor.family({.name = "legacy:name", .help = "", .unit = "", .type = MetricType::gauge, .label_names = target});
  visitor.sample({.labels = host, .value = 0.5});
  visitor.family({.name = "legacy", .help = "", .unit = "", .type = MetricType::gauge});
  visitor.sample({.labels = {}, .value = 0.5});
}

}  // namespace

TEST_CASE("the OpenMetrics pages of every kind of registry are as they should be") {
  CHECK(page_of(golden::kinds()) == golden::page("kinds.om"));
  CHECK(page_of(golden::const_labels()) == golden::page("const_labels.om"));
  CHECK(page_of(golden::label_values()) == golden::page("label_values.om"));
  CHECK(page_of(golden::help()) == golden::page("help.om"));
  CHECK(page_of(golden::numbers()) == golden::page("numbers.om"));
}

TEST_CASE("pages with exemplars, units, infos, statesets and created times are as they should be") {
  CHECK(encoded(text, show_everything) == golden::page("everything.txt"));
  CHECK(encoded(open_metrics, show_everything) == golden::page("everything.om"));
  CHECK(encoded(with_created, show_everything) == golden::page("created.om"));
  CHECK(encoded(open_metrics_2, show_everything) == golden::page("everything.om2"));
}

TEST_CASE("pages with names that are not legacy names are as they should be") {
  CHECK(encoded(text, show_names) == golden::page("names_underscores.txt"));
  CHECK(encoded(in(text, Escaping::allow_utf8), show_names) == golden::page("names_utf8.txt"));
  CHECK(encoded(with_created, show_names) == golden::page("names_underscores.om"));
  CHECK(encoded(in(with_created, Escaping::dots), show_names) == golden::page("names_dots.om"));
  CHECK(encoded(in(with_created, Escaping::values), show_names) == golden::page("names_values.om"));
  CHECK(encoded(in(with_created, Escaping::allow_utf8), show_names) == golden::page("names_utf8.om"));
  CHECK(encoded(in(open_metrics_2, Escaping::allow_utf8), show_names) == golden::page("names_utf8.om2"));
}

TEST_CASE("version 0.0.1 of OpenMetrics is as version 1.0.0") {
  const auto registry = golden::kinds();
  CHECK(quipu::render(registry, "application/openmetrics-text;version=0.0.1").body == golden::page("kinds.om"));
}

TEST_CASE("an empty OpenMetrics page has an end") {
  CHECK(encoded(open_metrics, [](Visitor&) {}) == "# EOF\n");
  CHECK(encoded(open_metrics_2, [](Visitor&) {}) == "# EOF\n");
  CHECK(page_of(page::empty_registry()) == "# EOF\n");
}

TEST_CASE("names are escaped in the four schemes") {
  struct Row {
    std::string_view name;
    std::string_view underscores;
    std::string_view dots;
    std::string_view values;
  };
  const std::vector<Row> metrics = {
      {"legacy_name:sum", "legacy_name:sum", "legacy_name:sum", "legacy_name:sum"},
      {"U__legacy", "U__legacy", "U__legacy", "U__legacy"},
      {"1x", "_x", "__x", "U___31_x"},
      {"x1.1", "x1_1", "x1_dot_1", "U__x1_2e_1"},
      {"my.a_b", "my_a_b", "my_dot_a__b", "U__my_2e_a__b"},
      {"\xC3\xA9.b", "__b", "___dot_b", "U___e9__2e_b"},
      {"a:b.c", "a:b_c", "a:b_dot_c", "U__a:b_2e_c"},
      {"http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"},
      {"a b", "a_b", "a__b", "U__a_20_b"},
      {"\xE7\xB5\x90 \xF0\x9F\xAA\xA2", "___", "______", "U___7d50__20__1faa2_"},
      {"\xF4\x8F\xBF\xBF", "_", "__", "U___10ffff_"},
      {"bad\xFF", "bad_", "bad__", "U__bad_fffd_"},
  };
  for (const Row& row : metrics) {
    INFO(row.name);
    CHECK(escape_metric_name(row.name, Escaping::underscores) == row.underscores);
    CHECK(escape_metric_name(row.name, Escaping::dots) == row.dots);
    CHECK(escape_metric_name(row.name, Escaping::values) == row.values);
    CHECK(escape_metric_name(row.name, Escaping::allow_utf8) == row.name);
  }
  CHECK(escape_label_name("http.status", Escaping::dots) == "http_dot_status");
  // In labels a colon is not legal.
  CHECK(escape_label_name("a:b", Escaping::underscores) == "a_b");
  CHECK(escape_label_name("a:b", Escaping::dots) == "a__b");
  CHECK(escape_label_name("a:b", Escaping::values) == "U__a_3a_b");
  CHECK(escape_label_name("a:b", Escaping::allow_utf8) == "a:b");
}

TEST_CASE("in OpenMetrics a double is never mistaken for a whole number") {
  const auto value_of = [](double real) {
    const std::string page = page_of(open_metrics, {.name = "x", .help = "", .unit = "", .type = MetricType::gauge},
                                     quipu::Sample{.labels = {}, .value = real});
    return page::lines(page)[1].substr(2);
  };
  CHECK(value_of(0) == "0.0");
  CHECK(value_of(-0.0) == "0.0");
  CHECK(value_of(1) == "1.0");
  CHECK(value_of(-10) == "-10.0");
  CHECK(value_of(100000) == "100000.0");
  CHECK(value_of(999999) == "999999.0");
  CHECK(value_of(-999999) == "-999999.0");
  CHECK(value_of(1e6) == "1e+06");
  CHECK(value_of(-1e6) == "-1e+06");
  CHECK(value_of(0.005) == "0.005");
  CHECK(value_of(1e-5) == "1e-05");
  CHECK(value_of(1e300) == "1e+300");
  CHECK(value_of(golden::infinity) == "+Inf");
  CHECK(value_of(-golden::infinity) == "-Inf");
  CHECK(value_of(golden::not_a_number) == "NaN");
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const double whole = static_cast<double>(static_cast<std::int64_t>(random()) >> (random() % 64));
    const double real = i % 2 == 0 ? whole : whole / static_cast<double>(1 << (random() % 8));
    const std::string shown = value_of(real);
    if (shown.find_first_of(".e") == std::string::npos || std::stod(shown) != real) CHECK(shown == "");
  }
}

TEST_CASE("a value that its type may not have is left out of an OpenMetrics page") {
  const quipu::FamilyView counter{.name = "x_total", .help = "", .unit = "", .type = MetricType::counter};
  const quipu::FamilyView info{.name = "x_info", .help = "", .unit = "", .type = MetricType::info};
  for (const Format& format : {with_created, open_metrics_2}) {
    for (const double value : {golden::not_a_number, -1.0, -golden::infinity, -1e-300}) {
      const quipu::Sample sample{.labels = {}, .value = value, .created = at(1), .exemplar = &slow};
      const auto lines = page::lines(page_of(format, counter, sample));
      CHECK(lines.size() == 2);
      CHECK(lines.back() == "# EOF");
    }
    CHECK(page::lines(page_of(format, info, quipu::Sample{.labels = {}, .value = 2.0})).size() == 2);
    CHECK(page::lines(page_of(format, info, quipu::Sample{.labels = {}, .value = 1.0})).size() == 3);
  }
  CHECK(page_of(open_metrics, counter, quipu::Sample{.labels = {}, .value = golden::infinity}) ==
        "# TYPE x counter\nx_total +Inf\n# EOF\n");
  const std::vector<std::string> labels = {"x"};
  const std::vector<Label> on = {{"x", "on"}};
  const quipu::FamilyView states{
      .name = "x", .help = "", .unit = "", .type = MetricType::stateset, .label_names = labels};
  CHECK(page_of(open_metrics, states, quipu::Sample{.labels = on, .value = 0.5}) == "# TYPE x stateset\n# EOF\n");
}

TEST_CASE("what breaks the rules of its type has a plainer one in OpenMetrics") {
  const auto type_of = [](std::string_view name, MetricType type, const std::vector<std::string>& labels = {}) {
    return encoded(open_metrics, [&](Visitor& visitor) {
      visitor.family({.name = name, .help = "", .unit = "", .type = type, .label_names = labels});
    });
  };
  CHECK(type_of("x_total", MetricType::counter) == "# TYPE x counter\n# EOF\n");
  CHECK(type_of("x", MetricType::counter) == "# TYPE x unknown\n# EOF\n");
  CHECK(type_of("_total", MetricType::counter) == "# TYPE _total unknown\n# EOF\n");
  CHECK(type_of("x_total", MetricType::gauge) == "# TYPE x_total gauge\n# EOF\n");
  CHECK(type_of("x_info", MetricType::info) == "# TYPE x info\n# EOF\n");
  CHECK(type_of("x", MetricType::info) == "# TYPE x gauge\n# EOF\n");
  CHECK(type_of("x", MetricType::stateset, {"a", "x"}) == "# TYPE x stateset\n# EOF\n");
  CHECK(type_of("x", MetricType::stateset, {"x", "a"}) == "# TYPE x gauge\n# EOF\n");
  CHECK(type_of("x", MetricType::stateset) == "# TYPE x gauge\n# EOF\n");
  CHECK(type_of("a:b", MetricType::stateset, {"a:b"}) == "# TYPE a:b gauge\n# EOF\n");
}

TEST_CASE("a UNIT line is there only where it is legal") {
  const auto has_unit = [](std::string_view name, std::string_view unit, MetricType type) {
    const std::string page = encoded(open_metrics, [&](Visitor& visitor) {
      visitor.family({.name = name, .help = "", .unit = unit, .type = type});
    });
    return page.find("# UNIT ") != std::string::npos;
  };
  CHECK(has_unit("x_seconds", "seconds", MetricType::gauge));
  CHECK(has_unit("x_seconds_total", "seconds", MetricType::counter));
  CHECK(has_unit("x_seconds", "seconds", MetricType::histogram));
  CHECK_FALSE(has_unit("x", "seconds", MetricType::gauge));
  CHECK_FALSE(has_unit("xseconds", "seconds", MetricType::gauge));
  CHECK_FALSE(has_unit("seconds", "seconds", MetricType::gauge));
  CHECK_FALSE(has_unit("_seconds", "seconds", MetricType::gauge));
  CHECK_FALSE(has_unit("x_seconds_total", "seconds_total", MetricType::counter));
  CHECK_FALSE(has_unit("x_seconds_total", "seconds", MetricType::gauge));
  CHECK_FALSE(has_unit("x_", "", MetricType::gauge));
  CHECK_FALSE(has_unit("x_m/s", "m/s", MetricType::gauge));
  CHECK_FALSE(has_unit("x_seconds_info", "seconds", MetricType::info));
}

TEST_CASE("a histogram whose sum can go down has neither sum nor count in OpenMetrics") {
  const quipu::FamilyView family{.name = "x", .help = "", .unit = "", .type = MetricType::histogram};
  const std::vector<std::uint64_t> counts = {1, 1};
  const auto lines_with = [&](double bound, double sum) {
    const std::vector<double> bounds = {bound};
    return page::lines(
        page_of(open_metrics, family, HistogramSample{.labels = {}, .bounds = bounds, .counts = counts, .sum = sum}));
  };
  CHECK(lines_with(0, 2) == Lines{"# TYPE x histogram", R"(x_bucket{le="0.0"} 1)", R"(x_bucket{le="+Inf"} 2)",
                                  "x_sum 2.0", "x_count 2", "# EOF"});
  CHECK(lines_with(1, golden::infinity).size() == 6);
  const Lines only_buckets = {"# TYPE x histogram", R"(x_bucket{le="-1.0"} 1)", R"(x_bucket{le="+Inf"} 2)", "# EOF"};
  CHECK(lines_with(-1, 2) == only_buckets);
  CHECK(lines_with(0, -1).size() == 4);
  CHECK(lines_with(0, golden::not_a_number).size() == 4);
}

TEST_CASE("series of one family may have other buckets") {
  const quipu::FamilyView family{.name = "x", .help = "", .unit = "", .type = MetricType::histogram};
  const std::vector<double> one = {1};
  const std::vector<double> two = {1, 2};
  const std::vector<std::uint64_t> counts = {1, 1, 1};
  const std::string page = encoded(text, [&](Visitor& visitor) {
    visitor.family(family);
    for (const auto& bounds : {one, two, std::vector<double>()}) {
      const std::size_t size = bounds.size() + 1;
      visitor.histogram({.labels = {}, .bounds = bounds, .counts = std::span(counts).first(size), .sum = 3});
    }
  });
  CHECK(page::lines(page) == Lines{"# TYPE x histogram", R"(x_bucket{le="1"} 1)", R"(x_bucket{le="+Inf"} 2)", "x_sum 3",
                                   "x_count 2", R"(x_bucket{le="1"} 1)", R"(x_bucket{le="2"} 2)",
                                   R"(x_bucket{le="+Inf"} 3)", "x_sum 3", "x_count 3", R"(x_bucket{le="+Inf"} 1)",
                                   "x_sum 3", "x_count 1"});
}

TEST_CASE("an exemplar of more than 128 code points is left out") {
  const quipu::FamilyView family{.name = "x_total", .help = "", .unit = "", .type = MetricType::counter};
  std::string value;
  for (int i = 0; i < 120; ++i) value += "\xC3\xA9";
  const auto line = [&](const Format& format) {
    const std::vector<Label> labels = {{"trace_id", value}};
    const ExemplarView exemplar{.labels = labels, .value = 1, .time = at(1000)};
    const quipu::Sample sample{.labels = {}, .value = std::uint64_t{1}, .exemplar = &exemplar};
    return page::lines(page_of(format, family, sample))[1];
  };
  CHECK(line(open_metrics) == "x_total 1 # {trace_id=\"" + value + "\"} 1.0 1.000");
  value += 'e';
  CHECK(line(open_metrics) == "x_total 1");
  CHECK(line(open_metrics_2) == "x_total 1 # {trace_id=\"" + value + "\"} 1.0 1.000");
}

TEST_CASE("times are seconds with milliseconds, and without an exponent") {
  const auto time_of = [](WallTime time) {
    const std::string page =
        page_of(with_created, {.name = "x_total", .help = "", .unit = "", .type = MetricType::counter},
                quipu::Sample{.labels = {}, .value = std::uint64_t{1}, .created = time});
    return page::lines(page)[2];
  };
  CHECK(time_of(at(0)) == "x_created 0.000");
  CHECK(time_of(at(7)) == "x_created 0.007");
  CHECK(time_of(at(1'790'000'000'000)) == "x_created 1790000000.000");
  CHECK(time_of(at(1'790'000'000'999) + std::chrono::nanoseconds(999'999)) == "x_created 1790000000.999");
  CHECK(time_of(at(-1)) == "x_created -0.001");
  CHECK(time_of(at(-1500)) == "x_created -1.500");
}

TEST_CASE("exemplars stand only where OpenMetrics has them") {
  const auto count_of = [](std::string_view name, MetricType type) {
    const std::vector<std::string> labels = {std::string(name)};
    const std::vector<Label> own = {{name, "a"}};
    const std::string page =
        page_of(open_metrics, {.name = name, .help = "", .unit = "", .type = type, .label_names = labels},
                quipu::Sample{.labels = own, .value = std::uint64_t{1}, .exemplar = &slow});
    return page.find("trace_id") == std::string::npos ? 0 : 1;
  };
  CHECK(count_of("x_total", MetricType::counter) == 1);
  CHECK(count_of("x", MetricType::counter) == 0);
  CHECK(count_of("x", MetricType::gauge) == 0);
  CHECK(count_of("x_info", MetricType::info) == 0);
  CHECK(count_of("x", MetricType::stateset) == 0);
}

TEST_CASE("the text of an exemplar is escaped, and its label names are as those of a series") {
  const std::vector<Label> labels = {{"a.b", "say \"hi\"\n"}, {"c", "\\"}};
  const ExemplarView exemplar{.labels = labels, .value = golden::infinity, .time = at(1000)};
  const quipu::FamilyView family{.name = "x_total", .help = "", .unit = "", .type = MetricType::counter};
  const quipu::Sample sample{.labels = {}, .value = std::uint64_t{1}, .exemplar = &exemplar};
  CHECK(page::lines(page_of(open_metrics, family, sample))[1] ==
        R"(x_total 1 # {a_b="say \"hi\"\n",c="\\"} +Inf 1.000)");
  CHECK(page::lines(page_of(in(open_metrics, Escaping::allow_utf8), family, sample))[1] ==
        R"(x_total 1 # {"a.b"="say \"hi\"\n",c="\\"} +Inf 1.000)");
}

TEST_CASE("a long page with long exemplars is whole") {
  const std::vector<double> bounds = {1, 2, 3};
  const std::vector<std::uint64_t> counts = {1, 1, 1, 1};
  const std::string value(100, 'x');
  const std::vector<Label> labels = {{"trace_id", value}};
  const ExemplarView exemplar{.labels = labels, .value = 1, .time = at(1000)};
  const std::vector<const ExemplarView*> exemplars(4, &exemplar);
  const std::string page = encoded(open_metrics, [&](Visitor& visitor) {
    visitor.family({.name = "x", .help = "", .unit = "", .type = MetricType::histogram});
    for (int i = 0; i < 1000; ++i) {
      visitor.histogram({.labels = {}, .bounds = bounds, .counts = counts, .sum = 1, .exemplars = exemplars});
    }
  });
  const auto lines = page::lines(page);
  REQUIRE(lines.size() == 1 + 1000 * 6 + 1);
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    const bool is_bucket = (i - 1) % 6 < 4;
    if (lines[i].ends_with(" # {trace_id=\"" + value + "\"} 1.0 1.000") != is_bucket) CHECK(lines[i] == "");
  }
}

TEST_CASE("fewer exemplars than buckets are those of the first buckets") {
  const std::vector<double> bounds = {1};
  const std::vector<std::uint64_t> counts = {1, 1};
  const std::vector<const ExemplarView*> exemplars = {&without_labels};
  const auto lines = page::lines(
      page_of(open_metrics, {.name = "x", .help = "", .unit = "", .type = MetricType::histogram},
              HistogramSample{.labels = {}, .bounds = bounds, .counts = counts, .sum = 1, .exemplars = exemplars}));
  CHECK(lines[1] == R"(x_bucket{le="1.0"} 1 # {} 1e+09 1790000002.050)");
  CHECK(lines[2] == R"(x_bucket{le="+Inf"} 2)");
}

TEST_CASE("a native histogram is one line of OpenMetrics 2, and one bucket elsewhere") {
  const std::vector<NativeBuckets::Bucket> positive = {{-2, 5}, {-1, 7}, {0, 1}, {4, 9}, {6, 2}};
  const std::vector<NativeBuckets::Bucket> negative = {{3, 1}};
  const NativeBuckets native{
      .schema = 3, .zero_threshold = 1e-4, .zero_count = 4, .positive = positive, .negative = negative};
  const std::vector<std::uint64_t> counts = {29};
  const quipu::FamilyView family{.name = "x", .help = "", .unit = "", .type = MetricType::histogram};
  const std::vector<const ExemplarView*> exemplars = {&slower};
  const HistogramSample sample{.labels = {},
                               .bounds = {},
                               .counts = counts,
                               .sum = 3.5,
                               .created = at(1500),
                               .exemplars = exemplars,
                               .native = &native};
  CHECK(page::lines(page_of(open_metrics_2, family, sample))[1] ==
        "x {count:29,sum:3.5,schema:3,zero_threshold:0.0001,zero_count:4,negative_spans:[3:1],negative_buckets:[1],"
        "positive_spans:[-2:3,3:1,1:1],positive_buckets:[5,7,1,9,2]} st@1.500 "
        "# {trace_id=\"0af7651916cd43dd\"} 3.0 1790000001.000");
  CHECK(page::lines(page_of(open_metrics, family, sample)) ==
        Lines{"# TYPE x histogram", "x_bucket{le=\"+Inf\"} 29 # {trace_id=\"0af7651916cd43dd\"} 3.0 1790000001.000",
              "x_sum 3.5", "x_count 29", "# EOF"});

  const std::vector<double> bounds = {1};
  const std::vector<std::uint64_t> both_counts = {9, 20};
  const NativeBuckets empty{.schema = 0, .zero_threshold = 0, .zero_count = 29, .positive = {}, .negative = {}};
  const HistogramSample both{.labels = {}, .bounds = bounds, .counts = both_counts, .sum = 0, .native = &empty};
  CHECK(page::lines(page_of(open_metrics_2, family, both))[1] ==
        "x {count:29,sum:0.0,schema:0,zero_threshold:0.0,zero_count:29,bucket:[1.0:9,+Inf:29]}");
}

TEST_CASE("OpenMetrics shows of a summary only what it allows") {
  const std::vector<Quantile> below_zero = {{0.25, -1}, {0.5, 0}, {0.75, golden::not_a_number}};
  const quipu::FamilyView family{.name = "s", .help = "", .unit = "", .type = MetricType::summary};
  for (const double sum : {-2.0, golden::not_a_number}) {
    const quipu::SummarySample sample{.labels = {}, .quantiles = below_zero, .count = 4, .sum = sum};
    const std::string page = page_of(open_metrics, family, sample);
    CHECK(page == "# TYPE s summary\ns{quantile=\"0.5\"} 0.0\ns{quantile=\"0.75\"} NaN\ns_count 4\n# EOF\n");
    CHECK_NOTHROW(quipu::testing::read_page(page, "application/openmetrics-text; version=1.0.0"));
  }
  const quipu::SummarySample sample{.labels = {}, .quantiles = below_zero, .count = 4, .sum = -2};
  CHECK(page_of(text, family, sample) ==
        "# TYPE s summary\ns{quantile=\"0.25\"} -1\ns{quantile=\"0.5\"} 0\ns{quantile=\"0.75\"} NaN\n"
        "s_sum -2\ns_count 4\n");
}

TEST_CASE("timestamps are milliseconds in the text format, and seconds in OpenMetrics") {
  const quipu::FamilyView family{.name = "x", .help = "", .unit = "", .type = MetricType::gauge};
  const auto line = [&](const Format& format, WallTime time) {
    return page::samples(page_of(format, family, quipu::Sample{.labels = {}, .value = 1, .timestamp = time})).at(0);
  };
  CHECK(line(text, at(0)) == "x 1 0");
  CHECK(line(text, at(1'790'000'000'123)) == "x 1 1790000000123");
  CHECK(line(text, at(1'790'000'000'123) + std::chrono::microseconds(999)) == "x 1 1790000000123");
  CHECK(line(open_metrics, at(0)) == "x 1 0.000");
  CHECK(line(open_metrics, at(1'790'000'000'023)) == "x 1 1790000000.023");
  CHECK(line(open_metrics_2, at(1'790'000'000'023)) == "x 1 1790000000.023");
  // No server reads a sign there.
  CHECK(line(text, at(-5)) == "x 1 0");
}

TEST_CASE("the pages with summaries, unknown types and timestamps can be read back") {
  const auto read_back = [](const std::string& page, std::string_view content_type) {
    const auto read = quipu::testing::read_page(page, content_type);
    CHECK(quipu::testing::value_of(read, "rpc_seconds", {{"method", "get"}, {"quantile", "0.99"}}) == 2);
    CHECK(quipu::testing::value_of(read, "rpc_seconds_count", {{"method", "get"}}) == 1e6);
    CHECK(quipu::testing::value_of(read, "copied", {{"method", "get"}}) == -3);
    const auto* const summary = read.family("rpc_seconds");
    REQUIRE(summary != nullptr);
    CHECK(summary->type == quipu::testing::FamilyType::summary);
    for (const auto& sample : summary->samples) {
      const bool has_time = sample.labels.front().value == "get";
      CHECK(sample.time == (has_time ? std::optional(1'790'000'000.5) : std::nullopt));
    }
    REQUIRE(read.family("copied") != nullptr);
    CHECK(read.family("copied")->type == quipu::testing::FamilyType::untyped);
  };
  read_back(encoded(text, show_everything), "text/plain; version=0.0.4");
  read_back(encoded(open_metrics, show_everything), "application/openmetrics-text; version=1.0.0");
  read_back(encoded(with_created, show_everything), "application/openmetrics-text; version=1.0.0");
}
