#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/base/utf8.hpp"

namespace quipu {

namespace detail {

template <class Rule>
class Name;

/// The text of a name: a constant is referred to, a text that is made at run time is copied.
class NameText {
 public:
  constexpr NameText() noexcept = default;
  /// `constant` lives as long as the process.
  constexpr explicit NameText(std::string_view constant) noexcept : text_(constant) {}
  [[nodiscard]] static constexpr NameText copy_of(std::string_view text) {
    NameText made;
    made.copy_ = new char[text.size()];
    text.copy(made.copy_, text.size());
    made.text_ = {made.copy_, text.size()};
    return made;
  }

  constexpr NameText(const NameText& other)
      : NameText(other.copy_ == nullptr ? NameText(other.text_) : copy_of(other.text_)) {}
  constexpr NameText(NameText&& other) noexcept
      : text_(std::exchange(other.text_, {})), copy_(std::exchange(other.copy_, nullptr)) {}
  constexpr NameText& operator=(NameText other) noexcept {
    std::swap(text_, other.text_);
    std::swap(copy_, other.copy_);
    return *this;
  }
  constexpr ~NameText() { delete[] copy_; }

  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
  char* copy_ = nullptr;  // owned; null for a constant
};

}  // namespace detail

/// A name that is known only at run time, or that is beyond the legacy rules; see `runtime()` and `utf8()`.
class RuntimeName {
 public:
  constexpr explicit RuntimeName(detail::NameText text) noexcept : text_(std::move(text)) {}

 private:
  template <class Rule>
  friend class detail::Name;

  detail::NameText text_;
};

/// Marks a name that is made at run time: `{.name = quipu::runtime(text)}`. Constants need no mark, and are checked by
/// the compiler. Names made at run time are checked when they are used; an invalid name throws RegistrationError. In a
/// registry with RegistryOptions::utf8_names they may be any UTF-8. Copies the text. Throws std::bad_alloc.
[[nodiscard]] constexpr RuntimeName runtime(std::string_view text) {
  return RuntimeName(detail::NameText::copy_of(text));
}

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

// Not constexpr. A call stops a constant evaluation, and the compiler's message shows the name.
QUIPU_EXPORT void a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
QUIPU_EXPORT void a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore();
QUIPU_EXPORT void a_name_is_not_empty_and_is_utf8();
QUIPU_EXPORT void each_metric_and_each_label_has_a_name_that_is_not_empty();
QUIPU_EXPORT void a_name_made_at_run_time_is_quipu_runtime_of_its_text();

// What constants must be. Each stops a constant evaluation if the text is no such name.
struct MetricNameRule {
  static constexpr void check(std::string_view text) {
    if (text.empty()) each_metric_and_each_label_has_a_name_that_is_not_empty();
    if (!is_metric_name(text)) a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit();
  }
};
struct MetricPrefixRule {
  static constexpr void check(std::string_view text) {
    if (!text.empty()) MetricNameRule::check(text);
  }
};
struct LabelNameRule {
  static constexpr void check(std::string_view text) {
    if (text.empty()) each_metric_and_each_label_has_a_name_that_is_not_empty();
    if (!is_label_name(text)) {
      a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore();
    }
  }
};
struct Utf8NameRule {
  static constexpr void check(std::string_view text) {
    if (text.empty() || !is_utf8(text)) a_name_is_not_empty_and_is_utf8();
  }
};

/// The types of constants that are names like literals: what converts to std::string_view, and arrays such as
/// std::array<char, 5>.
template <class Text>
concept ConstantText = !std::is_array_v<Text> && !std::same_as<Text, std::string> && !std::is_null_pointer_v<Text> &&
                       (std::convertible_to<const Text&, std::string_view> ||
                        requires(const Text& text) { std::string_view(text.data(), text.size()); });

/// What people give in place of a constant.
template <class Text>
concept NoConstantText = std::same_as<Text, std::string> || std::is_arithmetic_v<Text> || std::is_null_pointer_v<Text>;

template <class Text>
constexpr void a_name_is_constant_or_marked() {
  static_assert(misuse<Text>,
                "quipu: a name is a literal or another constant text; one made at run time is quipu::runtime(text)");
}

/// The text of a constant. Stops the evaluation if `constant` is none: this is before it is read, because compilers
/// that read a variable say no more than that it is not constant.
template <class Text>
constexpr std::string_view constant_text(const Text& constant) {
  const auto view = [&constant]() -> std::string_view {
    if constexpr (std::convertible_to<const Text&, std::string_view>) {
      return constant;
    } else {
      return {constant.data(), constant.size()};
    }
  };
#if defined(__GNUC__)
  if constexpr (std::is_pointer_v<Text>) {
    if (!__builtin_constant_p(constant)) a_name_made_at_run_time_is_quipu_runtime_of_its_text();
  } else {
    if (!__builtin_constant_p(view().size())) a_name_made_at_run_time_is_quipu_runtime_of_its_text();
  }
#endif
  return view();
}

/// A name. A constant is checked by the compiler, and a text that is made at run time needs a mark.
template <class Rule>
class Name {
 public:
  /// Only a prefix may be empty.
  consteval Name() { Rule::check({}); }
  template <std::size_t Size>
  consteval Name(const char (&literal)[Size]) : text_(std::string_view(literal, Size - 1)) {
    Rule::check(text_.text());
  }
  /// From another constant. Its characters must be static: those of a `constexpr char[]` in a function need `static`.
  template <ConstantText Text>
  consteval Name(const Text& constant) : text_(constant_text(constant)) {
    Rule::check(text_.text());
  }
  constexpr Name(RuntimeName name) noexcept : text_(std::move(name.text_)) {}

  // A text that is no constant.
  template <NoConstantText Text>
  Name(const Text&) {
    a_name_is_constant_or_marked<Text>();
  }
  template <std::size_t Size>
  Name(char (&)[Size]) {
    a_name_is_constant_or_marked<char[Size]>();
  }

  /// Valid as long as this object.
  [[nodiscard]] constexpr std::string_view text() const& noexcept { return text_.text(); }
  [[nodiscard]] std::string text() && { return std::string(text_.text()); }

 private:
  NameText text_;
};

}  // namespace detail

/// Marks a constant as a name beyond the legacy rules: `{.name = quipu::utf8("http.server.duration")}`. For registries
/// with RegistryOptions::utf8_names. A constant that is empty or not UTF-8 does not compile.
template <std::size_t Size>
[[nodiscard]] consteval RuntimeName utf8(const char (&literal)[Size]) {
  const std::string_view text(literal, Size - 1);
  detail::Utf8NameRule::check(text);
  return RuntimeName(detail::NameText(text));
}
template <detail::ConstantText Text>
[[nodiscard]] consteval RuntimeName utf8(const Text& constant) {
  const std::string_view text = detail::constant_text(constant);
  detail::Utf8NameRule::check(text);
  return RuntimeName(detail::NameText(text));
}
template <detail::NoConstantText Text>
RuntimeName utf8(const Text& text) {
  detail::a_name_is_constant_or_marked<Text>();
  return runtime(text);
}

/// The name of a metric: [a-zA-Z_:][a-zA-Z0-9_:]* (Prometheus data model, legacy names; colons are meant for recording
/// rules). It is made from a literal or another constant text (`constexpr std::string_view`, `constexpr const char*`,
/// `static constexpr char[]`), which does not compile if it breaks the rule, or from `runtime(text)`.
using MetricName = detail::Name<detail::MetricNameRule>;

/// The prefix of the names in a registry, or in a part of it, without the underscore that joins it to them. May be
/// empty; otherwise the rule of metric names holds.
using MetricPrefix = detail::Name<detail::MetricPrefixRule>;

/// The name of a label: [a-zA-Z_][a-zA-Z0-9_]*, not beginning with "__". It is made as a MetricName.
using LabelName = detail::Name<detail::LabelNameRule>;

}  // namespace quipu
