#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quipu {

/// What a scrape sees: plain values, which refer to memory that lives as long as the call they are passed to.

struct Label {
  std::string_view name;   // a valid label name
  std::string_view value;  // valid UTF-8

  friend bool operator==(const Label&, const Label&) = default;
};

using Labels = std::span<const Label>;

enum class Kind : std::uint8_t { counter, gauge, histogram };

[[nodiscard]] constexpr std::string_view to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::counter:
      return "counter";
    case Kind::gauge:
      return "gauge";
    case Kind::histogram:
      return "histogram";
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

/// One family, as it stands on the page: the full name with its prefix.
struct FamilyView {
  std::string_view name;
  std::string_view help;  // valid UTF-8, may hold line feeds; empty when there is none
  std::string_view unit;  // empty when there is none
  Kind kind;
  Labels const_labels = {};                       // the first labels of every series
  std::span<const std::string> label_names = {};  // of the labels after them
};

/// One series of a counter or gauge.
struct Sample {
  Labels labels;  // const labels first, then the family's in their order
  Number value;
  /// No label value but those of const labels holds a backslash, a quote or a line feed: none needs an escape.
  bool is_plain = false;
};

/// One series of a histogram: its buckets and its sum, of the same moment.
struct HistogramSample {
  Labels labels;
  std::span<const double> bounds;         // finite upper bounds, increasing
  std::span<const std::uint64_t> counts;  // one for each bound and one for +Inf; not cumulative
  double sum;
  bool is_plain = false;  // as in Sample
};

/// Is shown a registry: `family`, then every series of it, then the next family. Families come sorted by name, each
/// once, and only with a series; series in a stable order, in which new ones may take the places of removed ones. All
/// series of a family have the same label names, in the same order.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void family(const FamilyView& family) = 0;
  virtual void sample(const Sample& sample) = 0;
  virtual void histogram(const HistogramSample& sample) = 0;
};

}  // namespace quipu
