#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quipu/collector.hpp"
#include "registry/collected_family.hpp"

namespace quipu::detail {

/// The request of one scrape to collectors. It does not move during the calls, and each collector gets it only once.
struct CollectionRequest {
  pid_t process;
  bool has_deadline;
  /// Set once, when the scrape goes on without the calls that are still being made. Relaxed, because it orders nothing:
  /// a scrape that does not see it yet makes one more call.
  std::atomic<bool> is_abandoned{false};
};

/// A collector in its registry. Thread-safe.
class RegisteredCollector {
 public:
  /// `owned` is the collector if the registration keeps it, otherwise null. `fixed_labels` is set for a callback, and
  /// holds the label values of its one series. `on_end` removes the collector from its registry, if the registry still
  /// exists.
  RegisteredCollector(Collector& collector, std::shared_ptr<Collector> owned, std::vector<CollectedFamily> families,
                      std::unique_ptr<const std::vector<std::string>> fixed_labels,
                      std::function<void(const RegisteredCollector&)> on_end);

  /// What the collector shows now. After its end, the families have no series. Returns nullopt if the request has a
  /// deadline and a call for an abandoned request is still being made: a second call would only wait for the same.
  /// Throws what the collector throws.
  [[nodiscard]] std::optional<std::vector<CollectedFamily>> collect(const CollectionRequest& request);

  /// Removes it from its registry, and waits until no other thread is inside the collector. After that, no thread
  /// enters it.
  void end() noexcept;

  [[nodiscard]] const std::vector<CollectedFamily>& families() const noexcept { return families_; }
  [[nodiscard]] const std::vector<std::string>* fixed_labels() const noexcept { return fixed_labels_.get(); }

  /// A prompt collector never waits for anything, and so needs no other thread. Set before the first scrape.
  void set_prompt() noexcept { is_prompt_ = true; }
  [[nodiscard]] bool is_prompt() const noexcept { return is_prompt_; }

 private:
  class Entry;
  struct Call {
    const CollectionRequest* request;
    pid_t process;  // a copy: in a forked child the request may be gone
    std::thread::id thread;
  };

  // With the lock held.
  void forget_calls_before_fork(pid_t process) noexcept;

  Collector& collector_;
  const std::vector<CollectedFamily> families_;  // without series
  const std::unique_ptr<const std::vector<std::string>> fixed_labels_;
  const std::function<void(const RegisteredCollector&)> on_end_;
  bool is_prompt_ = false;

  // The mutex guards what follows, and is not held during a call. `calls_` are the calls under way. Calls begin only
  // while `is_open_`. A forked child has none of its parent's other threads, so calls of another process are not under
  // way there.
  std::mutex mutex_;
  std::condition_variable left_;
  std::vector<Call> calls_;
  std::shared_ptr<Collector> owned_;
  bool is_open_ = true;
};

}  // namespace quipu::detail
