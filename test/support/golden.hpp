#pragma once

// The pages of test/golden, and the registries that they show.

#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"

namespace golden {

/// A page, byte by byte.
inline std::string page(const std::string& name) {
  std::ifstream file(std::string(QUIPU_TEST_DIR) + "/exposition/golden/" + name, std::ios::binary);
  INFO(name);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

enum class Method { get, post };

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double largest = std::numeric_limits<double>::max();

inline quipu::Registry kinds() {
  const auto registry = page::empty_registry();
  const auto requests =
      registry.counter<Method, int>({.name = "http_requests_total", .help = "Requests answered."}, {"method", "code"});
  requests(Method::post, 200).inc(3);
  requests(Method::get, 404).inc();
  registry.fractional_counter({.name = "cpu_seconds_total", .help = "CPU time."}).inc(12.75);
  registry.gauge({.name = "http_requests_in_flight", .help = "Requests being answered."}).set(2);
  const auto queues = registry.gauge({.name = "queue_length", .help = "Jobs that wait."}, {"queue"});
  queues("mail").set(17);
  queues("print").dec();
  const auto latency = registry.histogram(
      {.name = "http_request_duration_seconds", .help = "Time to answer.", .buckets = {0.005, 0.5, 2.5}}, {"route"});
  for (const double seconds : {0.00390625, 0.25, 0.25, 4.0}) latency("/cart").observe(seconds);
  static_cast<void>(latency("/"));
  // Families without series are not on the page.
  static_cast<void>(registry.counter({.name = "nothing_total", .help = "Nothing."}, {"a"}));
  static_cast<void>(registry.histogram({.name = "nothing_seconds", .help = "Nothing."}, {"a"}));
  const auto emptied = registry.gauge({.name = "emptied", .help = "Nothing."}, {"a"});
  emptied("x").set(1);
  emptied.clear();
  return registry;
}

inline quipu::Registry const_labels() {
  const auto registry =
      page::empty_registry({.prefix = "shop", .const_labels = {{"env", "prod"}, {"zone", "eu \"west\""}}});
  registry.counter({.name = "orders_total", .help = "Orders."}).inc(5);
  registry.gauge<std::string_view, int>({.name = "shelf_places", .help = "Places."}, {"kind", "floor"})("book", -1)
      .set(1e6);
  registry.histogram({.name = "price_euros", .help = "Prices.", .buckets = {10.0}}, {"kind"})("book").observe(19.5);
  return registry;
}

inline quipu::Registry label_values() {
  const auto registry = page::empty_registry();
  const auto events = registry.counter({.name = "events_total"}, {"value"});
  for (const char* value : {"", "two words", "say \"hi\"", "C:\\new\\", "one\ntwo", "\\n", "tab\ttab",
                            "caf\xC3\xA9 \xE7\xB5\x90\xE3\x81\xB3\xE7\x9B\xAE \xF0\x9F\xAA\xA2", "caf\xE9", "\xFF\xFE",
                            "{a=\"b\"} 1 # x"}) {
    events(value).inc();
  }
  return registry;
}

inline quipu::Registry help() {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.gauge({.name = "a", .help = "Two lines,\nand a third:\n"}));
  static_cast<void>(registry.gauge({.name = "b", .help = "A path, C:\\new, and \"quotes\" that stay."}));
  static_cast<void>(registry.gauge({.name = "c", .help = "Caf\xC3\xA9, and a part that is not UTF-8: \xE9."}));
  static_cast<void>(registry.gauge({.name = "without_help"}));
  return registry;
}

inline quipu::Registry numbers() {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "counter_total"}, {"name"});
  counter("zero").inc(0);
  counter("a million").inc(1'000'000);
  counter("2^53 + 1").inc((std::uint64_t{1} << 53) + 1);
  counter("2^64 - 1").inc(std::numeric_limits<std::uint64_t>::max());
  const auto gauge = registry.gauge({.name = "gauge"}, {"name"});
  gauge("zero").set(0);
  gauge("minus zero").set(-0.0);
  gauge("one").set(1);
  gauge("minus one").set(-1);
  gauge("a tenth").set(0.1);
  gauge("a third").set(1.0 / 3);
  gauge("1e-4").set(1e-4);
  gauge("1e-5").set(1e-5);
  gauge("1e5").set(1e5);
  gauge("999999").set(999999);
  gauge("123456.7").set(123456.7);
  gauge("1e6").set(1e6);
  gauge("1234567").set(1234567);
  gauge("2^53 - 1").set(9007199254740991);
  gauge("smallest").set(std::numeric_limits<double>::denorm_min());
  gauge("largest").set(largest);
  gauge("most negative").set(-largest);
  gauge("not a number").set(not_a_number);
  gauge("not a number, negative").set(-not_a_number);
  gauge("infinity").set(infinity);
  gauge("minus infinity").set(-infinity);
  const auto histogram = registry.histogram(
      {.name = "histogram", .buckets = {-1e6, -0.0, 1e-5, 0.1, 1.0, 2.5, 1e5, 1e6, largest, infinity}});
  histogram.observe(-0.0);
  histogram.observe(infinity);
  return registry;
}

}  // namespace golden
