// What scrapes cost, and what they cost those who record, look up and make series meanwhile.

#include <quipu/exposition.hpp>
#include <quipu/registry.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "pages.hpp"
#include "rows.hpp"

namespace bench {
namespace {

// How long a scrape takes.

const quipu::Registry& registry_of_10k() {
  static const quipu::Registry made = [] {
    quipu::Registry registry = bare_registry();
    add_counters(registry, 10'000);
    expect(registry, size_of_counters(10'000));
    return registry;
  }();
  return made;
}

template <std::size_t Count>
Body text() {
  const auto& registry = *new quipu::Registry(bare_registry());
  add_counters(registry, Count);
  expect(registry, size_of_counters(Count));
  return scraping(registry);
}

Body render_10k() {
  auto& page = *new quipu::Page;
  quipu::render(registry_of_10k(), {}, page);
  expect(page.body, size_of_counters(10'000));
  return each([&registry = registry_of_10k(), &page](std::size_t) { quipu::render(registry, {}, page); });
}

Body text_histogram_1k() {
  const auto& registry = *new quipu::Registry(bare_registry());
  add_histograms(registry, 1000);
  expect(registry, {.lines = 1000 * lines_of_histogram});
  return scraping(registry);
}

/// The page of text_histogram_1k, of histograms that a collector shows.
Body collector_histogram() {
  constexpr std::size_t count = 1'000;
  const auto& registry = *new quipu::Registry(bare_registry());
  auto& registration = *new quipu::Registration(registry.add([](quipu::Samples& samples) {
    const quipu::Buckets buckets = quipu::buckets::defaults();
    const std::vector<double> bounds(buckets.bounds().begin(), buckets.bounds().end());
    const auto family = samples.family({.name = "text_seconds",
                                        .help = "How long orders took.",
                                        .type = quipu::MetricType::histogram,
                                        .labels = {"service", "path"}});
    for (std::size_t i = 0; i < count; ++i) {
      const auto [region, service, path] = label_values(i);
      std::vector<std::uint64_t> counts(bounds.size() + 1, i % 100);
      family.add({service, path}, quipu::HistogramValue{.bounds = bounds, .counts = std::move(counts), .sum = 0.5});
    }
  }));
  static_cast<void>(registration);
  expect(registry, {.lines = count * lines_of_histogram});
  return scraping(registry);
}

/// Numbers that take 15 to 17 digits.
class Fractions {
 public:
  double next() {
    for (;;) {
      const double number = among_(random_);
      std::array<char, 32> digits;
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
      const auto count = end - digits.data() - 1;  // without the point
      if (count >= 15 && count <= 17) return number;
    }
  }

 private:
  std::mt19937_64 random_{4};
  std::uniform_real_distribution<double> among_{1, 1000};
};

Body text_fractional_10k() {
  const auto& registry = *new quipu::Registry(bare_registry());
  const auto family = registry.gauge({.name = "text_ratio", .help = "How it stands."}, {"region", "service", "path"});
  Fractions fractions;
  PageSize size{.lines = 10'000};
  for (std::size_t i = 0; i < size.lines; ++i) {
    const auto [region, service, path] = label_values(i);
    const double value = fractions.next();
    family(region, service, path).set(value);
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    size.bytes += before_value("text_ratio", i).size() + static_cast<std::size_t>(end - digits.data()) + 1;
  }
  expect(registry, size);
  return scraping(registry);
}

/// The lines of text_10k, by plain code that has nothing to find out but the digits.
Body copy_lines() {
  constexpr std::size_t count = 10'000;
  constexpr std::size_t longest = 128;
  struct Line {
    std::uint32_t size;
    std::uint32_t value;
  };
  static std::string prefixes;
  static std::vector<Line> lines;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string prefix = before_value("text_total", i);
    lines.push_back({static_cast<std::uint32_t>(prefix.size()), counter_value(i)});
    prefixes += prefix;
  }
  // From the first line on, each time: as many as it is asked for. What is written may be anything to the compiler, so
  // all that the loop needs is local.
  return [first_prefix = prefixes.c_str(), first = lines.data()](std::size_t begin, std::size_t end) {
    alignas(64) static std::array<char, std::size_t{64} * 1024> buffer;
    char* const last = buffer.data() + buffer.size() - longest;
    char* to = buffer.data();
    const char* prefix = first_prefix;
    const Line* line = first;
    for (; begin != end; ++begin) {
      const auto [size, value] = *line;
      std::memcpy(to, prefix, size);
      to = std::to_chars(to + size, to + longest, value).ptr;
      *to++ = '\n';
      prefix += size;
      if (++line == first + count) {
        line = first;
        prefix = first_prefix;
      }
      if (to > last) {
        asm volatile("" ::"r"(buffer.data()) : "memory");
        to = buffer.data();
      }
    }
    asm volatile("" ::"r"(buffer.data()) : "memory");
  };
}

// What it costs others.

/// 10,000 counters that are scraped while they, or others like them, are used.
struct Scraped {
  Scraped() { expect(registry, size_of_counters(10'000)); }
  const quipu::Registry registry = bare_registry();
  const Counters family = add_counters(registry, 10'000);
};
Scraped& used() {
  static Scraped made;
  return made;
}
Scraped& unused() {
  static Scraped made;
  return made;
}
/// Has series added and removed, which leaves traces.
Scraped& changed() {
  static Scraped made;
  return made;
}
template <Scraped& scraped()>
Body scrapes() {
  return scraping(scraped().registry);
}

Body write() {
  const auto [region, service, path] = label_values(5000);
  return each([counter = used().family(region, service, path)](std::size_t) { counter.inc(); });
}

template <Scraped& scraped()>
Body look_up() {
  const auto& lookups = *new Lookups(10'000);
  return each([&family = scraped().family, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    const quipu::Counter found = family(region, service, path);
    asm volatile("" ::"r"(&found) : "memory");
  });
}

/// Not one of the 10,000.
LabelValues further_values(std::size_t i) { return label_values(10'000 + i % inputs); }

void add_one(std::size_t i) {
  const auto [region, service, path] = further_values(i);
  changed().family(region, service, path).inc();
}
void remove_one(std::size_t i) {
  const auto [region, service, path] = further_values(i);
  changed().family.remove(region, service, path);
}

Body add_and_remove() {
  return each([](std::size_t i) {
    add_one(i);
    remove_one(i);
  });
}

/// Takes about as long as a lookup.
Body hash_texts() {
  const auto& lookups = *new Lookups(10'000);
  return each([&lookups](std::size_t i) {
    std::uint64_t hash = 14695981039346656037u;
    for (const std::string_view text : lookups[i]) {
      for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    }
    asm volatile("" ::"r"(hash));
  });
}

std::vector<StallRow::Batch> batches() {
  return {{"lookups", look_up<changed>()}, {"additions", each(add_one), each(remove_one)}, {"nothing", hash_texts()}};
}

}  // namespace

std::vector<Row> scraping_rows() {
  return {
      {.name = "text_1k", .baselines = "M", .make = text<1'000>, .working_set = 1, .per = 1'000},
      {.name = "text_10k",
       .baselines = "M",
       .make = [] { return scraping(registry_of_10k()); },
       .working_set = 1,
       .per = 10'000},
      {.name = "text_100k", .baselines = "M", .make = text<100'000>, .working_set = 1, .per = 100'000},
      // No cache holds that much, so there is nothing to warm up.
      {.name = "text_1m", .baselines = "M", .make = text<1'000'000>, .per = 1'000'000, .is_long = true},
      {.name = "text_histogram_1k", .baselines = "M", .make = text_histogram_1k, .working_set = 1, .per = 1'000},
      {.name = "collector_histogram", .baselines = "M", .make = collector_histogram, .working_set = 1, .per = 1'000},
      {.name = "text_fractional_10k", .baselines = "M", .make = text_fractional_10k, .working_set = 1, .per = 10'000},
      {.name = "render_10k", .baselines = "M", .make = render_10k, .working_set = 1, .per = 10'000},
      {.name = "writer_during_scrape", .baselines = "W", .make = write, .companion = scrapes<used>},
      {.name = "lookup_during_scrape",
       .baselines = "L",
       .make = look_up<used>,
       .working_set = 10'000,
       .companion = scrapes<used>},
      {.name = "add_during_scrape", .baselines = "D", .make = add_and_remove, .companion = scrapes<changed>},
  };
}

std::vector<Baseline> scraping_baselines() {
  return {
      {.letter = 'M',
       .threads = 1,
       .what = "copying a line of text_10k and printing its number, by memcpy and to_chars",
       .make = copy_lines,
       .working_set = 10'000},
      {.letter = 'W',
       .threads = 1,
       .what = "the +1 of writer_during_scrape while another registry is scraped",
       .make = write,
       .companion = scrapes<unused>},
      {.letter = 'L',
       .threads = 1,
       .what = "the same of lookup_during_scrape",
       .make = look_up<used>,
       .working_set = 10'000,
       .companion = scrapes<unused>},
      {.letter = 'D',
       .threads = 1,
       .what = "the same of add_during_scrape",
       .make = add_and_remove,
       .companion = scrapes<unused>},
  };
}

std::vector<StallRow> stall_rows() {
  return {{.name = "stall_during_scrape", .make = batches, .companion = scrapes<changed>, .operations = 64}};
}

}  // namespace bench
