#include "base/utf8.hpp"

#include <bit>

namespace quipu::detail {

std::uint32_t take_code_point(std::string_view& text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const auto size = lead < 0x80 ? std::size_t{1} : static_cast<std::size_t>(std::countl_one(lead));
  std::uint32_t code_point = size == 1 ? lead : lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) code_point = code_point << 6 | (byte(i) & 0x3Fu);
  text.remove_prefix(size);
  return code_point;
}

std::string to_utf8(std::string_view text, std::size_t max_size) {
  std::string result;
  result.reserve(std::min(text.size(), max_size));
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    const std::string_view valid = part.is_valid ? text.substr(0, part.size) : replacement;
    if (valid.size() > max_size - result.size()) break;
    result += valid;
    text.remove_prefix(part.size);
  }
  return result;
}

}  // namespace quipu::detail
