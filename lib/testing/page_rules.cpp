#include "testing/page_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <compare>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/printable.hpp"
#include "testing/page_values.hpp"

namespace quipu::detail {
namespace {

using testing::FamilyType;
using testing::ParsedFamily;
using testing::ParsedLabel;
using testing::ParsedSample;

constexpr std::array<std::string_view, 1> bare{""};
constexpr std::array<std::string_view, 2> of_counter{"_total", "_created"};
constexpr std::array<std::string_view, 4> of_histogram{"_bucket", "_sum", "_count", "_created"};
constexpr std::array<std::string_view, 4> of_summary{"", "_sum", "_count", "_created"};
constexpr std::array<std::string_view, 3> of_gauge_histogram{"_bucket", "_gsum", "_gcount"};
constexpr std::array<std::string_view, 1> of_info{"_info"};

struct TypeRules {
  std::string_view in_text;
  std::string_view in_open_metrics;
  std::span<const std::string_view> text_suffixes;
  std::span<const std::string_view> open_metrics_suffixes;
};

/// By FamilyType.
constexpr std::array<TypeRules, 8> type_rules{{
    {"untyped", "unknown", bare, bare},
    {"counter", "counter", bare, of_counter},
    {"gauge", "gauge", bare, bare},
    {"histogram", "histogram", std::span(of_histogram).first<3>(), of_histogram},
    {"summary", "summary", std::span(of_summary).first<3>(), of_summary},
    {"", "gaugehistogram", {}, of_gauge_histogram},
    {"", "info", {}, of_info},
    {"", "stateset", {}, bare},
}};

const TypeRules& rules_of(FamilyType type) noexcept { return type_rules[static_cast<std::size_t>(type)]; }

const std::string* find_label(const ParsedSample& sample, std::string_view name) noexcept {
  const auto label = std::ranges::find(sample.labels, name, &ParsedLabel::name);
  return label == sample.labels.end() ? nullptr : &label->value;
}

/// The number in a label; NaN if it has none.
double number_in(const ParsedSample& sample, std::string_view label) noexcept {
  const std::string* value = find_label(sample, label);
  return value == nullptr ? std::nan("") : parse_number(*value).value_or(std::nan(""));
}

bool is_less(const ParsedSample& a, const ParsedSample& b) noexcept {
  return compare_numbers(a.text, b.text) == std::partial_ordering::less;
}

/// The samples of one label set, and in OpenMetrics of one timestamp: their indices.
using Point = std::vector<std::size_t>;

class Check {
 public:
  explicit Check(const WholeFamily& whole) noexcept
      : family_(whole.family),
        begin_(whole.begin),
        lines_(whole.sample_lines),
        is_open_metrics_(whole.in_open_metrics) {}

  void operator()() const {
    check_unit();
    for (std::size_t i = 0; i < family_.samples.size(); ++i) check_sample(i);
    if (type_ == FamilyType::untyped || (type_ == FamilyType::gauge && !is_open_metrics_)) return;
    for (const Point& point : points()) {
      if (type_ == FamilyType::histogram || type_ == FamilyType::gauge_histogram) check_histogram(point);
      if (type_ == FamilyType::summary) check_summary(point);
      if (type_ == FamilyType::counter && is_open_metrics_ && !find(point, "_total")) {
        fail(point.front(), "the _total of this counter is missing");
      }
    }
  }

 private:
  [[noreturn]] void fail(std::size_t sample, std::string_view why) const {
    throw parse_error(lines_[sample].number, lines_[sample].text, why);
  }

  [[nodiscard]] std::string_view suffix(std::size_t sample) const noexcept {
    return std::string_view(family_.samples[sample].name).substr(family_.name.size());
  }

  void check_unit() const {
    if (!family_.unit || family_.unit->empty()) return;
    const auto refuse = [this](std::string_view why) {
      throw parse_error(begin_.number, fmt::format("# UNIT {} {}", family_.name, *family_.unit), why);
    };
    if (!family_.name.ends_with("_" + *family_.unit)) refuse("the name does not end in _ and the unit");
    if (type_ == FamilyType::info || type_ == FamilyType::stateset) refuse("this type has no unit");
  }

  // One line.

  void check_sample(std::size_t i) const {
    const ParsedSample& sample = family_.samples[i];
    if (suffix(i) == "_created") {
      if (!std::isfinite(sample.value)) fail(i, "_created is a time in seconds");
    } else if (type_ == FamilyType::counter) {
      if (!(sample.value >= 0)) fail(i, "a counter is neither negative nor NaN");
    } else if (type_ == FamilyType::info) {
      if (sample.value != 1) fail(i, "the value of an info is 1");
    } else if (type_ == FamilyType::stateset) {
      if (sample.value != 0 && sample.value != 1) fail(i, "the value of a state is 0 or 1");
      if (find_label(sample, family_.name) == nullptr) {
        fail(i, fmt::format("a state is named by a label {}, as the family", printable(family_.name)));
      }
    } else if (type_ == FamilyType::histogram || type_ == FamilyType::gauge_histogram || type_ == FamilyType::summary) {
      check_part(i);
    }
  }

  /// Checks a sample of a histogram or a summary.
  void check_part(std::size_t i) const {
    const ParsedSample& sample = family_.samples[i];
    const bool is_bucket = suffix(i) == "_bucket";
    if (is_bucket || suffix(i) == "_count" || suffix(i) == "_gcount") {
      const bool is_count =
          sample.value >= 0 && std::isfinite(sample.value) && std::floor(sample.value) == sample.value;
      if (!is_count) fail(i, "a count is a whole number, and not negative");
    }
    if (is_bucket) {
      const double bound = number_in(sample, "le");
      if (std::isnan(bound)) fail(i, "a bucket has a label le, which is a number");
      if (std::isinf(bound) && *find_label(sample, "le") != "+Inf") fail(i, "the last bucket is spelled le=\"+Inf\"");
      if (sample.exemplar && !(sample.exemplar->value <= bound)) {
        fail(i, "the exemplar is not within the bound of its bucket");
      }
    } else if (suffix(i).empty()) {
      const double quantile = number_in(sample, "quantile");
      if (std::isnan(quantile)) fail(i, "a line of a summary has a label quantile, which is a number");
      if (!(quantile >= 0 && quantile <= 1)) fail(i, "a quantile is between 0 and 1");
      if (is_open_metrics_ && sample.value < 0) fail(i, "the value of a quantile is not negative");
    } else {
      const std::string_view reserved = type_ == FamilyType::summary ? "quantile" : "le";
      if (find_label(sample, reserved) != nullptr) {
        fail(i, fmt::format("{} has no label {}", printable(sample.name), reserved));
      }
    }
  }

  // One series, with all its lines.

  /// In OpenMetrics the lines of one label set stand together, and so do those of one timestamp.
  [[nodiscard]] std::vector<Point> points() const {
    std::vector<Point> result;
    std::map<std::string, std::size_t> begun;  // label sets, and the last point of each
    std::string current;
    for (std::size_t i = 0; i < family_.samples.size(); ++i) {
      const ParsedSample& sample = family_.samples[i];
      std::string key = labels_key(sample.labels, left_out(i));
      const auto [point, is_new] = begun.emplace(key, result.size());
      if (is_new) {
        result.emplace_back();
      } else if (is_open_metrics_) {
        if (key != current) fail(i, "the lines of one label set do not stand together");
        const auto& before = family_.samples[i - 1].time;
        if (before.has_value() != sample.time.has_value()) {
          fail(i, "either all lines of a label set have a timestamp or none");
        }
        if (sample.time && *sample.time < *before) fail(i, "the timestamps of a label set go back");
        if (sample.time != before) {
          point->second = result.size();
          result.emplace_back();
        }
      } else if (sample.time != family_.samples[result[point->second].front()].time) {
        fail(i, "the lines of one series have different timestamps");
      }
      result[point->second].push_back(i);
      current = std::move(key);
    }
    return result;
  }

  /// The name of the label that tells the lines of one series apart.
  [[nodiscard]] std::string_view left_out(std::size_t sample) const noexcept {
    if (type_ == FamilyType::stateset) return family_.name;
    if (suffix(sample) == "_bucket") return "le";
    return type_ == FamilyType::summary && suffix(sample).empty() ? "quantile" : "";
  }

  [[nodiscard]] std::optional<std::size_t> find(const Point& point, std::string_view ending) const noexcept {
    const auto found = std::ranges::find_if(point, [&](std::size_t i) { return suffix(i) == ending; });
    return found == point.end() ? std::nullopt : std::optional(*found);
  }

  void check_histogram(const Point& point) const {
    const bool is_gauge = type_ == FamilyType::gauge_histogram;
    const auto count = find(point, is_gauge ? "_gcount" : "_count");
    const auto sum = find(point, is_gauge ? "_gsum" : "_sum");
    const std::size_t last = check_buckets(point);
    if (count && !is_same_number(family_.samples[*count].text, family_.samples[last].text)) {
      fail(*count, fmt::format("the bucket le=\"+Inf\" says {}", family_.samples[last].text));
    }
    if (!is_open_metrics_) {
      if (!count) fail(last, "the histogram has no _count");
      if (!sum) fail(last, "the histogram has no _sum");
      return;
    }
    if (count.has_value() != sum.has_value()) fail(last, "of count and sum, one is there without the other");
    if (!sum) return;
    const bool has_negative_bound =
        std::ranges::any_of(point, [&](std::size_t i) { return number_in(family_.samples[i], "le") < 0; });
    const double value = family_.samples[*sum].value;
    if (is_gauge && value < 0 && !has_negative_bound) fail(*sum, "the sum is negative, and no bound is");
    if (!is_gauge && (has_negative_bound || !(value >= 0))) {
      fail(*sum, "with negative bounds, or a sum that is negative or NaN, _sum and _count are left out");
    }
  }

  /// Returns the last one, +Inf.
  [[nodiscard]] std::size_t check_buckets(const Point& point) const {
    std::optional<std::size_t> last;
    for (const std::size_t i : point) {
      if (suffix(i) != "_bucket") continue;
      if (last) {
        const ParsedSample& before = family_.samples[*last];
        if (!(number_in(family_.samples[i], "le") > number_in(before, "le"))) {
          fail(i, "the bounds of the buckets do not rise");
        }
        if (is_less(family_.samples[i], before)) {
          fail(i, fmt::format("the buckets are not cumulative: the one before has {}", before.text));
        }
      }
      last = i;
    }
    if (!last || !std::isinf(number_in(family_.samples[*last], "le"))) {
      fail(last.value_or(point.back()), "the bucket le=\"+Inf\" of this histogram is missing");
    }
    return *last;
  }

  void check_summary(const Point& point) const {
    std::optional<std::size_t> last;
    for (const std::size_t i : point) {
      if (!suffix(i).empty()) continue;
      if (last && !(number_in(family_.samples[i], "quantile") > number_in(family_.samples[*last], "quantile"))) {
        fail(i, "the quantiles do not rise");
      }
      last = i;
    }
    if (const auto sum = find(point, "_sum"); sum && is_open_metrics_ && !(family_.samples[*sum].value >= 0)) {
      fail(*sum, "the sum of a summary is neither negative nor NaN");
    }
  }

  const ParsedFamily& family_;
  const PageLine begin_;
  const std::span<const PageLine> lines_;
  const bool is_open_metrics_;
  const FamilyType type_ = family_.type.value_or(FamilyType::untyped);
};

}  // namespace

std::string_view spelling(FamilyType type, bool in_open_metrics) noexcept {
  return in_open_metrics ? rules_of(type).in_open_metrics : rules_of(type).in_text;
}

std::span<const std::string_view> suffixes(FamilyType type, bool in_open_metrics) noexcept {
  return in_open_metrics ? rules_of(type).open_metrics_suffixes : rules_of(type).text_suffixes;
}

bool is_reserved_suffix(std::string_view suffix) noexcept {
  return std::ranges::any_of(type_rules, [suffix](const TypeRules& rules) {
    return !suffix.empty() &&
           std::ranges::find(rules.open_metrics_suffixes, suffix) != rules.open_metrics_suffixes.end();
  });
}

void check(const WholeFamily& family) { Check{family}(); }

}  // namespace quipu::detail

namespace quipu::testing {

std::string_view to_string(FamilyType type) noexcept {
  const std::string_view in_text = detail::spelling(type, false);
  return in_text.empty() ? detail::spelling(type, true) : in_text;
}

}  // namespace quipu::testing
