#include "quipu/health.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/utf8.hpp"
#include "quipu/registry.hpp"
#include "service/health_collector.hpp"
#include "service/health_monitor.hpp"

namespace quipu {
namespace {

RouteResponse json_answer(int status, std::string body) {
  return {.status = status, .content_type = "application/json", .body = std::move(body)};
}

int http_status_of(HealthStatus status) noexcept {
  return status == HealthStatus::healthy || status == HealthStatus::degraded ? 200 : 503;
}

bool shows_details(HealthDetails details, const RouteRequest& request) noexcept {
  return details == HealthDetails::to_everybody || (details == HealthDetails::to_loopback && request.is_loopback_peer);
}

std::string status_alone(std::string_view status) { return fmt::format("{{\"status\":\"{}\"}}\n", status); }

}  // namespace

Health::Health(HealthOptions options)
    : monitor_(new Monitor(std::move(options)), [](Monitor* monitor) {
        if (monitor->is_of_this_process()) delete monitor;
      }) {}

Health::~Health() {
  if (monitor_->is_of_this_process()) monitor_->end();
}

void Health::add(HealthCheck check) { monitor_->add(std::move(check)); }
bool Health::remove(std::string_view name) { return monitor_->remove(detail::to_utf8(name)); }
HealthReport Health::report() const { return monitor_->report(); }
HealthReport Health::check_now(std::chrono::milliseconds limit) { return monitor_->check_now(limit); }

std::vector<Route> Health::routes() const {
  const auto whole = [monitor = monitor_](const RouteRequest& request) {
    HealthReport report = monitor->report();
    if (!shows_details(monitor->options().show_details, request)) {
      for (ComponentHealth& component : report.components) {
        component.message.clear();
        component.details.clear();
      }
    }
    return json_answer(http_status_of(report.status), to_json(report));
  };
  const auto ready = [monitor = monitor_] {
    const HealthStatus status = monitor->report().status;
    return json_answer(http_status_of(status), status_alone(to_string(status)));
  };
  const auto live = [] { return json_answer(200, status_alone("alive")); };
  return {{"/health", whole, true},
          {"/health/ready", ready, true},
          {"/-/ready", ready, true},
          {"/health/live", live, true},
          {"/-/healthy", live, true}};
}

Registration Health::expose(const Scope& scope) const {
  return scope.add(detail::make_health_collector([monitor = monitor_] { return monitor->report(); },
                                                 monitor_->options().version_label));
}

}  // namespace quipu
