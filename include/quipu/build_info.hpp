#pragma once

#include <string>
#include <string_view>

namespace quipu {

namespace detail {

// With internal linkage, because the files of a program may be compiled by different compilers.
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

/// The labels of `build_info{version,revision,compiler}`, which is always 1. A query can join it to other series, to
/// show from which build their numbers come: `* on (instance) group_left (version) shop_build_info`. Any text.
struct BuildInfo {
  /// The version of the program. If it is empty, there is no build_info on the page.
  std::string version = {};
  /// The revision of the source, as the version control system names it.
  std::string revision = {};
  /// The compiler, by default that of the file in which the BuildInfo is made.
  std::string compiler = std::string(detail::compiler);
};

}  // namespace quipu
