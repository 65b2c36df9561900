#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/sample.hpp"

namespace quipu::detail {

inline constexpr std::string_view text_content_type = "text/plain; version=0.0.4; charset=utf-8";

/// Text that is put together from many short pieces, in a buffer of its own, and appended to a string when that is
/// full.
class Pieces {
 public:
  explicit Pieces(std::string& page) : page_(page) {}

  void put(char c) {
    make_room(1);
    *end_++ = c;
  }
  void put(std::string_view text);
  /// With a backslash before backslash, line feed (as n) and, if it is a label value, quote. Everything else stands as
  /// it is.
  void put_help(std::string_view text) { put_escaped(text, '\n'); }
  void put_label_value(std::string_view text) { put_escaped(text, '"'); }
  void put(std::uint64_t whole);
  /// The shortest digits that read back as the same double, in the form that Go's 'g' has.
  void put(double real);

  /// Appends what is in the buffer.
  void flush();

 private:
  static constexpr std::size_t longest = 1024;  // of what is put at once; a longer text goes in parts

  void put_escaped(std::string_view text, char quote);
  void make_room(std::size_t bytes) {
    if (static_cast<std::size_t>(std::end(buffer_) - end_) < bytes) [[unlikely]] {
      flush();
    }
  }

  std::string& page_;
  char buffer_[4096];
  char* end_ = buffer_;
};

/// Writes the Prometheus text exposition format 0.0.4.
/// https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
class TextEncoder final : public Visitor {
 public:
  /// Appends to `page`, whole when `finish()` has been called.
  explicit TextEncoder(std::string& page) : page_(page) {}

  void family(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void finish() { page_.flush(); }

 private:
  void put_labels(Pieces& to, Labels labels);
  void put_line(std::string_view suffix, std::string_view end);
  void prepare_labels(Labels labels);
  void prepare_bucket_ends(const HistogramSample& sample);

  Pieces page_;
  std::string name_;
  /// What stands before each label's value: `{region="` before the first, `",path="` before the others. The same for
  /// all series of a family, so it is made for the first one.
  std::vector<std::string> before_value_;
  std::vector<std::string> bucket_ends_;  // `",le="0.5"} `, likewise
  std::string labels_;                    // of the histogram at hand
};

}  // namespace quipu::detail
