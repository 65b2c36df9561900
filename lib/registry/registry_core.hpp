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

/// What a registry is made of, behind its handles.
class RegistryCore : public std::enable_shared_from_this<RegistryCore> {
 public:
  /// Takes of the options what is not about names; those it gets as they are kept.
  RegistryCore(OwnedLabels const_labels, NameRules rules, const RegistryOptions& options);

  // `batch` is that of the scope that registers; null for none.
  [[nodiscard]] std::shared_ptr<FamilyCore> add_family(Definition definition, std::size_t closed_size,
                                                       std::size_t max_series, Batch* batch);
  [[nodiscard]] std::shared_ptr<RegisteredCollector> add_collector(
      Collector& collector, const std::string& prefix, std::unique_ptr<const std::vector<std::string>> fixed_labels,
      std::shared_ptr<Collector> owned, Batch* batch);
  /// Takes the one that is in the list.
  void add_info(std::list<Info> info, Batch* batch);
  void remove_collector(const RegisteredCollector& registered);

  // The end of a batch.
  void close(Batch& batch) noexcept;
  void take_back(Batch& batch) noexcept;

  /// One family on the page: of instruments, or of collectors.
  struct FamilyEntry {
    std::shared_ptr<const Definition> definition;
    std::shared_ptr<FamilyCore> instruments;  // null if collected
    std::vector<std::shared_ptr<RegisteredCollector>> collectors{};
    /// Of instruments: the open batches that registered it, if nobody else has. While there are any it is not shown,
    /// and if all of them are taken back, so is it.
    std::vector<const Batch*> batches{};
    /// Number of the batch whose end made it visible; 0 if it was visible at once.
    std::uint64_t shown_by = 0;
  };

  /// What a scrape begins with. Batches that end later are not on its page, though their families are there by then.
  struct ScrapeStart {
    std::vector<std::shared_ptr<RegisteredCollector>> collectors;
    std::uint64_t batches;   // that have been shown
    std::uint32_t last_tag;  // of the infos that have been made
  };

  // For a scrape: what there is of these families, or of all if there are no names.
  [[nodiscard]] ScrapeStart start_scrape(std::span<const std::string> names) const;
  [[nodiscard]] std::vector<FamilyEntry> families_of(std::span<const std::string> names,
                                                     const ScrapeStart& start) const;
  [[nodiscard]] const OwnedLabels& const_labels() const noexcept { return const_labels_; }
  [[nodiscard]] NameRules name_rules() const noexcept { return name_rules_; }
  [[nodiscard]] const FormatOptions& formats() const noexcept { return formats_; }
  [[nodiscard]] CollectorErrors& errors() noexcept { return errors_; }
  [[nodiscard]] Executor& collector_threads() noexcept { return collector_threads_; }

  /// The families in which look-ups went to the overflow series, and how many did.
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> overflows() const;

 private:
  struct CollectorEntry {
    std::shared_ptr<RegisteredCollector> registered;
    const Batch* batch;  // an open one, which hides it, or null
  };

  // With the lock held.
  void claim(const Definition& definition);
  [[nodiscard]] std::size_t escapings_in_use() const noexcept {
    return name_rules_ == NameRules::utf8 ? escaping_schemes.size() : 1;
  }
  void unclaim(const Definition& definition);
  void add_to_families(const std::shared_ptr<const Definition>& definition,
                       const std::shared_ptr<RegisteredCollector>& registered);
  void remove_from_families(const RegisteredCollector& registered, std::size_t families);
  void report_lint(const Definition& definition) const;
  [[noreturn]] void refuse_second(const Definition& definition, const FamilyEntry& first) const;

  const OwnedLabels const_labels_;
  const NameRules name_rules_;
  const FormatOptions formats_;
  const std::function<void(std::string_view, std::string_view)> on_lint_;
  CollectorErrors errors_;
  Executor collector_threads_{"quipu-collect", 3};  // the endpoint makes three pages at a time

  mutable std::mutex mutex_;                     // guards what follows; not held while a collector is called
  std::map<std::string, FamilyEntry> families_;  // by full name
  // Sample name → the family that has such samples; for each escaping, as a page is written with one of them. With
  // legacy names, which are not escaped, the first will do.
  std::map<std::string, std::string> claims_[escaping_schemes.size()];
  std::vector<CollectorEntry> collectors_;
  std::uint64_t shown_batches_ = 0;
};

}  // namespace quipu::detail
