#include "text_encoder.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace quipu::detail {

// Texts of a few bytes are most of a page, so they are copied and looked through a word at a time, without calls. A
// word is always stored whole; the next piece goes over what is beyond the end.
namespace {

constexpr std::size_t word = sizeof(std::uint64_t);

/// The first `size` bytes, at most a word, and zeros.
std::uint64_t load(const char* from, std::size_t size) noexcept {
  std::uint64_t loaded = 0;
  if (size >= word) {
    std::memcpy(&loaded, from, word);
  } else if (size >= word / 2) {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::memcpy(&first, from, sizeof first);
    std::memcpy(&last, from + size - sizeof last, sizeof last);
    loaded = first | std::uint64_t{last} << (8 * (size - sizeof last));
  } else {
    for (std::size_t i = 0; i < size; ++i) loaded |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
  }
  return loaded;
}

/// Not 0 if one of the bytes is `c`.
constexpr std::uint64_t find(std::uint64_t bytes, char c) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101u;
  const std::uint64_t zero_where_equal = bytes ^ (ones * static_cast<unsigned char>(c));
  return (zero_where_equal - ones) & ~zero_where_equal & (ones << 7);
}

}  // namespace

void Pieces::flush() {
  page_.append(buffer_, end_);
  end_ = buffer_;
}

void Pieces::put(std::string_view text) {
  for (; text.size() > longest; text.remove_prefix(longest)) put(text.substr(0, longest));
  make_room(text.size() + word);
  const char* from = text.data();
  char* to = end_;
  std::size_t left = text.size();
  for (; left > word; from += word, to += word, left -= word) std::memcpy(to, from, word);
  const std::uint64_t last = load(from, left);
  std::memcpy(to, &last, word);
  end_ = to + left;
}

void Pieces::put_escaped(std::string_view text, char quote) {
  for (; text.size() > longest; text.remove_prefix(longest)) put_escaped(text.substr(0, longest), quote);
  make_room(2 * text.size() + word);
  const char* from = text.data();
  char* to = end_;
  for (std::size_t left = text.size(); left != 0;) {
    const std::size_t size = std::min(left, word);
    const std::uint64_t bytes = load(from, size);
    if ((find(bytes, '\\') | find(bytes, '\n') | find(bytes, quote)) == 0) [[likely]] {
      std::memcpy(to, &bytes, word);
      to += size;
    } else {
      for (const char c : std::string_view(from, size)) {
        if (c == '\\' || c == '\n' || c == quote) *to++ = '\\';
        *to++ = c == '\n' ? 'n' : c;
      }
    }
    from += size;
    left -= size;
  }
  end_ = to;
}

void Pieces::put(std::uint64_t whole) {
  constexpr std::size_t most = 20;
  make_room(most);
  end_ = std::to_chars(end_, end_ + most, whole).ptr;
}

void Pieces::put(double real) {
  if (std::isnan(real)) return put("NaN");
  if (std::isinf(real)) return put(real > 0 ? "+Inf" : "-Inf");
  constexpr std::size_t most = 32;
  make_room(most);
  real += 0.0;  // -0 becomes 0
  end_ = std::to_chars(end_, end_ + most, real, std::chars_format::general).ptr;
}

void TextEncoder::family(const FamilyView& family) {
  name_ = family.name;
  before_value_.clear();
  bucket_ends_.clear();
  if (!family.help.empty()) {
    page_.put("# HELP ");
    page_.put(name_);
    page_.put(' ');
    page_.put_help(family.help);
    page_.put('\n');
  }
  page_.put("# TYPE ");
  page_.put(name_);
  page_.put(' ');
  page_.put(to_string(family.kind));
  page_.put('\n');
}

void TextEncoder::prepare_labels(Labels labels) {
  if (before_value_.size() == labels.size()) return;
  for (const Label& label : labels) {
    std::string& before = before_value_.emplace_back(before_value_.empty() ? "{" : "\",");
    before += label.name;
    before += "=\"";
  }
}

/// All labels, with the last value's quote and the brace left open.
void TextEncoder::put_labels(Pieces& to, Labels labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    to.put(before_value_[i]);
    to.put_label_value(labels[i].value);
  }
}

void TextEncoder::sample(const Sample& sample) {
  prepare_labels(sample.labels);
  page_.put(name_);
  put_labels(page_, sample.labels);
  page_.put(sample.labels.empty() ? " " : "\"} ");
  if (sample.value.is_whole()) {
    page_.put(sample.value.whole());
  } else {
    page_.put(sample.value.real());
  }
  page_.put('\n');
}

void TextEncoder::histogram(const HistogramSample& sample) {
  prepare_labels(sample.labels);
  if (bucket_ends_.empty()) prepare_bucket_ends(sample);
  // The same on all lines, so they are put together once.
  labels_.clear();
  Pieces labels(labels_);
  put_labels(labels, sample.labels);
  labels.flush();

  std::uint64_t count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    count += sample.counts[i];
    put_line("_bucket", bucket_ends_[i]);
    page_.put(count);
    page_.put('\n');
  }
  const std::string_view end = sample.labels.empty() ? " " : "\"} ";
  put_line("_sum", end);
  page_.put(sample.sum);
  page_.put('\n');
  put_line("_count", end);
  page_.put(count);
  page_.put('\n');
}

void TextEncoder::prepare_bucket_ends(const HistogramSample& sample) {
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    Pieces end(bucket_ends_.emplace_back());
    end.put(sample.labels.empty() ? "{le=\"" : "\",le=\"");
    end.put(i < sample.bounds.size() ? sample.bounds[i] : INFINITY);
    end.put("\"} ");
    end.flush();
  }
}

/// A line of a histogram, up to the value.
void TextEncoder::put_line(std::string_view suffix, std::string_view end) {
  page_.put(name_);
  page_.put(suffix);
  page_.put(labels_);
  page_.put(end);
}

}  // namespace quipu::detail
