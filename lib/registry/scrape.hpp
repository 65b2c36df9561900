#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/family.hpp"
#include "quipu/sample.hpp"
#include "quipu/scrape_request.hpp"
#include "registry/collection.hpp"
#include "registry/registry_core.hpp"

namespace quipu::detail {

class JoinedRegistries;

/// The series of one family that a page has shown, of those parts that have the same const labels and are of several
/// registries.
class KnownSeries {
 public:
  explicit KnownSeries(std::function<void(Labels)> on_repetition) : on_repetition_(std::move(on_repetition)) {}

  /// Whether no series with these labels was added before. Calls back if one was.
  [[nodiscard]] bool add(Labels own_labels);

 private:
  const std::function<void(Labels)> on_repetition_;
  std::unordered_set<std::string> keys_;
};

/// What a scrape tells its visitor last. Its walks share it.
struct Shown {
  std::string_view family{};     // the name; empty before the first one
  std::string_view help{};       // of the current family
  KnownSeries* known = nullptr;  // of the current part, if there may be series that were shown already
  std::vector<Label> labels{};   // of the current part: the const labels, then those of the current series
};

/// Shows the series of one part of a family of instruments.
class InstrumentWalk {
 public:
  /// Of infos, those up to `last_tag` are shown. `patience` is that of the scrape; see read_histogram().
  InstrumentWalk(const FamilyCore& family, Shown& shown, std::uint32_t last_tag, std::chrono::nanoseconds& patience);

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
  Shown& shown_;
  std::vector<Label>& labels_ = shown_.labels;
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

/// Shows the series of one part of a family of collectors.
class CollectedWalk {
 public:
  /// Of a series that was collected twice, the first is shown.
  CollectedWalk(const RegistryCore::FamilyEntry& part, const Collected& collected, Shown& shown,
                const OnCollectorError& on_error);

  bool show_some(Visitor& visitor);

 private:
  void put_values(const CollectedSeries& series) noexcept;
  void show(const CollectedSeries& series, Visitor& visitor) const;

  const Definition& definition_;
  Shown& shown_;
  std::vector<const CollectedSeries*> series_;
  std::size_t next_ = 0;
};

/// One scrape of a registry, or of several. It shows a few series at a time, and may rest in between. It holds no lock
/// while it rests, and copies only those few series. What collectors show is copied as a whole at the beginning.
class Scrape {
 public:
  Scrape(std::shared_ptr<RegistryCore> registry, const ScrapeRequest& request);
  Scrape(std::shared_ptr<JoinedRegistries> registries, const ScrapeRequest& request);
  Scrape(const Scrape&) = delete;
  Scrape& operator=(const Scrape&) = delete;

  /// Shows some more. False when there was no more to show.
  bool show_some(Visitor& visitor);

 private:
  struct Source {
    std::shared_ptr<RegistryCore> registry;
    RegistryCore::ScrapeStart start;
  };
  struct Part {
    RegistryCore::FamilyEntry entry;
    const Source* source;
    std::string_view help{};            // of the first registry that has the family
    bool repeats_const_labels = false;  // those of the part before, which is of another registry
  };

  [[nodiscard]] Collected collect_from(const ScrapeRequest& request, Executor& threads);
  void add_parts(const Source& source, RegistryCore::PageFamilies page);
  void collect_status(const Source& source, const RegistryCore::PageFamilies& page);
  void leave_out_clashes(std::span<const std::uint64_t> versions);
  void leave_out_unwanted(std::span<const std::string> names);
  void join_parts();
  void join_own(Part& first, const Part& other);
  void report_repetition(Labels labels);
  void begin(const Part& part);

  const std::shared_ptr<JoinedRegistries> joined_;  // null for one registry
  std::vector<Source> sources_;
  Collected collected_;
  std::vector<Part> parts_;
  std::size_t next_part_ = 0;
  Shown shown_;
  std::optional<KnownSeries> known_;
  std::chrono::nanoseconds patience_ = reading_patience;
  std::optional<InstrumentWalk> instruments_;  // of the current part, or
  std::optional<CollectedWalk> collection_;
};

}  // namespace quipu::detail
