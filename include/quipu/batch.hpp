#pragma once

#include <utility>

#include "quipu/detail/base/export.hpp"
#include "quipu/name.hpp"
#include "quipu/registry.hpp"

namespace quipu {

namespace detail {

/// A batch that is being registered. No page shows what is registered through its scope until the batch ends, and every
/// later page does. After take_back() nothing of it is left. Thread-compatible; the scope and its copies are
/// thread-safe.
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
///           scope.counter<Operation>({.name = "queries_total", .help = "Queries."}, {"operation"});
///       quipu::Gauge connections = scope.gauge({.name = "connections", .help = "Open connections."});
///     };
///
///     auto db = quipu::batch<DbMetrics>(registry, "db");  // shop_db_queries_total, shop_db_connections
///     db.queries(Operation::select).inc();
///
/// `Metrics` is constructed as `Metrics{scope, arguments...}`. It is a struct whose first member is a Scope, or has a
/// constructor that takes one. It need not be movable. Structs in it are batches of their own, and part of this one:
/// `PoolMetrics pool = quipu::batch<PoolMetrics>(scope, "pool");`. The scope may be kept; what is registered through it
/// later is registered as usual.
///
/// The registration is all or nothing. If the construction throws (mostly a RegistrationError), all that it registered
/// is removed, and its names are free again. No scrape has seen any of it, and handles that are left record nowhere. If
/// it succeeds, a scrape that begins later shows the whole batch. A scrape that began before shows nothing of it.
///
/// A failed batch does not remove families that existed before, nor families that other code registered as well in the
/// meantime. These families keep the series that the batch gave them. An open batch already takes its names, and calls
/// RegistryOptions::on_lint at once, even if it fails later. An info is missing if there is no memory for it at the end
/// of the batch.
///
/// Thread-safe. The end of a batch holds the registry's lock while it looks at every family (0.3 ms for 10,000). Throws
/// what the construction of the struct throws.
template <class Metrics, class... Arguments>
[[nodiscard("quipu: keep the metrics, or there is nothing to record to")]] Metrics batch(const Scope& scope,
                                                                                         MetricPrefix subsystem,
                                                                                         Arguments&&... arguments) {
  detail::OpenBatch open(scope, subsystem);
  try {
    return Metrics{open.scope(), std::forward<Arguments>(arguments)...};
  } catch (...) {
    open.take_back();
    throw;
  }
}

}  // namespace quipu
