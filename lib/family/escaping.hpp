#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace quipu::detail {

/// How names that are not legacy names are written for a scraper that did not ask for UTF-8.
/// https://github.com/prometheus/docs/blob/main/docs/instrumenting/escaping_schemes.md
enum class Escaping : std::uint8_t { underscores, dots, values, allow_utf8 };

/// What the schemes are called in an Accept header and a Content-Type; first the one that changes nothing.
inline constexpr std::array escaping_schemes = {
    std::pair<Escaping, std::string_view>(Escaping::allow_utf8, "allow-utf-8"),
    std::pair<Escaping, std::string_view>(Escaping::underscores, "underscores"),
    std::pair<Escaping, std::string_view>(Escaping::dots, "dots"),
    std::pair<Escaping, std::string_view>(Escaping::values, "values")};

/// Whether a label name needs neither quotes nor an escape: [a-zA-Z_][a-zA-Z0-9_]*. For metric names that is
/// is_metric_name().
[[nodiscard]] bool is_legacy_label_name(std::string_view name) noexcept;

/// A name as a scraper is shown it that asked for `escaping`. Legacy names stay as they are; so do all names with
/// allow_utf8. Else the result is a legacy name. Not of a name with a suffix that an encoder adds: that comes after it.
[[nodiscard]] std::string escape_metric_name(std::string_view name, Escaping escaping);
/// The same for a label, in whose legacy names there is no colon. (prometheus/common goes by the rule of metric names,
/// and leaves labels with a colon that its own parser refuses.)
[[nodiscard]] std::string escape_label_name(std::string_view name, Escaping escaping);

}  // namespace quipu::detail
