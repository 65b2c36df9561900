#include "base/printable.hpp"

#include <fmt/format.h>

#include "base/utf8.hpp"

namespace quipu::detail {

std::string printable(std::string_view text, std::size_t max_size) {
  const bool is_long = text.size() > max_size;
  if (is_long) {
    text = text.substr(0, max_size);
    while (!text.empty() && continues_code_point(text.back())) text.remove_suffix(1);
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0U) text.remove_suffix(1);
  }
  const bool has_all = is_utf8(text);
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !has_all)) {
      result += fmt::format("\\x{:02X}", byte);
    } else {
      result += c;
    }
  }
  return is_long ? result + "…" : result;
}

}  // namespace quipu::detail
