#include "quipu/summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "quipu/error.hpp"
#include "quipu/metric_options.hpp"

namespace quipu::detail {
namespace {

constexpr std::int32_t schema = 6;          // 2^(2^-6): buckets of 1.1 %
constexpr std::uint32_t max_buckets = 500;  // a generation has 510 counters at most; see native_cells.cpp
constexpr std::size_t most_quantiles = 100;
constexpr std::uint32_t most_age_buckets = 60;

}  // namespace

NativeSpec summary_spec(const SummaryOptions& options) {
  const auto refuse = [&](std::string_view field, auto value, std::string_view rule) {
    throw RegistrationError(
        fmt::format("cannot register summary {}: {} {}; {}", options.name.text(), field, value, rule));
  };
  for (const double q : options.quantiles) {
    if (!(q >= 0 && q <= 1)) refuse("quantiles has", q, "a quantile is from 0 to 1, as 0.99");
  }
  std::vector<double> quantiles = options.quantiles;
  std::ranges::sort(quantiles);
  if (const auto twice = std::ranges::adjacent_find(quantiles); twice != quantiles.end()) {
    refuse("quantiles has twice", *twice, "leave one of them out");
  }
  if (quantiles.size() > most_quantiles) {
    refuse("the number of quantiles is", quantiles.size(), fmt::format("it is at most {}", most_quantiles));
  }
  if (options.age_buckets < 1 || options.age_buckets > most_age_buckets) {
    refuse("age_buckets is", options.age_buckets, fmt::format("it is from 1 to {}", most_age_buckets));
  }
  if (options.max_age.count() < std::int64_t{options.age_buckets}) {
    refuse("max_age is", fmt::format("{} ns", options.max_age.count()), "it is a time above 0, as 10min");
  }
  return {.initial = {schema, 0},
          .max_buckets = max_buckets,
          .summary = std::make_shared<const SummarySpec>(
              SummarySpec{std::move(quantiles), options.max_age, options.age_buckets})};
}

}  // namespace quipu::detail
