#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/family.hpp"

namespace quipu::detail {

using OwnedLabels = std::vector<std::pair<std::string, std::string>>;

/// For people: `counter shop_orders_total{method enum, code integer} "Orders."`
[[nodiscard]] std::string describe(const Definition& definition);

/// The names of a family's samples in all formats, and of its metadata: no two families of a registry share one.
[[nodiscard]] std::vector<std::string> sample_names(const Definition& definition);

/// Throws RegistrationError, with the definition and the rule, if it breaks one by itself or with these const labels.
void check(const Definition& definition, const OwnedLabels& const_labels);

/// Throws RegistrationError if these cannot be const labels.
void check(const OwnedLabels& const_labels);

/// Throws RegistrationError if it is not empty and not the beginning of a metric name.
void check_prefix(std::string_view prefix);

}  // namespace quipu::detail
