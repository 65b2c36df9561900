#include "family/escaping.hpp"

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "base/utf8.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {
namespace {

void append_escaped(std::string& to, std::uint32_t code_point, Escaping escaping) {
  switch (escaping) {
    case Escaping::underscores:
      to += '_';
      break;
    case Escaping::dots:
      to += code_point == '.' ? "_dot_" : "__";
      break;
    case Escaping::values: {
      char digits[8];
      const char* end = std::to_chars(digits, digits + sizeof digits, code_point, 16).ptr;
      to.append("_").append(static_cast<const char*>(digits), end).append("_");
      break;
    }
    case Escaping::allow_utf8:
      break;
  }
}

std::string escape(std::string_view name, Escaping escaping, bool has_colons) {
  const std::string valid = to_utf8(name);
  std::string result = escaping == Escaping::values ? "U__" : "";
  for (std::string_view left = valid; !left.empty();) {
    const bool is_first = left.size() == valid.size();
    const char c = left.front();
    const bool is_legacy = is_letter(c) || (is_digit(c) && !is_first) || (c == ':' && has_colons);
    const std::uint32_t code_point = take_code_point(left);
    if (!is_legacy) {
      append_escaped(result, code_point, escaping);
    } else if (c == '_' && escaping != Escaping::underscores) {
      result += "__";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string escape_metric_name(std::string_view name, Escaping escaping) {
  if (escaping == Escaping::allow_utf8 || is_metric_name(name)) return std::string(name);
  return escape(name, escaping, true);
}

std::string escape_label_name(std::string_view name, Escaping escaping) {
  if (escaping == Escaping::allow_utf8 || is_legacy_label_name(name)) return std::string(name);
  return escape(name, escaping, false);
}

}  // namespace quipu::detail
