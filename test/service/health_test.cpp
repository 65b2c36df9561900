#include "quipu/health.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Checks that work, fail, throw and hang. The endpoint's part is in exposer_route_test.cpp.

namespace {

using quipu::ComponentHealth;
using quipu::Health;
using quipu::HealthCheck;
using quipu::HealthReport;
using quipu::HealthResult;
using quipu::HealthStatus;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// A check that does not come back before the gate is opened.
HealthCheck waiting(const std::string& name, Gate& gate, std::chrono::milliseconds interval,
                    std::chrono::milliseconds timeout, HealthResult result = {}) {
  return {.name = name,
          .check =
              [&gate, result = std::move(result)] {
                gate.pass();
                return result;
              },
          .interval = interval,
          .timeout = timeout};
}

/// A check that comes back at once, counted.
HealthCheck counted(const std::string& name, std::atomic<int>& calls) {
  return {.name = name,
          .check =
              [&calls] {
                ++calls;
                return HealthResult{};
              },
          .interval = 1ms,
          .timeout = 30s};
}

HealthCheck constant(const std::string& name, HealthStatus status, bool is_critical = true) {
  return {.name = name,
          .check = [status] { return HealthResult{.status = status}; },
          .interval = 1h,
          .timeout = 30s,
          .is_critical = is_critical};
}

ComponentHealth component(const Health& health, const std::string& name) {
  for (const ComponentHealth& one : health.report().components) {
    if (one.name == name) return one;
  }
  throw std::runtime_error("no component " + name);
}

ComponentHealth component_once_checked(const Health& health, const std::string& name) {
  CHECK(soon([&] { return component(health, name).last_checked.has_value(); }));
  return component(health, name);
}

// Results.

TEST_CASE("a component is unknown until its first check, which is called at once, comes back", "[health]") {
  Gate gate;
  Health health({.version = "1.2.0"});
  const auto before = std::chrono::system_clock::now();
  health.add(waiting("database", gate, 1h, 1h, {.message = "ok", .details = {{"connections", 3}}}));
  CHECK(soon([&] { return gate.entered() == 1; }));
  HealthReport report = health.report();
  CHECK(report.status == HealthStatus::unknown);
  CHECK(report.version == "1.2.0");
  REQUIRE(report.components.size() == 1);
  CHECK(report.components[0].status == HealthStatus::unknown);
  CHECK(report.components[0].message == "not checked yet");
  CHECK_FALSE(report.components[0].last_checked.has_value());

  gate.open();
  const ComponentHealth checked = component_once_checked(health, "database");
  CHECK(checked.status == HealthStatus::healthy);
  CHECK(checked.message == "ok");
  REQUIRE(checked.details.size() == 1);
  CHECK(checked.details[0].name == "connections");
  CHECK(std::get<std::int64_t>(checked.details[0].value) == 3);
  CHECK(checked.last_checked >= before);
  CHECK(checked.last_checked <= std::chrono::system_clock::now());
  report = health.report();
  CHECK(report.status == HealthStatus::healthy);
  CHECK(report.timestamp >= before);
  CHECK(report.uptime > 0ns);
}

TEST_CASE("the duration of a call and the pause after it are as long as they are", "[health]") {
  std::mutex mutex;
  std::vector<Clock::time_point> times;  // of begins and ends
  Health health;
  health.add({.name = "slow",
              .check =
                  [&] {
                    const auto begin = Clock::now();
                    std::this_thread::sleep_for(20ms);
                    const std::lock_guard lock(mutex);
                    times.push_back(begin);
                    times.push_back(Clock::now());
                    return HealthResult{};
                  },
              .interval = 30ms,
              .timeout = 1h});
  CHECK(soon([&] {
    const std::lock_guard lock(mutex);
    return times.size() >= 6;
  }));
  CHECK(component(health, "slow").duration >= 20ms);
  const std::lock_guard lock(mutex);
  for (std::size_t i = 2; i < times.size(); i += 2) CHECK(times[i] - times[i - 1] >= 30ms);
}

TEST_CASE("what a check throws makes its component unhealthy, and others go on", "[health]") {
  std::atomic<int> calls = 0;
  Health health;
  health.add({.name = "throws", .check = []() -> HealthResult { throw std::runtime_error("no \xFF route"); }});
  health.add({.name = "int", .check = []() -> HealthResult { throw 1; }});
  health.add(counted("other", calls));
  const ComponentHealth throws = component_once_checked(health, "throws");
  CHECK(throws.status == HealthStatus::unhealthy);
  CHECK(throws.message == "no \xEF\xBF\xBD route");
  CHECK(component_once_checked(health, "int").message == "unknown exception");
  CHECK(soon([&] { return calls > 3; }));
}

TEST_CASE("a status that is none is unknown, and texts are made UTF-8", "[health]") {
  Health health;
  health.add({.name = "odd\xFF", .check = [] {
                return HealthResult{.status = static_cast<HealthStatus>(77),
                                    .message = "\xC3",
                                    .details = {{"a\xFF", std::string("\xFE")}, {"a\xEF\xBF\xBD", 2.0}}};
              }});
  const ComponentHealth odd = component_once_checked(health, "odd\xEF\xBF\xBD");
  CHECK(odd.status == HealthStatus::unknown);
  CHECK(odd.message == "\xEF\xBF\xBD");
  REQUIRE(odd.details.size() == 1);
  CHECK(odd.details[0].name == "a\xEF\xBF\xBD");
  CHECK(std::get<std::string>(odd.details[0].value) == "\xEF\xBF\xBD");
  CHECK(health.remove("odd\xFE"));
}

TEST_CASE("the program's status follows from those of its components", "[health]") {
  constexpr auto healthy = HealthStatus::healthy;
  constexpr auto degraded = HealthStatus::degraded;
  constexpr auto unhealthy = HealthStatus::unhealthy;
  constexpr auto unknown = HealthStatus::unknown;
  struct Case {
    std::vector<HealthStatus> critical;
    std::vector<HealthStatus> other;
    HealthStatus expected;
  };
  const std::vector<Case> cases = {
      {{}, {}, healthy},
      {{healthy, healthy}, {healthy}, healthy},
      {{healthy, degraded}, {}, degraded},
      {{healthy, unhealthy}, {}, unhealthy},
      {{unknown, healthy}, {}, unknown},
      {{unknown, unhealthy}, {}, unhealthy},
      {{unknown, degraded}, {}, unknown},
      {{healthy}, {degraded}, degraded},
      {{healthy}, {unhealthy}, degraded},
      {{healthy}, {unknown}, degraded},
      {{}, {unhealthy, unhealthy}, degraded},
      {{unhealthy}, {healthy, unknown}, unhealthy},
      {{unknown}, {unhealthy}, unknown},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    Health health;
    std::vector<std::string> names;
    const auto add = [&](HealthStatus status, bool is_critical) {
      names.push_back(std::to_string(names.size()));
      health.add(constant(names.back(), status, is_critical));
    };
    for (const HealthStatus status : cases[i].critical) add(status, true);
    for (const HealthStatus status : cases[i].other) add(status, false);
    for (const std::string& name : names) static_cast<void>(component_once_checked(health, name));
    const HealthReport report = health.report();
    CHECK(report.status == cases[i].expected);
    std::vector<std::string> reported;
    for (const ComponentHealth& one : report.components) reported.push_back(one.name);
    CHECK(reported == names);
  }
}

// Calls that hang.

TEST_CASE("a check that hangs has timed out, is not called again, and others go on", "[health]") {
  Gate gate;
  std::atomic<int> before = 0;
  std::atomic<int> after = 0;
  Health health;
  health.add(counted("before", before));
  health.add(waiting("hangs", gate, 1ms, 250ms, {.message = "too late"}));
  health.add(counted("after", after));
  const auto start = std::chrono::system_clock::now();
  CHECK(soon([&] { return component(health, "hangs").status == HealthStatus::unhealthy; }));
  const ComponentHealth hangs = component(health, "hangs");
  CHECK(hangs.message == "timed out after 0.25 s");
  CHECK(hangs.duration == 250ms);
  CHECK(hangs.last_checked > start);
  CHECK(hangs.last_checked <= std::chrono::system_clock::now());
  CHECK(health.report().status == HealthStatus::unhealthy);
  const int seen_before = before;
  const int seen_after = after;
  CHECK(soon([&] { return before > seen_before + 10 && after > seen_after + 10; }));
  CHECK(gate.entered() == 1);
  // The late result is thrown away; the next call decides.
  gate.open();
  CHECK(soon([&] { return component(health, "hangs").message == "too late"; }));
  CHECK(gate.entered() >= 2);
  CHECK(component(health, "hangs").status == HealthStatus::healthy);
}

TEST_CASE("checks do not wait for others that take long, but have not timed out", "[health]") {
  Gate gate;
  std::atomic<int> calls = 0;
  Health health;
  for (const auto* const name : {"a", "b", "c"}) health.add(waiting(name, gate, 1h, 1h));
  health.add(counted("other", calls));
  CHECK(soon([&] { return gate.entered() == 3 && calls > 10; }));
  CHECK(component(health, "a").status == HealthStatus::unknown);
  gate.open();
  for (const auto* const name : {"a", "b", "c"}) {
    CHECK(soon([&] { return component(health, name).status == HealthStatus::healthy; }));
  }
  CHECK(health.report().status == HealthStatus::healthy);
}

TEST_CASE("a late result is thrown away when it comes, and the component is due after its interval", "[health]") {
  Gate gate;
  std::atomic<bool> is_back = false;
  Health health;
  health.add({.name = "hangs",
              .check =
                  [&] {
                    gate.pass();
                    is_back = true;
                    return HealthResult{.message = "too late"};
                  },
              .interval = 1h,
              .timeout = 10ms});
  CHECK(soon([&] { return component(health, "hangs").status == HealthStatus::unhealthy; }));
  gate.open();
  CHECK(soon([&] { return is_back.load(); }));
  // Removing waits for the call; so another one that comes meanwhile would be seen.
  std::this_thread::sleep_for(20ms);
  CHECK(component(health, "hangs").message == "timed out after 0.01 s");
  CHECK(gate.entered() == 1);
}

/// How many threads of this process are of a Health; -1 where that cannot be told.
int health_threads() { return threads_named("quipu-health"); }

TEST_CASE("several checks that hang keep a thread each, and give it back", "[health]") {
  Gate gate;
  std::atomic<int> calls = 0;
  {
    Health health;
    for (const auto* const name : {"a", "b", "c"}) health.add(waiting(name, gate, 1ms, 20ms));
    health.add(counted("other", calls));
    for (const auto* const name : {"a", "b", "c"}) {
      CHECK(soon([&] { return component(health, name).status == HealthStatus::unhealthy; }));
    }
    const int seen = calls;
    CHECK(soon([&] { return calls > seen + 3; }));
    CHECK(gate.entered() == 3);
    const int threads = health_threads();
    CHECK((threads == 5 || threads == -1));
    gate.open();
    for (const auto* const name : {"a", "b", "c"}) {
      CHECK(soon([&] { return component(health, name).status == HealthStatus::healthy; }));
    }
    CHECK(soon([] { return health_threads() == 2 || health_threads() == -1; }));
  }
  CHECK(health_threads() <= 0);
}

TEST_CASE("threads whose check came back too late leave nothing behind", "[health]") {
  if (is_sanitized) return;
  std::atomic<int> calls = 0;
  Health health;
  health.add({.name = "hangs",
              .check =
                  [&calls](const std::stop_token& stop) {
                    ++calls;
                    Gate().pass(stop);
                    return HealthResult{};
                  },
              .interval = 1ms,
              .timeout = 1ms});
  // The address space that each thread has for its stack is 8 MiB, usually, and goes when it is joined.
  const auto pages = [] {
    std::size_t count = 0;
    std::ifstream("/proc/self/statm") >> count;
    return count;
  };
  CHECK(soon([&] { return calls > 10; }));
  const std::size_t before = pages();
  CHECK(soon([&] { return calls > 200; }));
  CHECK(pages() < before + (std::size_t{400} << 20) / 4096);
}

TEST_CASE("a check is asked to stop when it has timed out", "[health]") {
  std::atomic<int> stopped = 0;
  Health health;
  health.add({.name = "hangs",
              .check =
                  [&stopped](const std::stop_token& stop) {
                    Gate().pass(stop);
                    ++stopped;
                    return HealthResult{};
                  },
              .interval = 1ms,
              .timeout = 5ms});
  CHECK(soon([&] { return stopped >= 3; }));
  CHECK(component(health, "hangs").message == "timed out after 0.005 s");
}

TEST_CASE("a check that is asked to stop in its time is not", "[health]") {
  std::atomic<bool> was_stopped = false;
  Health health;
  health.add({.name = "asks", .check = [&was_stopped](const std::stop_token& stop) {
                was_stopped = stop.stop_requested();
                return HealthResult{.message = "asked"};
              }});
  CHECK(component_once_checked(health, "asks").message == "asked");
  CHECK_FALSE(was_stopped);
}

// What a check may return.

TEST_CASE("a check may return a bool, a status or a result, and take a stop token or nothing", "[health]") {
  Health health;
  const auto add = [&health](const char* name, quipu::HealthFunction check) {
    health.add({.name = name, .check = std::move(check), .interval = 1h});
  };
  add("true", [] { return true; });
  add("false", [] { return false; });
  add("token", [](const std::stop_token&) { return false; });
  add("degraded", [] { return HealthStatus::degraded; });
  add("status", [](std::stop_token) { return HealthStatus::unhealthy; });
  add("result", [](const std::stop_token&) { return HealthResult{.message = "fine"}; });
  const bool flag = true;
  add("reference", [&flag]() -> const bool& { return flag; });
  add("function", std::function<bool()>([] { return true; }));
  const auto is = [&health](const char* name, HealthStatus status, std::string_view message) {
    const ComponentHealth one = component_once_checked(health, name);
    return one.status == status && one.message == message;
  };
  CHECK(is("true", HealthStatus::healthy, ""));
  CHECK(is("false", HealthStatus::unhealthy, "the check returned false"));
  CHECK(is("token", HealthStatus::unhealthy, "the check returned false"));
  CHECK(is("degraded", HealthStatus::degraded, ""));
  CHECK(is("status", HealthStatus::unhealthy, ""));
  CHECK(is("result", HealthStatus::healthy, "fine"));
  CHECK(is("reference", HealthStatus::healthy, ""));
  CHECK(is("function", HealthStatus::healthy, ""));
}

// What is told of changes.

/// What on_change was told, as "name: before -> now message".
class Changes {
 public:
  [[nodiscard]] std::function<void(const ComponentHealth&, HealthStatus)> writer() {
    return [this](const ComponentHealth& component, HealthStatus before) {
      const std::lock_guard lock(mutex_);
      std::string line = component.name + ": ";
      line.append(to_string(before)).append(" -> ").append(to_string(component.status));
      if (!component.message.empty()) line += " " + component.message;
      lines_.push_back(std::move(line));
    };
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

TEST_CASE("on_change is told of each change of a status, and of nothing else", "[health]") {
  Changes changes;
  std::atomic<int> calls = 0;
  Health health({.on_change = changes.writer()});
  health.add({.name = "a",
              .check =
                  [&calls] {
                    constexpr HealthStatus found[] = {HealthStatus::healthy, HealthStatus::healthy,
                                                      HealthStatus::degraded, HealthStatus::healthy};
                    return found[std::min(calls++, 3)];
                  },
              .interval = 1h});
  const std::vector<std::string> expected = {"a: unknown -> healthy", "a: healthy -> degraded",
                                             "a: degraded -> healthy"};
  for (int i = 0; i < 4; ++i) static_cast<void>(health.check_now());
  CHECK(soon([&] { return changes.lines().size() >= 3; }));
  CHECK(soon([&] { return calls >= 5 || (static_cast<void>(health.check_now()), false); }));
  CHECK(changes.lines() == expected);
}

TEST_CASE("on_change is told when a call has timed out, and when the check works again", "[health]") {
  Gate gate;
  Changes changes;
  Health health({.on_change = changes.writer()});
  health.add(waiting("hangs", gate, 1ms, 20ms));
  CHECK(soon([&] { return changes.lines().size() == 1; }));
  CHECK(gate.entered() == 1);
  gate.open();
  CHECK(soon([&] { return changes.lines().size() == 2; }));
  CHECK(changes.lines() ==
        std::vector<std::string>{"hangs: unknown -> unhealthy timed out after 0.02 s", "hangs: unhealthy -> healthy"});
}

TEST_CASE("what on_change throws is ignored, and the next change is told", "[health]") {
  std::atomic<int> told = 0;
  Health health({.on_change = [&told](const ComponentHealth&, HealthStatus) {
    ++told;
    throw std::runtime_error("no");
  }});
  health.add(constant("a", HealthStatus::healthy));
  health.add(constant("b", HealthStatus::unhealthy));
  CHECK(soon([&] { return told == 2; }));
  CHECK(health.report().status == HealthStatus::unhealthy);
}

TEST_CASE("on_change may use its Health, and what changes meanwhile is told afterwards", "[health]") {
  std::vector<std::string> seen;  // by on_change alone, until the Health is gone
  std::atomic<int> running = 0;
  std::atomic<int> overlaps = 0;
  std::atomic<bool> is_over = false;
  std::optional<Health> health;
  health.emplace(quipu::HealthOptions{.on_change = [&](const ComponentHealth& component, HealthStatus) {
    if (running++ > 0) ++overlaps;
    seen.push_back(component.name);
    if (component.name == "first") {
      health->add(constant("second", HealthStatus::degraded));
      const HealthReport report = health->check_now();
      seen.push_back(report.components.size() == 2 ? "both" : "not both");
      seen.push_back(std::string(to_string(report.status)));
      seen.push_back(health->remove("first") ? "removed" : "not removed");
    } else {
      is_over = true;
    }
    --running;
  }});
  health->add(constant("first", HealthStatus::healthy));
  CHECK(soon([&] { return is_over.load(); }));
  health.reset();
  CHECK(seen == std::vector<std::string>{"first", "both", "degraded", "removed", "second"});
  CHECK(overlaps == 0);
}

TEST_CASE("checks do not wait for on_change, and the end does", "[health]") {
  Gate gate;
  std::atomic<int> calls = 0;
  std::optional<Health> health;
  const auto held = std::make_shared<int>();
  health.emplace(
      quipu::HealthOptions{.on_change = [&gate, held](const ComponentHealth&, HealthStatus) { gate.pass(); }});
  health->add(counted("a", calls));
  CHECK(soon([&] { return gate.entered() == 1; }));
  const int seen = calls;
  CHECK(soon([&] { return calls > seen + 10; }));
  std::thread opener([&gate] {
    std::this_thread::sleep_for(20ms);
    gate.open();
  });
  const auto routes = health->routes();
  health.reset();
  CHECK(gate.passed() == gate.entered());
  CHECK(held.use_count() == 1);  // although the routes are still there
  opener.join();
}

// Checks that are called now.

TEST_CASE("check_now has all checks called, and waits for their results", "[health]") {
  std::atomic<int> a = 0;
  std::atomic<int> b = 0;
  Health health;
  CHECK(health.check_now().status == HealthStatus::healthy);
  const auto add = [&health](const char* name, std::atomic<int>& calls) {
    health.add({.name = name, .check = [&calls] { return ++calls < 3; }, .interval = 1h});
  };
  add("a", a);
  add("b", b);
  CHECK(health.check_now().status == HealthStatus::healthy);
  for (int i = 0; i < 3; ++i) {
    const int before_a = a;
    const int before_b = b;
    const HealthReport report = health.check_now();
    CHECK(a > before_a);
    CHECK(b > before_b);
    CHECK(report.components.at(0).last_checked.has_value());
  }
  CHECK(health.report().status == HealthStatus::unhealthy);
}

TEST_CASE("check_now waits for a call under way and then for the one after it, and calls never overlap", "[health]") {
  Gate first;
  std::atomic<int> calls = 0;
  std::atomic<int> running = 0;
  std::atomic<int> overlaps = 0;
  Health health;
  health.add({.name = "a",
              .check =
                  [&] {
                    if (running++ > 0) ++overlaps;
                    const int number = ++calls;
                    if (number == 1) first.pass();
                    --running;
                    return HealthResult{.message = std::to_string(number)};
                  },
              .interval = 1h,
              .timeout = 1h});
  CHECK(soon([&] { return first.entered() == 1; }));
  CHECK(health.check_now(5ms).components.at(0).message == "not checked yet");
  std::vector<std::string> messages(4);
  std::vector<std::thread> threads;
  for (std::string& message : messages) {
    threads.emplace_back([&health, &message] { message = health.check_now().components.at(0).message; });
  }
  std::this_thread::sleep_for(20ms);
  first.open();
  for (std::thread& thread : threads) thread.join();
  for (const std::string& message : messages) CHECK(message >= "2");
  CHECK(overlaps == 0);
}

TEST_CASE("check_now does not wait beyond its limit or the timeout of a check, nor for one that was removed",
          "[health]") {
  Gate gate;
  Health health;
  health.add(waiting("hangs", gate, 1h, 30ms));
  health.add(constant("a", HealthStatus::healthy));
  CHECK(health.check_now().components.at(0).message == "timed out after 0.03 s");
  CHECK(health.check_now().components.at(1).status == HealthStatus::healthy);  // it is still hanging
  CHECK(health.check_now(0ms).status == HealthStatus::unhealthy);
  CHECK(health.check_now(-1ms).status == HealthStatus::unhealthy);

  Gate other;
  health.add(waiting("removed", other, 1h, 1h));
  CHECK(soon([&] { return other.entered() == 1; }));
  std::thread remover([&] {
    std::this_thread::sleep_for(20ms);
    other.open();
    static_cast<void>(health.remove("removed"));
  });
  CHECK(health.check_now().components.size() >= 2);
  remover.join();
  gate.open();
}

TEST_CASE("a check may call check_now, two may at once, and what asks the check to stop ends that", "[health]") {
  std::atomic<int> calls = 0;
  std::atomic<bool> is_inside = false;
  std::atomic<bool> has_stopped = false;
  Gate gate;
  Health health;
  for (const auto* const name : {"a", "b"}) {
    health.add({.name = name,
                .check =
                    [&health, &calls] {
                      if (calls++ < 4) static_cast<void>(health.check_now());
                      return true;
                    },
                .interval = 1h,
                .timeout = 1h});
  }
  CHECK(soon([&] { return component(health, "a").last_checked && component(health, "b").last_checked; }));
  CHECK(calls >= 2);
  health.add(waiting("hangs", gate, 1h, 1h));
  health.add({.name = "waits",
              .check =
                  [&](const std::stop_token& stop) {
                    is_inside = true;
                    static_cast<void>(health.check_now());
                    has_stopped = stop.stop_requested();
                    return true;
                  },
              .interval = 1h,
              .timeout = 1h});
  CHECK(soon([&] { return gate.entered() == 1 && is_inside; }));
  CHECK(health.remove("waits"));
  CHECK(has_stopped);
  gate.open();
}

// Adding, removing, ending.

TEST_CASE("a check that cannot be is reported", "[health]") {
  Health health;
  const auto refusal = [&health](HealthCheck check) {
    try {
      health.add(std::move(check));
      return std::string("no error");
    } catch (const quipu::RegistrationError& error) {
      return std::string(error.what());
    }
  };
  const auto check = [] { return HealthResult{}; };
  CHECK(refusal({.name = "", .check = check}) ==
        "cannot add health check \"\": the name is empty; name the component that it checks");
  CHECK(refusal({.name = "a", .check = check, .interval = 0ms}) ==
        "cannot add health check \"a\": the interval is not positive; say how long to wait between two calls");
  CHECK(refusal({.name = "a", .check = check, .timeout = -1ms}) ==
        "cannot add health check \"a\": the timeout is not positive; say how long a call may take");
  CHECK(refusal({.name = "a", .check = check}) == "no error");
  CHECK(refusal({.name = "a", .check = check}) ==
        "cannot add health check \"a\": there is one of that name; remove it, or choose another name");
  CHECK(refusal({.name = "a\xFF", .check = check}) == "no error");
  CHECK_THAT(refusal({.name = "a\xFE", .check = check}), Catch::Matchers::ContainsSubstring("there is one"));
  CHECK(health.report().components.size() == 2);
}

TEST_CASE("the longest times are as good as any", "[health]") {
  Health health;
  health.add({.name = "a",
              .check = [] { return HealthResult{}; },
              .interval = std::chrono::milliseconds::max(),
              .timeout = std::chrono::milliseconds::max()});
  CHECK(component_once_checked(health, "a").status == HealthStatus::healthy);
}

TEST_CASE("removing a component waits for its call, which is asked to stop", "[health]") {
  std::atomic<bool> is_inside = false;
  const auto held = std::make_shared<int>();
  Health health;
  health.add({.name = "a",
              .check =
                  [&is_inside, held](const std::stop_token& stop) {
                    is_inside = true;
                    Gate().pass(stop);
                    is_inside = false;
                    return HealthResult{};
                  },
              .timeout = 1h});
  CHECK(soon([&] { return is_inside.load(); }));
  CHECK(health.remove("a"));
  CHECK_FALSE(is_inside);
  CHECK(held.use_count() == 1);
  CHECK(health.report().components.empty());
  CHECK(health.report().status == HealthStatus::healthy);
  CHECK_FALSE(health.remove("a"));
  health.add(constant("a", HealthStatus::degraded));
  CHECK(component_once_checked(health, "a").status == HealthStatus::degraded);
}

TEST_CASE("a check may remove itself, and goes when it is over", "[health]") {
  std::atomic<bool> was_there = false;
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> observer = held;
  Health health;
  health.add({.name = "a",
              .check =
                  [&, held = std::move(held)] {
                    was_there = health.remove("a");
                    ++*held;
                    return HealthResult{};
                  },
              .timeout = 1h});
  CHECK(soon([&] { return observer.expired(); }));
  CHECK(was_there);
  CHECK(health.report().components.empty());
}

TEST_CASE("two checks may remove each other", "[health][ends]") {
  // It fails if they wait for each other, and leaves the threads behind with all that they use.
  struct Both {
    std::atomic<int> inside{0};
    std::atomic<int> done{0};
    Health health;
  };
  auto* const both = new Both;
  const auto remove = [both](const char* other) {
    return [both, other] {
      ++both->inside;
      while (both->inside < 2) std::this_thread::yield();
      both->health.remove(other);
      ++both->done;
      return HealthResult{};
    };
  };
  both->health.add({.name = "a", .check = remove("b"), .interval = 1h, .timeout = 1h});
  both->health.add({.name = "b", .check = remove("a"), .interval = 1h, .timeout = 1h});
  REQUIRE(soon([&] { return both->done == 2; }));
  CHECK(both->health.report().components.empty());
  delete both;
}

TEST_CASE("a check and a callback may end each other", "[health][ends]") {
  struct Both {
    std::atomic<int> inside{0};
    std::atomic<int> done{0};
    quipu::Registry registry{{.process_metrics = false}};
    quipu::Registration callback;
    Health health;
    void meet() {
      ++inside;
      while (inside < 2) std::this_thread::yield();
    }
  };
  auto* const both = new Both;
  both->callback = both->registry.gauge_callback({.name = "a"}, [both] {
    both->meet();
    both->health.remove("b");
    return 1;
  });
  const auto check = [both] {
    both->meet();
    both->callback.end();
    ++both->done;
    return HealthResult{};
  };
  both->health.add({.name = "b", .check = check, .interval = 1h, .timeout = 1h});
  std::thread([both] {
    static_cast<void>(quipu::render(both->registry));
    ++both->done;
  }).detach();
  REQUIRE(soon([&] { return both->done == 2; }));
  CHECK(both->health.report().components.empty());
  delete both;
}

TEST_CASE("what a check holds may use the Health when it goes", "[health]") {
  Health health;
  struct User {
    explicit User(Health& used) : health(used) {}
    ~User() { static_cast<void>(health.report()); }
    Health& health;
  };
  std::atomic<bool> is_removed = false;
  health.add({.name = "itself",
              .check =
                  [&health, user = std::make_shared<User>(health)] {
                    health.remove("itself");
                    return HealthResult{};
                  },
              .timeout = 1h});
  health.add({.name = "other", .check = [user = std::make_shared<User>(health)] { return HealthResult{}; }});
  static_cast<void>(component_once_checked(health, "other"));
  is_removed = health.remove("other");
  CHECK(is_removed);
  CHECK(soon([&] { return health.report().components.empty(); }));
}

TEST_CASE("the end waits for calls that run, hang or wait, after asking them to stop", "[health]") {
  std::atomic<int> inside = 0;
  const auto held = std::make_shared<int>();
  std::optional<Health> health;
  health.emplace();
  for (const auto* const name : {"a", "b", "c"}) {
    health->add({.name = name,
                 .check =
                     [&inside, held](const std::stop_token& stop) {
                       ++inside;
                       // Those that have timed out hang nevertheless.
                       while (inside < 3 || !stop.stop_requested()) std::this_thread::sleep_for(1ms);
                       std::this_thread::sleep_for(10ms);
                       --inside;
                       return HealthResult{};
                     },
                 .interval = 1h,
                 .timeout = 5ms});
  }
  CHECK(soon([&] { return inside >= 2; }));
  inside += 3;  // lets go of those
  health.reset();
  CHECK(inside == 3);
  CHECK(held.use_count() == 1);
}

TEST_CASE("a Health can go at once after it came, also with a check that is due", "[health]") {
  std::atomic<int> calls = 0;
  for (int i = 0; i < 50; ++i) {
    Health health;
    if (i % 2 == 0) health.add(counted("a", calls));
  }
  SUCCEED();
}

// What it shows.

TEST_CASE("the report is JSON", "[health]") {
  using std::chrono::sys_days;
  using namespace std::chrono;
  const auto time = sys_days(year(2026) / 3 / 9) + 4h + 5min + 6s + 70ms;
  const HealthReport report{.status = HealthStatus::degraded,
                            .version = "1.2.0",
                            .timestamp = time,
                            .uptime = 1500ms,
                            .components = {{.name = "database",
                                            .status = HealthStatus::healthy,
                                            .message = "\"ok\"\\\n\r\t\x01\x1F\x7F \xC3\xA9\xE2\x80\xA8",
                                            .details = {{"text", std::string("a/b")},
                                                        {"real", 0.25},
                                                        {"large", 1e300},
                                                        {"whole", std::numeric_limits<std::int64_t>::min()},
                                                        {"yes", true},
                                                        {"none", std::numeric_limits<double>::quiet_NaN()},
                                                        {"too much", std::numeric_limits<double>::infinity()}},
                                            .last_checked = time - 1s,
                                            .duration = 5ms},
                                           {.name = "cache\xFF", .is_critical = false, .message = "not checked yet"}}};
  CHECK(quipu::to_json(report) ==
        "{\"status\":\"degraded\",\"timestamp\":\"2026-03-09T04:05:06.070Z\",\"version\":\"1.2.0\",\"uptime\":1.5,"
        "\"components\":{\"database\":{\"name\":\"database\",\"status\":\"healthy\",\"critical\":true,"
        "\"message\":\"\\\"ok\\\"\\\\\\n\\r\\t\\u0001\\u001f\x7F \xC3\xA9\xE2\x80\xA8\","
        "\"last_checked\":\"2026-03-09T04:05:05.070Z\",\"duration\":0.005,"
        "\"details\":{\"text\":\"a/b\",\"real\":0.25,\"large\":1e+300,\"whole\":-9223372036854775808,\"yes\":true,"
        "\"none\":null,\"too much\":null}},"
        "\"cache\xEF\xBF\xBD\":{\"name\":\"cache\xEF\xBF\xBD\",\"status\":\"unknown\",\"critical\":false,"
        "\"message\":\"not checked yet\",\"last_checked\":null,\"duration\":0,\"details\":{}}}}\n");
}

quipu::RouteResponse answer_at(const std::vector<quipu::Route>& routes, const std::string& path,
                               const quipu::RouteRequest& request = {}) {
  for (const quipu::Route& route : routes) {
    if (route.path == path) return route.respond(request);
  }
  throw std::runtime_error("no route " + path);
}

TEST_CASE("the routes answer probes by the status", "[health]") {
  std::atomic<HealthStatus> status = HealthStatus::healthy;
  std::optional<Health> health;
  health.emplace();
  health->add({.name = "a", .check = [&status] { return HealthResult{.status = status}; }, .interval = 1ms});
  const auto routes = health->routes();
  CHECK(routes.size() == 5);
  const auto check = [&](HealthStatus expected, int code) {
    const auto text = std::string(quipu::to_string(expected));
    CAPTURE(text);
    status = expected;
    CHECK(soon([&] { return health->report().status == expected; }));
    CHECK(answer_at(routes, "/health").status == code);
    CHECK(answer_at(routes, "/health").content_type == "application/json");
    CHECK_THAT(answer_at(routes, "/health").body, Catch::Matchers::StartsWith("{\"status\":\"" + text + "\","));
    for (const auto* const path : {"/health/ready", "/-/ready"}) {
      CHECK(answer_at(routes, path).status == code);
      CHECK(answer_at(routes, path).body == "{\"status\":\"" + text + "\"}\n");
    }
  };
  check(HealthStatus::unhealthy, 503);
  check(HealthStatus::degraded, 200);
  check(HealthStatus::unknown, 503);
  check(HealthStatus::healthy, 200);

  health.reset();
  CHECK(answer_at(routes, "/health").status == 503);
  CHECK_THAT(answer_at(routes, "/health").body, Catch::Matchers::StartsWith("{\"status\":\"unknown\","));
  CHECK(answer_at(routes, "/-/ready").status == 503);
  for (const auto* const path : {"/health/live", "/-/healthy"}) {
    CHECK(answer_at(routes, path).status == 200);
    CHECK(answer_at(routes, path).body == "{\"status\":\"alive\"}\n");
  }
}

TEST_CASE("messages and details are for clients on this machine, unless something else is said", "[health]") {
  const auto body = [](quipu::HealthDetails show, bool is_near) {
    Health health({.show_details = show});
    health.add({.name = "database", .check = []() -> HealthResult { throw std::runtime_error("the secret"); }});
    health.add({.name = "cache", .check = [] {
                  return HealthResult{.message = "the secret", .details = {{"password", std::string("the secret")}}};
                }});
    for (const auto* const name : {"database", "cache"}) static_cast<void>(component_once_checked(health, name));
    const auto answer = answer_at(health.routes(), "/health", {.is_loopback_peer = is_near});
    CHECK(answer.status == 503);
    // What anybody may know.
    CHECK_THAT(answer.body,
               Catch::Matchers::ContainsSubstring(
                   "\"database\":{\"name\":\"database\",\"status\":\"unhealthy\",\"critical\":true,\"message\":\""));
    CHECK_THAT(answer.body, Catch::Matchers::ContainsSubstring("\"cache\":{\"name\":\"cache\",\"status\":\"healthy\""));
    return answer.body;
  };
  const auto shows = [&](quipu::HealthDetails show, bool is_near) {
    const std::string text = body(show, is_near);
    const bool has_secret = text.find("the secret") != std::string::npos;
    CHECK((text.find("password") != std::string::npos) == has_secret);
    CHECK((text.find("\"message\":\"\"") == std::string::npos) == has_secret);
    return has_secret;
  };
  using quipu::HealthDetails;
  CHECK(shows(HealthDetails::to_loopback, true));
  CHECK_FALSE(shows(HealthDetails::to_loopback, false));
  CHECK(shows(HealthDetails::to_everybody, true));
  CHECK(shows(HealthDetails::to_everybody, false));
  CHECK_FALSE(shows(HealthDetails::to_nobody, true));
  CHECK_FALSE(shows(HealthDetails::to_nobody, false));
  CHECK(quipu::HealthOptions().show_details == HealthDetails::to_loopback);
}

TEST_CASE("the routes never wait for a check, and so are prompt", "[health]") {
  const Health health;
  for (const quipu::Route& route : health.routes()) CHECK(route.is_prompt);
}

TEST_CASE("the metrics show the status, and that of each component", "[health]") {
  const quipu::Registry registry({.prefix = "app", .process_metrics = false, .self_metrics = false});
  std::optional<Health> health;
  health.emplace();
  const auto registration = health->expose(registry);
  health->add(constant("a", HealthStatus::healthy));
  health->add(constant("b", HealthStatus::degraded));
  health->add(constant("c", HealthStatus::unhealthy, false));
  health->add(constant("d\n", HealthStatus::unknown, false));
  for (const auto* const name : {"a", "b", "c", "d\n"}) static_cast<void>(component_once_checked(*health, name));
  CHECK(quipu::testing::difference(registry, R"(
    # HELP app_component_health Whether a component works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.
    # TYPE app_component_health gauge
    app_component_health{component="a"} 1
    app_component_health{component="b"} 0.5
    app_component_health{component="c"} 0
    app_component_health{component="d\n"} 0
    # HELP app_health_status Whether the program works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.
    # TYPE app_health_status gauge
    app_health_status 0.5
  )") == "");
  CHECK(quipu::testing::lint(registry).empty());
  health.reset();
  CHECK(quipu::testing::difference(registry, R"(
    # HELP app_health_status Whether the program works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.
    # TYPE app_health_status gauge
    app_health_status 0
  )") == "");
}

TEST_CASE("the metrics have the version as a label if they are told to", "[health]") {
  const quipu::Registry registry;
  Health health({.version = "1.2.0", .version_label = true});
  health.add(constant("a", HealthStatus::healthy));
  const auto registration = health.expose(registry);
  static_cast<void>(component_once_checked(health, "a"));
  CHECK(quipu::testing::value_of(registry, "health_status", {{"version", "1.2.0"}}) == 1);
  CHECK(quipu::testing::value_of(registry, "component_health", {{"component", "a"}, {"version", "1.2.0"}}) == 1);
}

// Being a guest in the program.

TEST_CASE("signals for the program never land on the threads of checks", "[health]") {
  Health health;
  health.add({.name = "a", .check = [] {
                sigset_t mask;
                ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
                std::int64_t open = 0;
                for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPIPE}) {
                  open += ::sigismember(&mask, signal) == 1 ? 0 : 1;
                }
                return HealthResult{.details = {{"open", open}}};
              }});
  CHECK(std::get<std::int64_t>(component_once_checked(health, "a").details.at(0).value) == 0);
}

TEST_CASE("a forked child reports nothing known, lets go of its Health, and the parent's goes on", "[health]") {
  Gate gate;
  std::atomic<int> calls = 0;
  const quipu::Registry registry({.process_metrics = false});
  std::optional<Health> health;
  health.emplace();
  health->add(counted("a", calls));
  health->add(waiting("hangs", gate, 10s, 1ms));
  auto registration = std::optional(health->expose(registry));
  auto routes = health->routes();
  CHECK(soon([&] { return gate.entered() == 1; }));
  // The lock is held at most of these forks: a report of so much takes a while.
  health->add({.name = "long", .check = [] {
                 HealthResult result;
                 for (int i = 0; i < 1000; ++i) result.details.push_back({"detail " + std::to_string(i), i});
                 return result;
               }});
  static_cast<void>(component_once_checked(*health, "long"));
  // The address sanitizer's allocator may stay locked in the child of a process whose other threads allocate.
  const std::jthread reader([&health](const std::stop_token& stop) {
    while (!stop.stop_requested() && !is_address_sanitized) static_cast<void>(health->report());
  });
  for (int i = 0; i < 20; ++i) {
    CHECK(status_of_child([&] {
            if (answer_at(routes, "/health").status != 503) return 1;
            if (quipu::testing::value_of(registry, "health_status") != 0) return 2;
            if (health->remove("a")) return 3;
            if (health->check_now().status != HealthStatus::unknown) return 5;
            try {
              health->add(constant("b", HealthStatus::healthy));
              return 4;
            } catch (const quipu::RegistrationError&) {
            }
            registration.reset();
            health.reset();
            routes.clear();
            return 0;
          }) == 0);
  }
  const int seen = calls;
  CHECK(soon([&] { return calls > seen; }));
  gate.open();
}

TEST_CASE("without a thread to be had, checks are called as well as can be, or refused", "[health]") {
  // Its limits are the child's own. A process that is not root may have other processes that count.
  if (::geteuid() != 0 || is_thread_sanitized) return;
  const auto with_threads = [](rlim_t count, auto deed) {
    return status_of_child([&]() -> int {
      const rlimit limit{count, count};
      if (::setrlimit(RLIMIT_NPROC, &limit) != 0 || ::setuid(54321) != 0) return 77;
      return deed();
    });
  };
  CHECK(with_threads(1, [] {
          Health health;
          try {
            health.add(constant("a", HealthStatus::healthy));
          } catch (const quipu::HealthError&) {
            return health.report().components.empty() ? 0 : 2;
          }
          return 1;
        }) == 0);
  CHECK(with_threads(2, [] {
          std::atomic<int> calls = 0;
          Gate gate;
          Health health;
          health.add(counted("a", calls));
          health.add(waiting("hangs", gate, 1ms, 20ms));
          if (!soon([&] { return component(health, "hangs").status == HealthStatus::unhealthy; })) return 1;
          if (calls == 0 || component(health, "a").status != HealthStatus::healthy) return 2;
          gate.open();
          const int seen = calls;
          if (!soon([&] { return calls > seen + 2; })) return 3;
          health.add({.name = "asks", .check = [&health] { return !health.check_now().components.empty(); }});
          if (!soon([&] { return component(health, "asks").status == HealthStatus::healthy; })) return 4;
          return 0;
        }) == 0);
}

TEST_CASE("checks, probes and changes from many threads harm nobody", "[health]") {
  std::atomic<int> running = 0;
  std::atomic<int> overlaps = 0;
  std::atomic<int> absurd = 0;
  std::atomic<bool> is_over = false;
  const quipu::Registry registry({.process_metrics = false});
  Health health;
  const auto registration = health.expose(registry);
  const auto routes = health.routes();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, name = std::to_string(i)] {
      while (!is_over) {
        std::atomic<bool> is_inside = false;
        health.add({.name = name,
                    .check =
                        [&, count = 0](const std::stop_token& stop) mutable {
                          if (is_inside.exchange(true)) ++overlaps;
                          ++running;
                          if (++count % 3 == 0) Gate().pass(stop);
                          is_inside = false;
                          return HealthResult{.message = "fine", .details = {{"count", count}}};
                        },
                    .interval = 1ms,
                    .timeout = 2ms});
        std::this_thread::sleep_for(5ms);
        if (!health.remove(name) || is_inside) ++absurd;
      }
    });
  }
  threads.emplace_back([&] {
    while (!is_over) {
      for (const quipu::Route& route : routes) {
        if (route.respond().body.empty()) ++absurd;
      }
      if (quipu::testing::value_of(registry, "health_status") > 1) ++absurd;
    }
  });
  std::this_thread::sleep_for(1s);
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(running > 10);
  CHECK(overlaps == 0);
  CHECK(absurd == 0);
}

}  // namespace
