#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/family.hpp"
#include "quipu/sample.hpp"
#include "quipu/scrape_request.hpp"
#include "registry/collection.hpp"
#include "registry/registry_core.hpp"

namespace quipu::detail {

/// Shows the series of one family of instruments.
class InstrumentWalk {
 public:
  /// `labels` holds the const labels. The labels of each series are put behind them. Of infos, those up to `last_tag`
  /// are shown. `patience` is that of the scrape; see read_histogram().
  InstrumentWalk(const FamilyCore& family, std::vector<Label>& labels, std::uint32_t last_tag,
                 std::chrono::nanoseconds& patience);

  /// Shows some more series, so few that a reader with a limit can stop in between. False when there was no more to
  /// show.
  bool show_some(Visitor& visitor);

 private:
  using Item = SeriesTable::Walk::Item;

  template <class Read>
  void show_batch(Visitor& visitor, Read read);
  [[nodiscard]] bool is_shown(const Item& series, Visitor& visitor);
  template <class At>
  void read_exemplars(std::size_t count, At at);

  const FamilyCore& family_;
  std::vector<Label>& labels_;
  const std::size_t const_labels_;
  std::chrono::nanoseconds& patience_;
  bool is_begun_ = false;
  KeyReader reader_;
  SeriesTable::Walk walk_;
  std::span<const SeriesTable::Walk::Item> batch_;  // the part not shown yet
  HistogramReading snapshot_;

  // The exemplars of each counter of the batch, or of each bucket of the histogram; empty if there are none.
  std::vector<const ExemplarView*> exemplars_;
  std::deque<ExemplarCopy> exemplar_copies_;  // what they point to, and some unused
  NativeHistogramSnapshot native_;
  SummarySnapshot summary_;
};

/// Shows the series of one family of collectors.
class CollectedWalk {
 public:
  /// `labels` as for InstrumentWalk. Of a series that was collected twice, the first is shown.
  CollectedWalk(const RegistryCore::FamilyEntry& family, const Collected& collected, std::vector<Label>& labels,
                const OnCollectorError& on_error);

  bool show_some(Visitor& visitor);

 private:
  void show(const CollectedSeries& series, Visitor& visitor) const;

  const Definition& definition_;
  std::vector<Label>& labels_;
  const std::size_t const_labels_;
  std::vector<const CollectedSeries*> series_;
  std::size_t shown_ = 0;
};

/// One scrape of a registry. It shows a few series at a time, and may rest in between. It holds no lock while it rests,
/// and copies only those few series. What collectors show is copied as a whole at the beginning.
class Scrape {
 public:
  Scrape(std::shared_ptr<RegistryCore> registry, const ScrapeRequest& request);
  Scrape(const Scrape&) = delete;
  Scrape& operator=(const Scrape&) = delete;

  /// Shows some more. False when there was no more to show.
  bool show_some(Visitor& visitor);

 private:
  void report_clashes() const;
  void collect_status();

  const std::shared_ptr<RegistryCore> registry_;
  RegistryCore::ScrapeStart start_;
  Collected collected_;
  RegistryCore::PageFamilies page_;
  std::size_t next_family_ = 0;
  std::vector<Label> labels_;
  std::chrono::nanoseconds patience_ = reading_patience;
  std::optional<InstrumentWalk> instruments_;  // of the current family, or
  std::optional<CollectedWalk> collection_;
};

}  // namespace quipu::detail
