#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "definition.hpp"
#include "quipu/collector.hpp"
#include "quipu/family.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

class RegistryCore;

/// One series that a collector showed.
struct CollectedSeries {
  std::vector<std::string> label_values;
  Number value;
};

/// What a collector showed of one family in one scrape.
struct CollectedFamily {
  std::shared_ptr<const Definition> definition;
  std::string local_name;  // without the prefix
  std::vector<CollectedSeries> series{};
};

/// A collector in its registry.
///
/// Whoever ends it waits until no other thread is inside the collector; after that none enters it. So `calls_` holds
/// the threads that are inside, and grows only while `is_open_`; both are guarded by `mutex_`, which is never held
/// during a call.
class Source {
 public:
  /// `fixed_labels` is set for a callback, which is one series with these label values.
  Source(Collector& collector, std::vector<CollectedFamily> families,
         std::unique_ptr<const std::vector<std::string>> fixed_labels);

  /// What the collector shows now; nothing when it was ended. Throws what the collector throws.
  [[nodiscard]] std::vector<CollectedFamily> collect();
  void end() noexcept;

  [[nodiscard]] const std::vector<CollectedFamily>& families() const noexcept { return families_; }
  [[nodiscard]] const std::vector<std::string>* fixed_labels() const noexcept { return fixed_labels_.get(); }
  void belong_to(std::weak_ptr<RegistryCore> registry, std::shared_ptr<Collector> owned) noexcept;

 private:
  class Call;

  Collector& collector_;
  const std::vector<CollectedFamily> families_;  // without series
  const std::unique_ptr<const std::vector<std::string>> fixed_labels_;
  std::weak_ptr<RegistryCore> registry_;
  std::shared_ptr<Collector> owned_;

  std::mutex mutex_;
  std::condition_variable left_;
  std::vector<std::thread::id> calls_;
  bool is_open_ = true;
};

/// What a registry is made of, behind its handles.
class RegistryCore : public std::enable_shared_from_this<RegistryCore> {
 public:
  explicit RegistryCore(OwnedLabels const_labels);

  [[nodiscard]] std::shared_ptr<FamilyCore> add_family(Definition definition, std::size_t closed_size,
                                                       std::size_t max_series);
  [[nodiscard]] std::shared_ptr<Source> add_source(Collector& collector, const std::string& prefix,
                                                   std::unique_ptr<const std::vector<std::string>> fixed_labels,
                                                   std::shared_ptr<Collector> owned);
  void remove_source(const Source& source);

  void collect(Visitor& visitor);

  /// Shows what the registry counts of itself.
  void show_self(Samples& samples) const;

 private:
  /// One family on the page: of instruments, or of collectors.
  struct Entry {
    std::shared_ptr<const Definition> definition;
    std::shared_ptr<FamilyCore> instruments;  // null if collected
    std::vector<std::shared_ptr<Source>> sources{};
  };

  using Collected = std::map<const Source*, std::vector<CollectedFamily>>;

  // With the lock held.
  void claim(const Definition& definition);
  void unclaim(const Definition& definition);
  void add_to_entry(const std::shared_ptr<const Definition>& definition, const std::shared_ptr<Source>& source);
  void remove_from_entry(const std::string& name, const Source& source);
  [[noreturn]] void refuse_second(const Definition& definition, const Entry& first) const;

  void show_collected(const Entry& entry, const Collected& collected, std::vector<Label>& labels, Visitor& visitor);

  const OwnedLabels const_labels_;
  std::atomic<std::uint64_t> collector_errors_{0};

  mutable std::mutex mutex_;                   // guards what follows; not held while a collector or a visitor is called
  std::map<std::string, Entry> entries_;       // by full name
  std::map<std::string, std::string> claims_;  // sample name → the family that has such samples
  std::vector<std::shared_ptr<Source>> sources_;
};

}  // namespace quipu::detail
