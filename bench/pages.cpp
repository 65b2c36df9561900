#include "pages.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "rows.hpp"

namespace bench {
namespace {

/// Counts what there is on a page that comes in pieces, which may end anywhere.
class Meter {
 public:
  void look_at(std::string_view piece) {
    for (const char c : piece) {
      if (is_at_begin_) is_comment_ = c == '#';
      is_at_begin_ = c == '\n';
      if (is_comment_) continue;
      ++size_.bytes;
      if (is_at_begin_) ++size_.lines;
    }
  }

  void expect(PageSize expected) const {
    if (expected.bytes == 0) expected.bytes = size_.bytes;
    if (size_ == expected) return;
    throw std::runtime_error(fmt::format("a page has {} lines of {} bytes, where {} of {} were expected", size_.lines,
                                         size_.bytes, expected.lines, expected.bytes));
  }

 private:
  PageSize size_;
  bool is_at_begin_ = true;
  bool is_comment_ = false;
};

}  // namespace

quipu::Registry bare_registry() {
  return quipu::Registry({.max_series = 2'000'000, .process_metrics = false, .self_metrics = false});
}

Counters add_counters(const quipu::Registry& registry, std::size_t count) {
  using Text = std::string_view;
  constexpr std::size_t others = 100'000;  // room for those that rows add
  auto family = registry.counter<Text, Text, Text>(
      {.name = "text_total", .help = "Orders that were taken.", .max_series = count + others},
      {"region", "service", "path"});
  for (std::size_t i = 0; i < count; ++i) {
    const auto [region, service, path] = label_values(i);
    family(region, service, path).inc(counter_value(i));
  }
  return family;
}

void add_histograms(const quipu::Registry& registry, std::size_t count) {
  const auto family =
      registry.histogram({.name = "text_seconds", .help = "How long orders took."}, {"service", "path"});
  const quipu::Buckets buckets = quipu::buckets::defaults();
  const auto& values = values_around(buckets.bounds());
  for (std::size_t i = 0; i < count; ++i) {
    const auto [region, service, path] = label_values(i);
    const auto histogram = family(service, path);
    for (std::size_t value = 0; value < 100; ++value) histogram.observe(values[(100 * i + value) % inputs]);
  }
}

std::string before_value(std::string_view family, std::size_t series) {
  const auto [region, service, path] = label_values(series);
  return fmt::format(R"({}{{region="{}",service="{}",path="{}"}} )", family, region, service, path);
}

void scrape(const quipu::Registry& registry) {
  const auto page = quipu::open_page(registry);
  for (auto piece = page->next(); !piece.empty(); piece = page->next()) {
    asm volatile("" ::"r"(piece.data()) : "memory");
  }
}

Body scraping(const quipu::Registry& registry) {
  return each([&registry](std::size_t) { scrape(registry); });
}

void expect(const quipu::Registry& registry, PageSize expected) {
  Meter meter;
  const auto page = quipu::open_page(registry);
  for (auto piece = page->next(); !piece.empty(); piece = page->next()) meter.look_at(piece);
  meter.expect(expected);
}

void expect(std::string_view page, PageSize expected) {
  Meter meter;
  meter.look_at(page);
  meter.expect(expected);
}

PageSize size_of_counters(std::size_t count) {
  PageSize size{.lines = count};
  for (std::size_t i = 0; i < count; ++i) {
    size.bytes += before_value("text_total", i).size() + fmt::formatted_size("{}\n", counter_value(i));
  }
  return size;
}

}  // namespace bench
