#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace quipu {

/// The texts of an enum's values 0, 1, 2, … when it is used as a label. Scoped enums (`enum class`) whose enumerators
/// are 0 … n-1, n at most 64, have their enumerators' names without doing anything. To choose others, or for other
/// enums:
///
///     template <> struct quipu::EnumLabels<Method> { static constexpr std::array names = {"GET", "POST"}; };
///
/// A value beyond the names is shown as a number.
template <class Enum>
struct EnumLabels;

namespace detail {

/// The compiler's spelling of `Value`: its name if it is an enumerator's value, otherwise a cast.
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

/// A cast to a scoped enum is a constant expression for any number; to an unscoped one it need not be.
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

enum class LabelType : std::uint8_t { text, signed_integer, unsigned_integer };

/// How the values of one label of a family are kept and shown.
struct LabelColumn {
  LabelType type;
  /// What the numbers 0, 1, 2, … are shown as, in an enumeration (bool is one); lives as long as the process.
  std::span<const std::string_view> names{};

  friend bool operator==(const LabelColumn& a, const LabelColumn& b) noexcept {
    return a.type == b.type && std::ranges::equal(a.names, b.names);
  }
};

inline constexpr std::array<std::string_view, 2> bool_names = {"false", "true"};

template <class T>
inline constexpr LabelType integer_type = std::is_signed_v<T> ? LabelType::signed_integer : LabelType::unsigned_integer;

/// What may be a label value: text, bool, integers and enums.
template <class T>
struct LabelTraits {
  static_assert(std::is_convertible_v<T, std::string_view>,
                "a label value is std::string_view (or std::string), an integer, bool or an enum");
  using Argument = std::string_view;
  static constexpr LabelColumn column{LabelType::text};
  static constexpr std::size_t closed_size = 0;
};

template <>
struct LabelTraits<bool> {
  using Argument = bool;
  static constexpr LabelColumn column{LabelType::unsigned_integer, bool_names};
  static constexpr std::size_t closed_size = 2;
};

template <std::integral T>
requires(!std::same_as<T, char>) struct LabelTraits<T> {
  using Argument = T;
  static constexpr LabelColumn column{integer_type<T>};
  static constexpr std::size_t closed_size = 0;
};

template <class T>
requires std::is_enum_v<T>
struct LabelTraits<T> {
  using Argument = T;
  static constexpr LabelColumn column{integer_type<std::underlying_type_t<T>>, EnumNames<T>::names};
  static constexpr std::size_t closed_size = EnumNames<T>::names.size();
};

/// How many different values a label has: 0 if it is an open set.
template <class T>
inline constexpr std::size_t closed_size = LabelTraits<T>::closed_size;

template <class T>
using LabelArgument = typename LabelTraits<T>::Argument;

}  // namespace detail
}  // namespace quipu
