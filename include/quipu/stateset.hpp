#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "quipu/detail/cells/rejection.hpp"
#include "quipu/detail/cells/state_cells.hpp"
#include "quipu/label.hpp"

namespace quipu {

namespace detail {

template <class Instrument>
struct InstrumentTraits;

/// Whether no two states have the same name.
template <class State>
constexpr bool has_distinct_names() {
  const auto& names = EnumNames<State>::names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (names[i] == names[j]) return false;
    }
  }
  return true;
}

}  // namespace detail

/// Which states something is in: exactly one (`set`), or any of them (`enable`). `State` is an enum with at most 64
/// names, which are those of labels (see EnumLabels). The page has a series for each state, which is 1 or 0.
///
/// A handle like Counter, with the same promises. Thread-safe. A scrape sees all states of one moment: if only `set` is
/// used, exactly one of them is 1 at any time.
template <class State>
class StateSet {
 public:
  static_assert(std::is_enum_v<State>, "quipu: the states of a StateSet are an enum");
  static_assert(detail::EnumNames<State>::names.size() >= 1 && detail::EnumNames<State>::names.size() <= 64,
                "quipu: a StateSet has 1 to 64 states, with names as enum labels have them: see quipu::EnumLabels");
  static_assert(detail::has_distinct_names<State>(), "quipu: two states of a StateSet have the same name");

  StateSet() noexcept = default;

  /// This state and no other. A value without a name changes nothing, and counts as a rejected recording.
  void set(State state) const noexcept {
    if (is_known(state)) detail::set_states(ref_, bit(state));
  }

  /// Turns this state on or off; the others stay as they are. A value without a name, as above.
  void enable(State state, bool is_in = true) const noexcept {
    if (is_known(state)) detail::switch_states(ref_, bit(state), is_in);
  }

  /// Whether this state is on now; false if the series is gone.
  [[nodiscard]] bool is_in(State state) const noexcept {
    return index(state) < size && (detail::read_states(ref_) & bit(state)) != 0;
  }

  friend bool operator==(const StateSet&, const StateSet&) = default;

  /// How many states there are.
  static constexpr std::size_t size = detail::EnumNames<State>::names.size();

 private:
  friend detail::InstrumentTraits<StateSet>;
  explicit StateSet(detail::CellRef ref) noexcept : ref_(ref) {}

  static constexpr std::uint64_t index(State state) noexcept { return static_cast<std::uint64_t>(state); }
  static constexpr std::uint64_t bit(State state) noexcept { return std::uint64_t{1} << index(state); }
  static bool is_known(State state) noexcept {
    if (index(state) < size) [[likely]] {
      return true;
    }
    detail::reject(detail::Rejection::unknown_state);
    return false;
  }

  detail::CellRef ref_;
};

}  // namespace quipu
