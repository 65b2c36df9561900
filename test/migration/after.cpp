// The shop of before.cpp, with quipu.

#include <quipu/quipu.hpp>
#include <string>

#include "shop.hpp"

using namespace std::chrono_literals;

std::string page_after(const Pool& pool) {
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});

  const auto requests = registry.counter(
      {.name = "http_requests_total", .help = "Requests served.", .const_labels = {{"service", "shop"}}},
      {"method", "route"});
  const auto cart = requests("GET", "/cart");
  cart.inc();
  cart.inc(4);
  requests.with({{"route", "/cart"}, {"method", "POST"}}).inc();  // by name, in any order
  requests("GET", "/old").inc();
  requests.remove("GET", "/old");

  const auto queue = registry.gauge({.name = "queue_length", .help = "Orders that wait."});
  queue.set(12);
  queue.inc();
  queue.dec(3);

  const auto duration = registry.histogram(
      {.name = "order_duration_seconds", .help = "Time to handle an order.", .buckets = {0.1, 0.5, 2.5}}, {"kind"});
  duration("gift").observe(100ms);
  duration("gift").observe(1.25);
  duration("gift").observe(0.25, 3);  // three of them

  const auto size = registry.summary(
      {.name = "order_size_bytes", .help = "Sizes of orders.", .quantiles = {0.5, 0.99}, .max_age = 1min});
  for (int i = 1; i <= 100; ++i) size.observe(i);

  const auto registration = registry.add([&](quipu::Samples& samples) {
    const auto connections =
        samples.family({.name = "pool_connections", .help = "Connections by state.", .labels = {"state"}});
    connections.add({"busy"}, pool.busy);
    connections.add({"idle"}, pool.idle);
  });

  return quipu::render(registry).body;
}
