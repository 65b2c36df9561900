#include "family/definition.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"

using quipu::MetricType;
using quipu::detail::Definition;
using quipu::detail::Escaping;
using quipu::detail::LabelType;
using quipu::detail::NameRules;

namespace {

using Names = std::vector<std::string>;

Definition definition(MetricType type, const Names& labels = {}) {
  Definition made{.type = type, .name = "x", .help = "X.", .label_names = labels};
  made.columns.resize(labels.size(), {LabelType::text});
  return made;
}

}  // namespace

TEST_CASE("a family claims the names of its samples in all formats") {
  const auto names = [](MetricType type) { return sample_names(definition(type), Escaping::underscores); };
  CHECK(names(MetricType::summary) == Names{"x", "x_sum", "x_count", "x_created"});
  CHECK(names(MetricType::histogram) == Names{"x", "x_bucket", "x_sum", "x_count", "x_created"});
  CHECK(names(MetricType::unknown) == Names{"x"});
  CHECK(names(MetricType::gauge) == Names{"x"});
}

TEST_CASE("the label of a quantile is reserved in a summary, as that of a bound is in a histogram") {
  const auto refusal = [](MetricType type, const std::string& label) {
    return page::refusal([&] { check(definition(type, {label}), NameRules::legacy); });
  };
  CHECK(page::missing(refusal(MetricType::summary, "quantile"), {"summary x{quantile text}", "choose another name"}) ==
        "");
  CHECK(page::missing(refusal(MetricType::histogram, "le"), {"choose another name"}) == "");
  CHECK(refusal(MetricType::summary, "le") == "(nothing was refused)");
  CHECK(refusal(MetricType::histogram, "quantile") == "(nothing was refused)");
  CHECK(refusal(MetricType::unknown, "quantile") == "(nothing was refused)");
}
