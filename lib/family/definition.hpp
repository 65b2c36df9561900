#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exposition/format.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/family.hpp"

namespace quipu::detail {

using OwnedLabels = std::vector<std::pair<std::string, std::string>>;

/// For people: `counter shop_orders_total{method enum, code integer} "Orders."`
[[nodiscard]] std::string describe(const Definition& definition);

/// The names of a family's samples in all formats, and of its metadata, where names are escaped like that: no two
/// families of a registry share one.
[[nodiscard]] std::vector<std::string> sample_names(const Definition& definition, Escaping escaping);

/// How names may be escaped, and what that is called; first the one that changes nothing.
inline constexpr std::array escapings_of_names = {
    std::pair<Escaping, std::string_view>(Escaping::allow_utf8, "allow-utf-8"),
    std::pair<Escaping, std::string_view>(Escaping::underscores, "underscores"),
    std::pair<Escaping, std::string_view>(Escaping::dots, "dots"),
    std::pair<Escaping, std::string_view>(Escaping::values, "values")};

/// Which names a registry takes.
enum class Names : std::uint8_t { legacy, utf8 };

/// Throws RegistrationError, with the definition and the rule, if it breaks one by itself or with these const labels.
void check(const Definition& definition, const OwnedLabels& const_labels, Names names);

/// Throws RegistrationError if these cannot be const labels.
QUIPU_EXPORT void check(const OwnedLabels& const_labels, Names names);

/// Throws RegistrationError if it is not empty and not the beginning of a metric name.
QUIPU_EXPORT void check_prefix(std::string_view prefix, Names names);

}  // namespace quipu::detail
