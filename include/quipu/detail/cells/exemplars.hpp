#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/sample.hpp"

/// The exemplars of all series. They hold labels and lie apart from the cells, which hold none: a recording without an
/// exemplar knows nothing of them.
///
/// An exemplar is found by slot, as a thread cell is. For each block of thread cells there is a block of places, made
/// when it is first needed, with a place for each word of those cells. The place of a counter's exemplar is that of its
/// value. The place of a bucket's exemplar is that of the bucket.
///
/// A place points to an entry, which holds the newest exemplar. Entries are made when they are first needed, and never
/// freed: the next series with these cells reuses them. The tag in the entry says whose exemplar it is.
///
/// The source of a series' exemplars is found by slot, too, in blocks that only registries with a source make. Sources
/// are functions without data, so a series that was removed can do no more harm than to ask one in vain.
///
/// One thread at a time, which has made the entry busy, writes or reads it. A recording that finds the entry busy does
/// not wait: it drops its exemplar. A scrape tries for a while, and then shows no exemplar.
namespace quipu::detail {

/// Where the exemplar is, counted in words from the first thread cell of the series.
inline constexpr std::size_t counter_place = 1;
[[nodiscard]] constexpr std::size_t bucket_place(std::size_t bucket) noexcept { return 2 + bucket; }

/// Why an exemplar was not kept. `busy`: another thread was at the same place. `no_room`: memory ran out, or the series
/// has no slot.
enum class Dropped : std::uint8_t { bad_label, not_utf8, too_long, busy, no_room, source_threw };
inline constexpr std::size_t dropped_kinds = 6;
/// How many exemplars were dropped since the start of the process, by reason.
QUIPU_EXPORT inline constinit std::atomic<std::uint64_t> dropped_exemplars[dropped_kinds]{};

/// Whether the place has no exemplar of this series, or one that is older than the interval. False for a removed
/// series.
QUIPU_EXPORT [[nodiscard]] bool is_exemplar_due(CellRef series, std::size_t place) noexcept;

/// Replaces the exemplar at the place. With `only_if_due`, only if is_exemplar_due().
QUIPU_EXPORT void keep_exemplar(CellRef series, std::size_t place, double value, const Exemplar& exemplar,
                                bool only_if_due) noexcept;

/// Whether any series of the process has had a source of exemplars. Relaxed: a thread that can find such a series finds
/// this true, because it is stored before the series is published.
QUIPU_EXPORT inline constinit std::atomic<bool> has_exemplar_sources{false};
/// Gives a series its source, or none (null), before it can be found. Where memory runs out, it has none.
QUIPU_EXPORT void set_exemplar_source(std::uint32_t slot, ExemplarSource::Function* source) noexcept;
/// Keeps the exemplar that the source of the series makes, if there is a source and one is due.
QUIPU_EXPORT void keep_current_exemplar(CellRef series, std::size_t place, double value) noexcept;
/// Forgets the exemplar at the place, unless another thread has it in use.
void drop_exemplar(CellRef series, std::size_t place) noexcept;

/// To be called after the recording. A reader that finds the exemplar, and then reads the values, finds the recording
/// among them.
inline void attach(CellRef series, std::size_t place, double value, const Exemplar& exemplar) noexcept {
  keep_exemplar(series, place, value, exemplar, false);
}
template <ExemplarMaker Make>
void attach(CellRef series, std::size_t place, double value, Make& make) {
  if (is_exemplar_due(series, place)) keep_exemplar(series, place, value, make(), true);
}

inline void attach(CellRef series, std::size_t place, double value, CurrentExemplar) noexcept {
  if (has_exemplar_sources.load(std::memory_order_relaxed)) keep_current_exemplar(series, place, value);
}

/// An exemplar, and the memory that `view` refers to.
struct ExemplarCopy {
  static constexpr std::size_t max_code_points = 128;
  static constexpr std::size_t max_bytes = 4 * max_code_points;

  ExemplarView view;
  std::array<Label, Exemplar::max_labels> labels;
  std::array<char, max_bytes> text;
};

/// Whether any series of the process has had an exemplar yet.
[[nodiscard]] QUIPU_EXPORT bool are_there_exemplars() noexcept;

/// False if there is none.
[[nodiscard]] QUIPU_EXPORT bool read_exemplar(CellRef series, std::size_t place, ExemplarCopy& into) noexcept;

}  // namespace quipu::detail
