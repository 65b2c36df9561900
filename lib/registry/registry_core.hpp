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
#include <vector>

#include "base/executor.hpp"
#include "exposition/format.hpp"
#include "family/definition.hpp"
#include "quipu/family.hpp"
#include "quipu/registry.hpp"
#include "registry/batch.hpp"
#include "registry/collection.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// What a registry is made of, behind its handles.
class RegistryCore : public std::enable_shared_from_this<RegistryCore> {
 public:
  /// Takes of the options what is not about names; those it gets as they are kept.
  RegistryCore(OwnedLabels const_labels, Names names, const RegistryOptions& options);

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
  struct Entry {
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
  struct Beginning {
    std::vector<std::shared_ptr<RegisteredCollector>> collectors;
    std::uint64_t batches;   // that have been shown
    std::uint32_t last_tag;  // of the infos that have been made
  };

  // For a scrape: what there is of these families, or of all if there are no names.
  [[nodiscard]] Beginning begin(std::span<const std::string> names) const;
  [[nodiscard]] std::vector<Entry> entries_of(std::span<const std::string> names, const Beginning& beginning) const;
  [[nodiscard]] const OwnedLabels& const_labels() const noexcept { return const_labels_; }
  [[nodiscard]] Names names() const noexcept { return names_; }
  [[nodiscard]] const FormatOptions& formats() const noexcept { return formats_; }
  [[nodiscard]] CollectorErrors& errors() noexcept { return errors_; }
  [[nodiscard]] Executor& collector_threads() noexcept { return collector_threads_; }

  /// Shows what the registry counts of itself.
  void show_self(Samples& samples) const;

 private:
  struct Reader {
    std::shared_ptr<RegisteredCollector> registered;
    const Batch* batch;  // an open one, which hides it, or null
  };

  // With the lock held.
  void claim(const Definition& definition);
  [[nodiscard]] std::size_t escapings_in_use() const noexcept {
    return names_ == Names::utf8 ? escapings_of_names.size() : 1;
  }
  void unclaim(const Definition& definition);
  void add_to_entry(const std::shared_ptr<const Definition>& definition,
                    const std::shared_ptr<RegisteredCollector>& registered);
  void remove_from_entries(const RegisteredCollector& registered, std::size_t families);
  void report_lint(const Definition& definition) const;
  [[noreturn]] void refuse_second(const Definition& definition, const Entry& first) const;

  const OwnedLabels const_labels_;
  const Names names_;
  const FormatOptions formats_;
  const std::function<void(std::string_view, std::string_view)> on_lint_;
  CollectorErrors errors_;
  Executor collector_threads_{"quipu-collect", 3};  // the endpoint makes three pages at a time

  mutable std::mutex mutex_;              // guards what follows; not held while a collector is called
  std::map<std::string, Entry> entries_;  // by full name
  // Sample name → the family that has such samples; for each escaping, as a page is written with one of them. With
  // legacy names, which are not escaped, the first will do.
  std::map<std::string, std::string> claims_[escapings_of_names.size()];
  std::vector<Reader> readers_;
  std::uint64_t shown_batches_ = 0;
};

}  // namespace quipu::detail
