#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"
#include "support/waiting.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;
using page::missing;
using page::refusal;
using quipu::ExemplarView;
using quipu::HistogramValue;
using quipu::MetricType;
using quipu::NumberValue;
using quipu::Samples;
using quipu::StateSetValue;
using quipu::SummaryValue;
using quipu::WallTime;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

WallTime at(std::int64_t milliseconds) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::milliseconds(milliseconds)));
}

/// What a collector gets to hear that shows this.
std::string complaint(quipu::FamilyDescription family, std::function<void(const quipu::FamilySamples&)> show) {
  const auto registry = page::empty_registry();
  std::string message = "(nothing was refused)";
  const auto registration = registry.add([&](Samples& samples) {
    try {
      show(samples.family(family));
    } catch (const quipu::CollectorError& error) {
      message = error.what();
    }
  });
  static_cast<void>(page::body(registry));
  return message;
}

/// What registries report of their collectors.
class Reports {
 public:
  [[nodiscard]] std::function<void(std::string_view, std::string_view)> listener() {
    return [this](std::string_view collector, std::string_view what) {
      const std::lock_guard lock(mutex_);
      reports_.push_back(std::string(collector) + ": " + std::string(what));
      threads_.push_back(std::this_thread::get_id());
    };
  }
  [[nodiscard]] Lines take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(reports_, {});
  }
  [[nodiscard]] std::vector<std::thread::id> threads() {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  std::mutex mutex_;
  Lines reports_;
  std::vector<std::thread::id> threads_;
};

/// A collector shows a value of each type, which it describes where it shows it.
void show_everything(Samples& samples) {
  const quipu::Label trace[] = {{"trace_id", "ab\"c"}};
  const ExemplarView slow{.labels = trace, .value = 0.3, .time = at(1'790'000'000'123)};

  samples.family({.name = "events_total", .help = "Events.", .type = MetricType::counter, .labels = {"kind"}})
      .add({"big"}, NumberValue{.value = 5, .created = at(1'789'999'999'000), .exemplar = slow});
  samples.family({.name = "level", .help = "Level."}).add(-7);
  const auto waits =
      samples.family({.name = "wait_seconds", .help = "Waits.", .type = MetricType::histogram, .labels = {"queue"}});
  waits.add({"mail"}, HistogramValue{.bounds = {0.25, 1},
                                     .counts = {1, 2, 3},
                                     .sum = 9.5,
                                     .created = at(1'789'999'999'000),
                                     .exemplars = {{}, slow}});
  waits.add({"print"}, HistogramValue{.bounds = {10}, .counts = {4, 0}, .sum = 4, .timestamp = at(1'790'000'000'000)});
  samples.family({.name = "build_info", .help = "Build.", .type = MetricType::info, .labels = {"version"}})
      .add({"1.2"}, 1);
  samples.family({.name = "phase", .help = "Phase.", .type = MetricType::stateset, .labels = {"part"}})
      .add({"left"}, StateSetValue{.states = {{"on", true}, {"off", false}}});
  samples.family({.name = "rpc_seconds", .help = "Calls.", .type = MetricType::summary})
      .add(SummaryValue{.quantiles = {{0.5, 0.125}, {0.99, 2}}, .count = 7, .sum = 3.5});
  samples.family({.name = "copied", .help = "Copied.", .type = MetricType::unknown})
      .add(NumberValue{.value = 0.5, .timestamp = at(1'790'000'000'007)});
}

constexpr std::string_view everything = R"(# HELP shop_build_info Build.
# TYPE shop_build_info gauge
shop_build_info{version="1.2"} 1
# HELP shop_copied Copied.
# TYPE shop_copied untyped
shop_copied 0.5 1790000000007
# HELP shop_events_total Events.
# TYPE shop_events_total counter
shop_events_total{kind="big"} 5
# HELP shop_level Level.
# TYPE shop_level gauge
shop_level -7
# HELP shop_phase Phase.
# TYPE shop_phase gauge
shop_phase{part="left",shop_phase="on"} 1
shop_phase{part="left",shop_phase="off"} 0
# HELP shop_rpc_seconds Calls.
# TYPE shop_rpc_seconds summary
shop_rpc_seconds{quantile="0.5"} 0.125
shop_rpc_seconds{quantile="0.99"} 2
shop_rpc_seconds_sum 3.5
shop_rpc_seconds_count 7
# HELP shop_wait_seconds Waits.
# TYPE shop_wait_seconds histogram
shop_wait_seconds_bucket{queue="mail",le="0.25"} 1
shop_wait_seconds_bucket{queue="mail",le="1"} 3
shop_wait_seconds_bucket{queue="mail",le="+Inf"} 6
shop_wait_seconds_sum{queue="mail"} 9.5
shop_wait_seconds_count{queue="mail"} 6
shop_wait_seconds_bucket{queue="print",le="10"} 4 1790000000000
shop_wait_seconds_bucket{queue="print",le="+Inf"} 4 1790000000000
shop_wait_seconds_sum{queue="print"} 4 1790000000000
shop_wait_seconds_count{queue="print"} 4 1790000000000
)";

}  // namespace

TEST_CASE("a collector shows values of every type, whether it describes them beforehand or not") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  auto registration = registry.add(show_everything);
  CHECK(page::body(registry) == everything);
  CHECK(quipu::render(registry, {.deadline = Clock::now() + 1min}).body == everything);
  registration.end();
  CHECK(page::body(registry).empty());

  std::vector<quipu::FamilyDescription> families = {
      {.name = "wait_seconds", .help = "Waits.", .type = MetricType::histogram, .labels = {"queue"}},
      {.name = "phase", .help = "Phase.", .type = MetricType::stateset, .labels = {"part"}},
      {.name = "build_info", .help = "Build.", .type = MetricType::info, .labels = {"version"}},
      {.name = "copied", .help = "Copied.", .type = MetricType::unknown},
      {.name = "events_total", .help = "Events.", .type = MetricType::counter, .labels = {"kind"}},
      {.name = "level", .help = "Level."},
      {.name = "rpc_seconds", .help = "Calls.", .type = MetricType::summary}};
  const auto described = registry.add(families, show_everything);
  CHECK(page::body(registry) == everything);
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "rpc_seconds_sum"})); }),
                {"gauge shop_rpc_seconds_sum", "summary shop_rpc_seconds"}) == "");
}

TEST_CASE("OpenMetrics has the exemplars and created times of a collector") {
  const auto registry = page::empty_registry({.prefix = "shop", .created_lines = true});
  const auto registration = registry.add(show_everything);
  const auto page = quipu::render(registry, "application/openmetrics-text;version=1.0.0");
  CHECK(missing(page.body,
                {"shop_events_total{kind=\"big\"} 5 # {trace_id=\"ab\\\"c\"} 0.3 1790000000.123\n"
                 "shop_events_created{kind=\"big\"} 1789999999.000\n",
                 "shop_wait_seconds_bucket{queue=\"mail\",le=\"1.0\"} 3 # {trace_id=\"ab\\\"c\"} 0.3 1790000000.123\n",
                 "shop_wait_seconds_created{queue=\"mail\"} 1789999999.000\n", "# TYPE shop_build info\n",
                 "# TYPE shop_phase stateset\n", "# TYPE shop_copied unknown\n"}) == "");
  CHECK_NOTHROW(quipu::testing::read_page(page.body, page.content_type));
}

TEST_CASE("a collector shows native histograms") {
  const auto registry = page::empty_registry();
  const auto registration = registry.add([](Samples& samples) {
    const quipu::NativeBuckets::Bucket positive[] = {{-3, 3}, {1, 4}};
    const quipu::NativeBuckets::Bucket negative[] = {{0, 1}};
    const quipu::NativeBuckets native{
        .schema = 3, .zero_threshold = 0x1p-128, .zero_count = 2, .positive = positive, .negative = negative};
    samples.family({.name = "alone", .type = MetricType::histogram}).add(HistogramValue{.sum = 5, .native = native});
    samples.family({.name = "both", .type = MetricType::histogram})
        .add(HistogramValue{.bounds = {1}, .counts = {6, 4}, .sum = 5, .native = native});
  });
  const auto alone = shown::series(registry, "alone");
  CHECK(alone.counts == std::vector<std::uint64_t>{10});
  REQUIRE(alone.native);
  CHECK(alone.native->schema == 3);
  CHECK(alone.native->positive.size() == 2);
  CHECK(alone.native->positive[1].count == 4);
  CHECK(alone.native->negative.size() == 1);
  CHECK(shown::series(registry, "both").bounds == std::vector<double>{1});
}

TEST_CASE("label values come from any range of texts, and numbers of any type") {
  const auto registry = page::empty_registry();
  const auto registration =
      registry.add({{.name = "x", .labels = {"a", "b"}}, {.name = "y", .labels = {"a"}}}, [](Samples& samples) {
        const std::string text = "1";
        samples.add("x", {"list", text}, 1);
        const std::vector<std::string> strings = {"vector", "2"};
        samples.add("x", strings, 2U);
        const std::array<const char*, 2> array = {"array", "3"};
        samples.add("x", array, 3L);
        const std::string_view views[] = {"span", "4"};
        samples.add("x", std::span(views), 4.5F);
        samples.add("x", views, std::int8_t{-5});
        samples.add("y", {text}, -6LL);
      });
  CHECK(page::samples(registry) == Lines{R"(x{a="list",b="1"} 1)", R"(x{a="vector",b="2"} 2)",
                                         R"(x{a="array",b="3"} 3)", R"(x{a="span",b="4"} 4.5)", R"(y{a="1"} -6)"});
}

TEST_CASE("wrong values are refused where a collector adds them") {
  using quipu::FamilySamples;
  const auto histogram = [](HistogramValue value) {
    return complaint({.name = "h", .type = MetricType::histogram},
                     [&](const FamilySamples& family) { family.add(std::move(value)); });
  };
  const auto summary = [](SummaryValue value) {
    return complaint({.name = "s", .type = MetricType::summary},
                     [&](const FamilySamples& family) { family.add(std::move(value)); });
  };
  const auto number = [](MetricType type, quipu::SeriesValue value) {
    return complaint({.name = "x_info", .type = type},
                     [&](const FamilySamples& family) { family.add(std::move(value)); });
  };
  CHECK(missing(histogram({.bounds = {1, 2}, .counts = {1, 2}}), {"\"h\"", "2 bounds and 2 counts"}) == "");
  CHECK(missing(histogram({}), {"0 bounds and 0 counts"}) == "");
  CHECK(missing(histogram({.bounds = {2, 1}, .counts = {0, 0, 0}}), {"do not increase"}) == "");
  CHECK(missing(histogram({.bounds = {1, 1}, .counts = {0, 0, 0}}), {"do not increase"}) == "");
  CHECK(missing(histogram({.bounds = {1, infinity}, .counts = {0, 0, 0}}), {"not finite"}) == "");
  CHECK(missing(histogram({.bounds = {not_a_number}, .counts = {0, 0}}), {"not finite"}) == "");
  CHECK(missing(histogram({.bounds = {1}, .counts = {1, 1}, .created = at(-1)}), {"before 1970"}) == "");
  const ExemplarView exemplar{.labels = {}, .value = 5, .time = at(0)};
  CHECK(missing(histogram({.bounds = {1}, .counts = {1, 1}, .exemplars = {exemplar}}), {"outside its bucket"}) == "");
  CHECK(missing(histogram({.counts = {1}, .exemplars = {{}, {}}}), {"more exemplars than buckets"}) == "");
  const quipu::Label wrong_label[] = {{"a-b", "c"}};
  const ExemplarView wrong{.labels = wrong_label, .value = 5, .time = at(0)};
  CHECK(missing(histogram({.counts = {1}, .exemplars = {wrong}}), {"\"a-b\""}) == "");

  const quipu::NativeBuckets::Bucket backwards[] = {{2, 1}, {1, 1}};
  const quipu::NativeBuckets::Bucket empty[] = {{2, 0}};
  const auto native = [](std::int32_t schema, double threshold, std::span<const quipu::NativeBuckets::Bucket> buckets) {
    return quipu::NativeBuckets{
        .schema = schema, .zero_threshold = threshold, .zero_count = 1, .positive = buckets, .negative = {}};
  };
  CHECK(missing(histogram({.native = native(9, 0, {})}), {"schema 9"}) == "");
  CHECK(missing(histogram({.native = native(0, -1, {})}), {"zero threshold"}) == "");
  CHECK(missing(histogram({.native = native(0, 0, backwards)}), {"indices do not increase"}) == "");
  CHECK(missing(histogram({.native = native(0, 0, empty)}), {"empty native buckets"}) == "");
  CHECK(missing(histogram({.counts = {2}, .native = native(0, 0, {})}), {"another count"}) == "");

  CHECK(missing(summary({.quantiles = {{1.5, 1}}}), {"the quantile 1.5"}) == "");
  CHECK(missing(summary({.quantiles = {{not_a_number, 1}}}), {"the quantile nan"}) == "");
  CHECK(missing(summary({.quantiles = {{0.9, 1}, {0.5, 1}}}), {"do not increase"}) == "");

  CHECK(missing(number(MetricType::counter, -1), {"a counter", "neither negative nor NaN"}) == "");
  CHECK(missing(number(MetricType::counter, not_a_number), {"neither negative nor NaN"}) == "");
  CHECK(missing(number(MetricType::info, 2), {"its value is 1"}) == "");
  CHECK(missing(number(MetricType::gauge, NumberValue{.value = 1, .created = at(0)}), {"is no counter"}) == "");
  CHECK(missing(number(MetricType::gauge, NumberValue{.value = 1, .timestamp = at(-1)}), {"before 1970"}) == "");
  CHECK(missing(number(MetricType::gauge, SummaryValue{}), {"is of type gauge", "a number"}) == "");
  CHECK(missing(number(MetricType::histogram, 1), {"is of type histogram", "a HistogramValue"}) == "");
  CHECK(missing(number(MetricType::summary, 1), {"a SummaryValue"}) == "");
  CHECK(missing(number(MetricType::stateset, 1), {"has 0 labels, not 0"}) != "");
  CHECK(missing(number(MetricType::stateset, 1), {"a StateSetValue"}) == "");
  CHECK(missing(number(MetricType::stateset, StateSetValue{.states = {{"a", true}, {"a", false}}}), {"\"a\" twice"}) ==
        "");
}

TEST_CASE("a family that a collector has not described is checked where it is shown") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  const auto message = [&](quipu::FamilyDescription family) -> std::string {
    std::string found = "(nothing was refused)";
    const auto registration = registry.add([&](Samples& samples) {
      try {
        static_cast<void>(samples.family({.name = "known", .labels = {"a"}}));
        samples.family(family).add(1);
      } catch (const quipu::CollectorError& error) {
        found = error.what();
      }
    });
    static_cast<void>(page::body(registry));
    return found;
  };
  CHECK(missing(message({.name = "a-b"}), {"collector", "a-b", "[a-zA-Z_:][a-zA-Z0-9_:]*"}) == "");
  CHECK(missing(message({.name = "x", .labels = {"env"}}), {"const label"}) == "");
  CHECK(missing(message({.name = "x", .type = MetricType::info}), {"ends in _info"}) == "");
  CHECK(missing(message({.name = "known"}),
                {"\"known\" is gauge known{env=\"test\", a text}", "cannot be gauge known{env=\"test\"}"}) == "");
  CHECK(message({.name = "x"}) == "(nothing was refused)");

  // Who describes has to describe everything.
  std::string undescribed;
  const auto registration = registry.add({{.name = "a"}}, [&](Samples& samples) {
    samples.family({.name = "a"}).add(1);
    try {
      samples.family({.name = "b"}).add(1);
    } catch (const quipu::CollectorError& error) {
      undescribed = error.what();
    }
  });
  CHECK(page::value(registry, "a{env=\"test\"}") == "1");
  CHECK(missing(undescribed, {"\"b\" was not described"}) == "");
}

TEST_CASE("a family that clashes at a scrape is left out, counted and reported, and the page stays valid") {
  Reports reports;
  quipu::Registry registry({.on_error = reports.listener(), .process_metrics = false});
  registry.histogram({.name = "m", .help = "M.", .buckets = {1.0}}).observe(1);
  const auto described = registry.add({{.name = "shared", .labels = {"n"}}},
                                      [](Samples& samples) { samples.add("shared", {"described"}, 1); });
  const auto first = registry.add(
      [](Samples& samples) {
        samples.family({.name = "a"}).add(1);
        samples.family({.name = "z_total", .type = MetricType::counter}).add(2);
        samples.family({.name = "m_count"}).add(3);                             // a sample of the histogram
        samples.family({.name = "shared", .labels = {"n"}}).add({"first"}, 4);  // the same
      },
      "first");
  const auto second = registry.add(
      [](Samples& samples) {
        samples.family({.name = "m"}).add(5);
        samples.family({.name = "a", .labels = {"b"}}).add({"c"}, 6);
        samples.family({.name = "z"}).add(7);
        samples.family({.name = "b"}).add(8);
        samples.family({.name = "shared", .help = "Other."}).add(9);
        samples.family({.name = "nothing"});
      },
      "second");
  const auto third = registry.add([](Samples& samples) { samples.family({.name = "b"}).add(10); }, "third");

  const std::string body = page::body(registry);
  CHECK_NOTHROW(quipu::testing::read_page(body, "text/plain"));
  Lines others;
  for (std::string& line : page::samples(body)) {
    if (!line.starts_with("quipu_") && !line.starts_with("m_")) others.push_back(std::move(line));
  }
  CHECK(others == Lines{"a 1", "b 8", R"(shared{n="described"} 1)", R"(shared{n="first"} 4)", "z_total 2"});
  CHECK(page::value(body, "m_count") == "1");
  CHECK(page::value(body, R"(quipu_collector_up{collector="second"})") == "1");
  const Lines found = reports.take();
  REQUIRE(found.size() == 6);
  CHECK(missing(found[0], {"first: family gauge m_count", "is left out", "histogram m"}) == "");
  CHECK(missing(found[1], {"second: family gauge m ", "histogram m"}) == "");
  CHECK(missing(found[2], {"second: family gauge a{b text}", "gauge a \"\""}) == "");
  CHECK(missing(found[3], {"second: family gauge z ", "counter z_total"}) == "");
  CHECK(missing(found[4], {"second: family gauge shared", "gauge shared{n text}"}) == "");
  CHECK(missing(found[5], {"third: family b has series that are on the page already"}) == "");

  const std::string next = page::body(registry);
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="first",reason="clash"})") == "1");
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="second",reason="clash"})") == "4");
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="third",reason="duplicate"})") == "1");
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="third",reason="clash"})") == "0");
  // A page of some families has these of them.
  const std::vector<std::string> some = {"z_total", "shared"};
  CHECK(page::samples(quipu::render(registry, {.families = some}).body) ==
        Lines{R"(shared{n="described"} 1)", R"(shared{n="first"} 4)", "z_total 2"});
}

TEST_CASE("pages are valid while what undescribed families clash with comes and goes") {
  const auto registry = page::empty_registry();
  const auto one = registry.add([](Samples& samples) {
    samples.family({.name = "a"}).add(1);
    samples.family({.name = "b_count"}).add(2);
  });
  const auto other = registry.add([](Samples& samples) { samples.family({.name = "a", .help = "Other."}).add(3); });
  std::atomic<bool> is_over{false};
  std::thread registrar([&] {
    while (!is_over) {
      const auto same = registry.add({{.name = "a"}}, [](Samples& samples) { samples.add("a", 4); });
      const auto histogram = registry.add({{.name = "b", .type = MetricType::histogram}}, [](Samples& samples) {
        samples.add("b", HistogramValue{.counts = {1}, .sum = 5});
      });
      const auto described = registry.add({{.name = "c"}}, [](Samples& samples) { samples.add("c", 6); });
    }
  });
  std::vector<std::thread> scrapers;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 2; ++i) {
    scrapers.emplace_back([&] {
      for (int n = 0; n < 200; ++n) {
        const auto deadline = n % 2 == 0 ? Clock::time_point::max() : Clock::now() + 1min;
        try {
          const auto read =
              quipu::testing::read_page(quipu::render(registry, {.deadline = deadline}).body, "text/plain");
          if (read.family("a") == nullptr ||
              !std::ranges::is_sorted(read.families, {}, &quipu::testing::ParsedFamily::name)) {
            ++wrong;
          }
        } catch (const quipu::testing::ParseError&) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& scraper : scrapers) scraper.join();
  is_over = true;
  registrar.join();
  CHECK(wrong == 0);
}

TEST_CASE("what a collector throws reaches the program, and the page says which collector it was") {
  Reports reports;
  const quipu::Registry registry({.on_error = reports.listener(), .process_metrics = false});
  const auto bad = registry.gauge_callback({.name = "a"}, []() -> double { throw std::runtime_error("no disk"); });
  const auto worse = registry.add([](Samples&) { throw 5; }, "worse");
  const auto careless = registry.add([](Samples& samples) { samples.add("x", 1); });
  const auto good = registry.gauge_callback({.name = "b"}, [] { return 1; });
  static_cast<void>(page::body(registry));
  CHECK(reports.take() == Lines{"a: no disk", "worse: it threw something that is not a std::exception",
                                "unnamed: collector: family \"x\" was not described: describe() returns it, or "
                                "Samples::family() gets its description"});
  // With a deadline too, on the thread that makes the page.
  const auto body = quipu::render(registry, {.deadline = Clock::now() + 1min}).body;
  CHECK(reports.take().size() == 3);
  for (const auto thread : reports.threads()) CHECK(thread == std::this_thread::get_id());
  CHECK(page::value(body, R"(quipu_collector_errors_total{collector="a",reason="exception"})") == "1");
  CHECK(page::value(body, R"(quipu_collector_errors_total{collector="worse",reason="exception"})") == "1");
  CHECK(page::value(body, R"(quipu_collector_errors_total{collector="unnamed",reason="exception"})") == "1");
  CHECK(page::value(body, R"(quipu_collector_errors_total{collector="b",reason="exception"})") == "0");
  CHECK(page::value(body, R"(quipu_collector_up{collector="worse"})") == "0");
}

TEST_CASE("a collector that is too slow is reported") {
  Reports reports;
  const auto registry = page::empty_registry({.on_error = reports.listener()});
  Gate gate;
  const auto slow = registry.gauge_callback({.name = "slow"}, [&] {
    gate.pass();
    return 1;
  });
  static_cast<void>(quipu::render(registry, {.deadline = Clock::now() + 20ms}));
  gate.open();
  const Lines found = reports.take();
  REQUIRE(found.size() == 1);
  CHECK(missing(found[0], {"slow: no call of it was over at the deadline"}) == "");
}

TEST_CASE("who hears of an error may scrape and register") {
  const quipu::Registry* used = nullptr;
  int depth = 0;
  std::vector<quipu::Registration> made;
  const auto registry = page::empty_registry({.on_error = [&](std::string_view, std::string_view) {
    if (++depth > 1) return;
    static_cast<void>(page::body(*used));
    made.push_back(used->gauge_callback({.name = "heard"}, [] { return 1; }));
  }});
  used = &registry;
  const auto bad = registry.gauge_callback({.name = "a"}, []() -> double { throw 5; });
  static_cast<void>(page::body(registry));
  CHECK(depth == 2);
  CHECK(page::value(registry, "heard") == "1");
}

TEST_CASE("a page says how long the call of each collector took") {
  const quipu::Registry registry({.process_metrics = false});
  const auto slow = registry.add(
      [](Samples& samples) {
        std::this_thread::sleep_for(30ms);
        samples.family({.name = "x"}).add(1);
      },
      "slow");
  const auto bad = registry.add(
      [](Samples&) {
        std::this_thread::sleep_for(10ms);
        throw 5;
      },
      "bad");
  Gate gate;
  const auto hanging = registry.gauge_callback({.name = "hanging"}, [&] {
    gate.pass();
    return 1;
  });
  const auto read =
      quipu::testing::read_page(quipu::render(registry, {.deadline = Clock::now() + 2s}).body, "text/plain");
  gate.open();
  const auto duration = [&](std::string_view collector) {
    return quipu::testing::find_value(read, "quipu_collector_duration_seconds", {{"collector", collector}});
  };
  REQUIRE(duration("slow"));
  CHECK(*duration("slow") >= 0.03);
  CHECK(*duration("slow") < 30);
  REQUIRE(duration("bad"));
  CHECK(*duration("bad") >= 0.01);
  CHECK(!duration("hanging"));  // it is not over
}

TEST_CASE("errors are those of a collector's name, and go with it") {
  const quipu::Registry registry({.process_metrics = false});
  const auto value = [&](std::string_view body) {
    return page::value(body, R"(quipu_collector_errors_total{collector="pool",reason="exception"})");
  };
  const auto fails = [](Samples&) { throw 5; };
  {
    const auto one = registry.add(fails, "pool");
    {
      const auto two = registry.add(fails, "pool");
      static_cast<void>(page::body(registry));
    }
    CHECK(value(page::body(registry)) == "2");
  }
  CHECK(value(page::body(registry)) == page::absent);
  // Names that come and go leave nothing behind.
  for (int i = 0; i < 1000; ++i) static_cast<void>(registry.add(fails, "pool " + std::to_string(i)));
  CHECK(page::body(registry).find("pool") == std::string::npos);
}

TEST_CASE("a function that is a collector lives as long as its registration") {
  const auto registry = page::empty_registry();
  const auto witness = std::make_shared<int>(5);
  {
    const auto registration =
        registry.add([witness](Samples& samples) { samples.family({.name = "x"}).add(*witness); });
    CHECK(page::value(registry, "x") == "5");
    CHECK(witness.use_count() == 2);
  }
  CHECK(witness.use_count() == 1);
  CHECK_THROWS_AS(registry.add(std::function<void(Samples&)>()), quipu::RegistrationError);
}
