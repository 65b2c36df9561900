#include "base/text.hpp"

#include <cstddef>

namespace quipu::detail {

std::string to_lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = to_lower(c);
  return result;
}

std::string_view take_until_unquoted(std::string_view& text, char separator) noexcept {
  bool is_quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (is_quoted || text[end] != separator); ++end) {
    if (text[end] == '"') is_quoted = !is_quoted;
    if (is_quoted && text[end] == '\\') ++end;
  }
  end = std::min(end, text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

double parse_quality(std::string_view text) noexcept {
  if (text.find_first_not_of("0123456789.") != text.npos) return 0;
  return std::min(to_number<double>(text).value_or(0), 1.0);
}

}  // namespace quipu::detail
