#include "quipu/registries.hpp"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <string>
#include <utility>

#include "quipu/error.hpp"
#include "registry/joined_registries.hpp"
#include "registry/scope_access.hpp"
#include "registry/scrape.hpp"

namespace quipu {
namespace {

/// Shows nothing to anybody.
class Blind final : public Visitor {
 public:
  void family(const FamilyView&) override {}
  void sample(const Sample&) override {}
  void histogram(const HistogramSample&) override {}
  void summary(const SummarySample&) override {}
};

}  // namespace

Registries::Registries(std::vector<Registry> registries,
                       std::function<void(std::string_view family, std::string_view why)> on_clash) {
  if (registries.empty()) throw RegistrationError("a page of several registries needs at least one");
  std::vector<std::shared_ptr<detail::RegistryCore>> cores;
  for (const Registry& registry : registries) {
    const auto& core = detail::ScopeAccess::core(registry);
    if (std::ranges::find(cores, core) != cores.end()) {
      throw RegistrationError("a registry is given twice for one page; leave one of them out");
    }
    cores.push_back(core);
  }
  // What clashes now is told by an exception.
  std::string clash;
  const auto keep_first = [&clash](std::string_view, std::string_view why) {
    if (clash.empty()) clash = why;
  };
  const auto tried = std::make_shared<detail::JoinedRegistries>(cores, keep_first);
  Blind blind;
  const std::vector<std::string> repeated = tried->repeated_families();
  if (!repeated.empty()) {
    // Only of instruments: a scrape that is asked to stop waits for no collector.
    std::stop_source stopped;
    stopped.request_stop();
    detail::Scrape scrape(
        tried, {.families = repeated, .deadline = std::chrono::steady_clock::now(), .stop = stopped.get_token()});
    while (scrape.show_some(blind)) {
    }
  }
  if (!clash.empty()) throw RegistrationError(clash);
  joined_ = std::make_shared<detail::JoinedRegistries>(std::move(cores), std::move(on_clash));
}

void Registries::collect(Visitor& visitor, const ScrapeRequest& request) const {
  detail::Scrape scrape(joined_, request);
  while (scrape.show_some(visitor)) {
  }
}

const std::shared_ptr<detail::JoinedRegistries>& detail::RegistriesAccess::joined(
    const Registries& registries) noexcept {
  return registries.joined_;
}

}  // namespace quipu
