#include "registry/joined_registries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quipu/error.hpp"

namespace quipu::detail {
namespace {

/// Whether a page can show both as one family. Unlike is_same_family(), it does not matter how they are recorded to.
bool is_same_on_page(const Definition& a, const Definition& b) noexcept {
  return a.type == b.type && a.unit == b.unit && a.label_names == b.label_names &&
         std::ranges::equal(a.const_labels, b.const_labels, {}, &OwnedLabels::value_type::first,
                            &OwnedLabels::value_type::first);
}

/// Whether both have one series at most, and the same.
bool have_one_series(const RegistryCore::DefinedPart& a, const RegistryCore::DefinedPart& b) {
  return !a.is_collected && !b.is_collected && a.definition->key_columns().empty() &&
         a.definition->const_labels == b.definition->const_labels;
}

}  // namespace

const PageNames::Parts* PageNames::find(const std::string& family) const {
  if (const auto known = families_.find(family); known != families_.end()) return &known->second;
  return base_ == nullptr ? nullptr : base_->find(family);
}

const Definition* PageNames::owner(std::size_t escaping, const std::string& sample) const {
  if (const auto known = owners_[escaping].find(sample); known != owners_[escaping].end()) return known->second;
  return base_ == nullptr ? nullptr : base_->owner(escaping, sample);
}

std::string PageNames::add(const RegistryCore::DefinedPart& part) {
  const Definition& definition = *part.definition;
  const auto refusal = [&](const Definition& other, std::string_view why) {
    return fmt::format("{} cannot be on a page with {}: {}", describe(definition), describe(other), why);
  };
  if (const Parts* const known = find(definition.name)) {
    const Definition& other = *known->front().definition;
    if (!is_same_on_page(definition, other)) return refusal(other, "type, unit and label names must be the same");
    for (const RegistryCore::DefinedPart& one : *known) {
      if (have_one_series(one, part)) return refusal(*one.definition, "both have the same series");
      const bool are_instruments = !one.is_collected && !part.is_collected;
      if (are_instruments && one.definition->const_labels == definition.const_labels)
        repeated_.push_back(definition.name);
    }
  } else {
    std::vector<std::string> names[escaping_schemes.size()];
    for (std::size_t i = 0; i < escapings_; ++i) {
      names[i] = sample_names(definition, escaping_schemes[i].first);
      for (const std::string& name : names[i]) {
        const Definition* const taken = owner(i, name);
        if (taken != nullptr) return refusal(*taken, fmt::format("both have samples named \"{}\"", name));
      }
    }
    for (std::size_t i = 0; i < escapings_; ++i) {
      for (std::string& name : names[i]) owners_[i].emplace(std::move(name), &definition);
    }
  }
  families_[definition.name].push_back(part);
  return "";
}

JoinedRegistries::JoinedRegistries(std::vector<std::shared_ptr<RegistryCore>> registries, OnClash on_clash)
    : registries_(std::move(registries)), on_clash_(std::move(on_clash)), plan_(make_plan()) {
  if (plan_->clashes.empty()) return;
  throw RegistrationError(plan_->clashes.front().why +
                          "; give the registries const labels of other values, or rename one");
}

std::shared_ptr<const JoinedRegistries::Plan> JoinedRegistries::plan(std::span<const std::uint64_t> versions) {
  {
    const std::lock_guard lock(mutex_);
    if (std::ranges::equal(plan_->versions, versions)) return plan_;
  }
  auto made = make_plan();
  for (const Clash& clash : made->clashes) report(clash.family, clash.why);
  const std::lock_guard lock(mutex_);
  plan_ = made;
  return made;
}

std::shared_ptr<const JoinedRegistries::Plan> JoinedRegistries::make_plan() const {
  const bool has_utf8 =
      std::ranges::any_of(registries_, [](const auto& registry) { return registry->name_rules() == NameRules::utf8; });
  auto made = std::make_shared<Plan>(has_utf8 ? escaping_schemes.size() : 1);
  for (std::size_t i = 0; i < registries_.size(); ++i) {
    auto [parts, version] = registries_[i]->definitions();
    made->versions.push_back(version);
    for (const RegistryCore::DefinedPart& part : parts) {
      std::string why = made->names.add(part);
      if (why.empty()) {
        made->shown.insert(part.definition.get());
      } else if (!part.is_own) {
        made->clashes.push_back({i, part.definition->name, std::move(why)});
      }
    }
  }
  return made;
}

std::vector<std::string> JoinedRegistries::repeated_families() {
  const std::lock_guard lock(mutex_);
  return plan_->names.repeated();
}

void JoinedRegistries::report(const std::string& family, std::string_view why) {
  if (!on_clash_) return;
  {
    const std::lock_guard lock(mutex_);
    if (!reported_.insert(family).second) return;
  }
  on_clash_(family, why);
}

}  // namespace quipu::detail
