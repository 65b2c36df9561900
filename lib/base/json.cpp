#include "base/json.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <iterator>

#include "quipu/detail/base/utf8.hpp"

namespace quipu::detail {
namespace {

/// Appends a character of one byte.
void append_escaped(std::string& out, char c) {
  constexpr std::string_view special = "\"\\\b\f\n\r\t";
  constexpr std::string_view letters = "\"\\bfnrt";
  constexpr std::string_view digits = "0123456789abcdef";
  if (const auto at = special.find(c); at != special.npos) {
    out += {'\\', letters[at]};
  } else if (const auto code = static_cast<unsigned char>(c); code < 0x20) {
    out += {'\\', 'u', '0', '0', digits[code / 16], digits[code % 16]};
  } else {
    out += c;
  }
}

}  // namespace

void append_json_text(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    if (!part.is_valid) {
      out += "\xEF\xBF\xBD";
    } else if (part.size == 1) {
      append_escaped(out, text.front());
    } else {
      out += text.substr(0, part.size);
    }
    text.remove_prefix(part.size);
  }
  out += '"';
}

void append_json_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

void append_json_time(std::string& out, std::chrono::system_clock::time_point time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(ms);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(ms - day);
  fmt::format_to(std::back_inserter(out), "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\"",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                 clock.hours().count(), clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

}  // namespace quipu::detail
