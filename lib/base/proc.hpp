#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quipu::detail {

// Reading of Linux' /proc, where files are made when they are read, and are text in words and lines.

/// Empty if it cannot be read to its end.
[[nodiscard]] std::string read_file(const std::string& path);

/// Takes the text up to `separator` from the front of `rest`.
std::string_view take_until(std::string_view& rest, char separator) noexcept;
/// Takes the next word, which is empty at the end.
std::string_view take_word(std::string_view& rest) noexcept;
[[nodiscard]] std::optional<std::uint64_t> to_number(std::string_view word) noexcept;

/// A number of /proc/self/stat, by its place in proc(5), which counts from 1.
[[nodiscard]] std::optional<std::uint64_t> stat_field(std::string_view stat, int place) noexcept;

}  // namespace quipu::detail
