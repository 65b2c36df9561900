// The same operations of prometheus-cpp (https://github.com/jupp0r/prometheus-cpp), where it is installed and has them.
// Its counters are doubles, and looking up a series takes a map of strings, which is therefore made for each lookup.

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <string>
#include <vector>

#include "pages.hpp"
#include "rows.hpp"

namespace bench {
namespace {

prometheus::Registry& registry() {
  static prometheus::Registry made;
  return made;
}

prometheus::Counter& counter(const char* name) {
  return prometheus::BuildCounter().Name(name).Register(registry()).Add({});
}
prometheus::Gauge& gauge(const char* name) { return prometheus::BuildGauge().Name(name).Register(registry()).Add({}); }

const std::vector<double> default_bounds = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

std::vector<double> forty_bounds() {
  std::vector<double> bounds = {0.001};
  while (bounds.size() < 40) bounds.push_back(bounds.back() * 1.5);
  return bounds;
}

Body observe(const char* name, const std::vector<double>& bounds) {
  auto& histogram = prometheus::BuildHistogram().Name(name).Register(registry()).Add({}, bounds);
  const double* values = values_around(bounds).data();
  return each([&histogram, values](std::size_t i) { histogram.Observe(values[i % inputs]); });
}

template <class Values>
prometheus::Labels labels(const Values& values) {
  return {{"region", std::string(values[0])}, {"service", std::string(values[1])}, {"path", std::string(values[2])}};
}

Body look_up(const char* name, std::size_t count) {
  auto& family = prometheus::BuildCounter().Name(name).Register(registry());
  for (std::size_t i = 0; i < count; ++i) family.Add(labels(label_values(i)));
  const auto& lookups = *new Lookups(count);
  return each([&family, &lookups](std::size_t i) { family.Add(labels(lookups[i])).Increment(); });
}

Body text(std::size_t count) {
  auto& scraped = *new prometheus::Registry;
  auto& family = prometheus::BuildCounter().Name("text_total").Help("Orders that were taken.").Register(scraped);
  for (std::size_t i = 0; i < count; ++i) family.Add(labels(label_values(i))).Increment(counter_value(i));
  expect(prometheus::TextSerializer().Serialize(scraped.Collect()), size_of_counters(count));
  return each([&scraped](std::size_t) {
    const std::string page = prometheus::TextSerializer().Serialize(scraped.Collect());
    asm volatile("" ::"r"(page.data()) : "memory");
  });
}

constexpr std::size_t series = 100'000;

double counter_bytes() {
  auto& family = prometheus::BuildCounter().Name("memory_total").Register(registry());
  const double bytes = resident_growth([&] {
    for (std::size_t i = 0; i < series; ++i) family.Add(labels(label_values(i))).Increment();
  });
  return bytes / static_cast<double>(series);
}

double histogram_bytes() {
  auto& family = prometheus::BuildHistogram().Name("memory_seconds").Register(registry());
  const double bytes = resident_growth([&] {
    for (std::size_t i = 0; i < series; ++i) {
      const LabelValues values = label_values(i);
      family.Add({{"service", std::string(values[1])}, {"path", std::string(values[2])}}, default_bounds).Observe(0.3);
    }
  });
  return bytes / static_cast<double>(series);
}

}  // namespace

std::vector<Row> prometheus_cpp_rows() {
  return {
      {"prometheus_cpp_counter_inc", "AS",
       [] { return each([&one = counter("counter_inc_total")](std::size_t) { one.Increment(); }); }},
      {"prometheus_cpp_counter_inc_1024", "AA",
       [] {
         auto& family = prometheus::BuildCounter().Name("counter_inc_1024_total").Register(registry());
         static std::vector<prometheus::Counter*> counters;
         for (int i = 0; i < 1024; ++i) counters.push_back(&family.Add({{"number", std::to_string(i)}}));
         const std::uint16_t* indices = random_indices(1024).data();
         return each([all = counters.data(), indices](std::size_t i) { all[indices[i % inputs]]->Increment(); });
       }},
      {"prometheus_cpp_fractional_counter_inc", "AS",
       [] { return each([&one = counter("fractional_counter_inc_total")](std::size_t) { one.Increment(0.5); }); }},
      {"prometheus_cpp_gauge_set", "AS",
       [] { return each([&one = gauge("gauge_set")](std::size_t i) { one.Set(static_cast<double>(i)); }); }},
      {"prometheus_cpp_gauge_track", "AS",
       [] {
         return each([&one = gauge("gauge_track")](std::size_t) {
           one.Increment();
           asm volatile("" ::: "memory");
           one.Decrement();
         });
       }},
      {"prometheus_cpp_histogram_observe_11", "AS", [] { return observe("histogram_observe_11", default_bounds); }},
      {"prometheus_cpp_histogram_observe_40", "AS", [] { return observe("histogram_observe_40", forty_bounds()); }},
      {"prometheus_cpp_lookup_strings_200", "AA", [] { return look_up("lookup_strings_200_total", 200); }},
      {"prometheus_cpp_lookup_strings_100k", "AA", [] { return look_up("lookup_strings_100k_total", 100'000); },
       100'000},
      {.name = "prometheus_cpp_text_10k",
       .baselines = "M",
       .make = [] { return text(10'000); },
       .working_set = 1,
       .per = 10'000},
  };
}

std::vector<MemoryRow> prometheus_cpp_memory_rows() {
  return {{"prometheus_cpp_memory_counter", counter_bytes}, {"prometheus_cpp_memory_histogram", histogram_bytes}};
}

}  // namespace bench
