#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/executor.hpp"
#include "family/definition.hpp"
#include "family/escaping.hpp"
#include "quipu/registries.hpp"
#include "registry/registry_core.hpp"

namespace quipu::detail {

/// The families of a page, with the names of their samples. Thread-compatible.
class PageNames {
 public:
  explicit PageNames(std::size_t escapings) noexcept : escapings_(escapings) {}
  /// Has what `base` has, too, which must outlive it.
  explicit PageNames(const PageNames* base) noexcept : base_(base), escapings_(base->escapings_) {}

  /// Adds the family of a part. Returns why it cannot be on the page; "" if it can.
  [[nodiscard]] std::string add(const RegistryCore::DefinedPart& part);

  /// The families of instruments of which several registries may have the same series.
  [[nodiscard]] const std::vector<std::string>& repeated() const noexcept { return repeated_; }

 private:
  using Parts = std::vector<RegistryCore::DefinedPart>;

  [[nodiscard]] const Parts* find(const std::string& family) const;
  [[nodiscard]] const Definition* owner(std::size_t escaping, const std::string& sample) const;

  const PageNames* const base_ = nullptr;
  const std::size_t escapings_;
  std::unordered_map<std::string, Parts> families_;
  std::unordered_map<std::string, const Definition*> owners_[escaping_schemes.size()];
  std::vector<std::string> repeated_;
};

/// Registries that share pages. Thread-safe.
class JoinedRegistries {
 public:
  using OnClash = std::function<void(std::string_view family, std::string_view why)>;

  /// A family that a page has to leave out.
  struct Clash {
    std::size_t registry;
    std::string family;
    std::string why;
  };

  /// Which parts of families pages show, for some state of the registries.
  struct Plan {
    explicit Plan(std::size_t escapings) noexcept : names(escapings) {}

    std::vector<std::uint64_t> versions;  // of the registries
    std::unordered_set<const Definition*> shown;
    PageNames names;             // keeps those definitions from being replaced by others
    std::vector<Clash> clashes;  // but for families of the library's own
  };

  JoinedRegistries(std::vector<std::shared_ptr<RegistryCore>> registries, OnClash on_clash);

  [[nodiscard]] std::span<const std::shared_ptr<RegistryCore>> registries() const noexcept { return registries_; }
  [[nodiscard]] Executor& collector_threads() noexcept { return collector_threads_; }

  [[nodiscard]] std::vector<std::string> repeated_families();
  /// The plan for families that were asked for when the registries had these versions, or later. Calls back for clashes
  /// that were not known.
  [[nodiscard]] std::shared_ptr<const Plan> plan(std::span<const std::uint64_t> versions);

  /// Calls back unless that was done before for this family.
  void report(const std::string& family, std::string_view why);

 private:
  [[nodiscard]] std::shared_ptr<const Plan> make_plan() const;

  const std::vector<std::shared_ptr<RegistryCore>> registries_;
  const OnClash on_clash_;
  Executor collector_threads_{"quipu-collect", 3};  // as those of a registry

  std::mutex mutex_;  // guards what follows; not held while a registry's is, nor while a callback runs
  std::shared_ptr<const Plan> plan_;
  std::set<std::string> reported_;
};

/// For what makes pages.
struct QUIPU_EXPORT RegistriesAccess {
  [[nodiscard]] static const std::shared_ptr<JoinedRegistries>& joined(const Registries& registries) noexcept;
};

}  // namespace quipu::detail
