#pragma once

#include <string>
#include <string_view>

namespace quipu::detail {

/// `text` as JSON: in quotes, escaped, with U+FFFD for what is not UTF-8 (RFC 8259).
[[nodiscard]] std::string json_text(std::string_view text);
void append_json_text(std::string& out, std::string_view text);

/// The shortest digits that read back as the same double; null for NaN and infinities.
void append_json_number(std::string& out, double number);

}  // namespace quipu::detail
