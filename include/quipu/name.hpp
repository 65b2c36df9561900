#pragma once

#include <cstddef>
#include <string_view>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/utf8.hpp"

namespace quipu {

/// A name that is known only at run time; see `runtime()`. It refers to the caller's text.
struct RuntimeName {
  std::string_view text;
};

/// Marks a name that is made at run time: `{.name = quipu::runtime(text)}`. String literals need no mark, and are
/// checked by the compiler. Names made at run time are checked when they are used; an invalid name throws
/// RegistrationError. In a registry with RegistryOptions::utf8_names they may be any UTF-8.
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

/// [a-zA-Z_][a-zA-Z0-9_]*: a label name that needs neither quotes nor an escape on a page.
constexpr bool is_legacy_label_name(std::string_view text) noexcept {
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c)) return false;
  }
  return !text.empty() && !is_digit(text.front());
}

/// A legacy label name that does not begin with two underscores, which Prometheus keeps for itself.
constexpr bool is_label_name(std::string_view text) noexcept {
  return is_legacy_label_name(text) && !text.starts_with("__");
}

// Not defined. A call stops a constant evaluation, and the compiler's message shows the name.
QUIPU_EXPORT void a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
QUIPU_EXPORT void a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore();
QUIPU_EXPORT void a_name_is_not_empty_and_is_utf8();

}  // namespace detail

/// Marks a string literal as a name beyond the legacy rules: `{.name = quipu::utf8("http.server.duration")}`. For
/// registries with RegistryOptions::utf8_names. A literal that is empty or not UTF-8 does not compile.
template <std::size_t Size>
[[nodiscard]] consteval RuntimeName utf8(const char (&literal)[Size]) {
  const std::string_view text(literal, Size - 1);
  if (text.empty() || !detail::is_utf8(text)) detail::a_name_is_not_empty_and_is_utf8();
  return {text};
}

/// The name of a metric: [a-zA-Z_:][a-zA-Z0-9_:]* (Prometheus data model, legacy names; colons are meant for recording
/// rules). A literal that breaks the rule does not compile. Refers to the text that it is made from, which must live
/// until the call that takes the name returns.
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

/// The prefix of the names in a registry, or in a part of it, without the underscore that joins it to them. May be
/// empty; otherwise the rule of metric names holds.
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
