#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// The properties of a family that the linter looks at.
struct LintedFamily {
  std::string_view name;  // as in the text format: a counter's ends in "_total"
  std::string_view help;
  std::string_view type;                      // as in the text format: "counter", "untyped", …
  std::vector<std::string_view> label_names;  // of all series, each once
};

/// What `promtool check metrics` would say of the family, in its words, sorted; none is said twice.
[[nodiscard]] QUIPU_EXPORT std::vector<std::string> lint(const LintedFamily& family);

/// The same for a family of a registry. It can be called when the family is registered.
[[nodiscard]] std::vector<std::string> lint(const FamilyView& family);

}  // namespace quipu::detail
