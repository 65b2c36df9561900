#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu {

/// Labels that lead from a counted event to a record of it elsewhere, such as the id of its trace:
/// `requests.inc(1, quipu::Exemplar{{"trace_id", id}})`. The texts stay the caller's, and must live until the call that
/// takes the exemplar returns. An empty exemplar is ignored.
///
/// A counter, and each bucket of a histogram, keeps the newest exemplar that it was given, with its value and the time.
/// OpenMetrics and protobuf show exemplars, the text format does not. Prometheus stores them if told to
/// (`--enable-feature=exemplar-storage`).
///
/// Names and values may have 128 code points together. An exemplar is dropped if it is longer, if a name is not a label
/// name or appears twice, or if a value is not UTF-8. It is then counted in `quipu_dropped_exemplars_total`; the event
/// itself is counted all the same. A backslash, a quote or a line feed is legal, but Prometheus shows it escaped, as in
/// the text formats.
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
  /// Whether it was given more than `max_labels` labels. Such an exemplar is dropped as too long.
  [[nodiscard]] constexpr bool has_too_many_labels() const noexcept { return size_ > max_labels; }
  /// The first `max_labels` at most.
  [[nodiscard]] constexpr Labels labels() const noexcept {
    return Labels(labels_).first(size_ < max_labels ? size_ : max_labels);
  }

 private:
  std::array<Label, max_labels> labels_{};
  std::size_t size_ = 0;
};

/// Where the exemplars of a registry come from: RegistryOptions::exemplars. A lambda that returns the exemplar of what
/// the calling thread is doing, as an Exemplar or a std::optional<Exemplar>:
/// `[] { return trace::is_sampled() ? quipu::Exemplar{{"trace_id", trace::id()}} : quipu::Exemplar(); }`.
///
/// Asked for it are requests (see requests.hpp) and timers when they end, and recordings that are given
/// `current_exemplar`. No other recording knows of it. It is called as an ExemplarMaker is: on the thread that records,
/// without a lock, after the recording was counted, and only if the exemplar of the series (or of the bucket) is due.
/// The texts of the exemplar must live until the call that records returns: they cannot be local to the lambda.
/// An exception that it throws is dropped, and counted in `quipu_dropped_exemplars_total{reason="source_threw"}`.
/// Recordings within it have no exemplar.
///
/// The lambda captures nothing, because handles may outlive the registry, and ask it then. It may be called by several
/// threads at once.
class ExemplarSource {
 public:
  using Function = Exemplar();

  constexpr ExemplarSource() noexcept = default;
  template <class Lambda>
  constexpr ExemplarSource(Lambda) noexcept {
    constexpr bool captures_nothing = std::is_empty_v<Lambda> && std::is_default_constructible_v<Lambda>;
    static_assert(captures_nothing,
                  "quipu: a source of exemplars is a lambda that captures nothing: "
                  "{.exemplars = [] { return current_trace(); }}");
    if constexpr (captures_nothing) {
      constexpr bool returns_exemplar = std::is_invocable_r_v<std::optional<Exemplar>, Lambda>;
      static_assert(returns_exemplar,
                    "quipu: a source of exemplars takes nothing, and returns a quipu::Exemplar or an optional one");
      if constexpr (returns_exemplar) {
        function_ = []() -> Exemplar {
          const std::optional<Exemplar> made = Lambda()();
          return made ? *made : Exemplar();
        };
      }
    }
  }

  /// Null if there is no source.
  [[nodiscard]] constexpr Function* function() const noexcept { return function_; }

 private:
  Function* function_ = nullptr;
};

/// See `current_exemplar`.
struct CurrentExemplar {};
/// Stands for the exemplar that the registry's source makes: `requests.inc(1, quipu::current_exemplar)`. There is none
/// if the registry has no source. Never throws.
inline constexpr CurrentExemplar current_exemplar{};

/// Makes an exemplar on demand: `requests.inc(1, [&] { return quipu::Exemplar{{"trace_id", span.id()}}; })`.
///
/// It is called only if the exemplar of the series (or of the bucket) is older than the interval, a second by default.
/// So most recordings do not pay for making one. The texts of the exemplar must outlive the call of `make`: they cannot
/// be local to it. If it returns an empty exemplar, it is called again at the next recording. It is called after the
/// recording was counted, and its exceptions are passed on to the caller.
///
/// `current_exemplar` is one, too: it asks the source that the registry was given.
template <class Make>
concept ExemplarMaker = std::is_invocable_r_v<Exemplar, Make&> || std::same_as<Make, CurrentExemplar>;

/// How old the exemplar of a series (or of a bucket) must be before an ExemplarMaker is called for another. 1 s by
/// default; 0 for each recording. Holds for the whole process. Thread-safe.
QUIPU_EXPORT void set_exemplar_interval(std::chrono::milliseconds interval) noexcept;

}  // namespace quipu
