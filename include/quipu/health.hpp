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
#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/route.hpp"

namespace quipu {

class Scope;

/// Health checks cannot be called, because the system has no thread to give. The message has the system's reason.
class QUIPU_EXPORT HealthError : public Error {
 public:
  using Error::Error;
};

/// From good to bad. What has not been checked yet is unknown.
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
  std::string name;  // any text; if a result has two details of the same name, the first one counts
  std::variant<std::string, double, std::int64_t, bool> value;
};

/// What a check finds. Invalid UTF-8 in its texts is replaced with U+FFFD.
struct HealthResult {
  HealthStatus status = HealthStatus::healthy;  // a number outside the enum counts as unknown
  std::string message = {};
  std::vector<HealthDetail> details = {};
};

namespace detail {

/// What a check may return. Only bool itself counts as one: a number or a pointer that would convert to it does not.
template <class Result>
concept CheckResult =
    std::same_as<Result, bool> || std::same_as<Result, HealthStatus> || std::convertible_to<Result, HealthResult>;

template <class Function>
concept CheckOfNothing = std::invocable<Function&> && CheckResult<std::remove_cvref_t<std::invoke_result_t<Function&>>>;

template <class Function>
concept CheckOfStopToken = std::invocable<Function&, std::stop_token> &&
    CheckResult<std::remove_cvref_t<std::invoke_result_t<Function&, std::stop_token>>>;

template <class Result>
[[nodiscard]] HealthResult to_health_result(Result&& result) {
  using Plain = std::remove_cvref_t<Result>;
  if constexpr (std::same_as<Plain, bool>) {
    return result ? HealthResult{} : HealthResult{HealthStatus::unhealthy, "the check returned false"};
  } else if constexpr (std::same_as<Plain, HealthStatus>) {
    return HealthResult{result};
  } else {
    return std::forward<Result>(result);
  }
}

}  // namespace detail

/// A check: a function of nothing, or of a std::stop_token, which asks it to end when it has timed out, is removed, or
/// its Health ends. A std::stop_callback of it must not take long. It returns one of
///
/// - bool: true is healthy, false is unhealthy;
/// - a HealthStatus;
/// - a HealthResult, which has a message and details as well.
class HealthFunction {
 public:
  template <class Function>
  requires(!std::same_as<Function, HealthFunction>) HealthFunction(Function function) {
    static_assert(
        std::copy_constructible<Function> && (detail::CheckOfNothing<Function> || detail::CheckOfStopToken<Function>),
        "quipu: a health check is a function of nothing, or of a std::stop_token, that can be copied and "
        "returns bool, HealthStatus or HealthResult");
    if constexpr (!std::copy_constructible<Function>) {
      return;
    } else if constexpr (detail::CheckOfNothing<Function>) {
      function_ = [function = std::move(function)](const std::stop_token&) mutable {
        return detail::to_health_result(function());
      };
    } else if constexpr (detail::CheckOfStopToken<Function>) {
      function_ = [function = std::move(function)](std::stop_token stop) mutable {
        return detail::to_health_result(function(std::move(stop)));
      };
    }
  }

  [[nodiscard]] HealthResult operator()(std::stop_token stop) const { return function_(std::move(stop)); }

 private:
  std::function<HealthResult(std::stop_token)> function_;
};

/// A named check of one component.
struct HealthCheck {
  /// The name of the component: any text that is not empty. A Health has one check of a name.
  std::string name;
  /// Called on a thread of the Health's, never by two threads at once. If it throws, the component is unhealthy, and
  /// the message is what().
  HealthFunction check;
  /// The time from the end of a call to the beginning of the next one. Positive; more than a year counts as a year.
  std::chrono::milliseconds interval{10'000};
  /// A call that takes this long has timed out: the component is unhealthy, and the result is ignored when it comes.
  /// The next call is made after this one has come back. Positive; more than a year counts as a year.
  std::chrono::milliseconds timeout{5'000};
  /// Whether the program cannot do its work without this component. If it is not critical and not healthy, the program
  /// is only degraded.
  bool is_critical = true;
};

/// The last known state of one component.
struct ComponentHealth {
  std::string name;
  bool is_critical = true;
  HealthStatus status = HealthStatus::unknown;
  std::string message = {};
  std::vector<HealthDetail> details = {};
  std::optional<std::chrono::system_clock::time_point> last_checked = {};  // end or timeout of the last call
  std::chrono::nanoseconds duration{0};                                    // of that call
};

/// The last known state of the program.
struct HealthReport {
  HealthStatus status = HealthStatus::unknown;
  std::string version = {};
  std::chrono::system_clock::time_point timestamp = {};  // of this report
  std::chrono::nanoseconds uptime{0};                    // of the Health that made it
  std::vector<ComponentHealth> components = {};          // in the order in which they were added
};

/// Whom the report at /health shows messages and details of components. They may hold what an exception says, such as
/// addresses, paths and names of users.
enum class HealthDetails : std::uint8_t {
  to_loopback,  // clients with a loopback address; behind a reverse proxy on this machine that is everybody
  to_everybody,
  to_nobody
};

struct HealthOptions {
  /// Of the program, for the report: any text.
  std::string version = {};
  /// Whether the metrics have it as well, as the label `version`.
  bool version_label = false;
  HealthDetails show_details = HealthDetails::to_loopback;
  /// Called when the status of a component has changed, also from unknown at its first result, and when a call of its
  /// check has timed out: `component` is what is known of it now, `before` the status that was told last. It is called
  /// on a thread of the Health's, without a lock, never by two threads at once, and not after the Health has ended.
  /// Changes of one component that come while it runs are told afterwards as one, or not at all if the status is again
  /// what it was. It may call the Health's own functions, but must not end it. Checks do not wait for it. What it
  /// throws is ignored.
  std::function<void(const ComponentHealth& component, HealthStatus before)> on_change = {};
};

/// Whether a program works, as its own checks find, for probes and for Prometheus.
///
///     quipu::Health health({.version = "1.2.0"});
///     health.add({.name = "database", .check = [&] { return ping(); }, .interval = 5s, .timeout = 1s});
///     auto registration = health.expose(registry);
///     quipu::Exposer endpoint(registry, {.routes = health.routes()});
///
/// Checks are called in the background, one after another, and never by a probe, which is answered from their last
/// results. Those that are due while one takes more than 100 ms are called meanwhile, on another thread. (If the system
/// has none to give, they wait.)
///
/// The program is unhealthy if a critical component is, or else unknown if a critical one is, or else degraded if any
/// component is not healthy, or else healthy.
///
/// HealthOptions::on_change is told of each change, for a log line or an alarm:
///
///     quipu::Health health({.on_change = [](const quipu::ComponentHealth& component, quipu::HealthStatus) {
///       std::cerr << component.name << ": " << to_string(component.status) << ' ' << component.message << std::endl;
///     }});
///
/// Thread-safe, but for destruction. Its threads, two and one for each check that takes long, get no signal of the
/// program.
/// In a forked child there are no checks: reports are of a program whose status is unknown, without components.
class [[nodiscard("quipu: keep the Health: when it ends, nothing is checked any more")]] QUIPU_EXPORT Health {
 public:
  [[nodiscard("quipu: keep the Health: when it ends, nothing is checked any more")]] explicit Health(
      HealthOptions options = {});
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;
  /// Asks running checks to stop and waits for them, and for `on_change`, so that what they use may be destroyed
  /// afterwards. None of these may cause it.
  ~Health();

  /// Checks it from now on, first at once. Throws RegistrationError for a name that is empty or taken, for an interval
  /// or a timeout that is not positive, and in a forked child; HealthError if no thread can be started.
  void add(HealthCheck check);
  /// Ends the checks of a component and takes it out of the report; whether there was one. A check that is running is
  /// asked to stop and waited for, so that what it uses may be destroyed afterwards. Inside a check, this does not wait
  /// for that check, nor for one that is itself removing another one, and so perhaps waits for it.
  bool remove(std::string_view name);

  /// What is known now. Waits for nothing that takes time.
  [[nodiscard]] HealthReport report() const;
  /// Has all checks called now, however long ago that was done, and waits until each of them has a result of a call
  /// that began after this, or has timed out, but not longer than `limit`; returns what is known then. A check whose
  /// call is under way is called again after it, never at the same time. Calls go on after the limit, and their results
  /// count.
  ///
  /// Inside a check, this does not wait for that check, nor for one that itself waits in check_now() or remove(), and
  /// it ends early if that check is asked to stop. In a forked child it returns report().
  HealthReport check_now(std::chrono::milliseconds limit = std::chrono::milliseconds::max());

  /// For an endpoint, in JSON:
  /// - GET /health: the report; 200 if the program is healthy or degraded, otherwise 503. For
  ///   clients that HealthOptions::show_details leaves out, messages are empty and there are no details;
  /// - GET /health/ready and /-/ready: its status alone, with the same numbers;
  /// - GET /health/live and /-/healthy: 200, as an endpoint that answers is alive.
  ///
  /// They are prompt, and may outlive this object; then the status is unknown.
  [[nodiscard]] std::vector<Route> routes() const;

  /// Shows `health_status` and `component_health{component}`: 1 for healthy, 0.5 for degraded, 0 for unhealthy and
  /// unknown. May outlive this object; then there are no components, and the status is unknown. Throws
  /// RegistrationError.
  Registration expose(const Scope& scope) const;

 private:
  class Monitor;
  std::shared_ptr<Monitor> monitor_;
};

/// The report as JSON: {"status", "timestamp", "version", "uptime", "components": {NAME: {"name", "status", "critical",
/// "message", "last_checked", "duration", "details": {NAME: VALUE}}}}. Times are RFC 3339 in UTC with milliseconds, and
/// null for never; `uptime` and `duration` are seconds, as numbers. A detail that is no finite number is null.
[[nodiscard]] QUIPU_EXPORT std::string to_json(const HealthReport& report);

}  // namespace quipu
