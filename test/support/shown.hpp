#pragma once

// What a registry shows to a visitor, kept for the tests to look at.

#include <cstdint>
#include <map>
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

struct Series {
  Labels labels;
  double value = 0;  // of a histogram, its sum
  bool needs_no_escaping = false;
  std::optional<quipu::WallTime> created{};
  std::optional<Exemplar> exemplar{};
  std::vector<std::uint64_t> counts{};
  std::vector<std::optional<Exemplar>> exemplars{};  // of a histogram: none, or one for each count
};

struct Family {
  quipu::MetricType type;
  std::vector<std::string> label_names;
  std::vector<Series> series{};
};

class Everything : public quipu::Visitor {
 public:
  explicit Everything(const quipu::Registry& registry) { registry.collect(*this); }

  void family(const quipu::FamilyView& family) override {
    last_ = &families[std::string(family.name)];
    *last_ = {family.type, {family.label_names.begin(), family.label_names.end()}};
  }
  void sample(const quipu::Sample& sample) override {
    Series series{copy(sample.labels), sample.value.real(), sample.needs_no_escaping, sample.created};
    if (sample.exemplar != nullptr) series.exemplar = copy_of(*sample.exemplar);
    last_->series.push_back(std::move(series));
  }
  void histogram(const quipu::HistogramSample& sample) override {
    Series series{copy(sample.labels), sample.sum, sample.needs_no_escaping, sample.created};
    series.counts.assign(sample.counts.begin(), sample.counts.end());
    for (const quipu::ExemplarView* exemplar : sample.exemplars) {
      series.exemplars.emplace_back(exemplar == nullptr ? std::nullopt : std::optional(copy_of(*exemplar)));
    }
    last_->series.push_back(std::move(series));
  }

  std::map<std::string, Family> families;

 private:
  static Exemplar copy_of(const quipu::ExemplarView& view) { return {copy(view.labels), view.value, view.time}; }

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
