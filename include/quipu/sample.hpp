#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// What a scrape sees: plain values, which refer to memory that lives as long as the call they are passed to.

struct Label {
  std::string_view name;   // a valid label name
  std::string_view value;  // valid UTF-8

  friend bool operator==(const Label&, const Label&) = default;
};

using Labels = std::span<const Label>;

/// A series of an info family is always 1: what it says is in its labels. A stateset family has one series for each
/// state, which is 0 or 1; the last label, whose name is that of the family, says which state it is.
enum class MetricType : std::uint8_t { counter, gauge, histogram, info, stateset };

[[nodiscard]] constexpr std::string_view to_string(MetricType type) noexcept {
  switch (type) {
    case MetricType::counter:
      return "counter";
    case MetricType::gauge:
      return "gauge";
    case MetricType::histogram:
      return "histogram";
    case MetricType::info:
      return "info";
    case MetricType::stateset:
      return "stateset";
  }
  return "untyped";
}

/// The value of a counter or gauge: a whole number, exact to 2^64 - 1, or a double.
class Number {
 public:
  constexpr Number(std::uint64_t whole) noexcept : whole_(whole), is_whole_(true) {}
  constexpr Number(double real) noexcept : real_(real), is_whole_(false) {}

  [[nodiscard]] constexpr bool is_whole() const noexcept { return is_whole_; }
  /// Needs is_whole().
  [[nodiscard]] constexpr std::uint64_t whole() const noexcept { return whole_; }
  /// Rounded beyond 2^53.
  [[nodiscard]] constexpr double real() const noexcept { return is_whole_ ? static_cast<double>(whole_) : real_; }

 private:
  union {
    std::uint64_t whole_;
    double real_;
  };
  bool is_whole_;
};

/// When something happened, by the wall clock.
using WallTime = std::chrono::system_clock::time_point;

/// One event out of those that a series counted, so that one can go from a number to an example of it.
struct ExemplarView {
  Labels labels;  // a trace id, say; at most 128 code points with the names
  double value;
  WallTime time;
};

/// The buckets of a native histogram. Of schema n, bucket i covers (b^(i-1), b^i], where b = 2^(2^-n); a negative one
/// mirrors it. Those of one side come by increasing index, each once, and none is empty.
struct NativeBuckets {
  struct Bucket {
    std::int32_t index;
    std::uint64_t count;  // not cumulative
  };

  std::int32_t schema;    // -4 … 8
  double zero_threshold;  // values up to here, of both signs, are in the zero bucket
  std::uint64_t zero_count;
  std::span<const Bucket> positive;
  std::span<const Bucket> negative;
};

/// One family, as it stands on the page: the full name with its prefix and its suffix (`_total`, `_info`).
struct FamilyView {
  std::string_view name;  // a legacy name, or any valid UTF-8 where the registry allows that
  std::string_view help;  // valid UTF-8, may hold line feeds; empty when there is none
  std::string_view unit;  // empty when there is none
  MetricType type;
  Labels const_labels = {};                       // the first labels of every series
  std::span<const std::string> label_names = {};  // of the labels after them
};

/// One series of a counter or gauge.
struct Sample {
  Labels labels;  // const labels first, then the family's in their order
  Number value;
  /// No label value but those of const labels holds a backslash, a quote or a line feed: none needs an escape.
  bool needs_no_escaping = false;
  /// When counting began, if that is known. Only of counters.
  std::optional<WallTime> created = {};
  /// Only of counters; null if there is none.
  const ExemplarView* exemplar = nullptr;
};

/// One series of a histogram: its buckets and its sum, of the same moment. One that is only native has no bounds, and
/// one count.
struct HistogramSample {
  Labels labels;
  std::span<const double> bounds;         // finite upper bounds, increasing
  std::span<const std::uint64_t> counts;  // one for each bound and one for +Inf; not cumulative
  double sum;
  bool needs_no_escaping = false;                       // as in Sample
  std::optional<WallTime> created = {};                 // as in Sample
  std::span<const ExemplarView* const> exemplars = {};  // null where a bucket has none; no more than there are counts
  const NativeBuckets* native = nullptr;                // adds up to the same count; null for a classic histogram
};

/// Is shown a registry: `family`, then every series of it, then the next family. Families come sorted by name, each
/// once, and only with a series; series in a stable order, in which new ones may take the places of removed ones. All
/// series of a family have the same label names, in the same order.
class QUIPU_EXPORT Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void family(const FamilyView& family) = 0;
  virtual void sample(const Sample& sample) = 0;
  virtual void histogram(const HistogramSample& sample) = 0;
};

}  // namespace quipu
