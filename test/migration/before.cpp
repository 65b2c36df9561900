// A shop that records with prometheus-cpp. after.cpp is the same program with quipu.

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <vector>

#include "shop.hpp"

namespace {

// What the pool of connections counts by itself.
class PoolCollector : public prometheus::Collectable {
 public:
  explicit PoolCollector(const Pool& pool) : pool_(pool) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    prometheus::MetricFamily family;
    family.name = "pool_connections";
    family.help = "Connections by state.";
    family.type = prometheus::MetricType::Gauge;
    family.metric.push_back(connections("busy", pool_.busy));
    family.metric.push_back(connections("idle", pool_.idle));
    return {family};
  }

 private:
  static prometheus::ClientMetric connections(const std::string& state, int count) {
    prometheus::ClientMetric metric;
    metric.label.push_back({"state", state});
    metric.gauge.value = count;
    return metric;
  }

  const Pool& pool_;
};

}  // namespace

std::string page_before(const Pool& pool) {
  const auto registry = std::make_shared<prometheus::Registry>();

  auto& requests = prometheus::BuildCounter()
                       .Name("http_requests_total")
                       .Help("Requests served.")
                       .Labels({{"service", "shop"}})
                       .Register(*registry);
  auto& cart = requests.Add({{"method", "GET"}, {"route", "/cart"}});
  cart.Increment();
  cart.Increment(4);
  requests.Add({{"method", "POST"}, {"route", "/cart"}}).Increment();
  auto& old = requests.Add({{"method", "GET"}, {"route", "/old"}});
  old.Increment();
  requests.Remove(&old);

  auto& queue = prometheus::BuildGauge().Name("queue_length").Help("Orders that wait.").Register(*registry).Add({});
  queue.Set(12);
  queue.Increment();
  queue.Decrement(3);

  auto& duration = prometheus::BuildHistogram()
                       .Name("order_duration_seconds")
                       .Help("Time to handle an order.")
                       .Register(*registry)
                       .Add({{"kind", "gift"}}, prometheus::Histogram::BucketBoundaries{0.1, 0.5, 2.5});
  duration.Observe(0.1);
  duration.Observe(1.25);
  duration.ObserveMultiple({0, 3, 0, 0}, 3 * 0.25);  // three of 0.25 s

  auto& size = prometheus::BuildSummary()
                   .Name("order_size_bytes")
                   .Help("Sizes of orders.")
                   .Register(*registry)
                   .Add({}, prometheus::Summary::Quantiles{{0.5, 0.05}, {0.99, 0.001}}, std::chrono::minutes(1), 5);
  for (int i = 1; i <= 100; ++i) size.Observe(i);

  auto page = registry->Collect();
  for (auto& family : PoolCollector(pool).Collect()) page.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(page);
}
