#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "family/definition.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// A copy of an exemplar, with its texts.
struct CollectedExemplar {
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<Label> labels;  // of the texts
  ExemplarView view;          // of the labels
};

/// What a series has beyond a number. It is full of pointers to itself, so it stays where it was made.
struct CollectedDetails {
  CollectedDetails() = default;
  CollectedDetails(const CollectedDetails&) = delete;
  CollectedDetails& operator=(const CollectedDetails&) = delete;

  std::optional<WallTime> created{};
  std::optional<WallTime> timestamp{};
  std::vector<CollectedExemplar> exemplar_copies{};
  std::vector<const ExemplarView*> exemplars{};  // of a counter, or by bucket; null for none

  // Of a histogram.
  std::vector<double> bounds{};
  std::vector<std::uint64_t> counts{};
  std::vector<NativeBuckets::Bucket> positive{};
  std::vector<NativeBuckets::Bucket> negative{};
  std::optional<NativeBuckets> native{};

  // Of a summary.
  std::vector<Quantile> quantiles{};
  std::uint64_t count = 0;

  double sum = 0;  // of both
};

/// One series that a collector showed.
struct CollectedSeries {
  std::vector<std::string> label_values;
  Number value;
  std::shared_ptr<const CollectedDetails> details{};  // null for a number alone
};

/// What a collector showed of one family in one scrape.
struct CollectedFamily {
  std::shared_ptr<const Definition> definition;
  std::string local_name;       // without the prefix
  std::size_t max_label_value;  // in bytes
  std::vector<CollectedSeries> series{};
};

}  // namespace quipu::detail
