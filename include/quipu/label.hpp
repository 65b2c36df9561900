#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// The texts of an enum's values 0, 1, 2, … when it is used as a label. A scoped enum (`enum class`) with enumerators
/// 0 … n-1, n at most 64, needs no specialization: the texts are the names of the enumerators. For other texts, or
/// other enums:
///
///     template <> struct quipu::EnumLabels<Method> { static constexpr std::array names = {"GET", "POST"}; };
///
/// A value without a name is shown as a number.
template <class Enum>
struct EnumLabels;

namespace detail {

/// The name of the enumerator with this value, from the compiler's own spelling of it. Empty if there is none.
template <auto Value>
constexpr std::string_view enumerator_name() {
#if defined(__clang__) || defined(__GNUC__)
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_suffix(text.size() - text.find_first_of(";]", text.rfind("Value = ")));
  text.remove_prefix(text.rfind("Value = ") + 8);
  // A cast is "(Method)5"; names with parentheses are "(anonymous namespace)::Method::get" and "run()::Method::get".
  if (const std::size_t end = text.rfind(')'); end != std::string_view::npos && text.substr(end + 1, 2) != "::") {
    return {};
  }
  const std::size_t colon = text.rfind(':');
  return colon == std::string_view::npos ? text : text.substr(colon + 1);
#else
  return {};
#endif
}

template <class Enum>
inline constexpr std::size_t max_enumerators = std::is_same_v<std::underlying_type_t<Enum>, bool> ? 2 : 64;

template <class Enum, std::size_t... I>
constexpr auto enumerator_names(std::index_sequence<I...>) {
  return std::array<std::string_view, sizeof...(I)>{enumerator_name<static_cast<Enum>(I)>()...};
}

template <class Enum>
concept HasOwnLabels = requires {
  EnumLabels<Enum>::names.size();
};

/// Only for a scoped enum, a cast of any number to the enum is a constant expression.
template <class Enum>
concept ScopedEnum = std::is_enum_v<Enum> && !std::is_convertible_v<Enum, std::underlying_type_t<Enum>>;

template <class Enum>
struct EnumNames {
  static constexpr std::array<std::string_view, 0> names{};
};

template <HasOwnLabels Enum>
struct EnumNames<Enum> {
  static constexpr auto names = [] {
    std::array<std::string_view, EnumLabels<Enum>::names.size()> views{};
    for (std::size_t i = 0; i < views.size(); ++i) views[i] = EnumLabels<Enum>::names[i];
    return views;
  }();
};

template <ScopedEnum Enum>
requires(!HasOwnLabels<Enum>) struct EnumNames<Enum> {
  static constexpr auto all = enumerator_names<Enum>(std::make_index_sequence<max_enumerators<Enum>>());
  static constexpr std::size_t count = [] {
    std::size_t n = 0;
    while (n < all.size() && !all[n].empty()) ++n;
    return n;
  }();
  static constexpr auto names = [] {
    std::array<std::string_view, count> views{};
    for (std::size_t i = 0; i < count; ++i) views[i] = all[i];
    return views;
  }();
};

/// In bytes: how long the text of a label may be unless it is said otherwise, and what may be said.
inline constexpr std::size_t default_max_label_value = 1'024;
inline constexpr std::size_t lowest_max_label_value = 16;
inline constexpr std::size_t highest_max_label_value = 1'048'576;
/// How many bytes of a text are looked at beyond the maximum, to find out where the last code point ends.
inline constexpr std::size_t label_value_lookahead = 3;

enum class LabelType : std::uint8_t { text, signed_integer, unsigned_integer };

/// How the values of one label of a family are stored and shown.
struct LabelColumn {
  LabelType type;
  /// The texts for the numbers 0, 1, 2, … of an enum or bool. They live as long as the process.
  std::span<const std::string_view> names{};

  friend bool operator==(const LabelColumn& a, const LabelColumn& b) noexcept {
    return a.type == b.type && std::ranges::equal(a.names, b.names);
  }
};

inline constexpr std::array<std::string_view, 2> bool_names = {"false", "true"};

template <class T>
inline constexpr LabelType integer_type = std::is_signed_v<T> ? LabelType::signed_integer : LabelType::unsigned_integer;

/// The types of label values: text, bool, integers and enums.
template <class T>
struct LabelTraits {
  static_assert(std::is_convertible_v<T, std::string_view>,
                "quipu: a label value is std::string_view (or std::string), an integer, bool or an enum");
  static constexpr LabelColumn column{LabelType::text};
  static constexpr std::size_t closed_size = 0;
};

template <>
struct LabelTraits<bool> {
  static constexpr LabelColumn column{LabelType::unsigned_integer, bool_names};
  static constexpr std::size_t closed_size = 2;
};

template <std::integral T>
requires(!std::same_as<T, char>) struct LabelTraits<T> {
  static constexpr LabelColumn column{integer_type<T>};
  static constexpr std::size_t closed_size = 0;
};

template <class T>
requires std::is_enum_v<T>
struct LabelTraits<T> {
  static constexpr LabelColumn column{integer_type<std::underlying_type_t<T>>, EnumNames<T>::names};
  static constexpr std::size_t closed_size = EnumNames<T>::names.size();
};

template <class T>
concept Character = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
    std::same_as<T, char16_t> || std::same_as<T, char32_t>;

/// Whether each value of `From` is one of `To`.
template <class From, class To>
inline constexpr bool keeps_every_value = std::is_signed_v<From> == std::is_signed_v<To>
                                              ? sizeof(From) <= sizeof(To)
                                              : std::is_unsigned_v<From> && sizeof(From) < sizeof(To);

/// Whether a label of type `To` takes an `int` only if it is a constant that fits, such as 200 for an unsigned label.
template <class From, class To>
concept TakenIfConstant =
    std::same_as<From, int> && std::integral<To> && !std::same_as<To, bool> && !keeps_every_value<int, To>;

// Not defined. A call stops a constant evaluation, and the compiler's message shows the name.
QUIPU_EXPORT void this_label_value_does_not_fit_in_the_type_of_the_label();

template <class To>
consteval To constant_or_cast_to_the_type_of_the_label(int value) {
  if (!std::in_range<To>(value)) this_label_value_does_not_fit_in_the_type_of_the_label();
  return static_cast<To>(value);
}

/// A value for a label of type `T`. It is made from what has that type, and from nothing else that C++ would convert:
/// no pointer is a bool, no character a number, and no number changes.
template <class T>
class LabelArgument {
 public:
  template <class From>
  constexpr LabelArgument(From value) noexcept {
    if constexpr (std::is_enum_v<T>) {
      static_assert(std::is_same_v<From, T>, "quipu: this label has an enum's values, and takes no other type");
    } else if constexpr (std::is_same_v<T, bool>) {
      static_assert(std::is_same_v<From, bool>, "quipu: this label is true or false, and takes no other type");
    } else {
      static_assert(std::is_integral_v<From> && !std::is_same_v<From, bool> && !Character<From>,
                    "quipu: this label is an integer, and takes no bool, character or other type");
      static_assert(!std::is_integral_v<From> || keeps_every_value<From, T>,
                    "quipu: this label is an integer of a type that cannot hold every value of the one given: cast it, "
                    "or give the label that type");
    }
    if constexpr (std::is_convertible_v<From, T>) value_ = value;
  }
  template <TakenIfConstant<T> From>
  consteval LabelArgument(From constant) noexcept : value_(constant_or_cast_to_the_type_of_the_label<T>(constant)) {}

  [[nodiscard]] constexpr T get() const noexcept { return value_; }

 private:
  T value_{};
};

template <class T>
requires std::is_convertible_v<T, std::string_view>
class LabelArgument<T> {
 public:
  template <class From>
  constexpr LabelArgument(const From& text) noexcept {
    static_assert(std::is_convertible_v<const From&, std::string_view>,
                  "quipu: this label is text: give it a literal, a std::string or a std::string_view");
    if constexpr (std::is_convertible_v<const From&, std::string_view>) text_ = text;
  }

  [[nodiscard]] constexpr std::string_view get() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// How many values the label type has. 0 if they are not a closed set.
template <class T>
inline constexpr std::size_t closed_size = LabelTraits<T>::closed_size;

/// The values that a label takes.
struct LabelDomain {
  const LabelColumn* column;
  // If it is an integer, or an enum without names.
  std::int64_t lowest = 0;
  std::uint64_t highest = 0;
};

template <class T>
constexpr LabelDomain make_label_domain() {
  if constexpr (std::is_enum_v<T>) {
    using Number = std::underlying_type_t<T>;
    return {&LabelTraits<T>::column, static_cast<std::int64_t>(std::numeric_limits<Number>::min()),
            static_cast<std::uint64_t>(std::numeric_limits<Number>::max())};
  } else if constexpr (std::is_integral_v<T>) {
    return {&LabelTraits<T>::column, static_cast<std::int64_t>(std::numeric_limits<T>::min()),
            static_cast<std::uint64_t>(std::numeric_limits<T>::max())};
  } else {
    return {&LabelTraits<std::string_view>::column};
  }
}
template <class T>
inline constexpr LabelDomain label_domain = make_label_domain<T>();

/// A label value as a series has it: a text or a number.
struct StoredValue {
  constexpr StoredValue() noexcept = default;
  constexpr explicit StoredValue(std::uint64_t number) noexcept : bits(number) {}
  constexpr explicit StoredValue(std::string_view value) noexcept
      : text(value.data() == nullptr ? "" : value.data()), bits(value.size()) {}

  [[nodiscard]] constexpr bool is_text() const noexcept { return text != nullptr; }
  /// Only if is_text().
  [[nodiscard]] constexpr std::string_view as_text() const noexcept { return {text, bits}; }

  const char* text = nullptr;  // null for a number
  std::uint64_t bits = 0;      // the size of the text, or the number
};

}  // namespace detail

/// A label value whose type is known only at run time. It is made from a text, an integer, a bool or an enum, and from
/// nothing else that C++ would convert. A text stays the caller's.
class LabelValue {
 public:
  template <class From>
  constexpr LabelValue(const From& value) noexcept {
    if constexpr (std::is_convertible_v<const From&, std::string_view>) {
      column_ = &detail::LabelTraits<std::string_view>::column;
      stored_ = detail::StoredValue(std::string_view(value));
    } else {
      constexpr bool is_number = std::is_enum_v<From> || (std::is_integral_v<From> && !detail::Character<From>);
      static_assert(is_number,
                    "quipu: a label value is text, an integer, bool or an enum, and no character or other type");
      if constexpr (is_number) {
        column_ = &detail::LabelTraits<From>::column;
        stored_ = detail::StoredValue(static_cast<std::uint64_t>(value));
      }
    }
  }

  /// For the library.
  [[nodiscard]] constexpr const detail::LabelColumn& column() const noexcept { return *column_; }
  [[nodiscard]] constexpr detail::StoredValue stored() const noexcept { return stored_; }

 private:
  const detail::LabelColumn* column_ = nullptr;
  detail::StoredValue stored_;
};

/// The name of a label, and a value for it: `{"code", 200}`. Refers to the caller's texts.
struct LabelPair {
  std::string_view name;
  LabelValue value;
};

}  // namespace quipu
