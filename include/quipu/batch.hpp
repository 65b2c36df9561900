#pragma once

#include <memory>
#include <utility>

#include "quipu/name.hpp"
#include "quipu/registry.hpp"

namespace quipu {

/// Registers a struct of metrics as a whole, under a longer prefix ("" for none), and returns it:
///
///     struct DbMetrics {
///       quipu::Scope scope;
///       quipu::CounterFamily<Operation> queries =
///           scope.counter<Operation>({.name = "queries_total", .help = "Queries."}, "operation");
///       quipu::Gauge connections = scope.gauge({.name = "connections", .help = "Open connections."});
///     };
///
///     auto db = quipu::batch<DbMetrics>(registry, "db");  // shop_db_queries_total, shop_db_connections
///     db.queries(Operation::select).inc();
///
/// `Metrics` is made as `Metrics{scope, arguments...}`: a struct whose first member is a Scope, or with a constructor
/// from one. Structs in it are batches of their own: `PoolMetrics pool = quipu::batch<PoolMetrics>(scope, "pool");`
///
/// All or nothing: if anything in it throws (RegistrationError, mostly), what it registered before is taken back, and
/// no scrape has seen it. Families that were there before stay, as do those that somebody else has registered again
/// meanwhile. Thread-safe.
template <class Metrics, class... Arguments>
[[nodiscard]] Metrics batch(const Scope& scope, MetricPrefix subsystem, Arguments&&... arguments) {
  const detail::Batch all(scope.subsystem(subsystem));
  try {
    return Metrics{all.scope(), std::forward<Arguments>(arguments)...};
  } catch (...) {
    all.take_back();
    throw;
  }
}

}  // namespace quipu
