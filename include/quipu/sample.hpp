#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "quipu/detail/base/export.hpp"

/// What a scrape shows: plain values. They refer to memory that lives at least until the call returns that they are
/// passed to.
namespace quipu {

struct Label {
  std::string_view name;   // a valid label name
  std::string_view value;  // valid UTF-8

  friend bool operator==(const Label&, const Label&) = default;
};

using Labels = std::span<const Label>;

/// A series of an info family is always 1; its labels hold the information. A stateset family has a series for each
/// state, which is 0 or 1. The last label of the series is the state, and has the name of the family. A summary has
/// quantiles that something else computed. An unknown family is numbers of which nothing more is known; the text format
/// and protobuf call it "untyped".
enum class MetricType : std::uint8_t { counter, gauge, histogram, info, stateset, summary, unknown };

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
    case MetricType::summary:
      return "summary";
    case MetricType::unknown:
      return "unknown";
  }
  return "unknown";
}

/// The value of a counter or gauge: a whole number, exact to 2^64 - 1, or a double. It is made of any number but a bool
/// or a character. A negative integer is kept as a double, which is exact to -2^53.
class Number {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  constexpr Number(T number) noexcept : whole_(0) {
    if constexpr (std::is_integral_v<T>) is_whole_ = std::is_unsigned_v<T> || number >= T{0};
    if (is_whole_) {
      whole_ = static_cast<std::uint64_t>(number);
    } else {
      real_ = static_cast<double>(number);
    }
  }
  Number(bool) = delete;
  Number(char) = delete;
  Number(wchar_t) = delete;
  Number(char8_t) = delete;
  Number(char16_t) = delete;
  Number(char32_t) = delete;

  [[nodiscard]] constexpr bool is_whole() const noexcept { return is_whole_; }
  /// Only if is_whole().
  [[nodiscard]] constexpr std::uint64_t whole() const noexcept { return whole_; }
  /// The value as a double; a whole number above 2^53 is rounded.
  [[nodiscard]] constexpr double real() const noexcept { return is_whole_ ? static_cast<double>(whole_) : real_; }

 private:
  union {
    std::uint64_t whole_;
    double real_;
  };
  bool is_whole_ = false;
};

/// When something happened, by the wall clock.
using WallTime = std::chrono::system_clock::time_point;

/// An example of the events that a series counted.
struct ExemplarView {
  Labels labels;  // such as a trace id; names and values have at most 128 code points together
  double value;
  WallTime time;
};

/// The buckets of a native histogram. In schema n, bucket i covers (b^(i-1), b^i], where b = 2^(2^-n). A negative
/// bucket mirrors it. Buckets of one sign are sorted by index, without duplicates, and none is empty.
struct NativeBuckets {
  struct Bucket {
    std::int32_t index;
    std::uint64_t count;  // not cumulative

    friend bool operator==(const Bucket&, const Bucket&) = default;
  };

  std::int32_t schema;    // -4 … 8
  double zero_threshold;  // the zero bucket has the values of either sign up to here
  std::uint64_t zero_count;
  std::span<const Bucket> positive;
  std::span<const Bucket> negative;
};

/// One family, with its name as on the page: with its prefix, and its suffix (`_total`, `_info`).
struct FamilyView {
  std::string_view name;  // a legacy name, or any valid UTF-8 if the registry allows that
  std::string_view help;  // valid UTF-8, may hold line feeds; empty if there is none
  std::string_view unit;  // empty if there is none
  MetricType type;
  Labels const_labels = {};                       // the first labels of every series
  std::span<const std::string> label_names = {};  // the names of the labels that follow the const labels
};

/// One series of a counter or gauge, an info, a state, or one of unknown type.
struct Sample {
  Labels labels;  // const labels first, then those of the family in their order
  Number value;
  /// Whether all label values, const labels aside, are known to hold no backslash, quote or line feed, and so need no
  /// escape.
  bool needs_no_escaping = false;
  /// When counting began, if known. Only for counters.
  std::optional<WallTime> created = {};
  /// Null if there is none. Only for counters.
  const ExemplarView* exemplar = nullptr;
  /// When the value was measured, if its source says so: 1970 or later. Without it, the value is that of the scrape. A
  /// server drops values that are too old for it.
  std::optional<WallTime> timestamp = {};
};

/// One series of a histogram: its buckets and its sum, of the same moment. A histogram without classic buckets has no
/// bounds, and a single count.
struct HistogramSample {
  Labels labels;
  std::span<const double> bounds;         // finite upper bounds, increasing
  std::span<const std::uint64_t> counts;  // one for each bound, and one for +Inf; not cumulative
  double sum;
  bool needs_no_escaping = false;                       // as in Sample
  std::optional<WallTime> created = {};                 // as in Sample
  std::span<const ExemplarView* const> exemplars = {};  // by bucket, null for none; may be shorter than `counts`
  const NativeBuckets* native = nullptr;                // has the same total count; null for a classic histogram
  std::optional<WallTime> timestamp = {};               // as in Sample
};

/// The value below which a part of the observations of a summary lies.
struct Quantile {
  double quantile;  // the part, from 0 to 1
  double value;     // NaN if there were no observations lately

  friend bool operator==(const Quantile&, const Quantile&) = default;
};

/// One series of a summary.
struct SummarySample {
  Labels labels;
  std::span<const Quantile> quantiles;     // increasing; may be empty
  std::uint64_t count;                     // of all observations
  double sum;                              // of all observations
  bool needs_no_escaping = false;          // as in Sample
  std::optional<WallTime> created = {};    // as in Sample
  std::optional<WallTime> timestamp = {};  // as in Sample
};

/// Receives the contents of a registry: `family`, then each series of that family, then the next family. A family that
/// was registered with several values of its const labels has a part for each of them: `part` comes before each part
/// but the first.
///
/// Families are sorted by name. Each appears once, and only if it has a series. All series of a family have the same
/// label names, in the same order. The series of a family have the same order in each scrape; a new series may take the
/// position of a removed one.
class QUIPU_EXPORT Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void family(const FamilyView& family) = 0;
  /// The series that follow are of the same family. `family` differs from that before in the values of the const labels
  /// alone. The labels of each series say the same, so most visitors need not know.
  virtual void part(const FamilyView& family) { static_cast<void>(family); }
  virtual void sample(const Sample& sample) = 0;
  virtual void histogram(const HistogramSample& sample) = 0;
  virtual void summary(const SummarySample& sample) = 0;
};

}  // namespace quipu
