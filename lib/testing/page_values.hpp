#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/testing.hpp"

// What the parts of a page are: numbers, label sets, and how they are shown to people.

namespace quipu::detail {

/// [+-] digits [. digits] [e [+-] digits], or [+-] inf, [+-] infinity, nan, whatever the case: what all parsers read.
/// None for anything else, and for what is beyond the range of a double. What is too small for one is zero.
[[nodiscard]] std::optional<double> parse_number(std::string_view text) noexcept;

/// Compares two numbers that parse: whole ones in all their digits.
[[nodiscard]] std::partial_ordering compare_numbers(std::string_view a, std::string_view b) noexcept;

/// The same number, or both NaN.
[[nodiscard]] bool is_same_number(std::string_view a, std::string_view b) noexcept;

/// What makes two lists of labels the same: sorted, without empty ones, and with `le` and `quantile` as numbers. No two
/// others share a key. Labels of the name `left_out` do not count.
[[nodiscard]] std::string labels_key(const std::vector<testing::ParsedLabel>& labels, std::string_view left_out = {});

/// One line, for people: control characters and what is not UTF-8 are shown as \x1F, and what is long is cut.
[[nodiscard]] std::string printable(std::string_view text);

/// A name as it stands in a sample; in quotes if it has to be.
[[nodiscard]] std::string spelled_name(std::string_view metric_name);

/// label="value", printable, with commas between.
[[nodiscard]] std::string spelled(const std::vector<testing::ParsedLabel>& labels);

/// name{label="value"}, printable.
[[nodiscard]] std::string spelled(std::string_view name, const std::vector<testing::ParsedLabel>& labels);

/// Line 0 is what belongs to no line: the Content-Type.
[[nodiscard]] testing::ParseError parse_error(std::size_t line_number, std::string_view line, std::string_view why);

}  // namespace quipu::detail
