#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu {

namespace detail {
class RegisteredCollector;
struct CollectedFamily;
}  // namespace detail

/// Describes a family that a collector will show. The registry puts its prefix before the name and its const labels
/// before the labels.
struct FamilyDescription {
  std::string name;
  std::string help = {};
  MetricType type = MetricType::gauge;  // counter or gauge
  std::vector<std::string> labels = {};
  std::string unit = {};
};

/// Receives a collector's values for one scrape.
class QUIPU_EXPORT Samples {
 public:
  /// Adds one series to a family. `family` is the name in its description. There is one label value for each of its
  /// labels; it becomes valid UTF-8 and is cut as that of a Family. Throws CollectorError if the family was not
  /// described, or the number of label values is wrong. If the collector lets this exception pass, the scrape goes on
  /// without the collector. If a series is added twice, the first value counts.
  void add(std::string_view family, std::initializer_list<std::string_view> label_values, Number value);
  void add(std::string_view family, std::span<const std::string_view> label_values, Number value);
  void add(std::string_view family, Number value) { add(family, std::span<const std::string_view>(), value); }

 private:
  friend class detail::RegisteredCollector;
  explicit Samples(std::span<detail::CollectedFamily> families) noexcept : families_(families) {}

  std::span<detail::CollectedFamily> families_;
};

/// Reads values that something else keeps, at the time of each scrape.
class QUIPU_EXPORT Collector {
 public:
  virtual ~Collector() = default;
  /// Called once, when the collector is added to a registry.
  [[nodiscard]] virtual std::vector<FamilyDescription> describe() const = 0;
  /// Called for scrapes, without a lock. If it throws, this collector's families are missing on the page, and the
  /// failure is counted in `quipu_collector_errors_total`. Callbacks are called in the same way.
  ///
  /// A scrape without a deadline calls it on the scraping thread. A scrape with a deadline (every scrape of the
  /// endpoint has one) calls it on a thread of the registry, on which no signal of the program is delivered. In both
  /// cases collectors are called one after another, in the order in which they were added. With a deadline, a call that
  /// takes more than 100 ms no longer holds up the collectors after it: they are called meanwhile.
  ///
  /// Scrapes with a deadline share calls, and make them one at a time. (Scrapes without a deadline each make a call of
  /// their own at any time, and so does a scrape with a deadline that begins inside a call. So several threads may call
  /// it at once.) A scrape that finds a call under way waits for the next one, which shows what happened before the
  /// scrape began. If the next one is not over at the deadline, the page shows what the call under way found. A
  /// collector that has shown nothing by then is missing, and is counted as a timeout. A scrape does not wait for a
  /// call that has been under way for longer than the scrape has time.
  virtual void collect(Samples& samples) = 0;
};

/// Keeps a collector or a callback in its registry, and removes it when the registration ends. The end waits for calls
/// that are under way, even if no scrape waits for them any more, so what they use may be destroyed afterwards. It does
/// not wait for the call in which it happens. Inside a call of a collector, callback or health check, it does not wait
/// for a call either that is itself ending another one, and so perhaps waits for this one: then what both use must last
/// until both are over. Movable; may outlive the registry. Thread-compatible.
class [[nodiscard(
    "quipu: keep the registration: when it ends, no page shows any more what it stands for")]] QUIPU_EXPORT
    Registration {
 public:
  Registration() noexcept = default;
  explicit Registration(std::shared_ptr<detail::RegisteredCollector> collector) noexcept;
  Registration(Registration &&) noexcept;
  Registration& operator=(Registration&&) noexcept;
  ~Registration();

  /// Removes it now.
  void end() noexcept;

 private:
  std::shared_ptr<detail::RegisteredCollector> collector_;
};

}  // namespace quipu
