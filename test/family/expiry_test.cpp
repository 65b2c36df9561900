#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"

namespace {

using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

/// So short that any two scrapes are further apart: the second one hides what has not changed.
constexpr auto at_once = 1ns;

const quipu::RegistryOptions plain{.process_metrics = false, .self_metrics = false};

/// The names and labels of the samples on the page.
Lines series_of(const quipu::Registry& registry) {
  Lines series;
  for (const auto& family : quipu::testing::read_page(registry).families) {
    for (const auto& sample : family.samples) {
      std::string& name = series.emplace_back(sample.name);
      for (const auto& label : sample.labels) name += " " + label.value;
    }
  }
  return series;
}

template <class Function>
std::string error_of(Function function) {
  try {
    function();
  } catch (const quipu::RegistrationError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a series that is not recorded to is hidden, and shown again with its value when it is") {
  quipu::Registry registry(plain);
  auto jobs = registry.counter({.name = "jobs_total", .help = "J.", .idle_expiry = at_once}, {"queue"});
  const auto mail = jobs("mail");
  mail.inc(3);
  jobs("print").inc();
  CHECK(series_of(registry) == Lines{"jobs_total mail", "jobs_total print"});

  jobs("print").inc();
  CHECK(series_of(registry) == Lines{"jobs_total print"});
  CHECK(series_of(registry) == Lines{});
  CHECK(jobs.size() == 2);
  CHECK(mail.value() == 3);

  mail.inc();  // through a handle from before
  jobs("print").inc(0);
  static_cast<void>(jobs("print"));
  jobs.create("print");
  CHECK(series_of(registry) == Lines{"jobs_total mail"});
  mail.inc();
  CHECK(quipu::testing::value_of(registry, "jobs_total", {{"queue", "mail"}}) == 5);
}

TEST_CASE("a series is hidden only by two scrapes that are as far apart as it takes") {
  quipu::Registry registry(plain);
  auto slow = registry.counter({.name = "slow_total", .help = "S.", .idle_expiry = 1h}, {"queue"});
  auto quick = registry.counter({.name = "quick_total", .help = "Q.", .idle_expiry = 20ms}, {"queue"});
  auto kept = registry.counter({.name = "kept_total", .help = "K."}, {"queue"});
  slow("a").inc();
  quick("a").inc();
  kept("a").inc();
  std::this_thread::sleep_for(21ms);  // no scrape has looked yet
  CHECK(series_of(registry) == Lines{"kept_total a", "quick_total a", "slow_total a"});
  std::this_thread::sleep_for(21ms);
  CHECK(series_of(registry) == Lines{"kept_total a", "slow_total a"});
}

TEST_CASE("each instrument is in use for as long as it is recorded to") {
  quipu::Registry registry(plain);
  auto whole = registry.counter({.name = "a_total", .help = "A.", .idle_expiry = at_once}, {"l"});
  auto real = registry.fractional_counter({.name = "b_total", .help = "B.", .idle_expiry = at_once}, {"l"});
  auto histogram = registry.histogram({.name = "c", .help = "C.", .buckets = {1}, .idle_expiry = at_once}, {"l"});
  auto native = registry.native_histogram({.name = "d", .help = "D.", .idle_expiry = at_once}, {"l"});
  auto gauge = registry.gauge({.name = "e", .help = "E.", .idle_expiry = at_once}, {"l"});
  const Lines all = {"a_total x", "b_total x",       "c_bucket x 1", "c_bucket x +Inf", "c_sum x",
                     "c_count x", "d_bucket x +Inf", "d_sum x",      "d_count x",       "e x"};
  for (int i = 0; i < 20; ++i) {  // with cells of the thread's own, and before
    whole("x").inc();
    real("x").inc(0.5);
    histogram("x").observe(0.5);
    native("x").observe(i % 3 == 0 ? 100.0 * i : 1);
    gauge("x").set(7);  // always the same
    CHECK(series_of(registry) == all);
  }
  CHECK(series_of(registry) == Lines{});
  gauge("x").add(0);
  CHECK(series_of(registry) == Lines{"e x"});
  CHECK(gauge("x").value() == 7);
}

TEST_CASE("a gauge that is only added to is in use until it is back at 0") {
  quipu::Registry registry(plain);
  auto busy = registry.gauge({.name = "busy", .help = "B.", .idle_expiry = at_once}, {"pool"});
  for (int i = 0; i < 20; ++i) busy("a").track().end();
  {
    const auto in_flight = busy("a").track();
    for (int i = 0; i < 3; ++i) CHECK(quipu::testing::value_of(registry, "busy", {{"pool", "a"}}) == 1);
  }
  CHECK(quipu::testing::value_of(registry, "busy", {{"pool", "a"}}) == 0);
  CHECK(series_of(registry) == Lines{});
  busy("a").track().end();  // up and down between two scrapes
  CHECK(series_of(registry) == Lines{"busy a"});
}

TEST_CASE("every way to scrape is a look at what is idle") {
  quipu::Registry registry(plain);
  auto jobs = registry.counter({.name = "jobs_total", .help = "J.", .idle_expiry = at_once}, {"queue"});
  auto other = registry.counter({.name = "other_total", .help = "O.", .idle_expiry = at_once}, {"queue"});
  jobs("a").inc();
  other("a").inc();
  CHECK(quipu::testing::find_value(registry, "jobs_total", {{"queue", "a"}}) == 1);
  CHECK(quipu::render(registry, "text/plain").body == "");
  jobs("a").inc();
  CHECK(quipu::testing::find_value(registry, "other_total", {{"queue", "a"}}) == std::nullopt);
}

TEST_CASE("a family that is full has room for a new series by removing the one that has been idle the longest") {
  quipu::Registry registry({.process_metrics = false});
  auto jobs =
      registry.counter({.name = "jobs_total", .help = "J.", .max_series = 3, .idle_expiry = at_once}, {"queue"});
  const auto first = jobs("first");
  const auto second = jobs("second");
  const auto third = jobs("third");
  first.inc();
  second.inc();
  third.inc();
  static_cast<void>(series_of(registry));
  second.inc();
  third.inc();
  static_cast<void>(series_of(registry));  // hides the first one
  third.inc();
  static_cast<void>(series_of(registry));  // and the second one
  first.inc();                             // which no scrape has seen yet

  const auto fourth = jobs("fourth");
  fourth.inc(4);
  CHECK(first.value() == 2);
  CHECK(second.value() == 0);  // gone
  CHECK(fourth.value() == 4);
  second.inc();
  CHECK(second.value() == 0);
  CHECK(quipu::testing::value_of(registry, "quipu_evicted_series_total", {{"family", "jobs_total"}}) == 1);

  // None of the others is idle: there was no scrape that has found so.
  first.inc(), third.inc(), fourth.inc();
  static_cast<void>(series_of(registry));
  first.inc(), third.inc(), fourth.inc();
  jobs("fifth").inc();
  CHECK(quipu::testing::value_of(registry, "jobs_total", {{"queue", "overflow"}}) == 1);
  CHECK(first.value() == 4);
  for (int i = 0; i < 3; ++i) static_cast<void>(series_of(registry));
  CHECK(quipu::testing::value_of(registry, "jobs_total", {{"queue", "overflow"}}) == 1);  // stays
}

TEST_CASE("series that come and go for ever take no more room than the family may have") {
  quipu::Registry registry(plain);
  auto sessions =
      registry.histogram({.name = "lag_seconds", .help = "L.", .max_series = 50, .idle_expiry = at_once}, {"player"});
  std::uint64_t shown = 0;
  for (int i = 0; i < 500; ++i) {
    sessions("player-" + std::to_string(i)).observe(0.1);
    if (i % 10 == 9) shown += quipu::testing::read_page(registry).family("lag_seconds")->samples.size();
  }
  CHECK(sessions.size() == 50);
  CHECK(shown == 500 * 14);  // each of them once, with all its lines
}

TEST_CASE("an expiry that makes no sense is refused") {
  quipu::Registry registry(plain);
  CHECK(error_of([&] { static_cast<void>(registry.counter({.name = "a_total", .help = "A.", .idle_expiry = 1h})); }) ==
        "cannot register counter a_total, idle after 3600 s \"A.\": idle_expiry is for families with labels, and a "
        "metric "
        "without labels is always shown; leave it out");
  CHECK(error_of([&] { static_cast<void>(registry.gauge({.name = "a", .help = "A.", .idle_expiry = -1s}, {"l"})); }) ==
        "cannot register gauge a{l text}, idle after -1 s \"A.\": idle_expiry is negative; it is 0 (for never) or a "
        "time above it");
  CHECK(error_of([&] {
          static_cast<void>(
              registry.gauge_callback({.name = "a", .help = "A.", .idle_expiry = 1h}, [] { return 1.0; }));
        }) ==
        "cannot register callback a: idle_expiry is for what is recorded, and a callback is shown until its "
        "registration ends; leave it out");
  static_cast<void>(registry.gauge({.name = "b", .help = "B.", .idle_expiry = 1h}, {"l"}));
  CHECK(error_of([&] { static_cast<void>(registry.gauge({.name = "b", .help = "B."}, {"l"})); }) ==
        "cannot register gauge b{l text} \"B.\": the name is taken by gauge b{l text}, idle after 3600 s \"B.\"; "
        "register "
        "the same definition, or choose another name");
}
