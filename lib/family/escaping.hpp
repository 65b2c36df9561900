#pragma once

#include <string>
#include <string_view>

#include "exposition/format.hpp"

namespace quipu::detail {

/// A name as a scraper is shown it that asked for `escaping`. Legacy names stay as they are; so do all names with
/// allow_utf8. Else the result is a legacy name. Not of a name with a suffix that an encoder adds: that comes after it.
[[nodiscard]] std::string escape_metric_name(std::string_view name, Escaping escaping);
/// The same for a label, in whose legacy names there is no colon. (prometheus/common goes by the rule of metric names,
/// and leaves labels with a colon that its own parser refuses.)
[[nodiscard]] std::string escape_label_name(std::string_view name, Escaping escaping);

}  // namespace quipu::detail
