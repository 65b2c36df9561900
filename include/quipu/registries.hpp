#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/registry.hpp"
#include "quipu/sample.hpp"
#include "quipu/scrape_request.hpp"

namespace quipu {

namespace detail {
class JoinedRegistries;
struct RegistriesAccess;
}  // namespace detail

/// Several registries on one page, such as a program's own and those of its libraries.
///
/// The page shows the families of all, in the order of their names. Families of one name are one family, if they have
/// the same type, unit and names of labels, const labels included: their parts are in the order of the values of const
/// labels, and parts of equal values in the order of the registries. The help text is that of the first registry that
/// has the family.
///
/// What clashes is shown for the first registry of the list that has it, and left out for the others:
///
/// - a family that another one of its name differs from, or that has samples with the names of another family's
/// samples;
/// - a series that an earlier registry shows with the same labels. For each of two families of instruments without
///   labels of their own this is so from the beginning, so these are a clash of families. Otherwise a page remembers
///   the series of such a family while it shows them, if its parts have equal const labels.
///
/// Each is counted in `quipu_page_clashes_total{reason}` of the registry that lost it ("family", "series"), on each
/// page. A family that a collector shows without having described it comes after all that were registered or described;
/// where it clashes, it is counted and reported as an error of the collector, as on the page of one registry.
/// Registries whose const labels have the same names and different values never clash in their series.
///
/// What the library shows of the process (`process_*`, `cxx_*`, and some of `quipu_*`) is there once, from the first
/// registry that shows it. What it counts of a registry is added up, where the const labels are equal, and clashes are
/// not counted. `quipu_collector_up` is 1 where the collectors of the name are up in all registries.
///
/// Collectors of all registries are called as if they were of one. The page has the formats of the first registry. It
/// promises what the page of one registry does (see Registry).
///
/// A handle: copies are the same, and keep the metrics of all registries. Thread-safe.
class QUIPU_EXPORT Registries {
 public:
  /// `on_clash` is called for each family that clashes after that, or has a series that does, once. It is called by the
  /// thread that begins or makes a page, without a lock, and must not throw.
  ///
  /// Throws RegistrationError if families, or series of instruments, clash already, if a registry is there twice, or if
  /// there is none.
  explicit Registries(std::vector<Registry> registries,
                      std::function<void(std::string_view family, std::string_view why)> on_clash = {});

  /// As Registry::collect().
  void collect(Visitor& visitor, const ScrapeRequest& request = {}) const;

 private:
  friend detail::RegistriesAccess;

  std::shared_ptr<detail::JoinedRegistries> joined_;
};

}  // namespace quipu
