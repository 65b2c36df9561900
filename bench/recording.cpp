#include <quipu/registry.hpp>
#include <quipu/requests.hpp>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "rows.hpp"

namespace bench {
namespace {

const quipu::Registry& registry() {
  static const quipu::Registry made;
  return made;
}

/// 1,024 series, in the order of their making.
const std::vector<quipu::Counter>& many_counters() {
  static const auto made = [] {
    const auto family = registry().counter<int>({.name = "counter_inc_1024_total"}, {"number"});
    std::vector<quipu::Counter> counters;
    for (int i = 0; i < 1024; ++i) counters.push_back(family(i));
    return counters;
  }();
  return made;
}

Body observe(quipu::Histogram histogram) {
  const double* values = values_around(histogram.bounds()).data();
  return each([histogram, values](std::size_t i) { histogram.observe(values[i % inputs]); });
}

/// The values are those of a classic histogram with the default buckets, which fall into 110 native ones.
Body observe_native() {
  const quipu::NativeHistogram histogram = registry().native_histogram({.name = "native_histogram_observe"});
  const quipu::Buckets usual = quipu::buckets::defaults();
  const double* values = values_around(usual.bounds()).data();
  return each([histogram, values](std::size_t i) { histogram.observe(values[i % inputs]); });
}

/// The same values, which fall into all the buckets that a summary may have.
Body observe_summary() {
  const quipu::Summary summary = registry().summary({.name = "summary_observe"});
  const quipu::Buckets usual = quipu::buckets::defaults();
  const double* values = values_around(usual.bounds()).data();
  return each([summary, values](std::size_t i) { summary.observe(values[i % inputs]); });
}

Body observe_duration() {
  const quipu::Histogram histogram = registry().histogram({.name = "histogram_observe_duration_seconds"});
  auto& durations = *new std::vector<std::chrono::nanoseconds>;
  for (const double seconds : values_around(histogram.bounds())) {
    durations.push_back(std::chrono::round<std::chrono::nanoseconds>(quipu::Seconds(seconds)));
  }
  const auto* values = durations.data();
  return each([histogram, values](std::size_t i) { histogram.observe(values[i % inputs]); });
}

void read_clock() {
  const auto now = std::chrono::steady_clock::now();
  asm volatile("" ::"r"(&now) : "memory");
}

}  // namespace

std::vector<Row> recording_rows() {
  return {
      {"counter_inc", "AS",
       [] {
         return each([counter = registry().counter({.name = "counter_inc_total"})](std::size_t) { counter.inc(); });
       }},
      {"counter_inc_1024", "AA",
       [] {
         const quipu::Counter* counters = many_counters().data();
         const std::uint16_t* indices = random_indices(1024).data();
         return each([counters, indices](std::size_t i) { counters[indices[i % inputs]].inc(); });
       }},
      {"fractional_counter_inc", "AS",
       [] {
         const auto counter = registry().fractional_counter({.name = "fractional_counter_inc_total"});
         return each([counter](std::size_t) { counter.inc(0.5); });
       }},
      {"gauge_set", "AS",
       [] {
         const auto gauge = registry().gauge({.name = "gauge_set"});
         return each([gauge](std::size_t i) { gauge.set(static_cast<double>(i)); });
       }},
      {"gauge_track", "AS",
       [] {
         return each([gauge = registry().gauge({.name = "gauge_track"})](std::size_t) {
           const auto tracker = gauge.track();
           asm volatile("" ::: "memory");
         });
       }},
      {"histogram_observe_11", "AS", [] { return observe(registry().histogram({.name = "histogram_observe_11"})); }},
      {"histogram_observe_40", "AS",
       [] {
         return observe(registry().histogram(
             {.name = "histogram_observe_40", .buckets = quipu::buckets::exponential(0.001, 1.5, 40)}));
       }},
      {"histogram_observe_duration", "AS", observe_duration},
      {"native_histogram_observe", "AS", observe_native},
      {"summary_observe", "AS", observe_summary},
      {"timer", "AA",
       [] {
         return each([histogram = registry().histogram({.name = "timer_seconds"})](std::size_t) {
           const auto timer = histogram.time();
           asm volatile("" ::: "memory");
         });
       }},
      {"request", "AA",
       [] {
         return each([requests = quipu::Requests(registry())](std::size_t) {
           const auto request = requests.start();
           asm volatile("" ::: "memory");
         });
       }},
      {"two_clock_reads", "AA",
       [] {
         return each([](std::size_t) {
           read_clock();
           read_clock();
         });
       }},
  };
}

}  // namespace bench
