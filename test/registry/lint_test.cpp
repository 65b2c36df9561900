#include "registry/lint.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"

using quipu::testing::lint;
using quipu::testing::LintProblem;
using quipu::testing::read_page;

namespace {

std::string page_of(std::string_view type, std::string_view name, std::string_view labels = "") {
  const std::string text(name);
  const std::string list = labels.empty() ? "" : "{" + std::string(labels) + "}";
  const std::string comma = labels.empty() ? "" : ",";
  std::string page = "# HELP " + text + " Help.\n# TYPE " + text + " " + std::string(type) + "\n";
  if (type == "histogram") {
    page += text + "_bucket{" + std::string(labels) + comma + "le=\"+Inf\"} 1\n";
  } else if (type != "summary") {
    return page + text + list + " 1\n";
  }
  return page + text + "_sum" + list + " 1\n" + text + "_count" + list + " 1\n";
}

std::vector<std::string> problems(std::string_view type, std::string_view name, std::string_view labels = "") {
  std::vector<std::string> result;
  for (const LintProblem& problem : lint(read_page(page_of(type, name, labels), "text/plain"))) {
    CHECK(problem.family == name);
    result.push_back(problem.text);
  }
  return result;
}

using Texts = std::vector<std::string>;

}  // namespace

// What promtool 2.42 says; test/lint_as_promtool compares many more names with it.

TEST_CASE("lint: a family without help") {
  CHECK(lint(read_page("x 1\n", "text/plain")) == std::vector<LintProblem>{{"x", "no help text"}});
  CHECK(lint(read_page("# HELP x \nx 1\n", "text/plain")) == std::vector<LintProblem>{{"x", "no help text"}});
  CHECK(lint(read_page("# HELP x X.\nx 1\n", "text/plain")).empty());
  CHECK(lint(read_page("# TYPE x gauge\n", "text/plain")).empty());  // there is none without samples
}

TEST_CASE("lint: units that are not base units") {
  struct Row {
    std::string_view unit;
    std::string_view base;
  };
  for (const auto& [unit, base] :
       std::vector<Row>{{"minutes", "seconds"},   {"hours", "seconds"},    {"days", "seconds"},
                        {"weeks", "seconds"},     {"kelvins", "kelvin"},   {"fahrenheit", "celsius"},
                        {"rankine", "celsius"},   {"inches", "meters"},    {"yards", "meters"},
                        {"miles", "meters"},      {"bits", "bytes"},       {"calories", "joules"},
                        {"pounds", "grams"},      {"ounces", "grams"},     {"milliseconds", "seconds"},
                        {"kilobytes", "bytes"},   {"gibibytes", "bytes"},  {"kibibits", "bytes"},
                        {"kilometres", "metres"}, {"decagrams", "grams"},  {"kilominutes", "seconds"},
                        {"pebibytes", "bytes"},   {"mebibytes", "bytes"},  {"milliamperes", "amperes"},
                        {"megavolts", "volts"},   {"kilokelvin", "kelvin"}}) {
    const std::string text = "use base unit \"" + std::string(base) + "\" instead of \"" + std::string(unit) + "\"";
    CHECK(problems("gauge", "x_" + std::string(unit)) == Texts{text});
    CHECK(problems("gauge", std::string(unit) + "_x") == Texts{text});
    CHECK(problems("untyped", "x_" + std::string(unit) + "_total") == Texts{text});
  }
  for (const std::string_view fine :
       {"x_seconds", "x_bytes", "x_kelvin", "x_celsius", "x_meters", "x_ratio", "x_minute", "x_kilofeet", "xminutes",
        "x_hertz", "x_kilo", "x_MINUTES", "x_exabytes", "x__"}) {
    INFO(fine);
    CHECK(problems("gauge", fine).empty());
  }
  CHECK(problems("gauge", "x_minutes_milliseconds").size() == 1);
}

TEST_CASE("lint: abbreviated units, but as a first word") {
  for (const std::string_view unit :
       {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "MS"}) {
    const Texts expected{"metric names should not contain abbreviated units"};
    CHECK(problems("gauge", "x_" + std::string(unit)) == expected);
    CHECK(problems("gauge", "x_" + std::string(unit) + "_y") == expected);
    CHECK(problems("gauge", std::string(unit) + "_y").empty());
  }
  CHECK(problems("gauge", "x_ms_s").size() == 1);
  CHECK(problems("gauge", "x_secs").empty());
  CHECK(problems("counter", "ms_total").empty());
}

TEST_CASE("lint: suffixes and labels that belong to other types") {
  const std::string wants_total = "counter metrics should have \"_total\" suffix";
  const std::string no_total = "non-counter metrics should not have \"_total\" suffix";
  const std::string no_bucket = "non-histogram metrics should not have \"_bucket\" suffix";
  const std::string no_count = "non-histogram and non-summary metrics should not have \"_count\" suffix";
  const std::string no_sum = "non-histogram and non-summary metrics should not have \"_sum\" suffix";
  CHECK(problems("counter", "x") == Texts{wants_total});
  for (const std::string_view type : {"gauge", "histogram", "summary"})
    CHECK(problems(type, "x_total") == Texts{no_total});
  CHECK(problems("counter", "x_bucket") == Texts{wants_total, no_bucket});
  CHECK(problems("counter", "x_sum") == Texts{wants_total, no_sum});
  CHECK(problems("gauge", "x_bucket") == Texts{no_bucket});
  CHECK(problems("gauge", "x_count") == Texts{no_count});
  CHECK(problems("gauge", "x_sum") == Texts{no_sum});
  CHECK(problems("summary", "x_bucket") == Texts{no_bucket});
  CHECK(problems("summary", "x_count").empty());
  CHECK(problems("summary", "x_sum").empty());
  for (const std::string_view suffix : {"_bucket", "_count", "_sum"}) {
    CHECK(problems("histogram", "x" + std::string(suffix)).empty());
    CHECK(problems("untyped", "x" + std::string(suffix)).empty());
  }
  CHECK(problems("untyped", "x_total").empty());
  CHECK(problems("gauge", "x", "le=\"1\"") == Texts{"non-histogram metrics should not have \"le\" label"});
  CHECK(problems("counter", "x_total", "quantile=\"1\"") ==
        Texts{"non-summary metrics should not have \"quantile\" label"});
  CHECK(problems("histogram", "x", "quantile=\"1\"") ==
        Texts{"non-summary metrics should not have \"quantile\" label"});
  CHECK(problems("untyped", "x", "le=\"1\",quantile=\"1\"").empty());
}

TEST_CASE("lint: a type as a word of the name") {
  const auto text = [](std::string_view type) {
    return "metric name should not include type '" + std::string(type) + "'";
  };
  for (const std::string_view type : {"counter", "gauge", "histogram", "summary"}) {
    CHECK(problems("untyped", "x_" + std::string(type)) == Texts{text(type)});
    CHECK(problems("gauge", "x_" + std::string(type) + "_y") == Texts{text(type)});
    CHECK(problems("gauge", std::string(type) + "_x").empty());
    CHECK(problems("gauge", "x" + std::string(type)).empty());
  }
  CHECK(problems("gauge", "x_GAUGE") == Texts{text("gauge")});
  CHECK(problems("gauge", "x_gauge_histogram") == Texts{text("gauge"), text("gauge_histogram"), text("histogram")});
  CHECK(problems("gauge", "x_untyped").empty());
}

TEST_CASE("lint: colons and humps") {
  CHECK(problems("gauge", "x:y") == Texts{"metric names should not contain ':'"});
  CHECK(problems("gauge", "xY") == Texts{"metric names should be written in 'snake_case' not 'camelCase'"});
  CHECK(problems("gauge", "XY").empty());
  CHECK(problems("gauge", "x_Y").empty());
  CHECK(problems("gauge", "x", "aB=\"1\",cD=\"2\"") ==
        Texts{"label names should be written in 'snake_case' not 'camelCase'"});
}

TEST_CASE("lint: a page of OpenMetrics gets the same advice as its text") {
  const auto page = read_page(
      "# TYPE x counter\n# HELP x X.\nx_total 1\nx_created 1\n# TYPE y_count info\n# HELP y_count Y.\ny_count_info 1\n"
      "# TYPE z_minutes gaugehistogram\nz_minutes_bucket{le=\"+Inf\"} 1\n"
      "# TYPE s stateset\n# HELP s S.\ns{s=\"a\"} 1\n# EOF\n",
      "application/openmetrics-text");
  CHECK(lint(page) == std::vector<LintProblem>{{"z_minutes", "no help text"},
                                               {"z_minutes", "use base unit \"seconds\" instead of \"minutes\""}});
}

TEST_CASE("lint: problems come by family") {
  const auto page = read_page("b_ms 1\na_hours 1\n", "text/plain");
  CHECK(lint(page) == std::vector<LintProblem>{{"a_hours", "no help text"},
                                               {"a_hours", "use base unit \"seconds\" instead of \"hours\""},
                                               {"b_ms", "metric names should not contain abbreviated units"},
                                               {"b_ms", "no help text"}});
}

TEST_CASE("lint: a registry, and what the library shows of itself") {
  const quipu::Registry registry;
  registry.counter({.name = "orders_total", .help = "Orders."}).inc();
  CHECK(lint(registry).empty());
  registry.gauge({.name = "age_days"}).set(1);
  CHECK(lint(registry) == std::vector<LintProblem>{{"age_days", "no help text"},
                                                   {"age_days", "use base unit \"seconds\" instead of \"days\""}});
}

TEST_CASE("lint: a family before it has a series") {
  const std::vector<std::string> labels{"le", "routeName"};
  const std::vector<quipu::Label> const_labels{{"dataCenter", "1"}};
  const auto advice = [&](std::string_view name, std::string_view help, quipu::MetricType type) {
    return quipu::detail::lint(
        {.name = name, .help = help, .unit = "", .type = type, .const_labels = const_labels, .label_names = labels});
  };
  const std::string humps = "label names should be written in 'snake_case' not 'camelCase'";
  const std::string le = "non-histogram metrics should not have \"le\" label";
  CHECK(advice("x_total", "X.", quipu::MetricType::counter) == Texts{humps, le});
  CHECK(advice("x", "", quipu::MetricType::histogram) == Texts{humps, "no help text"});
  CHECK(advice("x_info", "X.", quipu::MetricType::info) == Texts{humps, le});
  CHECK(
      quipu::detail::lint({.name = "x_state", .help = "X.", .unit = "", .type = quipu::MetricType::stateset}).empty());
  CHECK(quipu::detail::lint({.name = "x_total", .help = "X.", .unit = "", .type = quipu::MetricType::stateset}) ==
        Texts{"non-counter metrics should not have \"_total\" suffix"});
}

TEST_CASE("a registry passes on the advice on what is registered") {
  std::vector<std::pair<std::string, std::string>> advices;
  quipu::RegistryOptions options{.prefix = "shop", .process_metrics = true, .self_metrics = true};
  std::optional<quipu::Registry> registry;
  options.on_lint = [&](std::string_view family, std::string_view advice) {
    advices.emplace_back(family, advice);
    // It is called without a lock.
    if (registry) static_cast<void>(registry->gauge({.name = "advised", .help = "Families with advice."}));
  };
  registry.emplace(options);
  static_cast<void>(registry->counter({.name = "orders_total", .help = "Orders."}));
  static_cast<void>(registry->histogram({.name = "order_seconds", .help = "Time."}, {"kind"}));
  CHECK(advices.empty());
  static_cast<void>(registry->counter({.name = "sales", .help = "Orders."}));
  const auto callback = registry->gauge_callback({.name = "queueLength"}, [] { return 1.0; });
  static_cast<void>(registry->counter({.name = "sales", .help = "Orders."}));  // the same again
  std::vector<std::string> families;
  for (const auto& [family, advice] : advices) families.push_back(family);
  CHECK(families == std::vector<std::string>{"shop_sales", "shop_queueLength", "shop_queueLength"});
  CHECK(advices.front().second.find("_total") != std::string::npos);
}

TEST_CASE("another help text gives the same family, and an advice") {
  std::vector<std::string> advices;
  const auto registry = page::empty_registry({.on_lint = [&](std::string_view family, std::string_view advice) {
    advices.push_back(std::string(family) + ": " + std::string(advice));
  }});
  const auto first = registry.counter({.name = "x_total", .help = "First."});
  CHECK(registry.counter({.name = "x_total", .help = "Second."}) == first);
  const std::string advice =
      "x_total: help text \"Second.\" is not shown, because \"First.\" was there first; write the same";
  CHECK(advices == std::vector<std::string>{advice});
  CHECK(registry.counter({.name = "x_total", .help = "First."}) == first);
  CHECK(advices.size() == 1);
  CHECK(page::body(registry) == "# HELP x_total First.\n# TYPE x_total counter\nx_total 0\n");

  const auto a = registry.gauge_callback({.name = "y", .help = "First."}, {{"k", "a"}}, [] { return 1.0; });
  const auto b = registry.gauge_callback({.name = "y", .help = "Second."}, {{"k", "b"}}, [] { return 2.0; });
  CHECK(advices.size() == 2);
  // All parts of a family have the help text of the first.
  for (const char* const shard : {"2", "1"}) {
    static_cast<void>(
        registry.subsystem("", {{"shard", shard}}).gauge({.name = "z", .help = "Help of " + std::string(shard) + "."}));
  }
  CHECK(advices.size() == 3);
  CHECK(advices.back() ==
        "z: help text \"Help of 1.\" is not shown, because \"Help of 2.\" was there first; write the same");
  CHECK(page::body(registry).find("# HELP z Help of 2.\n") != std::string::npos);
}
