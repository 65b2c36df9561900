#pragma once

namespace quipu::detail {

/// False, for the static_assert in a function that is there only to be chosen for wrong arguments. Its text is the
/// first error that the compiler reports, and says what to do.
template <class...>
inline constexpr bool misuse = false;

}  // namespace quipu::detail
