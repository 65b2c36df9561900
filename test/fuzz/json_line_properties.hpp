#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "base/utf8.hpp"
#include "fuzz/recordings.hpp"
#include "quipu/recorder.hpp"

// What holds for any recordings as JSON lines.

namespace json_line_properties {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads one object by the grammar of RFC 8259. Its names are in their order, and those of an object inside it have a
/// '/' before them.
class Reader {
 public:
  using Members = std::vector<std::pair<std::string, std::string>>;

  explicit Reader(std::string_view text) : rest_(text) {}

  Members object() {
    read_object("");
    if (!rest_.empty()) throw Error("something follows the object");
    return std::move(members_);
  }

 private:
  [[nodiscard]] bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void require(std::string_view token) {
    if (!take(token)) throw Error("expected " + std::string(token));
  }

  void read_object(const std::string& prefix) {
    require("{");
    if (take("}")) return;
    do {
      const std::string name = prefix + text();
      require(":");
      if (rest_.starts_with('{')) {
        read_object("/");
      } else {
        members_.emplace_back(name, rest_.starts_with('"') ? text() : number());
      }
    } while (take(","));
    require("}");
  }

  std::string number() {
    if (take("null")) return "null";
    const std::string_view all = rest_;
    static_cast<void>(take("-"));
    if (!take("0") && digits() == 0) throw Error("a number without digits");
    if (take(".") && digits() == 0) throw Error("a point without digits");
    if (take("e") || take("E")) {
      if (!take("+")) static_cast<void>(take("-"));
      if (digits() == 0) throw Error("an exponent without digits");
    }
    return std::string(all.substr(0, all.size() - rest_.size()));
  }
  std::size_t digits() {
    std::size_t count = 0;
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; ++count) rest_.remove_prefix(1);
    return count;
  }

  std::string text() {
    require("\"");
    std::string result;
    while (!take("\"")) {
      if (rest_.empty()) throw Error("a text without an end");
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (static_cast<unsigned char>(c) < 0x20) throw Error("a control character");
      result += c == '\\' ? escaped() : c;
    }
    return result;
  }
  char escaped() {
    static constexpr std::string_view letters = "\"\\/bfnrt";
    static constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    if (take("u00")) {
      const std::string_view code = rest_.substr(0, 2);
      unsigned value = 0;
      for (const char c : code) {
        const auto digit = std::string_view("0123456789abcdef").find(c);
        if (digit == std::string_view::npos) throw Error("a code that is not hexadecimal");
        value = value * 16 + static_cast<unsigned>(digit);
      }
      if (code.size() < 2 || value >= 0x20) throw Error("a code of no control character");
      rest_.remove_prefix(2);
      return static_cast<char>(value);
    }
    const auto at = rest_.empty() ? letters.npos : letters.find(rest_.front());
    if (at == letters.npos) throw Error("an escape that is none");
    rest_.remove_prefix(1);
    return meanings[at];
  }

  std::string_view rest_;
  Members members_;
};

inline std::string check_line(std::string_view line, const recordings::Recording& recording) try {
  using quipu::detail::to_utf8;
  if (!line.ends_with('\n') || line.find('\n') != line.size() - 1) return "not one line";
  line.remove_suffix(1);
  if (!quipu::detail::is_utf8(line)) return "not UTF-8";
  const auto members = Reader(line).object();
  if (members.size() != 4 + recording.labels.size()) return "not as many members as there should be";
  static constexpr std::string_view kinds[] = {"increment", "gauge", "histogram", "time"};
  static constexpr std::string_view values[] = {"step", "value", "value", "seconds"};
  const auto kind = static_cast<std::size_t>(recording.kind);
  if (members[1] != std::pair(std::string("kind"), std::string(kinds[kind]))) return "another kind";
  if (members[2] != std::pair(std::string("name"), to_utf8(recording.name))) return "another name";
  const auto& [value_name, value] = members[3];
  if (value_name != values[kind]) return "another name of the value";
  if (recording.kind == recordings::Kind::increment) {
    const bool is_same = recording.step.is_whole() ? value == std::to_string(recording.step.whole())
                                                   : quipu::detail::to_number<double>(value) == recording.step.real();
    if (!is_same) return "another step";
  } else if (!std::isfinite(recording.value)) {
    if (recording.kind != recordings::Kind::time && value != "null") return "not null";
  } else if (recording.kind != recordings::Kind::time) {
    if (quipu::detail::to_number<double>(value) != recording.value) return "another value";
  }
  for (std::size_t i = 0; i < recording.labels.size(); ++i) {
    const auto& [shown_name, shown] = members[4 + i];
    const auto& [label_name, label_value] = recording.labels[i];
    // A long value may be cut.
    constexpr std::size_t limit = 1024;
    const std::string text = to_utf8(label_value);
    const bool is_cut = text.size() > limit && shown.size() <= limit && shown.size() + 4 > limit;
    if (shown_name != '/' + to_utf8(label_name)) return "another name of a label";
    if (is_cut ? !text.starts_with(shown) : shown != text) return "another value of a label";
  }
  return "";
} catch (const Error& error) {
  return error.what();
}

/// What is wrong with the lines of the recordings that the bytes make, or nothing.
inline std::string check(std::string_view data) {
  std::vector<std::string> lines;
  const auto backend =
      std::make_shared<quipu::JsonRecorder>([&lines](std::string_view line) { lines.emplace_back(line); });
  const auto made = recordings::recordings_of(data);
  for (const auto& recording : made) recordings::record(*backend, recording);
  if (lines.size() != made.size()) return "not a line for each recording";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (std::string wrong = check_line(lines[i], made[i]); !wrong.empty()) return wrong + ": " + lines[i];
  }
  return "";
}

}  // namespace json_line_properties
