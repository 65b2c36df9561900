#pragma once

#include <cstddef>
#include <string_view>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/utf8.hpp"

namespace quipu {

/// A name that is only known at run time; see `runtime()`. It refers to the caller's text.
struct RuntimeName {
  std::string_view text;
};

/// Marks a name as built at run time: `{.name = quipu::runtime(text)}`. Names in quotes need no mark and are checked by
/// the compiler; these are checked when they are used, and a bad one throws RegistrationError. In a registry with
/// RegistryOptions::utf8_names they may be any text in UTF-8.
[[nodiscard]] constexpr RuntimeName runtime(std::string_view text) noexcept { return {text}; }

namespace detail {

constexpr bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// [a-zA-Z_:][a-zA-Z0-9_:]*
constexpr bool is_metric_name(std::string_view text) noexcept {
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c) && c != ':') return false;
  }
  return !text.empty() && !is_digit(text.front());
}

/// [a-zA-Z_][a-zA-Z0-9_]*, and not beginning with two underscores, which Prometheus keeps for itself.
constexpr bool is_label_name(std::string_view text) noexcept {
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c)) return false;
  }
  return !text.empty() && !is_digit(text.front()) && !text.starts_with("__");
}

// Called only to stop a constant evaluation: the compiler's message shows their names.
QUIPU_EXPORT void a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
QUIPU_EXPORT void a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore();
QUIPU_EXPORT void a_name_is_not_empty_and_is_utf8();

}  // namespace detail

/// Marks a name in quotes as one beyond the legacy rules: `{.name = quipu::utf8("http.server.duration")}`. For
/// registries with RegistryOptions::utf8_names. What is not UTF-8 does not compile.
template <std::size_t Size>
[[nodiscard]] consteval RuntimeName utf8(const char (&literal)[Size]) {
  const std::string_view text(literal, Size - 1);
  if (text.empty() || !detail::is_utf8(text)) detail::a_name_is_not_empty_and_is_utf8();
  return {text};
}

/// The name of a metric: [a-zA-Z_:][a-zA-Z0-9_:]* (Prometheus data model, legacy names; colons are meant for recording
/// rules). A literal that breaks the rule does not compile. Refers to the text it is made from, and is used up by the
/// call that it is given to.
class MetricName {
 public:
  template <std::size_t Size>
  consteval MetricName(const char (&literal)[Size]) : text_(literal, Size - 1) {
    if (!detail::is_metric_name(text_)) {
      detail::a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
    }
  }
  constexpr MetricName(RuntimeName name) noexcept : text_(name.text) {}

  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// What stands before the names of a registry or of a part of it, without the underscore that joins it to them;
/// empty for nothing. The rule is that of metric names.
class MetricPrefix {
 public:
  constexpr MetricPrefix() noexcept = default;
  template <std::size_t Size>
  consteval MetricPrefix(const char (&literal)[Size]) : text_(literal, Size - 1) {
    if (!text_.empty() && !detail::is_metric_name(text_)) {
      detail::a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
    }
  }
  constexpr MetricPrefix(RuntimeName name) noexcept : text_(name.text) {}

  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// The name of a label: [a-zA-Z_][a-zA-Z0-9_]*, not beginning with "__". A literal that breaks the rule does not
/// compile.
class LabelName {
 public:
  template <std::size_t Size>
  consteval LabelName(const char (&literal)[Size]) : text_(literal, Size - 1) {
    if (!detail::is_label_name(text_)) {
      detail::a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore();
    }
  }
  constexpr LabelName(RuntimeName name) noexcept : text_(name.text) {}

  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

}  // namespace quipu
