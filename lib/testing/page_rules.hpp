#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "quipu/testing.hpp"

// What the formats demand of families, beyond the grammar of a line.

namespace quipu::detail {

/// How a TYPE line spells the type; empty where the format does not have it.
[[nodiscard]] std::string_view spelling(testing::FamilyType type, bool in_open_metrics) noexcept;

/// The suffixes of the names of a family's samples, "" among them if it is the name itself.
[[nodiscard]] std::span<const std::string_view> suffixes(testing::FamilyType type, bool in_open_metrics) noexcept;

/// Whether OpenMetrics keeps the suffix for samples of some type.
[[nodiscard]] bool is_reserved_suffix(std::string_view suffix) noexcept;

/// Where something stands on a page.
struct PageLine {
  std::size_t number = 0;  // from 1
  std::string_view text;
};

/// A family that is over, with the lines of its samples.
struct WholeFamily {
  const testing::ParsedFamily& family;
  PageLine begin;
  std::span<const PageLine> sample_lines;
  bool in_open_metrics;
};

/// Throws ParseError, with the line, if the samples do not make a family of its type.
void check(const WholeFamily& family);

}  // namespace quipu::detail
