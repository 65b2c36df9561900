#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// Appends `text` as a JSON string (RFC 8259): in quotes, escaped, with U+FFFD for what is not UTF-8.
QUIPU_EXPORT void append_json_text(std::string& out, std::string_view text);

/// The shortest digits that read back as the same double; null for NaN and infinities.
QUIPU_EXPORT void append_json_number(std::string& out, double number);

/// A time as in RFC 3339: in UTC, with milliseconds, in quotes.
QUIPU_EXPORT void append_json_time(std::string& out, std::chrono::system_clock::time_point time);

/// Writes a JSON object. The destructor closes it.
class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  JsonObject(const JsonObject&) = delete;
  JsonObject& operator=(const JsonObject&) = delete;
  ~JsonObject() { out_ += '}'; }

  /// Writes a name. The caller appends the value to the string that is returned.
  std::string& key(std::string_view name) {
    if (!std::exchange(is_first_, false)) out_ += ',';
    append_json_text(out_, name);
    return out_ += ':';
  }
  void add(std::string_view name, std::string_view value) { append_json_text(key(name), value); }
  void add(std::string_view name, double value) { append_json_number(key(name), value); }
  void add(std::string_view name, std::int64_t value) { key(name) += std::to_string(value); }
  void add(std::string_view name, std::uint64_t value) { key(name) += std::to_string(value); }
  void add(std::string_view name, std::same_as<bool> auto value) { key(name) += value ? "true" : "false"; }
  void add(std::string_view name, std::chrono::system_clock::time_point value) { append_json_time(key(name), value); }

 private:
  std::string& out_;
  bool is_first_ = true;
};

}  // namespace quipu::detail
