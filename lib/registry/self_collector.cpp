#include "registry/self_collector.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/thread_cell_budget.hpp"
#include "registry/registry_core.hpp"

namespace quipu::detail {
namespace {

class RecordingCollector final : public Collector {
 public:
  std::vector<FamilyDescription> describe() const override {
    return {
        {.name = "quipu_rejected_recordings_total",
         .help = "Recordings in this process that made no sense and were not counted.",
         .type = MetricType::counter,
         .labels = {"reason"}},
        {.name = "quipu_dropped_exemplars_total",
         .help = "Exemplars in this process that were not kept; what they were examples of was counted.",
         .type = MetricType::counter,
         .labels = {"reason"}},
        {.name = "quipu_thread_cell_bytes", .help = "Memory of this process in which threads count, out of a budget."}};
  }
  void collect(Samples& samples) override {
    const auto rejected = [](Rejection why) {
      return rejections[static_cast<std::size_t>(why)].load(std::memory_order_relaxed);
    };
    samples.add("quipu_rejected_recordings_total", {"negative_step"}, rejected(Rejection::negative_step));
    samples.add("quipu_rejected_recordings_total", {"not_a_number"}, rejected(Rejection::not_a_number));
    samples.add("quipu_rejected_recordings_total", {"unknown_state"}, rejected(Rejection::unknown_state));
    const auto dropped = [&](std::string_view reason, Dropped why) {
      samples.add("quipu_dropped_exemplars_total", {reason},
                  dropped_exemplars[static_cast<std::size_t>(why)].load(std::memory_order_relaxed));
    };
    dropped("bad_label", Dropped::bad_label);
    dropped("busy", Dropped::busy);
    dropped("no_room", Dropped::no_room);
    dropped("source_threw", Dropped::source_threw);
    dropped("not_utf8", Dropped::not_utf8);
    dropped("too_long", Dropped::too_long);
    samples.add("quipu_thread_cell_bytes", thread_cell_bytes());
  }
};

class SelfCollector final : public Collector {
 public:
  explicit SelfCollector(RegistryCore& registry) : registry_(registry) {}

  std::vector<FamilyDescription> describe() const override {
    return {
        {.name = "quipu_overflowed_lookups_total",
         .help = "Lookups of new label values in a family that had no room for them.",
         .type = MetricType::counter,
         .labels = {"family"}},
        {.name = "quipu_evicted_series_total",
         .help =
             "Idle series that were removed to make room for new ones, with what their handles record from then on.",
         .type = MetricType::counter,
         .labels = {"family"}},
        {.name = "quipu_truncated_lookups_total",
         .help = "Lookups with label values that were too long, and were cut.",
         .type = MetricType::counter,
         .labels = {"family"}},
        {.name = "quipu_collector_errors_total",
         .help = "What went wrong with a collector or callback during scrapes.",
         .type = MetricType::counter,
         .labels = {"collector", "reason"}},
        {.name = "quipu_page_clashes_total",
         .help = "Families and series of this registry that a page of several registries left out.",
         .type = MetricType::counter,
         .labels = {"reason"}}};
  }
  void collect(Samples& samples) override {
    const auto errors = samples.family("quipu_collector_errors_total");
    for (const auto& [collector, named] : registry_.collector_errors()) {
      for (std::size_t i = 0; i < collector_faults.size(); ++i) {
        const std::uint64_t count = (*named.errors)[i].load(std::memory_order_relaxed);
        // The library's own hardly ever fail.
        if (named.has_usual || count > 0) errors.add({collector, collector_faults[i]}, count);
      }
    }
    for (const auto& [family, overflows, evictions, truncations] : registry_.losses()) {
      if (overflows > 0) samples.add("quipu_overflowed_lookups_total", {family}, overflows);
      if (evictions > 0) samples.add("quipu_evicted_series_total", {family}, evictions);
      if (truncations > 0) samples.add("quipu_truncated_lookups_total", {family}, truncations);
    }
    const auto clashes = [&](std::string_view reason, const std::atomic<std::uint64_t>& count) {
      const std::uint64_t left_out = count.load(std::memory_order_relaxed);
      if (left_out > 0) samples.add("quipu_page_clashes_total", {reason}, left_out);
    };
    clashes("family", registry_.page_clashes().families);
    clashes("series", registry_.page_clashes().series);
  }

 private:
  RegistryCore& registry_;
};

class StatusCollector final : public Collector {
 public:
  std::vector<FamilyDescription> describe() const override {
    return {{.name = "quipu_collector_up",
             .help = "Whether this page has what a collector or callback shows: 1 yes, 0 no, because it failed.",
             .labels = {"collector"}},
            {.name = "quipu_collector_duration_seconds",
             .help = "How long the call took from which this page has what a collector or callback shows.",
             .labels = {"collector"},
             .unit = "seconds"}};
  }
  void collect(Samples&) override {}
};

}  // namespace

std::shared_ptr<Collector> make_recording_collector() { return std::make_shared<RecordingCollector>(); }

std::shared_ptr<Collector> make_self_collector(RegistryCore& registry) {
  return std::make_shared<SelfCollector>(registry);
}

std::shared_ptr<Collector> make_status_collector() { return std::make_shared<StatusCollector>(); }

}  // namespace quipu::detail
