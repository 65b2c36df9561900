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

/// What a collector says of a family that it will show. The registry puts its prefix before the name and its const
/// labels before the labels.
struct FamilyDescription {
  std::string name;
  std::string help = {};
  MetricType type = MetricType::gauge;  // counter or gauge
  std::vector<std::string> labels = {};
  std::string unit = {};
};

/// Takes the values of one scrape from a collector.
class QUIPU_EXPORT Samples {
 public:
  /// Adds one series to a family, which is named as it was described. There are as many label values as the family has
  /// labels. Throws CollectorError if the family was not described, or has another number of labels; if the collector
  /// lets that pass, the scrape goes on without it. Of a series added twice the first value counts.
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
  /// Called once, when it is added to a registry.
  [[nodiscard]] virtual std::vector<FamilyDescription> describe() const = 0;
  /// Called for each scrape, without a lock, by several threads at once if there are several scrapes at once. What it
  /// throws costs this collector's families on this page, and is counted in `quipu_collector_errors_total`.
  ///
  /// The thread is the one that scrapes, or, if the scrape has a deadline (the endpoint's have), one of the registry's,
  /// on which no signal of the program is delivered. There too collectors are called one after another, in the order
  /// in which they were added; but those after one that takes more than 100 ms are called meanwhile. One that is not
  /// done at the deadline is counted as a timeout. Until it comes back, further scrapes with a deadline do not call it,
  /// and count a timeout each. Callbacks are called in the same way.
  virtual void collect(Samples& samples) = 0;
};

/// Keeps a collector or a callback in its registry, and takes it out when it goes. Its end waits for calls that are
/// being made (but not for the one it happens in), even if no scrape waits for them any more, so that what they use may
/// be destroyed afterwards. Two collectors must not end each other. Movable; may outlive the registry.
/// Thread-compatible.
class [[nodiscard]] QUIPU_EXPORT Registration {
 public:
  Registration() noexcept = default;
  explicit Registration(std::shared_ptr<detail::RegisteredCollector> collector) noexcept;
  Registration(Registration&&) noexcept;
  Registration& operator=(Registration&&) noexcept;
  ~Registration();

  /// Takes it out now.
  void end() noexcept;

 private:
  std::shared_ptr<detail::RegisteredCollector> collector_;
};

}  // namespace quipu
