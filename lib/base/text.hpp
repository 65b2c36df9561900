#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "quipu/detail/base/export.hpp"

// Text in ASCII: letters, blanks, lists and numbers. Nothing here depends on the locale.

namespace quipu::detail {

constexpr bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }
constexpr bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
constexpr bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }

constexpr char to_lower(char c) noexcept { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }
[[nodiscard]] QUIPU_EXPORT std::string to_lower(std::string_view text);

[[nodiscard]] constexpr bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char one, char other) { return to_lower(one) == to_lower(other); });
}

/// `text` without the blanks at its ends.
[[nodiscard]] constexpr std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Removes from the front of `text` what precedes the first separator, and that separator. Returns what preceded it:
/// all of `text` if there is no separator.
constexpr std::string_view take_until(std::string_view& text, char separator) noexcept {
  const std::string_view taken = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(taken.size() + 1, text.size()));
  return taken;
}

/// The same, but a separator inside double quotes does not count. A backslash inside quotes escapes the next character.
QUIPU_EXPORT std::string_view take_until_unquoted(std::string_view& text, char separator) noexcept;

/// The number that all of `text` spells, as std::from_chars reads it: in decimal, without a leading blank or '+'.
/// Nothing if `text` is anything else or the number is out of range.
template <class Number>
requires std::integral<Number> || std::floating_point<Number>
[[nodiscard]] std::optional<Number> to_number(std::string_view text) noexcept {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

/// A weight of a list in an HTTP header, from 0 to 1 (the q-value of RFC 9110, 12.4.2). It is written in digits with at
/// most one point. More than 1 counts as 1: Prometheus 2.49.0 sent a 2. Anything else counts as 0, "not acceptable".
[[nodiscard]] QUIPU_EXPORT double parse_quality(std::string_view text) noexcept;

}  // namespace quipu::detail
