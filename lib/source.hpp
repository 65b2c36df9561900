#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "definition.hpp"
#include "quipu/collector.hpp"

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

/// What the sources showed in one scrape. Those that failed are missing.
using Collected = std::map<const Source*, std::vector<CollectedFamily>>;

/// What went wrong with collectors, since the registry was made.
struct CollectorErrors {
  std::atomic<std::uint64_t> exceptions{0};
  std::atomic<std::uint64_t> timeouts{0};
  std::atomic<std::uint64_t> duplicates{0};  // series that were shown twice on a page
};

/// Asks all sources. Returns at the deadline, without those that are not done by then.
[[nodiscard]] Collected collect(std::span<const std::shared_ptr<Source>> sources,
                                std::chrono::steady_clock::time_point deadline, CollectorErrors& errors);

/// A callback, as a collector of one series.
[[nodiscard]] std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                                       std::function<double()> read);

}  // namespace quipu::detail
