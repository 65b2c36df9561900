#include "base/utf8.hpp"

namespace quipu::detail {

std::string to_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    result += part.is_valid ? text.substr(0, part.size) : std::string_view("\xEF\xBF\xBD");
    text.remove_prefix(part.size);
  }
  return result;
}

}  // namespace quipu::detail
