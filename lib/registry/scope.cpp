#include "quipu/scope.hpp"

#include <list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.hpp"
#include "family/definition.hpp"
#include "registry/callback.hpp"
#include "registry/registry_core.hpp"
#include "registry/scope_access.hpp"

namespace quipu {

std::shared_ptr<detail::FamilyCore> Scope::add_family(detail::Definition definition, std::span<const LabelName> labels,
                                                      std::size_t closed_size, std::size_t max_series) const {
  definition.name.insert(0, prefix_);
  definition.help = detail::to_utf8(definition.help);
  for (auto& [name, value] : definition.const_labels) value = detail::to_utf8(value);
  const detail::OwnedLabels outer = all_const_labels();
  definition.const_labels.insert(definition.const_labels.begin(), outer.begin(), outer.end());
  for (const LabelName& label : labels) definition.label_names.emplace_back(label.text());
  if (definition.type == MetricType::stateset) definition.label_names.push_back(definition.name);
  return core_->add_family(std::move(definition), closed_size, max_series, batch_.get());
}

void Scope::info(const InfoOptions& options, std::span<const InfoLabel> labels) const {
  detail::Definition definition{.type = MetricType::info,
                                .name = std::string(options.name.text()),
                                .help = options.help,
                                .const_labels = detail::owned(options.const_labels)};
  std::list<detail::Info> info(1);
  for (const auto& [name, value] : labels) {
    definition.label_names.emplace_back(name.text());
    definition.columns.push_back({detail::LabelType::text});
    info.front().key.put(value);
  }
  info.front().family = add_family(std::move(definition), {}, 0, options.max_series);
  core_->add_info(std::move(info), batch_.get());
}

Registration Scope::callback(MetricType type, const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                             std::function<double()> read) const {
  if (options.max_series == 0) {
    throw RegistrationError("cannot register the callback " + std::string(options.name.text()) +
                            ": max_series is 0, and must be at least 1");
  }
  if (options.idle_expiry.count() != 0) {
    throw RegistrationError("cannot register callback " + std::string(options.name.text()) +
                            ": idle_expiry is for what is recorded, and a callback is shown until its registration "
                            "ends; leave it out");
  }
  FamilyDescription family{
      .name = std::string(options.name.text()), .help = options.help, .type = type, .unit = options.unit};
  std::vector<std::string> values;
  for (auto& [name, value] : detail::owned(std::span(labels.begin(), labels.size()))) {
    family.labels.push_back(std::move(name));
    values.push_back(std::move(value));
  }
  auto fixed_labels = std::make_unique<const std::vector<std::string>>(values);
  auto callback = detail::make_callback(std::move(family), std::move(values), std::move(read));
  Collector& collector = *callback;
  detail::OwnedLabels const_labels = all_const_labels();
  for (auto& label : detail::owned(options.const_labels)) const_labels.push_back(std::move(label));
  return Registration(core_->add_collector(collector, "", prefix_, const_labels, std::move(fixed_labels),
                                           std::move(callback), batch_.get()));
}

Registration Scope::add(Collector& collector, std::string_view name) const {
  return Registration(core_->add_collector(collector, detail::to_utf8(name), prefix_, all_const_labels(), nullptr,
                                           nullptr, batch_.get()));
}

Registration Scope::add(std::shared_ptr<Collector> collector, std::string_view name) const {
  if (collector == nullptr) throw RegistrationError("cannot add a collector that is null");
  Collector& added = *collector;
  return Registration(core_->add_collector(added, detail::to_utf8(name), prefix_, all_const_labels(), nullptr,
                                           std::move(collector), batch_.get()));
}

Registration Scope::add(std::function<void(Samples&)> collect, std::string_view name) const {
  return add({}, std::move(collect), name);
}

Registration Scope::add(std::vector<FamilyDescription> families, std::function<void(Samples&)> collect,
                        std::string_view name) const {
  if (!collect) throw RegistrationError("cannot add a collector that is an empty function");
  return add(detail::make_collector(std::move(families), std::move(collect)), name);
}

Scope Scope::subsystem(MetricPrefix prefix, const std::vector<ConstLabel>& const_labels) const {
  Scope made{core_, prefix_ + detail::joined(prefix.text(), core_->name_rules()), batch_, const_labels_};
  for (auto& label : detail::owned(const_labels)) made.const_labels_.push_back(std::move(label));
  core_->check_const_labels(made.all_const_labels());
  return made;
}

bool Scope::remove(MetricName name) const {
  return core_->remove(prefix_ + std::string(name.text()), all_const_labels());
}

bool Scope::remove_family(const detail::FamilyCore& family) const { return core_->remove(family); }

bool Scope::remove_single(detail::CellRef series) const { return core_->remove(series); }

detail::OwnedLabels Scope::all_const_labels() const {
  detail::OwnedLabels all = core_->const_labels();
  all.insert(all.end(), const_labels_.begin(), const_labels_.end());
  return all;
}

namespace detail {

std::shared_ptr<FamilyCore> ScopeAccess::add_family(const Scope& scope, Definition definition, std::size_t max_series) {
  return scope.add_family(std::move(definition), {}, 0, max_series);
}

std::shared_ptr<FamilyCore> ScopeAccess::add_unprefixed(const Scope& scope, Definition definition,
                                                        std::size_t max_series) {
  definition.const_labels = scope.core_->const_labels();
  return scope.core_->add_family(std::move(definition), 0, max_series, nullptr, true);
}

const std::shared_ptr<RegistryCore>& ScopeAccess::core(const Scope& scope) noexcept { return scope.core_; }

}  // namespace detail
}  // namespace quipu
