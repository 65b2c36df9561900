#pragma once

#include <quipu/exposition.hpp>
#include <quipu/registry.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#include "harness.hpp"

namespace bench {

// Registries to scrape, and scraping them.

/// With nothing on its page but what is registered.
[[nodiscard]] quipu::Registry bare_registry();

/// A family "text_total" of so many counters, numbered as `label_values()`, which this thread counted up to
/// `counter_value()`.
using Counters = quipu::CounterFamily<std::string_view, std::string_view, std::string_view>;
Counters add_counters(const quipu::Registry& registry, std::size_t count);

/// A family of so many histograms with 11 buckets and 2 labels, 100,000 at most.
void add_histograms(const quipu::Registry& registry, std::size_t count);
inline constexpr std::size_t lines_of_histogram = 14;

/// A line of the page, up to the value.
[[nodiscard]] std::string before_value(std::string_view family, std::size_t series);

/// Makes the page, whole, and looks at none of it.
void scrape(const quipu::Registry& registry);
[[nodiscard]] Body scraping(const quipu::Registry& registry);

/// What the samples on a page amount to, without the comments.
struct PageSize {
  std::size_t lines = 0;
  std::size_t bytes = 0;
  friend bool operator==(const PageSize&, const PageSize&) = default;
};
/// Throws unless the page of `registry` is so large; without expected bytes, of any.
void expect(const quipu::Registry& registry, PageSize expected);
/// The same of a page that is there.
void expect(std::string_view page, PageSize expected);
/// That of a family "text_total".
[[nodiscard]] PageSize size_of_counters(std::size_t count);

}  // namespace bench
