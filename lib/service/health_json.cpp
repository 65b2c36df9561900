#include <chrono>
#include <string>
#include <variant>

#include "base/json.hpp"
#include "quipu/health.hpp"

namespace quipu {
namespace {

using detail::JsonObject;

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

void append_json(std::string& out, const ComponentHealth& component) {
  JsonObject object(out);
  object.add("name", component.name);
  object.add("status", to_string(component.status));
  object.add("critical", component.is_critical);
  object.add("message", component.message);
  if (component.last_checked) {
    object.add("last_checked", *component.last_checked);
  } else {
    object.key("last_checked") += "null";
  }
  object.add("duration", seconds(component.duration));
  JsonObject details(object.key("details"));
  for (const HealthDetail& one : component.details) {
    std::visit([&](const auto& value) { details.add(one.name, value); }, one.value);
  }
}

}  // namespace

std::string to_json(const HealthReport& report) {
  std::string out;
  {
    JsonObject object(out);
    object.add("status", to_string(report.status));
    object.add("timestamp", report.timestamp);
    object.add("version", report.version);
    object.add("uptime", seconds(report.uptime));
    JsonObject components(object.key("components"));
    for (const ComponentHealth& one : report.components) append_json(components.key(one.name), one);
  }
  return out += '\n';
}

}  // namespace quipu
