#pragma once

#include <utility>

#include "quipu/detail/base/export.hpp"
#include "quipu/name.hpp"
#include "quipu/registry.hpp"

namespace quipu {

namespace detail {

/// What is registered through its scope is on no page until its end, and on every one after that; or nothing of it is
/// left, after take_back(). Thread-compatible; the scope and its copies are thread-safe.
class QUIPU_EXPORT OpenBatch {
 public:
  /// Throws RegistrationError.
  OpenBatch(const Scope& scope, MetricPrefix subsystem);
  OpenBatch(const OpenBatch&) = delete;
  OpenBatch& operator=(const OpenBatch&) = delete;
  ~OpenBatch();

  [[nodiscard]] const Scope& scope() const noexcept { return scope_; }
  void take_back() noexcept;

 private:
  Scope scope_;
  bool is_taken_back_ = false;
};

}  // namespace detail

/// Registers a struct of metrics as a whole, under a longer prefix ("" for the same), and returns it:
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
/// from one. It need not be movable. Structs in it are batches of their own, and part of this one:
/// `PoolMetrics pool = quipu::batch<PoolMetrics>(scope, "pool");`. The scope may be kept; what is registered through it
/// later is registered as usual.
///
/// All or nothing. If anything in it throws (a RegistrationError, mostly), what it registered is taken back, names and
/// all, and no scrape has seen any of it; handles that are left record nowhere. Otherwise a scrape that begins later
/// shows all of it, and one that began before, nothing. Not taken back are families that were there before, or that
/// something outside registered too meanwhile, with the series that they have been given. Names are taken meanwhile,
/// and RegistryOptions::on_lint is called at once, whatever comes of the batch. An info that there is no memory for
/// at the end is missing.
///
/// Thread-safe. Its end holds the registry's lock for a look at every family (0.3 ms for 10,000). Throws what making
/// the struct throws.
template <class Metrics, class... Arguments>
[[nodiscard]] Metrics batch(const Scope& scope, MetricPrefix subsystem, Arguments&&... arguments) {
  detail::OpenBatch open(scope, subsystem);
  try {
    return Metrics{open.scope(), std::forward<Arguments>(arguments)...};
  } catch (...) {
    open.take_back();
    throw;
  }
}

}  // namespace quipu
