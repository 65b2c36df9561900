#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/calling_thread.hpp"
#include "base/fork.hpp"
#include "quipu/collector.hpp"
#include "registry/collected_family.hpp"

namespace quipu::detail {

/// What came of a call of a collector.
struct CollectorOutcome {
  /// none: there was no call, or it was not over in time. ended: the collector was removed before.
  enum class Kind { none, shown, thrown, ended };
  Kind kind = Kind::none;
  std::shared_ptr<const std::vector<CollectedFamily>> families{};  // if shown; pages may share them
  std::shared_ptr<const std::string> error{};                      // if thrown; null if there was no memory for it
  std::chrono::nanoseconds duration{0};                            // of the call, if shown or thrown
};

/// Why a page lacks something of a collector.
enum class CollectorFault : std::uint8_t { clash, duplicate, exception, timeout };
inline constexpr std::array<std::string_view, 4> collector_faults{"clash", "duplicate", "exception", "timeout"};

/// How often each fault happened to the collectors of one name.
using CollectorErrors = std::array<std::atomic<std::uint64_t>, collector_faults.size()>;

/// Waits for shared calls of collectors, on behalf of one scrape.
class CallWaiter {
 public:
  /// A shared call is over. `is_of_this_moment` tells whether the call began after the waiter had joined; no other
  /// outcome comes after that one. Called with the collector's lock held.
  virtual void take(std::size_t index, const CollectorOutcome& outcome, bool is_of_this_moment) noexcept = 0;

 protected:
  ~CallWaiter() = default;
};

/// A collector in its registry. Thread-safe.
class RegisteredCollector {
 public:
  using Clock = std::chrono::steady_clock;

  using MakeFamily = std::function<CollectedFamily(const FamilyDescription&)>;

  /// `name` stands for the collector in `quipu_collector_up`; by default it is the name of the first family, or
  /// "unnamed". `owned` is the collector if the registration keeps it, otherwise null. `families` are those that it has
  /// described. `make_family` makes another one, by the rules of the registry; it throws RegistrationError.
  /// `fixed_labels` is set for a callback, and holds the label values of its one series. `on_end` removes the collector
  /// from its registry, if the registry still exists.
  RegisteredCollector(Collector& collector, std::string name, std::shared_ptr<Collector> owned,
                      std::vector<CollectedFamily> families, MakeFamily make_family,
                      std::unique_ptr<const std::vector<std::string>> fixed_labels,
                      std::function<void(const RegisteredCollector&)> on_end);

  /// What the collector shows now. The calling thread makes a call of its own.
  [[nodiscard]] CollectorOutcome collect() noexcept;

  // Shared calls.

  enum class Joined { waits, does_not_wait, cannot_wait };
  /// From now on `waiter` takes the outcomes of shared calls as those of its collector number `index`.
  ///
  /// Returns `does_not_wait` if a call is under way that counts as hung, because it began longer ago than `patience`.
  /// Returns `cannot_wait` if the calling thread is inside the shared call itself; then the waiter has not joined.
  /// Otherwise the waiter needs a call: this one or another calls call_for_waiters(), now and after each outcome that
  /// is not of its moment. Throws std::bad_alloc.
  [[nodiscard]] Joined join(CallWaiter& waiter, std::size_t index, Clock::duration patience);
  /// After that `waiter` takes nothing more.
  void leave(const CallWaiter& waiter) noexcept;
  /// Makes a shared call on this thread. Does nothing if one is under way, or nobody waits.
  void call_for_waiters() noexcept;

  /// Removes it from its registry, and waits until no other thread is inside the collector, but for those that wait for
  /// this thread (see CallingThread). After that, no thread enters it.
  void end() noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Those that it has described. If there are none, it may show any.
  [[nodiscard]] const std::vector<CollectedFamily>& families() const noexcept { return families_; }
  [[nodiscard]] const std::vector<std::string>* fixed_labels() const noexcept { return fixed_labels_.get(); }

  /// - usual: a call may take any time.
  /// - prompt: a call never waits for anything, and so needs no other thread.
  /// - status: it is not called. A scrape shows in its family which of the usual collectors its page has.
  enum class Role { usual, prompt, status };
  /// Counts an error. Collectors of one name in one registry share the counts, which are set before the first scrape.
  void count(CollectorFault fault, std::uint64_t times = 1) const noexcept {
    (*errors_)[static_cast<std::size_t>(fault)].fetch_add(times, std::memory_order_relaxed);
  }
  void set_errors(std::shared_ptr<CollectorErrors> errors) noexcept { errors_ = std::move(errors); }
  [[nodiscard]] const std::shared_ptr<CollectorErrors>& errors() const noexcept { return errors_; }

  /// Set before the first scrape.
  void set_role(Role role) noexcept { role_ = role; }
  [[nodiscard]] Role role() const noexcept { return role_; }

  /// What its values are about. A page of several registries shows those about the process once, and adds up those
  /// about the registries.
  enum class Subject { program, process, registry };
  /// Set before the first scrape.
  void set_subject(Subject subject) noexcept { subject_ = subject; }
  [[nodiscard]] Subject subject() const noexcept { return subject_; }

 private:
  struct Call {
    const CallingThread::Call* call;  // only its address, which no other call under way has
    const CallingThread* thread;
    Clock::time_point begin;
    bool is_shared;
    ProcessGeneration process{};
  };
  struct Waiter {
    CallWaiter* waiter;
    std::size_t index;
    bool has_joined_during_call;
    ProcessGeneration process{};
  };

  // With the lock held.
  [[nodiscard]] CollectorOutcome call(std::unique_lock<std::mutex>& lock, bool is_shared) noexcept;
  [[nodiscard]] std::shared_ptr<const std::vector<CollectedFamily>> read() const;  // without it
  [[nodiscard]] const Call* shared_call() const noexcept;
  void forget_parent() noexcept;

  Collector& collector_;
  const std::string name_;
  const std::vector<CollectedFamily> families_;  // without series
  const MakeFamily make_family_;
  const std::unique_ptr<const std::vector<std::string>> fixed_labels_;
  const std::function<void(const RegisteredCollector&)> on_end_;
  Role role_ = Role::usual;
  Subject subject_ = Subject::program;
  std::shared_ptr<CollectorErrors> errors_;

  // The mutex guards what follows, and is not held during a call. `calls_` are the calls under way. Calls begin only
  // while `is_open_`. A forked child has none of its parent's other threads, so calls and waiters of its parent are
  // nothing there.
  //
  // A scrape with a deadline waits for shared calls. At most one of them is under way, so a collector that hangs costs
  // one thread, however many scrapes come. Its outcome goes to all `waiters_`.
  //
  // A page shows what happened before its scrape began. So a call is of a scrape's moment if it began after the scrape
  // had joined. A scrape that joins during a call waits for its end, and then for the next call, which it shares with
  // all that wait by then. If that is not over at the scrape's deadline, the scrape takes the outcome of the call
  // before. So nothing on a page is older than a call that was under way when the scrape began; and a collector whose
  // calls take less time than the scrape has is on its page, whatever other scrapes with whatever deadlines come.
  //
  // A call that has been under way for longer than a scrape has time counts as hung, for that scrape: it does not wait.
  // So who comes again and again waits for a hanging collector only at first, and nobody's patience is measured by
  // another one's. If the call comes back while the scrape is still being made, its outcome is taken all the same.
  std::mutex mutex_;
  std::condition_variable left_;
  std::vector<Call> calls_;
  std::vector<Waiter> waiters_;
  std::shared_ptr<Collector> owned_;
  bool is_open_ = true;
};

}  // namespace quipu::detail
