#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/registry.hpp"
#include "quipu/sample.hpp"

/// Reads back and compares what a program exposes: for tests, in any test framework. Not part of `quipu.hpp`.
///
///     quipu::Registry registry({.process_metrics = false, .self_metrics = false});
///     Shop shop(registry);
///     shop.sell("tea");
///
///     using namespace quipu::testing;
///     CHECK(value_of(registry, "orders_total", {{"item", "tea"}}) == 1);
///     CHECK(histogram_of(registry, "order_duration_seconds").count == 1);
///     CHECK(difference(registry, R"(
///       # TYPE orders_total counter
///       orders_total{item="tea"} 1
///     )") == "");
///     CHECK(lint(registry).empty());
///
/// All functions are thread-safe, each call on a registry is a scrape of it, and each may throw std::bad_alloc.
namespace quipu::testing {

/// A page is not what its Content-Type says. The message has the number of the line, the line, and what is wrong.
class QUIPU_EXPORT ParseError : public Error {
 public:
  ParseError(std::size_t line, const std::string& message) : Error(message), line_(line) {}

  /// From 1; 0 for the Content-Type.
  [[nodiscard]] std::size_t line() const noexcept { return line_; }

 private:
  std::size_t line_;
};

/// A series is not on a page. The message lists the series that look like it.
class QUIPU_EXPORT NoSuchSeries : public Error {
 public:
  using Error::Error;
};

/// The type that a TYPE line gives. Text 0.0.4 has the first five only, and shows an info or stateset family as a
/// gauge.
enum class FamilyType : std::uint8_t { untyped, counter, gauge, histogram, summary, gauge_histogram, info, stateset };

/// The spelling in a TYPE line of OpenMetrics, except for "untyped", which is "unknown" there.
[[nodiscard]] QUIPU_EXPORT std::string_view to_string(FamilyType type) noexcept;

struct ParsedLabel {
  std::string name;
  std::string value;  // unescaped

  friend bool operator==(const ParsedLabel&, const ParsedLabel&) = default;
};

struct ParsedExemplar {
  std::vector<ParsedLabel> labels;
  double value;
  std::optional<double> time;  // seconds since 1970
};

struct ParsedSample {
  std::string name;                 // with its suffix: "x_total", "x_bucket"
  std::vector<ParsedLabel> labels;  // as they come, `le` and `quantile` among them
  double value;
  std::string text;            // the value as it is spelled, for integers that a double cannot tell apart
  std::optional<double> time;  // seconds since 1970, in both formats
  std::optional<ParsedExemplar> exemplar;
};

struct ParsedFamily {
  std::string name;                 // of its TYPE line: a counter's has no "_total" in OpenMetrics
  std::optional<FamilyType> type;   // none without a TYPE line
  std::optional<std::string> help;  // unescaped; none without a HELP line
  std::optional<std::string> unit;  // none without a UNIT line
  std::vector<ParsedSample> samples;
};

/// Families and samples as they come on the page.
struct QUIPU_EXPORT ParsedPage {
  std::vector<ParsedFamily> families;

  /// Null if there is none of that name.
  [[nodiscard]] const ParsedFamily* family(std::string_view name) const noexcept;
};

/// Reads a page of the Prometheus text format 0.0.4 (or 1.0.0, which is the same) or of OpenMetrics 1.0.0 (or 0.0.1);
/// `content_type` says which of these it is. Names in quotes are read if it says `escaping=allow-utf-8`.
///
/// It is strict: a page that it accepts is accepted everywhere, and means what it seems to mean. It throws ParseError
/// for
/// - what breaks the grammar, and what any of the existing readers rejects: the server, Go's parser, Python's;
/// - errors that all of them let pass: a series twice, the lines of a family apart, a negative or NaN counter, names of
///   two families that collide; buckets that do not rise, are not cumulative, lack +Inf or differ from `_count`;
///   unknown escapes; in OpenMetrics, a breach of any MUST in its specification.
///
/// It checks neither what is only advised (`lint()` does), nor whether timestamps are of this century.
///
/// https://prometheus.io/docs/instrumenting/exposition_formats/
/// https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
[[nodiscard]] QUIPU_EXPORT ParsedPage read_page(std::string_view body, std::string_view content_type);

/// The page of a registry, in the text format, with names as they are registered.
[[nodiscard]] QUIPU_EXPORT ParsedPage read_page(const Registry& registry);

/// The labels of a series, in any order: `{{"method", "get"}, {"code", "200"}}`. It refers to its arguments, so it is
/// valid only in the call that it is passed to.
class SeriesLabels {
 public:
  constexpr SeriesLabels(std::initializer_list<Label> labels = {}) noexcept : labels_(labels.begin(), labels.size()) {}
  constexpr SeriesLabels(Labels labels) noexcept : labels_(labels) {}

  [[nodiscard]] constexpr Labels labels() const noexcept { return labels_; }

 private:
  Labels labels_;
};

/// The value of one series on the page. `name` is the name of the sample, with its suffix. `labels` are all labels of
/// the series, including const labels: `value_of(registry, "latency_seconds_bucket", {{"le", "0.5"}})`. The order of
/// labels does not matter, nor how the number in `le` or `quantile` is spelled. A label with an empty value counts as
/// absent.
///
/// Throws NoSuchSeries. The message lists the series of that name, or else the names that look alike. A double is exact
/// to 2^53; `difference()` compares all digits.
[[nodiscard]] QUIPU_EXPORT double value_of(const ParsedPage& page, std::string_view name, SeriesLabels labels = {});
[[nodiscard]] QUIPU_EXPORT double value_of(const Registry& registry, std::string_view name, SeriesLabels labels = {});

/// The same, but nullopt for a series that is not on the page.
[[nodiscard]] QUIPU_EXPORT std::optional<double> find_value(const ParsedPage& page, std::string_view name,
                                                            SeriesLabels labels = {});
[[nodiscard]] QUIPU_EXPORT std::optional<double> find_value(const Registry& registry, std::string_view name,
                                                            SeriesLabels labels = {});

/// One series of a histogram.
struct ParsedHistogram {
  struct Bucket {
    double bound;  // upper, inclusive
    double count;  // cumulative: of the values up to the bound

    friend bool operator==(const Bucket&, const Bucket&) = default;
  };

  double count;
  double sum;                   // NaN where the page has none
  std::vector<Bucket> buckets;  // by increasing bound; the last one's is +Inf
};

/// The histogram with this name, without suffix, and these labels, without `le`. Throws NoSuchSeries as `value_of()`.
[[nodiscard]] QUIPU_EXPORT ParsedHistogram histogram_of(const ParsedPage& page, std::string_view name,
                                                        SeriesLabels labels = {});
[[nodiscard]] QUIPU_EXPORT ParsedHistogram histogram_of(const Registry& registry, std::string_view name,
                                                        SeriesLabels labels = {});

/// The names of some families. Refers to its arguments.
using FamilyNames = std::initializer_list<std::string_view>;

/// Compares a page with what is expected of it. Returns "" if there is no difference, otherwise the differences line by
/// line: `-` marks what is expected and missing, `+` marks what is there instead or is not expected.
///
/// `expected` is a page of the text format. It may be indented, hold blank lines, and cover only a part:
/// - for a family with a TYPE, HELP or UNIT line, all samples are compared, and each of these lines that is given;
/// - without such a line, a sample stands for its sample name (`latency_seconds_count 3`), and all samples of that name
///   are compared;
/// - a timestamp is compared if one is given;
/// - the rest of the page is not compared. With `families`, all samples of these families are compared, and nothing
///   else: any sample of theirs that is not expected is a difference.
///
/// The order of families, samples and labels does not matter, nor how numbers are spelled. Whole numbers are compared
/// in all their digits; NaN equals NaN.
///
/// Throws ParseError if one of the two is not a page. `actual` as a string is a page of the text format, without these
/// liberties.
[[nodiscard]] QUIPU_EXPORT std::string difference(const Registry& actual, std::string_view expected,
                                                  FamilyNames families = {});
[[nodiscard]] QUIPU_EXPORT std::string difference(std::string_view actual, std::string_view expected,
                                                  FamilyNames families = {});
[[nodiscard]] QUIPU_EXPORT std::string difference(const ParsedPage& actual, std::string_view expected,
                                                  FamilyNames families = {});
[[nodiscard]] QUIPU_EXPORT std::string difference(const ParsedPage& actual, const ParsedPage& expected,
                                                  FamilyNames families = {});

/// Advice that a family does not follow, though every reader accepts the family.
struct LintProblem {
  std::string family;
  std::string text;

  friend bool operator==(const LintProblem&, const LintProblem&) = default;
};

/// What `promtool check metrics` says about a page, in its words, by family: no help, a unit that is not a base unit or
/// is abbreviated, a counter without "_total", suffixes and labels that are for other types, a type or a colon in a
/// name, camelCase.
/// https://prometheus.io/docs/practices/naming/
[[nodiscard]] QUIPU_EXPORT std::vector<LintProblem> lint(const ParsedPage& page);
[[nodiscard]] QUIPU_EXPORT std::vector<LintProblem> lint(const Registry& registry);

}  // namespace quipu::testing
