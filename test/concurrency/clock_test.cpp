#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "quipu/exposition.hpp"
#include "quipu/health.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/waiting.hpp"

// What a wall clock that is set while the program runs does to deadlines and timestamps.

namespace {

std::atomic<time_t> seconds_ahead{0};

}  // namespace

/// The system's clock, but for the wall clock, which the tests set. The program's own function takes precedence over
/// that of the C library.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = ::syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += seconds_ahead;
  return static_cast<int>(result);
}

namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

/// Sets the wall clock until it goes.
class ClockSet {
 public:
  explicit ClockSet(std::chrono::seconds ahead) { seconds_ahead = ahead.count(); }
  ClockSet(const ClockSet&) = delete;
  ClockSet& operator=(const ClockSet&) = delete;
  ~ClockSet() { seconds_ahead = 0; }
};

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

constexpr std::string_view open_metrics = "application/openmetrics-text; version=1.0.0";

std::string open_metrics_body(const quipu::Registry& registry) { return quipu::render(registry, open_metrics).body; }

double created(const quipu::Registry& registry, const char* name) {
  return std::stod(page::value(open_metrics_body(registry), name));
}

}  // namespace

TEST_CASE("the wall clock of this program can be set") {
  const double before = now();
  const ClockSet set(10h);
  CHECK(now() - before > 9 * 3600);
}

TEST_CASE("deadlines of scrapes do not follow the wall clock") {
  const auto registry = page::empty_registry();
  for (const auto ahead : {-10h, 10h}) {
    Gate gate;
    std::optional<ClockSet> set;
    auto hanging = registry.gauge_callback({.name = "a"}, [&] {
      set.emplace(ahead);
      gate.pass();
      return 1;
    });
    const auto begin = SteadyClock::now();
    const auto body = quipu::render(registry, {.deadline = begin + 300ms}).body;
    const auto took = SteadyClock::now() - begin;
    gate.open();
    hanging.end();
    CHECK(body.empty());
    CHECK(took >= 300ms);
    CHECK(took < 1min);
  }
}

TEST_CASE("timeouts, durations and intervals of checks do not follow the wall clock") {
  for (const auto ahead : {-10h, 10h}) {
    Gate gate;
    std::atomic<int> calls = 0;
    quipu::Health health;
    health.add({.name = "hangs",
                .check =
                    [&gate] {
                      gate.pass();
                      return quipu::HealthResult{};
                    },
                .interval = 1ms,
                .timeout = 200ms});
    health.add({.name = "quick",
                .check =
                    [&calls] {
                      ++calls;
                      return quipu::HealthResult{};
                    },
                .interval = 1ms,
                .timeout = 1h});
    REQUIRE(soon([&] { return gate.entered() == 1 && calls > 0; }));
    const ClockSet set(ahead);
    const int seen = calls;
    CHECK(soon([&] { return calls > seen + 3; }));
    CHECK(soon([&] { return health.report().components.at(0).message == "timed out after 0.2 s"; }));
    gate.open();
    CHECK(soon([&] { return health.report().status == quipu::HealthStatus::healthy; }));
    const auto report = health.report();
    CHECK(report.uptime >= 0s);
    CHECK(report.uptime < 10h);
    for (const auto& component : report.components) {
      CHECK(component.duration >= 0s);
      CHECK(component.duration < 10h);
    }
  }
}

TEST_CASE("a series keeps the time at which it was made, and a new one has that of the clock as it is set") {
  const auto registry = page::empty_registry({.created_lines = true});
  const double before = now();
  registry.counter({.name = "first_total"}).inc();
  const double first = created(registry, "first_created");
  CHECK(first >= before - 1);
  CHECK(first <= now());
  for (const auto ahead : {-10h, 10h}) {
    const ClockSet set(ahead);
    CHECK(created(registry, "first_created") == first);
    const std::string name = ahead < 0h ? "back" : "forth";
    registry.counter({.name = quipu::runtime(name + "_total")}).inc();
    CHECK(std::abs(created(registry, (name + "_created").c_str()) - now()) < 60);
  }
  CHECK(created(registry, "first_created") == first);
}

TEST_CASE("a clock before 1970 or after 2106 breaks no page") {
  const auto registry = page::empty_registry({.created_lines = true});
  for (const auto ahead : {-24h * 365 * 100, 24h * 365 * 200}) {
    const ClockSet set(ahead);
    const std::string name = ahead < 0h ? "past" : "future";
    const auto counter = registry.counter({.name = quipu::runtime(name + "_total")});
    counter.inc(1, quipu::Exemplar{{"trace_id", "1"}});
    const auto histogram = registry.native_histogram({.name = quipu::runtime(name + "_native")});
    histogram.observe(1);
    const auto body = open_metrics_body(registry);
    CHECK(page::value(body, name + "_created") != page::absent);
    CHECK(body.ends_with("# EOF\n"));
    CHECK(counter.value() == 1);
  }
}

TEST_CASE("an exemplar has the time of the clock as it was set, and is made again after the interval") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  quipu::set_exemplar_interval(1ms);
  for (const auto ahead : {10h, -10h}) {
    const ClockSet set(ahead);
    const double before = now();
    int made = 0;
    CHECK(soon([&] {
      counter.inc(1, [&] {
        ++made;
        return quipu::Exemplar{{"trace_id", "1"}};
      });
      return made > 0;
    }));
    const auto body = open_metrics_body(registry);
    const std::string front = "# {trace_id=\"1\"} 1.0 ";
    const auto at = body.find(front);
    REQUIRE(at != std::string::npos);
    CHECK(std::abs(std::stod(body.substr(at + front.size())) - before) < 60);
  }
  quipu::set_exemplar_interval(1s);
}
