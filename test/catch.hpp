#pragma once

// Catch2, version 3 or 2. Tests include this file alone, and use what both versions have.

#if __has_include(<catch2/catch_all.hpp>)

#include <catch2/catch_all.hpp>

using Catch::Approx;

#else

#include <catch2/catch.hpp>

namespace Catch::Matchers {

/// The name that version 3 has for what version 2 calls Contains.
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }

}  // namespace Catch::Matchers

#endif
