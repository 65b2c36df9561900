#pragma once

#include <string_view>

namespace quipu {

namespace detail {

// Each file has its own, because files may be compiled by different compilers.
#define QUIPU_TEXT_OF(x) #x
#define QUIPU_TEXT(x) QUIPU_TEXT_OF(x)
#if defined(__clang__)
constexpr std::string_view compiler =
    "clang " QUIPU_TEXT(__clang_major__) "." QUIPU_TEXT(__clang_minor__) "." QUIPU_TEXT(__clang_patchlevel__);
#elif defined(__GNUC__)
constexpr std::string_view compiler =
    "gcc " QUIPU_TEXT(__GNUC__) "." QUIPU_TEXT(__GNUC_MINOR__) "." QUIPU_TEXT(__GNUC_PATCHLEVEL__);
#else
constexpr std::string_view compiler = "unknown";
#endif
#undef QUIPU_TEXT
#undef QUIPU_TEXT_OF

}  // namespace detail

/// What is running, for `build_info{version,revision,compiler}`, which is always 1: joined to other series by
/// `* on (instance) group_left (version) shop_build_info`, it says which build their numbers are of. Any text.
struct BuildInfo {
  /// Of the program. Without one there is no build_info on the page.
  std::string_view version = {};
  /// Of its source, as the version control system names it.
  std::string_view revision = {};
  /// What compiled the file that says this.
  std::string_view compiler = detail::compiler;
};

}  // namespace quipu
