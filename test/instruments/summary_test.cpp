#include "quipu/summary.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/batch.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/shown.hpp"

namespace {

using namespace std::chrono_literals;
using quipu::Summary;

static_assert(std::is_trivially_copyable_v<Summary>);
static_assert(sizeof(Summary) <= 2 * sizeof(void*));

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// How exact quantiles are while there is room for the buckets that were asked for.
constexpr double error = 0.0055;

std::vector<double> values(const Summary& summary) {
  std::vector<double> result;
  for (const auto& quantile : summary.snapshot().quantiles) result.push_back(quantile.value);
  return result;
}

/// The largest relative error of a thousand quantiles.
double largest_error(const Summary& summary, std::vector<double> observed) {
  std::ranges::sort(observed);
  const auto snapshot = summary.snapshot();
  double largest = 0;
  for (std::size_t i = 1; i <= 1000; ++i) {
    const double q = static_cast<double>(i) / 1000;
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(observed.size()) - 1e-6));
    const double exact = observed[rank - 1];
    largest = std::max(largest, std::fabs(snapshot.quantile(q) / exact - 1));
  }
  return largest;
}

}  // namespace

TEST_CASE("a summary shows quantiles, the sum and the count") {
  const auto registry = page::empty_registry();
  const auto summary = registry.summary({.name = "size_bytes", .help = "Sizes.", .quantiles = {0.99, 0.5}});
  for (int i = 1; i <= 100; ++i) summary.observe(i);
  const auto snapshot = summary.snapshot();
  CHECK(snapshot.count == 100);
  CHECK(snapshot.sum == 5050);
  CHECK(snapshot.window.count() == 100);
  REQUIRE(snapshot.quantiles.size() == 2);
  CHECK(snapshot.quantiles[0].quantile == 0.5);
  CHECK(snapshot.quantiles[0].value == Approx(50).epsilon(error));
  CHECK(snapshot.quantiles[1].quantile == 0.99);
  CHECK(snapshot.quantiles[1].value == Approx(99).epsilon(error));

  const auto series = shown::series(registry, "size_bytes");
  CHECK(series.quantiles == snapshot.quantiles);
  CHECK(series.count == 100);
  CHECK(series.value == 5050);
  CHECK(series.created == snapshot.created);
  const auto samples = page::samples(registry);
  REQUIRE(samples.size() == 4);
  CHECK(samples[0].starts_with(R"(size_bytes{quantile="0.5"} )"));
  CHECK(samples[1].starts_with(R"(size_bytes{quantile="0.99"} )"));
  CHECK(samples[2] == "size_bytes_sum 5050");
  CHECK(samples[3] == "size_bytes_count 100");
}

TEST_CASE("a summary shows the median, and two higher quantiles, unless told otherwise") {
  const auto registry = page::empty_registry();
  const auto usual = registry.summary({.name = "a"});
  CHECK(usual.snapshot().quantiles.size() == 3);
  const auto none = registry.summary({.name = "b", .quantiles = {}});
  none.observe(1);
  CHECK(none.snapshot().quantiles.empty());
  CHECK(none.snapshot().quantile(0.5) == Approx(1).epsilon(error));
  CHECK(page::value(registry, "b_count") == "1");
}

TEST_CASE("a quantile is off by 0.55 % at most from the value that has its rank") {
  const auto registry = page::empty_registry();
  const auto family = registry.summary<int>({.name = "a"}, {"n"});
  std::mt19937_64 random(1);
  for (int n = 0; n < 20; ++n) {
    std::vector<double> observed;
    for (int i = 0; i < 5000; ++i) {
      observed.push_back(std::exp2(7 * std::generate_canonical<double, 53>(random)) * std::pow(10, n - 10));
    }
    for (const double value : observed) family(n).observe(value);
    CHECK(largest_error(family(n), observed) <= error);
  }
}

TEST_CASE("values of very many sizes cost exactness, no more than is said, and no observation") {
  const auto registry = page::empty_registry();
  std::mt19937_64 random(2);
  const auto spread_over = [&](const Summary& summary, double powers) {
    std::vector<double> observed;
    for (int i = 0; i < 20'000; ++i) {
      observed.push_back(std::exp2(powers * std::generate_canonical<double, 53>(random)));
    }
    for (const double value : observed) summary.observe(value);
    CHECK(summary.snapshot().count == 20'000);
    return largest_error(summary, observed);
  };
  CHECK(spread_over(registry.summary({.name = "a"}), std::log2(50'000)) <= 0.011);
  CHECK(spread_over(registry.summary({.name = "b"}), 31) <= 0.022);
}

TEST_CASE("quantiles of negative values, zeros and infinities are in their order") {
  const auto registry = page::empty_registry();
  const auto summary = registry.summary({.name = "a"});
  for (const double value : {-infinity, -1e300, -5.0, 0.0, -0.0, 5e-324, 1e-310, 5.0, 1e300, infinity}) {
    summary.observe(value);
  }
  const auto snapshot = summary.snapshot();
  const auto at = [&](int rank) { return snapshot.quantile(rank / 10.0); };
  CHECK(at(1) == -infinity);
  CHECK(at(2) == Approx(-1e300).epsilon(error));
  CHECK(at(3) == Approx(-5).epsilon(error));
  CHECK(at(4) == 0);
  CHECK(at(5) == 0);
  CHECK(at(6) >= 0);
  CHECK(at(6) <= 5e-324);
  CHECK(at(7) == Approx(1e-310).epsilon(error));
  CHECK(at(8) == Approx(5).epsilon(error));
  CHECK(at(9) == Approx(1e300).epsilon(error));
  CHECK(at(10) == infinity);
  CHECK(snapshot.quantile(0) == -infinity);
  CHECK(std::isnan(snapshot.quantile(not_a_number)));
  CHECK(snapshot.quantile(-1) == -infinity);
  CHECK(snapshot.quantile(1.01) == infinity);
}

TEST_CASE("quantiles of an empty window are NaN, and the count and sum remain") {
  const auto registry = page::empty_registry();
  const auto summary = registry.summary({.name = "a", .quantiles = {0.5}, .max_age = 20ms, .age_buckets = 2});
  CHECK(std::isnan(values(summary).front()));
  CHECK(page::samples(registry) == std::vector<std::string>{R"(a{quantile="0.5"} NaN)", "a_sum 0", "a_count 0"});
  summary.observe(2, 3);
  CHECK(values(summary).front() == Approx(2).epsilon(error));
  // The first reading shows the observations in any case, and is kept if it is late enough.
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(25ms);
    static_cast<void>(summary.snapshot());
  }
  std::this_thread::sleep_for(25ms);
  CHECK(page::samples(registry) == std::vector<std::string>{R"(a{quantile="0.5"} NaN)", "a_sum 6", "a_count 3"});
  summary.observe(7);
  CHECK(values(summary).front() == Approx(7).epsilon(error));
  CHECK(summary.snapshot().count == 4);
}

TEST_CASE("a summary observes durations, batches and what timers measure, in seconds") {
  const auto registry = page::empty_registry();
  const auto summary = registry.summary({.name = "a_seconds"});
  summary.observe(500us);
  summary.observe(2min, 3);
  summary.observe(0.25, 0);
  CHECK(summary.snapshot().count == 4);
  CHECK(summary.snapshot().sum == Approx(360.0005));
  const auto rejected = page::rejected("not_a_number") + page::rejected("negative_step");
  summary.observe(not_a_number);
  summary.observe(not_a_number, 2);
  summary.observe(1, -2);
  CHECK(page::rejected("not_a_number") + page::rejected("negative_step") == rejected + 3);
  {
    auto timer = summary.time();
    auto moved = std::move(timer);
  }
  summary.time().discard();
  CHECK(summary.snapshot().count == 5);
  const auto family = registry.summary({.name = "b_seconds"}, {"route"});
  { family.time().stop("/cart"); }
  CHECK(family("/cart").snapshot().count == 1);
}

TEST_CASE("summaries have families, and series that are removed begin anew") {
  const auto registry = page::empty_registry();
  const auto family = registry.summary<std::string_view, bool>({.name = "a", .quantiles = {1}}, {"route", "cached"});
  const auto removed = family("/cart", true);
  removed.observe(3);
  CHECK(page::value(registry, R"(a_count{route="/cart",cached="true"})") == "1");
  CHECK(family.remove("/cart", true));
  removed.observe(3);
  CHECK(removed.snapshot() == quipu::SummarySnapshot());
  CHECK(page::body(registry).empty());
  family("/cart", true).observe(5);
  CHECK(values(family("/cart", true)).front() == Approx(5).epsilon(error));
  CHECK(family.size() == 1);

  const quipu::SummaryFamily<std::string_view> nowhere;
  nowhere("x").observe(1);
  Summary().observe(1);
  Summary().observe(1, 2);
  CHECK(Summary().snapshot().count == 0);
  CHECK(std::isnan(Summary().snapshot().quantile(0.5)));
}

TEST_CASE("a summary that is reset begins anew, with an empty window") {
  const auto registry = page::empty_registry();
  const auto family = registry.summary({.name = "a", .quantiles = {1}}, {"route"});
  const auto summary = family("/cart");
  summary.observe(3, 1000);
  CHECK(values(summary).front() == Approx(3).epsilon(error));
  family.reset();
  CHECK(summary.snapshot().count == 0);
  CHECK(std::isnan(values(summary).front()));
  summary.observe(5);
  CHECK(summary.snapshot().count == 1);
  CHECK(summary.snapshot().window.count() == 1);
  CHECK(values(summary).front() == Approx(5).epsilon(error));
}

TEST_CASE("a summary's labels may be named at run time") {
  const auto registry = page::empty_registry();
  const auto family = registry.summary({.name = "a"}, std::vector<std::string>{"route"});
  family({"/cart"}).observe(1);
  CHECK(family.with({{"route", "/cart"}}).snapshot().count == 1);
  const auto stages = registry.gauge({.name = "b"}, std::vector<std::string>{"stage"});
  {
    auto tracker = stages.track();
    tracker.labels({"parse"});
    tracker.labels_with({{"stage", "store"}});
    CHECK(stages({"parse"}).value() == 0);
    CHECK(stages({"store"}).value() == 1);
  }
  CHECK(stages({"store"}).value() == 0);
}

TEST_CASE("a summary is registered in a batch, and again as the same") {
  struct Metrics {
    quipu::Scope scope;
    Summary sizes = scope.summary({.name = "sizes", .quantiles = {0.5, 0.9}});
  };
  const auto registry = page::empty_registry();
  const auto metrics = quipu::batch<Metrics>(registry, "x");
  metrics.sizes.observe(1);
  CHECK(registry.summary({.name = "x_sizes", .quantiles = {0.9, 0.5}}) == metrics.sizes);
  const auto message = page::refusal(
      [&] { static_cast<void>(registry.summary({.name = "x_sizes", .quantiles = {0.5}, .max_age = 1min})); });
  CHECK(message ==
        "cannot register summary x_sizes with quantiles [0.5] over 60 s in 5 age buckets \"\": the name is taken by "
        "summary x_sizes with quantiles [0.5, 0.9] over 600 s in 5 age buckets \"\"; register the same definition, or "
        "choose another name");
  const auto clash = page::refusal([&] { static_cast<void>(registry.gauge({.name = "x_sizes_count"})); });
  CHECK(clash.find("\"x_sizes_count\" would be a sample of it") != std::string::npos);
}

TEST_CASE("options of a summary that make no sense are refused") {
  const auto registry = page::empty_registry();
  const auto refusal = [&](const quipu::SummaryOptions& options) {
    return page::refusal([&] { static_cast<void>(registry.summary(options)); });
  };
  CHECK(refusal({.name = "a", .quantiles = {99}}) ==
        "cannot register summary a: quantiles has 99; a quantile is from 0 to 1, as 0.99");
  CHECK(refusal({.name = "a", .quantiles = {not_a_number}}) ==
        "cannot register summary a: quantiles has nan; a quantile is from 0 to 1, as 0.99");
  CHECK(refusal({.name = "a", .quantiles = {0.5, 0.9, 0.5}}) ==
        "cannot register summary a: quantiles has twice 0.5; leave one of them out");
  CHECK(refusal({.name = "a", .max_age = 0s}) ==
        "cannot register summary a: max_age is 0 ns; it is a time above 0, as 10min");
  CHECK(refusal({.name = "a", .age_buckets = 0}) == "cannot register summary a: age_buckets is 0; it is from 1 to 60");
  CHECK(refusal({.name = "a", .age_buckets = 61}) ==
        "cannot register summary a: age_buckets is 61; it is from 1 to 60");
  const auto label = page::refusal([&] { static_cast<void>(registry.summary({.name = "a"}, {"quantile"})); });
  CHECK(label.find("label \"quantile\" is the quantile of a summary; choose another name") != std::string::npos);
}

TEST_CASE("a forked child has the summaries of its parent, and its own windows") {
  const auto registry = page::empty_registry();
  const auto summary = registry.summary({.name = "a", .quantiles = {1}, .max_age = 1h});
  summary.observe(1);
  CHECK(values(summary).front() == Approx(1).epsilon(error));
  CHECK(in_child([&] {
    summary.observe(5);
    const auto snapshot = summary.snapshot();
    return snapshot.count == 2 && std::fabs(snapshot.quantile(1) - 5) < 5 * error;
  }));
  CHECK(summary.snapshot().count == 1);
  CHECK(values(summary).front() == Approx(1).epsilon(error));
}
