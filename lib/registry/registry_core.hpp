#pragma once

#include <atomic>
#include <compare>
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
#include "quipu/described_family.hpp"
#include "quipu/family.hpp"
#include "quipu/registry_options.hpp"
#include "registry/batch.hpp"
#include "registry/collection.hpp"
#include "registry/format_options.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// Whether a page of the families with these names has this one. With no names it has all.
[[nodiscard]] bool is_wanted(std::span<const std::string> names, const std::string& name) noexcept;

/// Whether the part of a family comes first on a page: by the name of the family, then by the values of its const
/// labels.
[[nodiscard]] bool is_before(const Definition& a, const Definition& b) noexcept;

/// The state of a registry, shared by its handles.
class RegistryCore : public std::enable_shared_from_this<RegistryCore> {
 public:
  /// Uses those options that are not about names. The const labels and rules for names are passed separately, in the
  /// form in which they are kept.
  RegistryCore(OwnedLabels const_labels, NameRules rules, const RegistryOptions& options);

  /// Throws RegistrationError if these cannot be all const labels of a family.
  void check_const_labels(const OwnedLabels& labels) const;

  // `batch` is the batch of the scope that registers; null for none. The const labels of a definition are all that its
  // series have. The series of a family of the library's own are not counted in the registry's limit.
  [[nodiscard]] std::shared_ptr<FamilyCore> add_family(Definition definition, std::size_t closed_size,
                                                       std::size_t max_series, Batch* batch, bool is_own = false);
  // The other parameters are those of RegisteredCollector.
  [[nodiscard]] std::shared_ptr<RegisteredCollector> add_collector(
      Collector& collector, std::string name, const std::string& prefix, const OwnedLabels& const_labels,
      std::unique_ptr<const std::vector<std::string>> fixed_labels, std::shared_ptr<Collector> owned, Batch* batch);
  /// Takes the one info in the list.
  void add_info(std::list<Info> info, Batch* batch);
  void remove_collector(const RegisteredCollector& registered);

  // They remove families of instruments, and return whether there was one. See Scope::remove().

  bool remove(const FamilyCore& family);
  /// The part whose only series this is.
  bool remove(CellRef series);
  /// The parts whose const labels begin with these.
  bool remove(const std::string& name, const OwnedLabels& const_labels);

  // The end of a batch.

  /// Shows what the batch registered, or gives it to the batch around it. An info for which there is no memory is
  /// missing.
  void close(Batch& batch) noexcept;
  /// Removes what only the batch registered.
  void take_back(Batch& batch) noexcept;

  /// Where a part of a family is among all: by the name of the family, then by the values of its const labels.
  struct FamilyKey {
    std::string name;
    std::vector<std::string> const_values;

    friend auto operator<=>(const FamilyKey&, const FamilyKey&) = default;
  };
  /// Also finds all parts of a family by its name.
  struct FamilyOrder {
    using is_transparent = void;
    bool operator()(const FamilyKey& a, const FamilyKey& b) const noexcept { return a < b; }
    bool operator()(const FamilyKey& a, std::string_view name) const noexcept { return a.name < name; }
    bool operator()(std::string_view name, const FamilyKey& b) const noexcept { return name < b.name; }
  };

  /// The instruments of a part. The registry shares it with the pages under way. When it has been removed, its series
  /// end with the last of these pages, so each of them shows all of it.
  struct Instruments {
    explicit Instruments(std::shared_ptr<FamilyCore> made) noexcept : core(std::move(made)) {}
    Instruments(const Instruments&) = delete;
    Instruments& operator=(const Instruments&) = delete;
    ~Instruments() {
      if (is_removed) core->series.end();
    }

    const std::shared_ptr<FamilyCore> core;
    bool is_removed = false;  // set by whoever takes it out of the registry; read by the last that has it
  };

  /// A part of a family: the series with the same const labels. It is of instruments, or of collectors, as are all
  /// parts of its family. All parts have the same help text, that of the first.
  struct FamilyEntry {
    std::shared_ptr<const Definition> definition;
    std::shared_ptr<Instruments> instruments;  // null if collected
    std::vector<std::shared_ptr<RegisteredCollector>> collectors{};
    /// For instruments: the open batches that registered the part, if nothing else has. The part is hidden while there
    /// are any. If all of them are taken back, the part is too.
    std::vector<const Batch*> batches{};
    /// The number of the batch whose end made it visible; 0 if it was visible at once.
    std::uint64_t shown_by = 0;
    /// Only on a page: no collector has described the part. Its definition is of this page alone.
    bool is_undescribed = false;
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

  /// What a page has, in the order of FamilyKey.
  struct PageFamilies {
    std::vector<FamilyEntry> families{};
    std::uint64_t version = 0;  // changes with every family that is registered or removed
    std::vector<std::shared_ptr<RegisteredCollector>> undescribed{};  // collectors that describe nothing
    std::vector<Clash> clashes{};
  };

  // For a scrape. They return what exists of the families with these names, or of all families if there are no names.
  // The parts of a family come one after another. Families that collectors have not described are those that they
  // showed, whatever their names, because others may clash with them.
  [[nodiscard]] ScrapeStart start_scrape(std::span<const std::string> names) const;
  [[nodiscard]] PageFamilies families_of(std::span<const std::string> names, const ScrapeStart& start,
                                         const Collected& collected) const;
  /// A part of a family, shown or not.
  struct DefinedPart {
    std::shared_ptr<const Definition> definition;
    bool is_collected;
    bool is_own;  // of the library itself
  };
  struct DefinedParts {
    std::vector<DefinedPart> parts;
    std::uint64_t version;
  };
  [[nodiscard]] DefinedParts definitions() const;
  [[nodiscard]] const OwnedLabels& const_labels() const noexcept { return const_labels_; }
  [[nodiscard]] NameRules name_rules() const noexcept { return name_rules_; }
  [[nodiscard]] const FormatOptions& formats() const noexcept { return formats_; }
  [[nodiscard]] const OnCollectorError& on_error() const noexcept { return on_error_; }
  [[nodiscard]] Executor& collector_threads() noexcept { return collector_threads_; }

  /// What pages of several registries left out, counted since the registry was made.
  struct PageClashes {
    std::atomic<std::uint64_t> families{0};
    std::atomic<std::uint64_t> series{0};
  };
  [[nodiscard]] PageClashes& page_clashes() noexcept { return page_clashes_; }

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
  [[nodiscard]] std::vector<DescribedFamily> describe() const;

  /// The errors of the collectors of one name.
  struct NamedErrors {
    std::shared_ptr<const CollectorErrors> errors;
    bool has_usual = false;  // a collector of the usual role has the name
  };
  /// By name. Of those that batches do not hide.
  [[nodiscard]] std::map<std::string, NamedErrors> collector_errors() const;

 private:
  using Families = std::map<FamilyKey, FamilyEntry, FamilyOrder>;

  struct CollectorEntry {
    std::shared_ptr<RegisteredCollector> registered;
    const Batch* batch;  // the open batch that hides it, or null
  };

  [[nodiscard]] CollectedFamily make_collected(const FamilyDescription& described, const std::string& prefix,
                                               const OwnedLabels& const_labels) const;

  [[nodiscard]] static const FamilyEntry* first_part(const Families& families, std::string_view name);

  // With the lock held.
  void add_undescribed(std::span<const std::string> names, const Collected& collected, PageFamilies& page) const;
  void claim(const Definition& definition);
  [[nodiscard]] std::size_t escapings_in_use() const noexcept {
    return name_rules_ == NameRules::utf8 ? escaping_schemes.size() : 1;
  }
  void unclaim(std::string_view family) noexcept;
  void insert(FamilyEntry made);
  [[nodiscard]] Families::node_type extract(Families::iterator part) noexcept;
  template <class Condition>
  bool remove_if(Condition is_meant);
  void add_to_families(const std::shared_ptr<const Definition>& definition,
                       const std::shared_ptr<RegisteredCollector>& registered);
  void remove_from_families(const RegisteredCollector& registered, std::size_t families);
  void check_second(const Definition& definition, bool is_collected, const FamilyEntry& first) const;

  // Called without the lock. The family stays registered, whatever the linter says.
  void report_lint(const Definition& definition) const;
  void report_help(const Definition& definition, const std::string& shown) const;

  const OwnedLabels const_labels_;
  const NameRules name_rules_;
  const FormatOptions formats_;
  const std::size_t max_label_value_;
  const std::shared_ptr<SeriesBudget> series_budget_;
  const std::function<void(std::string_view, std::string_view)> on_lint_;
  const OnCollectorError on_error_;
  const ExemplarSource exemplars_;
  PageClashes page_clashes_;
  Executor collector_threads_{"quipu-collect", 3};  // the endpoint makes three pages at a time

  mutable std::mutex mutex_;  // guards what follows; not held while a collector is called
  Families families_;
  // The family that owns each sample name, once for each escaping, because a page is written with one of them. Legacy
  // names are not escaped, so for them the first map is enough.
  std::map<std::string, std::string> claims_[escaping_schemes.size()];
  std::vector<CollectorEntry> collectors_;
  /// Of the collectors with this name. The errors go with the last of these, their places here when there are many.
  std::map<std::string, std::weak_ptr<CollectorErrors>> errors_;
  std::uint64_t shown_batches_ = 0;
  std::uint64_t version_ = 0;  // of `families_`
};

}  // namespace quipu::detail
