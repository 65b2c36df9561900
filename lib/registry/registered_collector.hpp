#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "family/definition.hpp"
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

/// Who asks: one scrape, as the sources see it.
struct Asker {
  pid_t process;
  bool has_deadline;
  // Set once, when a scrape goes on without those of its calls that are still being made. Relaxed: nothing is ordered
  // by it, and a scrape that misses it asks once more.
  std::atomic<bool> has_gone{false};
};

/// A collector in its registry.
///
/// Whoever ends it waits until no other thread is inside the collector; after that none enters it. So `calls_` holds
/// the threads that are inside, and grows only while `is_open_`; both are guarded by `mutex_`, which is never held
/// during a call. A forked child has none of its parent's other threads, so there calls of another process are none.
class Source {
 public:
  /// `fixed_labels` is set for a callback, which is one series with these label values.
  Source(Collector& collector, std::vector<CollectedFamily> families,
         std::unique_ptr<const std::vector<std::string>> fixed_labels);

  /// What the collector shows now; families without series when it was ended. Nothing if the asker has a deadline and a
  /// call whose asker has gone is still inside: it would only wait for the same. Throws what the collector throws. The
  /// asker stays where it is during the call.
  [[nodiscard]] std::optional<std::vector<CollectedFamily>> collect(const Asker& asker);
  void end() noexcept;

  [[nodiscard]] const std::vector<CollectedFamily>& families() const noexcept { return families_; }
  [[nodiscard]] const std::vector<std::string>* fixed_labels() const noexcept { return fixed_labels_.get(); }
  [[nodiscard]] bool is_prompt() const noexcept { return is_prompt_; }

  // Before anyone asks it.
  void belong_to(std::weak_ptr<RegistryCore> registry, std::shared_ptr<Collector> owned) noexcept;
  /// It never waits for anything, and so needs no other thread.
  void set_prompt() noexcept { is_prompt_ = true; }

 private:
  class Call;
  struct Caller {
    const Asker* asker;
    pid_t process;  // its own copy: in a forked child the asker may be gone
    std::thread::id thread;
  };

  // With the lock held.
  void forget_calls_before_fork(pid_t process) noexcept;

  Collector& collector_;
  const std::vector<CollectedFamily> families_;  // without series
  const std::unique_ptr<const std::vector<std::string>> fixed_labels_;
  std::weak_ptr<RegistryCore> registry_;
  std::shared_ptr<Collector> owned_;
  bool is_prompt_ = false;

  std::mutex mutex_;
  std::condition_variable left_;
  std::vector<Caller> calls_;
  bool is_open_ = true;
};

class Crew;

/// The threads of a registry on which collectors are asked when there is a deadline. They are started when there is
/// something to ask, kept for the next scrape, and end with the registry; one that is inside a collector then ends when
/// it comes back, and nobody waits for it. A forked child starts its own. Thread-safe, but for destruction.
class Helpers {
 public:
  Helpers() = default;
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  ~Helpers();

  /// Those of this process. Throws std::bad_alloc.
  [[nodiscard]] Crew& crew(pid_t process);

 private:
  std::atomic<std::shared_ptr<Crew>*> crew_{nullptr};
};

/// What the sources showed in one scrape. Those that failed are missing.
using Collected = std::map<const Source*, std::vector<CollectedFamily>>;

/// What went wrong with collectors, since the registry was made.
struct CollectorErrors {
  std::atomic<std::uint64_t> exceptions{0};
  std::atomic<std::uint64_t> timeouts{0};
  std::atomic<std::uint64_t> duplicates{0};  // series that were shown twice on a page
};

/// Asks all sources. Returns at the deadline, without those that are not done by then: they are asked on other threads,
/// the prompt ones on this one. Without a deadline (time_point::max()) all are asked on this thread.
[[nodiscard]] Collected collect(std::span<const std::shared_ptr<Source>> sources,
                                std::chrono::steady_clock::time_point deadline, CollectorErrors& errors,
                                Helpers& helpers);

/// A callback, as a collector of one series.
[[nodiscard]] std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                                       std::function<double()> read);

}  // namespace quipu::detail
