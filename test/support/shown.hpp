#pragma once

// What a registry shows to a visitor, kept for the tests to look at.

#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"

namespace shown {

using Labels = std::vector<std::pair<std::string, std::string>>;

inline Labels copy(quipu::Labels labels) {
  Labels result;
  for (const quipu::Label& label : labels) result.emplace_back(label.name, label.value);
  return result;
}

struct Exemplar {
  Labels labels;
  double value = 0;
  quipu::WallTime time{};
};

/// The buckets of a native histogram.
struct Native {
  std::int32_t schema = 0;
  double zero_threshold = 0;
  std::uint64_t zero_count = 0;
  std::vector<quipu::NativeBuckets::Bucket> positive{};
  std::vector<quipu::NativeBuckets::Bucket> negative{};
};

struct Series {
  Labels labels;
  double value = 0;  // of a histogram, its sum
  bool needs_no_escaping = false;
  std::optional<quipu::WallTime> created{};
  std::optional<Exemplar> exemplar{};

  // Of a histogram.
  std::vector<double> bounds{};
  std::vector<std::uint64_t> counts{};
  std::vector<std::optional<Exemplar>> exemplars{};  // none, or one for each count
  std::optional<Native> native{};

  // Of a summary, whose value is its sum.
  std::vector<quipu::Quantile> quantiles{};
  std::uint64_t count = 0;

  std::optional<quipu::WallTime> timestamp{};
};

struct Family {
  quipu::MetricType type;
  std::vector<std::string> label_names;
  std::vector<Series> series{};
};

/// All families of a registry.
class Everything : public quipu::Visitor {
 public:
  explicit Everything(const quipu::Registry& registry) { registry.collect(*this); }

  void family(const quipu::FamilyView& family) override {
    const Family empty{family.type, {family.label_names.begin(), family.label_names.end()}};
    // Of a family that is shown twice all series are kept, for duplicates().
    last_ = &families.emplace(family.name, empty).first->second;
  }
  void sample(const quipu::Sample& sample) override {
    Series series{copy(sample.labels), sample.value.real(), sample.needs_no_escaping, sample.created};
    if (sample.exemplar != nullptr) series.exemplar = copy_of(*sample.exemplar);
    series.timestamp = sample.timestamp;
    last_->series.push_back(std::move(series));
  }
  void histogram(const quipu::HistogramSample& sample) override {
    Series series{copy(sample.labels), sample.sum, sample.needs_no_escaping, sample.created};
    series.bounds.assign(sample.bounds.begin(), sample.bounds.end());
    series.counts.assign(sample.counts.begin(), sample.counts.end());
    for (const quipu::ExemplarView* exemplar : sample.exemplars) {
      series.exemplars.emplace_back(exemplar == nullptr ? std::nullopt : std::optional(copy_of(*exemplar)));
    }
    if (sample.native != nullptr) series.native = copy_of(*sample.native);
    series.timestamp = sample.timestamp;
    last_->series.push_back(std::move(series));
  }
  void summary(const quipu::SummarySample& sample) override {
    Series series{copy(sample.labels), sample.sum, sample.needs_no_escaping, sample.created};
    series.quantiles.assign(sample.quantiles.begin(), sample.quantiles.end());
    series.count = sample.count;
    series.timestamp = sample.timestamp;
    last_->series.push_back(std::move(series));
  }

  /// The name of a family, then the label values of one of its series.
  using Key = std::vector<std::string>;

  /// The values of all series; of a histogram, its count.
  [[nodiscard]] std::map<Key, double> values() const {
    std::map<Key, double> result;
    for (const auto& [name, family] : families) {
      for (const Series& series : family.series) {
        Key key{name};
        for (const auto& label : series.labels) key.push_back(label.second);
        const auto& counts = series.counts;
        const double count = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
        result.emplace(std::move(key), counts.empty() ? series.value : count);
      }
    }
    return result;
  }

  /// How many series were shown more than once.
  [[nodiscard]] std::size_t duplicates() const {
    std::size_t shown = 0;
    for (const auto& [name, family] : families) shown += family.series.size();
    return shown - values().size();
  }

  std::map<std::string, Family> families;

 private:
  static Exemplar copy_of(const quipu::ExemplarView& view) { return {copy(view.labels), view.value, view.time}; }
  static Native copy_of(const quipu::NativeBuckets& buckets) {
    return {buckets.schema,
            buckets.zero_threshold,
            buckets.zero_count,
            {buckets.positive.begin(), buckets.positive.end()},
            {buckets.negative.begin(), buckets.negative.end()}};
  }

  Family* last_ = nullptr;
};

inline Family family(const quipu::Registry& registry, const std::string& name) {
  const Everything everything(registry);
  const auto found = everything.families.find(name);
  INFO("is " << name << " shown?");
  REQUIRE(found != everything.families.end());
  return found->second;
}

/// The only series of a family.
inline Series series(const quipu::Registry& registry, const std::string& name) {
  const Family shown = family(registry, name);
  REQUIRE(shown.series.size() == 1);
  return shown.series.front();
}

}  // namespace shown
