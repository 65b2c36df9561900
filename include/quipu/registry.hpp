#pragma once

#include <string_view>
#include <type_traits>
#include <vector>

#include "quipu/described_family.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/registry_options.hpp"
#include "quipu/sample.hpp"
#include "quipu/scope.hpp"
#include "quipu/scrape_request.hpp"

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
  // For options without braces.
  template <class Text>
  requires std::is_convertible_v<const Text&, std::string_view>
  explicit Registry(const Text&) : Registry() {
    static_assert(detail::misuse<Text>, "quipu: options are in braces: Registry registry({.prefix = \"shop\"})");
  }

  /// Shows to `visitor` every series, or those that `request` asks for; `accept` does not matter. Thread-safe.
  /// Collectors and callbacks are called first, then families are shown in the order of their names; no lock is held
  /// while `visitor` is called. Throws what `visitor` throws, and std::bad_alloc.
  void collect(Visitor& visitor, const ScrapeRequest& request = {}) const;

  /// All families of instruments, collectors and callbacks, in the order of their names, also those without a series:
  /// for a program that writes rules or dashboards, or documents its metrics. Families of open batches are missing.
  /// Thread-safe. Holds the registry's lock while it looks at every family. Throws std::bad_alloc.
  [[nodiscard]] std::vector<DescribedFamily> describe() const;

  /// For tests: Family::reset() for all families, and the same for metrics without labels. What collectors and
  /// callbacks show stays, and so do infos and what the library counts of itself.
  void reset() const;
};

/// The one registry of a process, for libraries that are given none. It is made at the first call; who never calls it
/// has none. Without options it has the default ones.
///
/// The options are the program's to give, so they are given once and first: in main(), before anybody calls it without
/// options. Otherwise RegistrationError is thrown, because what is there already cannot have them.
///
/// It lives as long as the process: it may be used in destructors of static objects. A forked child has it as any other
/// registry; if the fork comes before the first call, each process makes its own. Shared libraries share it, also if
/// each of them contains quipu as a static library, unless one was loaded with RTLD_LOCAL. Thread-safe; a call takes no
/// lock. Throws what the constructor of Registry throws.
[[nodiscard]] QUIPU_EXPORT Registry process_registry();
QUIPU_EXPORT Registry process_registry(const RegistryOptions& options);

}  // namespace quipu
