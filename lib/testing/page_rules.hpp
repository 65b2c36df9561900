#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "quipu/testing.hpp"

// The rules of the formats for families, beyond the grammar of a line.

namespace quipu::detail {

/// The spelling of the type in a TYPE line; empty if the format does not have the type.
[[nodiscard]] std::string_view spelling(testing::FamilyType type, bool in_open_metrics) noexcept;

/// The suffixes of the names of a family's samples, including "" if a sample may have the family's own name.
[[nodiscard]] std::span<const std::string_view> suffixes(testing::FamilyType type, bool in_open_metrics) noexcept;

/// Whether OpenMetrics reserves the suffix for samples of some type.
[[nodiscard]] bool is_reserved_suffix(std::string_view suffix) noexcept;

/// A line of a page.
struct PageLine {
  std::size_t number = 0;  // from 1
  std::string_view text;
};

/// A complete family, with the lines of its samples.
struct WholeFamily {
  const testing::ParsedFamily& family;
  PageLine begin;
  std::span<const PageLine> sample_lines;
  bool in_open_metrics;
};

/// Throws ParseError, with the line, if the samples do not form a family of its type.
void check(const WholeFamily& family);

}  // namespace quipu::detail
