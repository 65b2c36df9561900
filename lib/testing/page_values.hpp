#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/testing.hpp"

// The parts of a page: numbers, label sets, and how they are shown to people.

namespace quipu::detail {

/// [+-] digits [. digits] [e [+-] digits], or [+-] inf, [+-] infinity, nan, in any case. All parsers read these.
/// Returns nullopt for anything else, and for numbers beyond the range of a double. A number that is too small for a
/// double is zero.
[[nodiscard]] std::optional<double> parse_number(std::string_view text) noexcept;

/// Compares two numbers that parse. Whole numbers are compared in all their digits.
[[nodiscard]] std::partial_ordering compare_numbers(std::string_view a, std::string_view b) noexcept;

/// The same number, or both NaN.
[[nodiscard]] bool is_same_number(std::string_view a, std::string_view b) noexcept;

/// A key that is equal for equal lists of labels, and different for all others. Labels are sorted, empty ones are left
/// out, and `le` and `quantile` count as numbers. Labels with the name `left_out` do not count.
[[nodiscard]] std::string labels_key(const std::vector<testing::ParsedLabel>& labels, std::string_view left_out = {});

/// A name as it stands in a sample; in quotes if it has to be.
[[nodiscard]] std::string spelled_name(std::string_view metric_name);

/// label="value", printable, with commas between.
[[nodiscard]] std::string spelled(const std::vector<testing::ParsedLabel>& labels);

/// name{label="value"}, printable.
[[nodiscard]] std::string spelled(std::string_view name, const std::vector<testing::ParsedLabel>& labels);

/// Line 0 stands for the Content-Type, which is on no line.
[[nodiscard]] testing::ParseError parse_error(std::size_t line_number, std::string_view line, std::string_view why);

}  // namespace quipu::detail
