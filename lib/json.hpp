#pragma once

#include <string>
#include <string_view>

namespace quipu::detail {

/// `text` as a string of JSON, in its quotes. What is not UTF-8 gets U+FFFD.
[[nodiscard]] std::string json_text(std::string_view text);
void append_json_text(std::string& out, std::string_view text);

/// The shortest text that reads back as `number`; null for what is not finite, which JSON has no number for.
void append_json_number(std::string& out, double number);

}  // namespace quipu::detail
