// The page of a program that moved from prometheus-cpp to quipu is the page that it had.

#include <cmath>
#include <iostream>
#include <quipu/testing.hpp>

#include "shop.hpp"

int main() {
  using namespace quipu::testing;

  const Pool pool;
  const std::string before = page_before(pool);
  const std::string after = page_after(pool);
  std::string wrong =
      difference(after, before, {"http_requests_total", "order_duration_seconds", "pool_connections", "queue_length"});

  static constexpr const char* text = "text/plain; version=0.0.4";
  // Each estimates the quantiles in its own way. The one before may be wrong by 5 % of the ranks.
  const ParsedPage pages[] = {read_page(before, text), read_page(after, text)};
  for (const char* const sample : {"order_size_bytes_count", "order_size_bytes_sum"}) {
    if (value_of(pages[0], sample) != value_of(pages[1], sample)) wrong += std::string(sample) + " differs\n";
  }
  for (const char* const quantile : {"0.5", "0.99"}) {
    const double expected = value_of(pages[0], "order_size_bytes", {{"quantile", quantile}});
    const double shown = value_of(pages[1], "order_size_bytes", {{"quantile", quantile}});
    if (!(std::abs(shown - expected) <= 0.06 * expected)) wrong += "quantile " + std::string(quantile) + " differs\n";
  }

  if (wrong.empty()) return 0;
  std::cerr << wrong << "\n--- before\n" << before << "\n--- after\n" << after;
  return 1;
}
