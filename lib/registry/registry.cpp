#include "quipu/registry.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "collectors/process_collector.hpp"
#include "collectors/runtime_collector.hpp"
#include "family/definition.hpp"
#include "quipu/error.hpp"
#include "registry/registry_core.hpp"
#include "registry/scope_access.hpp"
#include "registry/scrape.hpp"
#include "registry/self_collector.hpp"

namespace quipu {
namespace {

detail::NameRules name_rules(const RegistryOptions& options) noexcept {
  return options.utf8_names ? detail::NameRules::utf8 : detail::NameRules::legacy;
}

void check_limits(const RegistryOptions& options) {
  if (options.max_series == 0) throw RegistrationError("RegistryOptions::max_series is 0, and must be at least 1");
  const std::size_t max_value = options.max_label_value_size;
  if (max_value < detail::lowest_max_label_value || max_value > detail::highest_max_label_value) {
    throw RegistrationError(fmt::format("RegistryOptions::max_label_value_size is {}, and must be from {} to {} bytes",
                                        max_value, detail::lowest_max_label_value, detail::highest_max_label_value));
  }
}

std::shared_ptr<detail::RegistryCore> make_core(const RegistryOptions& options) {
  check_limits(options);
  auto const_labels = detail::owned(options.const_labels);
  auto core = std::make_shared<detail::RegistryCore>(std::move(const_labels), name_rules(options), options);
  core->check_const_labels(core->const_labels());
  using Role = detail::RegisteredCollector::Role;
  using Subject = detail::RegisteredCollector::Subject;
  const auto add_own = [&core](std::shared_ptr<Collector> collector, Role role, Subject subject) {
    Collector& added = *collector;
    const auto registered =
        core->add_collector(added, "", "", core->const_labels(), nullptr, std::move(collector), nullptr);
    registered->set_role(role);
    registered->set_subject(subject);
  };
  const detail::ProcessFamilies process_families{.standard = options.process_metrics,
                                                 .io = options.process_io_metrics,
                                                 .pressure = options.process_pressure_metrics,
                                                 .peaks = options.process_peak_metrics};
  if (process_families.any()) {
    add_own(detail::make_process_collector(process_families), Role::prompt, Subject::process);
  }
  if (options.runtime_metrics) add_own(detail::make_runtime_collector(), Role::usual, Subject::process);
  if (options.self_metrics) {
    add_own(detail::make_recording_collector(), Role::prompt, Subject::process);
    add_own(detail::make_self_collector(*core), Role::prompt, Subject::registry);
    add_own(detail::make_status_collector(), Role::status, Subject::registry);
  }
  return core;
}

/// Never destroyed, so that static objects may use it at their end. No lock guards it, because a
/// fork may leave one locked.
std::atomic<const Registry*> of_process{nullptr};

/// Null until it is made.
const Registry* registry_of_process() {
  // Acquire: pairs with the release in make_registry_of_process().
  return of_process.load(std::memory_order_acquire);
}

/// Null if it is made already.
const Registry* make_registry_of_process(const RegistryOptions& options) {
  auto made = std::make_unique<const Registry>(options);
  const Registry* none = nullptr;
  // Release: pairs with the acquire in registry_of_process().
  if (!of_process.compare_exchange_strong(none, made.get(), std::memory_order_release, std::memory_order_relaxed)) {
    return nullptr;
  }
  return made.release();
}

}  // namespace

Registry::Registry(const RegistryOptions& options)
    : Scope(make_core(options), detail::joined(options.prefix.text(), name_rules(options))) {
  const BuildInfo& build = options.build_info;
  if (build.version.empty()) return;
  info({.name = "build_info", .help = "What is running."},
       {{"version", build.version}, {"revision", build.revision}, {"compiler", build.compiler}});
}

void Registry::collect(Visitor& visitor, const ScrapeRequest& request) const {
  detail::Scrape scrape(detail::ScopeAccess::core(*this), request);
  while (scrape.show_some(visitor)) {
  }
}

std::vector<DescribedFamily> Registry::describe() const { return detail::ScopeAccess::core(*this)->describe(); }
void Registry::reset() const { detail::ScopeAccess::core(*this)->reset(); }

Registry process_registry() {
  if (const Registry* const known = registry_of_process()) return *known;
  if (const Registry* const made = make_registry_of_process({})) return *made;
  return *registry_of_process();
}

Registry process_registry(const RegistryOptions& options) {
  const Registry* made = nullptr;
  if (registry_of_process() == nullptr) made = make_registry_of_process(options);
  if (made != nullptr) return *made;
  throw RegistrationError(
      "process_registry(options): the registry of the process is there already, with the options of its first call; "
      "call this once, in main(), before anything calls process_registry()");
}

}  // namespace quipu
