#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quipu::detail {

// Reading of Linux' /proc. Its files are made when they are read, and hold text in words and lines.

/// The whole file; empty if it cannot be read to its end.
[[nodiscard]] std::string read_file(const std::string& path);

/// Removes the next word from `rest` and returns it. It is empty at the end.
std::string_view take_word(std::string_view& rest) noexcept;

/// A number of /proc/self/stat, by its place in proc(5), which counts from 1.
[[nodiscard]] std::optional<std::uint64_t> stat_field(std::string_view stat, int place) noexcept;

}  // namespace quipu::detail
