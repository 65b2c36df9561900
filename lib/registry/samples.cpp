#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/utf8.hpp"
#include "quipu/collector.hpp"
#include "quipu/error.hpp"
#include "registry/collected_family.hpp"

namespace quipu {

void Samples::add(std::string_view family, std::initializer_list<std::string_view> label_values, Number value) {
  add(family, std::span(label_values.begin(), label_values.size()), value);
}

void Samples::add(std::string_view family, std::span<const std::string_view> label_values, Number value) {
  const auto found = std::ranges::find(families_, family, &detail::CollectedFamily::local_name);
  if (found == families_.end()) {
    throw CollectorError(fmt::format("collector: family \"{}\" was not described", family));
  }
  const std::size_t labels = found->definition->label_names.size();
  if (label_values.size() != labels) {
    throw CollectorError(
        fmt::format("collector: family \"{}\" has {} labels, not {}", family, labels, label_values.size()));
  }
  detail::CollectedSeries series{{}, value};
  for (const std::string_view label : label_values) {
    series.label_values.push_back(detail::to_utf8(label, found->max_label_value));
  }
  found->series.push_back(std::move(series));
}

}  // namespace quipu
