#include "quipu/testing.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "base/printable.hpp"
#include "base/text.hpp"
#include "registry/lint.hpp"
#include "testing/page_values.hpp"

namespace quipu::testing {
namespace {

using detail::is_same_number;
using detail::labels_key;
using detail::spelled;

/// The format in which the expected page is read, and the actual one is rendered.
constexpr std::string_view text_format = "text/plain; version=1.0.0; escaping=allow-utf-8";

constexpr std::size_t most_shown = 10;  // of anything, in a message

std::vector<ParsedLabel> owned(Labels labels) {
  std::vector<ParsedLabel> result;
  for (const auto& [name, value] : labels) result.push_back({std::string(name), std::string(value)});
  return result;
}

// What looks alike.

/// The number of letters to change, add or remove.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::vector<std::string> names_like(const ParsedPage& page, std::string_view name) {
  std::set<std::string> names;
  for (const ParsedFamily& family : page.families) {
    for (const ParsedSample& sample : family.samples) names.insert(sample.name);
  }
  std::vector<std::pair<std::size_t, std::string>> alike;
  for (const std::string& other : names) {
    const std::size_t changes = distance(name, other);
    const bool is_part = other.find(name) != std::string::npos || name.find(other) != std::string_view::npos;
    if (is_part || changes <= name.size() / 3) alike.emplace_back(changes, other);
  }
  std::ranges::sort(alike);
  std::vector<std::string> result;
  for (auto& [changes, other] : alike) result.push_back(detail::spelled_name(other));
  if (result.size() > most_shown) result.resize(most_shown);
  return result;
}

std::string hint(const ParsedPage& page, std::string_view name) {
  const std::vector<std::string> alike = names_like(page, name);
  const std::string what = fmt::format("there is no {} on the page", detail::spelled_name(name));
  if (!alike.empty()) return fmt::format("{}; what looks like it: {}", what, fmt::join(alike, ", "));
  return fmt::format("{}, nor a name that looks like it (it has {} families)", what, page.families.size());
}

// One series.

/// Calls visit(sample) for all samples of a name.
template <class Visit>
void visit_samples(const ParsedPage& page, std::string_view name, Visit visit) {
  for (const ParsedFamily& family : page.families) {
    if (!name.starts_with(family.name)) continue;
    for (const ParsedSample& sample : family.samples) {
      if (sample.name == name) visit(sample);
    }
  }
}

std::vector<const ParsedSample*> find_all(const ParsedPage& page, std::string_view name) {
  std::vector<const ParsedSample*> result;
  visit_samples(page, name, [&](const ParsedSample& sample) { result.push_back(&sample); });
  return result;
}

/// The last sample, if a series has several points.
const ParsedSample* find_series(const ParsedPage& page, std::string_view name, const std::vector<ParsedLabel>& labels) {
  const ParsedSample* found = nullptr;
  const std::string key = labels_key(labels);
  visit_samples(page, name, [&](const ParsedSample& sample) {
    if (labels_key(sample.labels) == key) found = &sample;
  });
  return found;
}

[[noreturn]] void throw_no_such_series(const ParsedPage& page, std::string_view name,
                                       const std::vector<ParsedLabel>& labels) {
  std::vector<const ParsedSample*> others = find_all(page, name);
  if (others.empty()) throw NoSuchSeries(hint(page, name));
  const auto shared_labels = [&labels](const ParsedSample* sample) {
    return std::ranges::count_if(
        sample->labels, [&](const ParsedLabel& label) { return std::ranges::find(labels, label) != labels.end(); });
  };
  std::ranges::stable_sort(others, std::greater<>(), shared_labels);
  std::string message =
      fmt::format("there is no series {} on the page; of that name there are:", spelled(name, labels));
  for (std::size_t i = 0; i < std::min(others.size(), most_shown); ++i) {
    message += "\n  " + spelled(others[i]->name, others[i]->labels);
  }
  if (others.size() > most_shown) message += fmt::format("\n  and {} more", others.size() - most_shown);
  throw NoSuchSeries(message);
}

// Differences.

std::string spelled(const ParsedSample& sample) {
  std::string line = spelled(sample.name, sample.labels) + ' ' + sample.text;
  if (sample.time) line += fmt::format(" at {} s", *sample.time);
  if (const auto& exemplar = sample.exemplar) {
    line += fmt::format(" # {{{}}} {}", spelled(exemplar->labels), exemplar->value);
    if (exemplar->time) line += fmt::format(" at {} s", *exemplar->time);
  }
  return line;
}

bool is_as_expected(const ParsedSample& actual, const ParsedSample& expected) {
  if (!is_same_number(actual.text, expected.text)) return false;
  if (expected.time && expected.time != actual.time) return false;
  if (!expected.exemplar) return true;
  if (!actual.exemplar) return false;
  const bool has_time = !expected.exemplar->time || expected.exemplar->time == actual.exemplar->time;
  return has_time && actual.exemplar->value == expected.exemplar->value &&
         labels_key(actual.exemplar->labels) == labels_key(expected.exemplar->labels);
}

using Samples = std::vector<const ParsedSample*>;

/// Whether the family has a line that names it. Without one, it is samples of one name.
bool has_metadata(const ParsedFamily& family) { return family.type || family.help || family.unit; }

Samples all_of(const ParsedFamily* family) {
  Samples result;
  if (family == nullptr) return result;
  for (const ParsedSample& sample : family->samples) result.push_back(&sample);
  return result;
}

/// Samples by their comparable name and labels, and points of one series by their order.
std::map<std::pair<std::string, std::size_t>, const ParsedSample*> by_series(const Samples& samples) {
  std::map<std::pair<std::string, std::size_t>, const ParsedSample*> result;
  std::map<std::string, std::size_t> points;
  for (const ParsedSample* sample : samples) {
    const std::string key = sample->name + labels_key(sample->labels);
    result.emplace(std::pair(key, points[key]++), sample);
  }
  return result;
}

class Comparison {
 public:
  Comparison(const ParsedPage& actual, const ParsedPage& expected) : actual_(actual), expected_(expected) {}

  std::string all() {
    for (const ParsedFamily& family : expected_.families) {
      const bool is_whole = has_metadata(family);
      if (is_whole) compare_metadata(family);
      compare(is_whole ? all_of(actual_.family(family.name)) : find_all(actual_, family.name), all_of(&family));
      if (is_whole ? actual_.family(family.name) == nullptr : find_all(actual_, family.name).empty()) {
        explain(family.name);
      }
    }
    return report();
  }

  std::string of(FamilyNames families) {
    for (const std::string_view name : families) {
      Samples actual = all_of(actual_.family(name));
      Samples expected = all_of(expected_.family(name));
      const ParsedFamily* family = expected_.family(name);
      if (family != nullptr) compare_metadata(*family);
      // Lines of this family that are expected without its TYPE.
      for (const ParsedFamily& other : expected_.families) {
        const auto is_its = [&](const ParsedSample* sample) { return sample->name == other.name; };
        if (other.name != name && !has_metadata(other) && std::ranges::any_of(actual, is_its)) {
          for (const ParsedSample& sample : other.samples) expected.push_back(&sample);
        }
      }
      compare(actual, expected);
      if (actual.empty() && !expected.empty()) explain(name);
    }
    return report();
  }

 private:
  void compare_metadata(const ParsedFamily& expected) {
    const ParsedFamily* actual = actual_.family(expected.name);
    const std::string name = detail::spelled_name(expected.name);
    const auto compare_text = [&](std::string_view keyword, const auto& wanted, const auto& found) {
      if (!wanted || wanted == found) return;
      remove(fmt::format("# {} {} {}", keyword, name, detail::printable(*wanted)));
      if (found) add(fmt::format("# {} {} {}", keyword, name, detail::printable(*found)));
    };
    const auto spelled_type = [](const ParsedFamily* family) {
      return family != nullptr && family->type ? std::optional(to_string(*family->type)) : std::nullopt;
    };
    compare_text("TYPE", spelled_type(&expected), spelled_type(actual));
    compare_text("HELP", expected.help, actual != nullptr ? actual->help : std::nullopt);
    compare_text("UNIT", expected.unit, actual != nullptr ? actual->unit : std::nullopt);
  }

  void compare(const Samples& actual, const Samples& expected) {
    auto unexpected = by_series(actual);
    // In the expected order, each beside what the page has instead.
    std::map<std::string, std::size_t> points;
    for (const ParsedSample* sample : expected) {
      const std::string key = sample->name + labels_key(sample->labels);
      const auto found = unexpected.find(std::pair(key, points[key]++));
      if (found == unexpected.end()) {
        remove(spelled(*sample));
        continue;
      }
      if (!is_as_expected(*found->second, *sample)) {
        remove(spelled(*sample));
        add(spelled(*found->second));
      }
      unexpected.erase(found);
    }
    std::set<const ParsedSample*> left;
    for (const auto& [key, sample] : unexpected) left.insert(sample);
    for (const ParsedSample* sample : actual) {
      if (left.contains(sample)) add(spelled(*sample));
    }
  }

  void remove(std::string_view line) { lines_ += fmt::format("- {}\n", line); }
  void add(std::string_view line) { lines_ += fmt::format("+ {}\n", line); }
  void explain(std::string_view name) { lines_ += fmt::format("  ({})\n", hint(actual_, name)); }

  [[nodiscard]] std::string report() const {
    return lines_.empty() ? "" : "not as expected (- expected, + on the page):\n" + lines_;
  }

  const ParsedPage& actual_;
  const ParsedPage& expected_;
  std::string lines_;
};

ParsedPage read_expected(std::string_view text) {
  std::string page;
  while (!text.empty()) {
    const std::string_view line = detail::take_until(text, '\n');
    const std::size_t indent = std::min(line.find_first_not_of(" \t"), line.size());
    page.append(line.substr(indent)).append("\n");
  }
  try {
    return read_page(page, text_format);
  } catch (const ParseError& error) {
    throw ParseError(error.line(), fmt::format("what is expected is not a page of the text format: {}", error.what()));
  }
}

}  // namespace

const ParsedFamily* ParsedPage::family(std::string_view name) const noexcept {
  const auto found = std::ranges::find(families, name, &ParsedFamily::name);
  return found == families.end() ? nullptr : &*found;
}

std::optional<double> find_value(const ParsedPage& page, std::string_view name, SeriesLabels labels) {
  const ParsedSample* sample = find_series(page, name, owned(labels.labels()));
  return sample == nullptr ? std::nullopt : std::optional(sample->value);
}

std::optional<double> find_value(const Registry& registry, std::string_view name, SeriesLabels labels) {
  return find_value(read_page(registry), name, labels);
}

double value_of(const ParsedPage& page, std::string_view name, SeriesLabels labels) {
  const std::vector<ParsedLabel> wanted = owned(labels.labels());
  const ParsedSample* sample = find_series(page, name, wanted);
  if (sample == nullptr) throw_no_such_series(page, name, wanted);
  return sample->value;
}

double value_of(const Registry& registry, std::string_view name, SeriesLabels labels) {
  return value_of(read_page(registry), name, labels);
}

ParsedHistogram histogram_of(const ParsedPage& page, std::string_view name, SeriesLabels labels) {
  const ParsedFamily* family = page.family(name);
  const bool is_gauge = family != nullptr && family->type == FamilyType::gauge_histogram;
  const bool is_histogram = family != nullptr && family->type == FamilyType::histogram;
  if (!is_gauge && !is_histogram) {
    throw NoSuchSeries(family == nullptr ? hint(page, name)
                                         : fmt::format("{} is not a histogram", detail::spelled_name(name)));
  }
  const std::string bucket = std::string(name) + "_bucket";
  const std::vector<ParsedLabel> wanted = owned(labels.labels());
  const std::string key = labels_key(wanted);
  ParsedHistogram result{0, std::numeric_limits<double>::quiet_NaN(), {}};
  for (const ParsedSample& sample : family->samples) {
    if (sample.name != bucket || labels_key(sample.labels, "le") != key) continue;
    const auto le = std::ranges::find(sample.labels, "le", &ParsedLabel::name);
    const double bound = *detail::parse_number(le->value);
    // A later point of the series begins with its first bucket again.
    if (!result.buckets.empty() && bound <= result.buckets.back().bound) result.buckets.clear();
    result.buckets.push_back({bound, sample.value});
  }
  if (result.buckets.empty()) throw_no_such_series(page, bucket, wanted);
  result.count = result.buckets.back().count;
  const auto sum = find_series(page, std::string(name) + (is_gauge ? "_gsum" : "_sum"), wanted);
  if (sum != nullptr) result.sum = sum->value;
  return result;
}

ParsedHistogram histogram_of(const Registry& registry, std::string_view name, SeriesLabels labels) {
  return histogram_of(read_page(registry), name, labels);
}

std::string difference(const ParsedPage& actual, const ParsedPage& expected, FamilyNames families) {
  Comparison comparison(actual, expected);
  return families.size() == 0 ? comparison.all() : comparison.of(families);
}

std::string difference(const ParsedPage& actual, std::string_view expected, FamilyNames families) {
  return difference(actual, read_expected(expected), families);
}

std::string difference(std::string_view actual, std::string_view expected, FamilyNames families) {
  return difference(read_page(actual, text_format), expected, families);
}

std::string difference(const Registry& actual, std::string_view expected, FamilyNames families) {
  return difference(read_page(actual), expected, families);
}

std::vector<LintProblem> lint(const ParsedPage& page) {
  std::vector<LintProblem> problems;
  for (const ParsedFamily& family : page.families) {
    if (family.samples.empty()) continue;
    const FamilyType type = family.type.value_or(FamilyType::untyped);
    // As the text format would show it.
    std::string name = family.name;
    if (type == FamilyType::counter && family.samples.front().name != name) name += "_total";
    if (type == FamilyType::info) name = family.samples.front().name;
    std::string_view in_text = to_string(type);
    if (type == FamilyType::info || type == FamilyType::stateset) in_text = to_string(FamilyType::gauge);
    if (type == FamilyType::gauge_histogram) in_text = to_string(FamilyType::histogram);
    std::set<std::string_view> label_names;
    for (const ParsedSample& sample : family.samples) {
      for (const ParsedLabel& label : sample.labels) label_names.insert(label.name);
    }
    const std::string_view help = family.help ? std::string_view(*family.help) : std::string_view();
    for (std::string& text : detail::lint({name, help, in_text, {label_names.begin(), label_names.end()}})) {
      problems.push_back({name, std::move(text)});
    }
  }
  std::ranges::sort(problems, {}, [](const LintProblem& problem) { return std::tie(problem.family, problem.text); });
  return problems;
}

std::vector<LintProblem> lint(const Registry& registry) { return lint(read_page(registry)); }

}  // namespace quipu::testing
