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

/// The names of the schemes in an Accept header and a Content-Type. The first one changes nothing.
inline constexpr std::array escaping_schemes = {
    std::pair<Escaping, std::string_view>(Escaping::allow_utf8, "allow-utf-8"),
    std::pair<Escaping, std::string_view>(Escaping::underscores, "underscores"),
    std::pair<Escaping, std::string_view>(Escaping::dots, "dots"),
    std::pair<Escaping, std::string_view>(Escaping::values, "values")};

/// The name that is shown to a scraper that asked for `escaping`. Legacy names stay as they are, and so do all names
/// with allow_utf8. Otherwise the result is a legacy name. An encoder adds its suffixes afterwards, so `name` is
/// without them.
[[nodiscard]] std::string escape_metric_name(std::string_view name, Escaping escaping);
/// The same for a label name. A legacy label name has no colon. (prometheus/common uses the rule of metric names, so it
/// leaves labels with a colon as they are, and its own parser refuses them.)
[[nodiscard]] std::string escape_label_name(std::string_view name, Escaping escaping);

}  // namespace quipu::detail
