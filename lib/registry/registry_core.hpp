#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/executor.hpp"
#include "family/definition.hpp"
#include "family/escaping.hpp"
#include "quipu/family.hpp"
#include "quipu/registry_options.hpp"
#include "registry/batch.hpp"
#include "registry/collection.hpp"
#include "registry/format_options.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// The state of a registry, shared by its handles.
class RegistryCore : public std::enable_shared_from_this<RegistryCore> {
 public:
  /// Uses those options that are not about names. The const labels and rules for names are passed separately, in the
  /// form in which they are kept.
  RegistryCore(OwnedLabels const_labels, NameRules rules, const RegistryOptions& options);

  // `batch` is the batch of the scope that registers; null for none. The series of a family of the library's own are
  // not counted in the registry's limit.
  [[nodiscard]] std::shared_ptr<FamilyCore> add_family(Definition definition, std::size_t closed_size,
                                                       std::size_t max_series, Batch* batch, bool is_own = false);
  // The parameters are those of RegisteredCollector.
  [[nodiscard]] std::shared_ptr<RegisteredCollector> add_collector(
      Collector& collector, std::string name, const std::string& prefix,
      std::unique_ptr<const std::vector<std::string>> fixed_labels, std::shared_ptr<Collector> owned, Batch* batch);
  /// Takes the one info in the list.
  void add_info(std::list<Info> info, Batch* batch);
  void remove_collector(const RegisteredCollector& registered);

  // The end of a batch.

  /// Shows what the batch registered, or gives it to the batch around it. An info for which there is no memory is
  /// missing.
  void close(Batch& batch) noexcept;
  /// Removes what only the batch registered.
  void take_back(Batch& batch) noexcept;

  /// One family on the page: of instruments, or of collectors.
  struct FamilyEntry {
    std::shared_ptr<const Definition> definition;
    std::shared_ptr<FamilyCore> instruments;  // null if collected
    std::vector<std::shared_ptr<RegisteredCollector>> collectors{};
    /// For instruments: the open batches that registered the family, if nothing else has. The family is hidden while
    /// there are any. If all of them are taken back, the family is too.
    std::vector<const Batch*> batches{};
    /// The number of the batch whose end made it visible; 0 if it was visible at once.
    std::uint64_t shown_by = 0;
  };

  /// The state of the registry when a scrape begins. Batches that end later are not on its page, even if their families
  /// exist by then.
  struct ScrapeStart {
    std::vector<std::shared_ptr<RegisteredCollector>> collectors;
    std::uint64_t batches;   // how many have been shown
    std::uint32_t last_tag;  // the newest tag: infos with a newer one are not shown
  };

  /// A family that a collector showed without having described it, and that is left out of the page.
  struct Clash {
    std::shared_ptr<const RegisteredCollector> collector;
    std::string what;
  };

  /// What a page has, in the order of names.
  struct PageFamilies {
    std::vector<FamilyEntry> families{};
    std::vector<std::shared_ptr<RegisteredCollector>> undescribed{};  // collectors that describe nothing
    std::vector<Clash> clashes{};
  };

  // For a scrape. They return what exists of the families with these names, or of all families if there are no names.
  // Families that collectors have not described are those that they showed.
  [[nodiscard]] ScrapeStart start_scrape(std::span<const std::string> names) const;
  [[nodiscard]] PageFamilies families_of(std::span<const std::string> names, const ScrapeStart& start,
                                         const Collected& collected) const;
  [[nodiscard]] const OwnedLabels& const_labels() const noexcept { return const_labels_; }
  [[nodiscard]] NameRules name_rules() const noexcept { return name_rules_; }
  [[nodiscard]] const FormatOptions& formats() const noexcept { return formats_; }
  [[nodiscard]] const OnCollectorError& on_error() const noexcept { return on_error_; }
  [[nodiscard]] Executor& collector_threads() noexcept { return collector_threads_; }

  /// Resets all families of instruments, but for infos. Throws std::bad_alloc.
  void reset() const;

  /// What a family could not keep apart.
  struct FamilyLosses {
    std::string family;
    std::uint64_t overflows;
    std::uint64_t evictions;
    std::uint64_t truncations;
  };
  /// Of the families that could not keep apart everything.
  [[nodiscard]] std::vector<FamilyLosses> losses() const;

  /// The errors of the collectors of one name.
  struct NamedErrors {
    std::shared_ptr<const CollectorErrors> errors;
    bool has_usual = false;  // a collector of the usual role has the name
  };
  /// By name. Of those that batches do not hide.
  [[nodiscard]] std::map<std::string, NamedErrors> collector_errors() const;

 private:
  struct CollectorEntry {
    std::shared_ptr<RegisteredCollector> registered;
    const Batch* batch;  // the open batch that hides it, or null
  };

  [[nodiscard]] CollectedFamily make_collected(const FamilyDescription& described, const std::string& prefix) const;

  // With the lock held.
  void add_undescribed(std::span<const std::string> names, const Collected& collected, PageFamilies& page) const;
  void claim(const Definition& definition);
  [[nodiscard]] std::size_t escapings_in_use() const noexcept {
    return name_rules_ == NameRules::utf8 ? escaping_schemes.size() : 1;
  }
  void unclaim(const Definition& definition) noexcept;
  void add_to_families(const std::shared_ptr<const Definition>& definition,
                       const std::shared_ptr<RegisteredCollector>& registered);
  void remove_from_families(const RegisteredCollector& registered, std::size_t families);
  [[noreturn]] void refuse_second(const Definition& definition, const FamilyEntry& first) const;

  /// Called without the lock. The family stays registered, whatever the linter says.
  void report_lint(const Definition& definition) const;

  const OwnedLabels const_labels_;
  const NameRules name_rules_;
  const FormatOptions formats_;
  const std::size_t max_label_value_;
  const std::shared_ptr<SeriesBudget> series_budget_;
  const std::function<void(std::string_view, std::string_view)> on_lint_;
  const OnCollectorError on_error_;
  const ExemplarSource exemplars_;
  Executor collector_threads_{"quipu-collect", 3};  // the endpoint makes three pages at a time

  mutable std::mutex mutex_;                     // guards what follows; not held while a collector is called
  std::map<std::string, FamilyEntry> families_;  // by full name
  // The family that owns each sample name, once for each escaping, because a page is written with one of them. Legacy
  // names are not escaped, so for them the first map is enough.
  std::map<std::string, std::string> claims_[escaping_schemes.size()];
  std::vector<CollectorEntry> collectors_;
  /// Of the collectors with this name. The errors go with the last of these, their places here when there are many.
  std::map<std::string, std::weak_ptr<CollectorErrors>> errors_;
  std::uint64_t shown_batches_ = 0;
};

}  // namespace quipu::detail
