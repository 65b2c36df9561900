#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "quipu/collector.hpp"
#include "quipu/error.hpp"
#include "quipu/route.hpp"

namespace quipu {

class Scope;

/// From good to bad; what has not been checked yet is unknown.
enum class HealthStatus : std::uint8_t { healthy, degraded, unhealthy, unknown };

[[nodiscard]] constexpr std::string_view to_string(HealthStatus status) noexcept {
  switch (status) {
    case HealthStatus::healthy:
      return "healthy";
    case HealthStatus::degraded:
      return "degraded";
    case HealthStatus::unhealthy:
      return "unhealthy";
    case HealthStatus::unknown:
      break;
  }
  return "unknown";
}

/// A fact that a check adds to its result.
struct HealthDetail {
  std::string name;
  std::variant<std::string, double, std::int64_t, bool> value;
};

/// What a check finds.
struct HealthResult {
  HealthStatus status = HealthStatus::healthy;
  std::string message = {};  // any text; what is not UTF-8 gets U+FFFD
  std::vector<HealthDetail> details = {};
};

/// A check: a function of nothing, or of a std::stop_token, which asks it to end when its time is up or the program
/// ends.
class HealthFunction {
 public:
  template <std::invocable Function>
  requires std::convertible_to<std::invoke_result_t<Function&>, HealthResult> HealthFunction(Function function)
      : function_([function = std::move(function)](const std::stop_token&) mutable { return function(); }) {}
  template <std::invocable<std::stop_token> Function>
  requires std::convertible_to<std::invoke_result_t<Function&, std::stop_token>, HealthResult> &&
      (!std::invocable<Function>)HealthFunction(Function function)
      : function_(std::move(function)) {}

  [[nodiscard]] HealthResult operator()(std::stop_token stop) const { return function_(std::move(stop)); }

 private:
  std::function<HealthResult(std::stop_token)> function_;
};

/// A named check of one component.
struct HealthCheck {
  /// Of the component, once in a Health: any text.
  std::string name;
  /// Never called twice at the same time. What it throws is a result: unhealthy, with what() as its message.
  HealthFunction check;
  /// From the end of one call to the beginning of the next one.
  std::chrono::milliseconds interval{10'000};
  /// After that the component is unhealthy ("timed out"), until the call comes back and a next one says otherwise.
  std::chrono::milliseconds timeout{5'000};
  /// Whether the program cannot do its work without this component: if not, it is only degraded.
  bool is_critical = true;
};

/// What is known of one component.
struct ComponentHealth {
  std::string name;
  bool is_critical = true;
  HealthStatus status = HealthStatus::unknown;
  std::string message{};
  std::vector<HealthDetail> details{};
  std::optional<std::chrono::system_clock::time_point> last_checked{};  // when the last call ended or timed out
  std::chrono::nanoseconds duration{0};                                 // of that call
};

/// What is known of the program.
struct HealthReport {
  HealthStatus status = HealthStatus::healthy;
  std::string version;
  std::chrono::system_clock::time_point timestamp;  // of this report
  std::chrono::nanoseconds uptime{0};               // of the Health that made it
  std::vector<ComponentHealth> components;          // in the order in which they were added
};

struct HealthOptions {
  /// Of the program, for the report.
  std::string version = {};
};

/// Whether a program works, as its own checks find, for probes and for Prometheus.
///
///     quipu::Health health({.version = "1.2.0"});
///     health.add({.name = "database", .check = [&] { return ping(); }, .interval = 5s, .timeout = 1s});
///     quipu::Exposer endpoint(registry, {.routes = health.routes()});
///     auto registration = health.expose(registry);
///
/// Checks are called in the background, one after another, and never by a probe, which is answered from their last
/// results. One that hangs costs a thread of its own from its timeout on; the others go on.
///
/// The program is unhealthy if a critical component is, unknown until every critical one was checked, degraded if any
/// component is not healthy, and healthy otherwise.
///
/// Thread-safe, but for destruction. Its threads get no signal of the program. Checks are not run in a forked child.
class Health {
 public:
  explicit Health(HealthOptions options = {});
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;
  /// Asks running checks to stop and waits for them, so that what they use may be destroyed afterwards.
  ~Health();

  /// Checks it from now on. Throws RegistrationError for a name that is taken or empty, or an interval or timeout that
  /// is not positive; std::system_error if a thread cannot be started.
  void add(HealthCheck check);
  /// Ends the checks of a component, waiting for one that is running, and takes it out of the report; whether there was
  /// one. Not to be called by its own check.
  bool remove(std::string_view name);

  [[nodiscard]] HealthReport report() const;

  /// GET /health: the report as JSON; 200 if the program is healthy or degraded, or else 503.
  /// GET /health/ready and /-/ready: the same statuses, without the details.
  /// GET /health/live and /-/healthy: 200, as long as the program can answer.
  /// They may outlive this object, and answer 503 then.
  [[nodiscard]] std::vector<Route> routes() const;

  /// Shows `health_status` and `component_health{component}`: 1 for healthy, 0.5 for degraded, 0 for unhealthy and
  /// unknown. Throws RegistrationError.
  [[nodiscard]] Registration expose(const Scope& scope) const;

 private:
  class Monitor;
  std::shared_ptr<Monitor> monitor_;
};

/// The report as JSON: {"status", "timestamp", "version", "uptime", "components": {NAME: {"name", "status", "critical",
/// "message", "last_checked", "duration", "details"}}}. Times are RFC 3339 in UTC, durations seconds.
[[nodiscard]] std::string to_json(const HealthReport& report);

}  // namespace quipu
