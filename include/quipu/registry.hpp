#pragma once

#include "quipu/detail/base/export.hpp"
#include "quipu/registry_options.hpp"
#include "quipu/sample.hpp"
#include "quipu/scope.hpp"

namespace quipu {

/// All metrics of one page. A process may have several registries, which know nothing of each other. A registry is a
/// handle: copies refer to the same metrics, whose memory lives as long as the last copy.
///
/// A scrape promises four things. A counter never goes down from one scrape to the next (but for `reset`). The buckets,
/// count and sum of a histogram are of one moment. The page shows everything that happened before the scrape began (in
/// the sense of the memory model). The scrape never makes a thread that records wait.
class QUIPU_EXPORT Registry : public Scope {
 public:
  /// Throws RegistrationError for a bad run-time prefix or label name, a limit out of its range, and a const label that
  /// is given twice, is one of a family of the registry's own or is `le` or `quantile`.
  explicit Registry(const RegistryOptions& options = {});

  /// Shows every series to `visitor`. Thread-safe. Collectors and callbacks are called first, then families are shown
  /// in the order of their names; no lock is held while `visitor` is called. Throws what `visitor` throws, and
  /// std::bad_alloc.
  void collect(Visitor& visitor) const;

  /// For tests: Family::reset() for all families, and the same for metrics without labels. What collectors and
  /// callbacks show stays, and so do infos and what the library counts of itself.
  void reset() const;
};

}  // namespace quipu
