#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "family/escaping.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/metric_options.hpp"

namespace quipu::detail {

/// Values become valid UTF-8.
[[nodiscard]] OwnedLabels owned(std::span<const ConstLabel> labels);

/// Whether a page can show both as one family, and one of them may be registered after the other: all is equal but for
/// the help text and the values of the const labels.
[[nodiscard]] bool is_same_family(const Definition& a, const Definition& b) noexcept;

/// For people: text, integer, unsigned or enum.
[[nodiscard]] std::string_view to_string(const LabelColumn& column) noexcept;

/// For people: `counter shop_orders_total{env="prod", method enum, code integer} "Orders."`
[[nodiscard]] std::string describe(const Definition& definition);

/// The names of a family's samples and metadata in all formats, with this escaping. No two families of a registry share
/// one.
[[nodiscard]] std::vector<std::string> sample_names(const Definition& definition, Escaping escaping);

/// The type in the text format, which does not know all of them. A server refuses a whole page for another one.
[[nodiscard]] std::string_view type_in_text(MetricType type) noexcept;

/// The rules for names in a registry.
enum class NameRules : std::uint8_t { legacy, utf8 };

/// Throws RegistrationError if the definition breaks a rule. The message has the definition and the rule.
void check(const Definition& definition, NameRules rules);

/// Throws RegistrationError if these cannot be const labels.
QUIPU_EXPORT void check(const OwnedLabels& const_labels, NameRules rules);
/// Throws RegistrationError if a value has more bytes than that.
void check_sizes(const OwnedLabels& const_labels, std::size_t max_label_value);

/// Throws RegistrationError if the prefix is neither empty nor the beginning of a metric name.
QUIPU_EXPORT void check_prefix(std::string_view prefix, NameRules rules);

/// The prefix with the underscore that joins it to a name; empty for an empty prefix. Throws as check_prefix().
[[nodiscard]] std::string joined(std::string_view prefix, NameRules rules);

}  // namespace quipu::detail
