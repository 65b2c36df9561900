#include "service/health_collector.hpp"

#include <string_view>
#include <utility>
#include <vector>

namespace quipu::detail {
namespace {

double number_of(HealthStatus status) noexcept {
  switch (status) {
    case HealthStatus::healthy:
      return 1;
    case HealthStatus::degraded:
      return 0.5;
    case HealthStatus::unhealthy:
    case HealthStatus::unknown:
      break;
  }
  return 0;
}

class HealthCollector final : public Collector {
 public:
  HealthCollector(std::function<HealthReport()> report, bool version_label)
      : report_(std::move(report)), version_label_(version_label) {}

  std::vector<FamilyDescription> describe() const override {
    FamilyDescription whole{.name = "health_status",
                            .help = "Whether the program works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown."};
    FamilyDescription parts{.name = "component_health",
                            .help = "Whether a component works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.",
                            .labels = {"component"}};
    if (version_label_) {
      for (FamilyDescription* const family : {&whole, &parts}) family->labels.emplace_back("version");
    }
    return {std::move(whole), std::move(parts)};
  }

  void collect(Samples& samples) override {
    const HealthReport report = report_();
    const auto add = [&](std::string_view family, std::vector<std::string_view> labels, HealthStatus status) {
      if (version_label_) labels.emplace_back(report.version);
      samples.add(family, labels, number_of(status));
    };
    add("health_status", {}, report.status);
    for (const ComponentHealth& one : report.components) add("component_health", {one.name}, one.status);
  }

 private:
  const std::function<HealthReport()> report_;
  const bool version_label_;
};

}  // namespace

std::shared_ptr<Collector> make_health_collector(std::function<HealthReport()> report, bool version_label) {
  return std::make_shared<HealthCollector>(std::move(report), version_label);
}

}  // namespace quipu::detail
