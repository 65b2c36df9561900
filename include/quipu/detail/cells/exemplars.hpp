#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/cells/cells.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/sample.hpp"

/// The exemplars of all series, aside from their cells: a recording without one knows nothing of them.
///
/// They are found as a thread finds its cells: there is a page for each page of thread cells, made at the first need,
/// with a place for each word of it. The place of a counter's exemplar is that of its value, the place of a bucket's
/// that of the bucket. A place points to an entry, which is made at the first need, holds the newest exemplar, and is
/// never freed: it goes on to the next series that has these cells. The tag in it says whose exemplar it is.
///
/// An entry is written and read by one thread at a time, which has made it busy. Whoever records does not wait: it
/// finds the entry busy and drops its exemplar. A scrape tries for a while, and shows no exemplar if it fails.
namespace quipu::detail {

/// Where the exemplar is, counted in words from the first thread cell of the series.
inline constexpr std::size_t counter_place = 1;
[[nodiscard]] constexpr std::size_t bucket_place(std::size_t bucket) noexcept { return 2 + bucket; }

/// Exemplars that were not kept, since the start of the process. `busy`: another thread was at this one's place;
/// `no_room`: memory ran out, or the series has no thread cells.
enum class Dropped : std::uint8_t { bad_label, not_utf8, too_long, busy, no_room };
inline constexpr std::size_t dropped_kinds = 5;
inline constinit std::atomic<std::uint64_t> dropped_exemplars[dropped_kinds]{};

/// Whether the exemplar there is older than the interval, or there is none. Not of a series that was removed.
[[nodiscard]] bool is_exemplar_due(CellRef series, std::size_t place) noexcept;

/// Keeps an exemplar instead of the one that is there; if `only_if_due`, then as is_exemplar_due() says.
void keep_exemplar(CellRef series, std::size_t place, double value, const Exemplar& exemplar,
                   bool only_if_due) noexcept;

/// After the recording: then what a reader finds has been counted, and is in what it reads afterwards.
inline void attach(CellRef series, std::size_t place, double value, const Exemplar& exemplar) noexcept {
  keep_exemplar(series, place, value, exemplar, false);
}
template <ExemplarMaker Make>
void attach(CellRef series, std::size_t place, double value, Make& make) {
  if (is_exemplar_due(series, place)) keep_exemplar(series, place, value, make(), true);
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
[[nodiscard]] bool are_there_exemplars() noexcept;

/// False if there is none.
[[nodiscard]] bool read_exemplar(CellRef series, std::size_t place, ExemplarCopy& into) noexcept;

}  // namespace quipu::detail
