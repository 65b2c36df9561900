#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <type_traits>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu {

/// Labels by which one event of those that are counted can be found elsewhere, as by the id of its trace:
/// `requests.inc(1, quipu::Exemplar{{"trace_id", id}})`. It refers to the caller's texts, and is used up by the call
/// that it is given to. An empty one is none.
///
/// A counter, and each bucket of a histogram, has the newest one that it was given, with its value and the time. It is
/// seen in the formats that have exemplars; Prometheus keeps them if told to (`--enable-feature=exemplar-storage`).
///
/// Names and values may have 128 code points together. A longer one, one with a name that is no label name or is there
/// twice, and one that is not UTF-8 is dropped, and counted in `quipu_dropped_exemplars_total`; what it is an example
/// of is counted all the same. A backslash, a quote or a line feed is legal, but Prometheus shows it as the escape that
/// stands for it in the text formats.
class Exemplar {
 public:
  static constexpr std::size_t max_labels = 8;

  constexpr Exemplar() noexcept = default;
  constexpr Exemplar(std::initializer_list<Label> labels) noexcept {
    for (const Label& label : labels) {
      if (size_ < max_labels) labels_[size_] = label;
      ++size_;
    }
  }

  [[nodiscard]] constexpr bool is_empty() const noexcept { return size_ == 0; }
  /// Whether there were more labels than there is room for; such an exemplar is dropped as too long.
  [[nodiscard]] constexpr bool has_too_many_labels() const noexcept { return size_ > max_labels; }
  /// At most `max_labels`.
  [[nodiscard]] constexpr Labels labels() const noexcept {
    return Labels(labels_).first(size_ < max_labels ? size_ : max_labels);
  }

 private:
  std::array<Label, max_labels> labels_{};
  std::size_t size_ = 0;
};

/// Makes an exemplar when one is wanted: `requests.inc(1, [&] { return quipu::Exemplar{{"trace_id", span.id()}}; })`.
/// Called if the series (or the bucket) has had no new one for an interval, a second unless set, so that what it costs
/// to make one is paid now and then. The texts it refers to outlive the call of `make`, and so are not made inside it.
/// It may return an empty one, and will be called again the next time. What it throws is not caught, but comes after
/// the recording was counted.
template <class Make>
concept ExemplarMaker = std::is_invocable_r_v<Exemplar, Make&>;

/// How long a series (or a bucket) does with an exemplar before it asks an ExemplarMaker for another; 1 s unless set, 0
/// for no wait. For the whole process. Thread-safe.
QUIPU_EXPORT void set_exemplar_interval(std::chrono::milliseconds interval) noexcept;

}  // namespace quipu
