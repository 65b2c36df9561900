#pragma once

// A program made of bytes, which registers families with any names, help and labels, and records any values; and the
// check that each format gives back what it counted. Driven by random bytes in the unit tests, and by a fuzzer.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/protobuf_reader.hpp"

namespace random_program {

class Program {
 public:
  explicit Program(std::span<const std::uint8_t> bytes)
      : bytes_(bytes), registry_({.utf8_names = true, .process_metrics = false, .self_metrics = false}) {
    while (!bytes_.empty()) step();
  }

  /// "" if every format shows what was counted; otherwise what is wrong.
  [[nodiscard]] std::string check() const {
    for (const std::string_view accept :
         {"text/plain;version=0.0.4", "text/plain;version=0.0.4;escaping=values",
          "text/plain;version=1.0.0;escaping=allow-utf-8", "application/openmetrics-text;version=1.0.0",
          "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
          "application/openmetrics-text;version=0.0.1;escaping=dots"}) {
      if (std::string wrong = check_text(accept); !wrong.empty()) return std::string(accept) + ": " + wrong;
    }
    return check_protobuf();
  }

 private:
  using Values = std::vector<std::string>;  // of labels

  struct Family {
    std::string name;
    std::string help;
    std::vector<std::string> label_names;
    std::optional<quipu::CounterFamily<std::string_view, std::string_view>> counters{};
    std::optional<quipu::GaugeFamily<std::string_view, std::string_view>> gauges{};
    std::optional<quipu::HistogramFamily<std::string_view, std::string_view>> histograms{};
    std::optional<quipu::NativeHistogramFamily<std::string_view, std::string_view>> natives{};
    std::map<Values, double> values{};  // of counters, sums of whole numbers; of gauges, what was set last
    std::map<Values, std::vector<double>> observed{};
  };

  static constexpr std::array<double, 3> bounds = {-1.0, 0.5, 1e6};

  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  std::string text() {
    // Mostly letters, so that some names are legacy names; or any bytes.
    const std::uint8_t form = byte();
    std::string result;
    for (int i = form % 16; i > 0; --i) {
      const std::uint8_t c = byte();
      result += form < 128 ? static_cast<char>('a' + c % 26) : static_cast<char>(c);
    }
    return result;
  }
  double number() {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | byte();
    return std::bit_cast<double>(bits);
  }

  void step() {
    const std::uint8_t choice = byte();
    if (families_.empty() || choice % 4 == 0) {
      add_family(choice / 4);
    } else {
      record(families_[choice / 4 % families_.size()]);
    }
  }

  void add_family(int kind) {
    const std::string name = text() + (kind % 4 == 0 ? "_total" : "");
    const std::string help = text();
    // Of a label name that begins otherwise, what is left after escaping may begin with "__", which no page should
    // have.
    const std::string first = 'l' + text();
    const std::string second = 'l' + text();
    Family family{.name = name, .help = quipu::detail::to_utf8(help), .label_names = {first, second}};
    const auto given = quipu::runtime(name);
    const auto a = quipu::runtime(first);
    const auto b = quipu::runtime(second);
    try {
      switch (kind % 4) {
        case 0:
          family.counters = registry_.counter({.name = given, .help = help}, {a, b});
          break;
        case 1:
          family.gauges = registry_.gauge({.name = given, .help = help}, {a, b});
          break;
        case 2:
          family.histograms = registry_.histogram(
              {.name = given, .help = help, .buckets = quipu::Buckets(std::vector(bounds.begin(), bounds.end()))},
              {a, b});
          break;
        default:
          family.natives = registry_.native_histogram({.name = given, .help = help, .max_buckets = 20}, {a, b});
      }
    } catch (const quipu::RegistrationError&) {
      return;
    }
    // The same definition twice is the same family, of which the first is enough.
    for (const Family& known : families_) {
      if (known.name == family.name) return;
    }
    families_.push_back(std::move(family));
  }

  void record(Family& family) {
    const std::string first = text();
    const std::string second = text();
    const Values key{quipu::detail::to_utf8(first), quipu::detail::to_utf8(second)};
    const double value = number();
    if (family.counters) {
      const auto step = static_cast<std::uint64_t>(byte()) << byte() % 32;
      (*family.counters)(first, second).inc(step);
      family.values[key] += static_cast<double>(step);
    } else if (family.gauges) {
      (*family.gauges)(first, second).set(value);
      family.values[key] = value;
    } else {
      if (family.histograms) (*family.histograms)(first, second).observe(value);
      if (family.natives) (*family.natives)(first, second).observe(value);
      std::vector<double>& observed = family.observed[key];
      if (!std::isnan(value)) observed.push_back(value);
    }
  }

  [[nodiscard]] static bool is_same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

  [[nodiscard]] static double sum_of(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum;
  }

  [[nodiscard]] static std::uint64_t count_to(double bound, const std::vector<double>& values) {
    std::uint64_t count = 0;
    for (const double value : values) count += static_cast<std::uint64_t>(value <= bound);
    return count;
  }

  [[nodiscard]] std::string check_text(std::string_view accept) const try {
    const quipu::Page page = quipu::render(registry_, accept);
    const auto parsed = quipu::testing::read_page(page.body, page.content_type);
    std::size_t series = 0;
    for (const auto& family : parsed.families) series += family.samples.size();
    std::size_t expected = 0;
    for (const Family& family : families_) {
      expected += family.values.size();
      expected += family.observed.size() * (family.natives ? 1 : bounds.size() + 1);
    }
    if (series < expected) return "series are missing";
    // Names are as they were given only where the scraper takes UTF-8.
    if (accept.find("allow-utf-8") == accept.npos) return "";
    for (const Family& family : families_) {
      const auto labels = [&](const Values& values) {
        return std::array<quipu::Label, 2>{quipu::Label{family.label_names[0], values[0]},
                                           quipu::Label{family.label_names[1], values[1]}};
      };
      for (const auto& [values, value] : family.values) {
        const auto shown = quipu::testing::find_value(parsed, family.name, quipu::Labels(labels(values)));
        if (!shown) return "no series of " + family.name;
        if (!is_same(*shown, value)) return family.name + " is " + std::to_string(*shown);
      }
      for (const auto& [values, observed] : family.observed) {
        const auto key = labels(values);
        const auto shown = quipu::testing::histogram_of(parsed, family.name, quipu::Labels(key));
        if (shown.buckets.back().count != static_cast<double>(observed.size())) return family.name + ": wrong count";
        if (family.natives) continue;
        for (std::size_t i = 0; i < bounds.size(); ++i) {
          if (shown.buckets[i].count != static_cast<double>(count_to(bounds[i], observed))) {
            return family.name + ": wrong bucket";
          }
        }
        // OpenMetrics has no sum where it can go down.
        const bool has_sum = accept.find("openmetrics") == accept.npos;
        if (has_sum && !is_same(shown.sum, sum_of(observed))) return family.name + ": wrong sum";
      }
    }
    return "";
  } catch (const quipu::Error& error) {
    return error.what();
  }

  [[nodiscard]] std::string check_protobuf() const try {
    const quipu::Page page = quipu::render(registry_,
                                           "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                                           "encoding=delimited;escaping=allow-utf-8");
    protobuf::Reader reader;
    std::map<std::string, std::map<protobuf::LabelPairs, protobuf::Metric>> shown;
    for (const protobuf::Family& family : reader.page(page.body)) {
      for (const protobuf::Metric& metric : family.metrics) {
        if (!shown[family.name.value()].emplace(metric.labels, metric).second) return "protobuf: a series twice";
      }
    }
    if (reader.unknown > 0) return "protobuf: unknown fields";
    for (const Family& family : families_) {
      const auto metric = [&](const Values& values) -> const protobuf::Metric& {
        return shown.at(family.name).at({{family.label_names[0], values[0]}, {family.label_names[1], values[1]}});
      };
      for (const auto& [values, value] : family.values) {
        const protobuf::Metric& found = metric(values);
        const auto actual = family.counters ? found.counter.value().value : found.gauge.value().value;
        if (!actual || !is_same(*actual, value)) return "protobuf: " + family.name + " is another";
      }
      for (const auto& [values, observed] : family.observed) {
        const protobuf::Histogram& histogram = metric(values).histogram.value();
        if (histogram.count.value_or(0) != observed.size()) return "protobuf: wrong count";
        if (!is_same(histogram.sum.value_or(0), sum_of(observed))) return "protobuf: wrong sum";
        if (family.natives && bucket_total(histogram) != observed.size()) return "protobuf: wrong buckets";
      }
    }
    return "";
  } catch (const std::exception& error) {
    return std::string("protobuf: ") + error.what();
  }

  [[nodiscard]] static std::uint64_t bucket_total(const protobuf::Histogram& histogram) {
    std::int64_t total = static_cast<std::int64_t>(histogram.zero_count.value_or(0));
    for (const auto* deltas : {&histogram.positive_deltas, &histogram.negative_deltas}) {
      std::int64_t count = 0;
      for (const std::int64_t delta : *deltas) total += count += delta;
    }
    return static_cast<std::uint64_t>(total);
  }

  std::span<const std::uint8_t> bytes_;
  quipu::Registry registry_;
  std::vector<Family> families_;
};

}  // namespace random_program
