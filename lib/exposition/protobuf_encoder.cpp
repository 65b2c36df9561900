#include "exposition/protobuf_encoder.hpp"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>

#include "family/escaping.hpp"

namespace quipu::detail {
namespace {

// The encoding (https://protobuf.dev/programming-guides/encoding): a message is a sequence of fields. A key before each
// field gives its number and how its length is known.

enum class Wire : unsigned { varint = 0, fixed64 = 1, length = 2 };

/// One byte holds the numbers up to 15.
constexpr char key(unsigned field, Wire wire) { return static_cast<char>(field << 3 | static_cast<unsigned>(wire)); }

// The messages: the key of each field that is written.

struct MetricFamily {
  static constexpr char name = key(1, Wire::length);
  static constexpr char help = key(2, Wire::length);
  static constexpr char type = key(3, Wire::varint);
  static constexpr char metric = key(4, Wire::length);
  static constexpr char unit = key(5, Wire::length);
};

struct WireType {
  static constexpr std::uint64_t counter = 0;
  static constexpr std::uint64_t gauge = 1;
  static constexpr std::uint64_t summary = 2;
  static constexpr std::uint64_t untyped = 3;
  static constexpr std::uint64_t histogram = 4;
};

struct Metric {
  static constexpr char label = key(1, Wire::length);
  static constexpr char gauge = key(2, Wire::length);
  static constexpr char counter = key(3, Wire::length);
  static constexpr char summary = key(4, Wire::length);
  static constexpr char untyped = key(5, Wire::length);
  static constexpr char timestamp_ms = key(6, Wire::varint);
  static constexpr char histogram = key(7, Wire::length);
};

struct LabelPair {
  static constexpr char name = key(1, Wire::length);
  static constexpr char value = key(2, Wire::length);
};

/// Untyped has the same field.
struct Gauge {
  static constexpr char value = key(1, Wire::fixed64);
};

struct Counter {
  static constexpr char value = key(1, Wire::fixed64);
  static constexpr char exemplar = key(2, Wire::length);
  static constexpr char created_timestamp = key(3, Wire::length);
};

struct Summary {
  static constexpr char sample_count = key(1, Wire::varint);
  static constexpr char sample_sum = key(2, Wire::fixed64);
  static constexpr char quantile = key(3, Wire::length);
  static constexpr char created_timestamp = key(4, Wire::length);
};

struct QuantileValue {
  static constexpr char quantile = key(1, Wire::fixed64);
  static constexpr char value = key(2, Wire::fixed64);
};

struct Histogram {
  static constexpr char sample_count = key(1, Wire::varint);
  static constexpr char sample_sum = key(2, Wire::fixed64);
  static constexpr char bucket = key(3, Wire::length);
  static constexpr char schema = key(5, Wire::varint);
  static constexpr char zero_threshold = key(6, Wire::fixed64);
  static constexpr char zero_count = key(7, Wire::varint);
  static constexpr char negative_span = key(9, Wire::length);
  static constexpr char negative_delta = key(10, Wire::length);
  static constexpr char positive_span = key(12, Wire::length);
  static constexpr char positive_delta = key(13, Wire::length);
  static constexpr char created_timestamp = key(15, Wire::length);
  static constexpr std::string_view exemplars = "\x82\x01";  // 16, Wire::length
};

struct Bucket {
  static constexpr char cumulative_count = key(1, Wire::varint);
  static constexpr char upper_bound = key(2, Wire::fixed64);
  static constexpr char exemplar = key(3, Wire::length);
};

struct BucketSpan {
  static constexpr char offset = key(1, Wire::varint);
  static constexpr char length = key(2, Wire::varint);
};

struct Exemplar {
  static constexpr char label = key(1, Wire::length);
  static constexpr char value = key(2, Wire::fixed64);
  static constexpr char timestamp = key(3, Wire::length);
};

struct Timestamp {
  static constexpr char seconds = key(1, Wire::varint);
  static constexpr char nanos = key(2, Wire::varint);
};

constexpr std::size_t max_varint_size = 10;
constexpr std::size_t double_size = 1 + sizeof(double);                    // with its key
constexpr std::size_t max_timestamp_size = 2 + 2 * (1 + max_varint_size);  // with its key and length

/// Seven bits in each byte.
constexpr std::size_t varint_size(std::uint64_t number) noexcept {
  if (number < 0x80) [[likely]]
    return 1;
  return (static_cast<std::size_t>(std::bit_width(number)) * 9 + 64) / 64;
}

/// The size of a field with a length, including its key.
constexpr std::size_t size_with_length(std::size_t size) noexcept { return 1 + varint_size(size) + size; }

char* put_varint(char* to, std::uint64_t number) noexcept {
  for (; number >= 0x80; number >>= 7) *to++ = static_cast<char>(number | 0x80);
  *to++ = static_cast<char>(number);
  return to;
}

char* put_varint(char* to, char key, std::uint64_t number) noexcept {
  *to++ = key;
  return put_varint(to, number);
}

/// Maps numbers close to zero, of either sign, to small numbers.
constexpr std::uint64_t zigzag(std::int64_t number) noexcept {
  return static_cast<std::uint64_t>(number) << 1 ^ static_cast<std::uint64_t>(number >> 63);
}

char* put_double(char* to, char key, double number) noexcept {
  // Every NaN becomes this one, because Prometheus reads the NaN with the bits 0x7ff0000000000002 as the end of the
  // series.
  constexpr std::uint64_t not_a_number = 0x7ff8000000000001;
  const std::uint64_t bits = std::isnan(number) ? not_a_number : std::bit_cast<std::uint64_t>(number);
  *to++ = key;
  for (std::size_t i = 0; i < sizeof bits; ++i) *to++ = static_cast<char>(bits >> (8 * i));
  return to;
}

/// Takes size_with_length(text.size()).
char* put_text(char* to, char key, std::string_view text) noexcept {
  return detail::put(put_varint(to, key, text.size()), text);
}

/// Takes max_timestamp_size.
char* put_timestamp(char* to, char key, WallTime time) noexcept {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(time - seconds);
  *to++ = key;
  char* const length = to++;
  to = put_varint(to, Timestamp::seconds, static_cast<std::uint64_t>(seconds.time_since_epoch().count()));
  to = put_varint(to, Timestamp::nanos, static_cast<std::uint64_t>(nanos.count()));
  *length = static_cast<char>(to - length - 1);
  return to;
}

void put_text(PageBuffer& buffer, char key, std::string_view text) {
  buffer.end_at(put_text(buffer.reserve(size_with_length(text.size())), key, text));
}

void put_timestamp(PageBuffer& buffer, char key, WallTime time) {
  buffer.end_at(put_timestamp(buffer.reserve(max_timestamp_size), key, time));
}

void put_label(PageBuffer& buffer, char key, std::string_view name, std::string_view value) {
  const std::size_t size = size_with_length(name.size()) + size_with_length(value.size());
  char* to = put_varint(buffer.reserve(size_with_length(size)), key, size);
  to = put_text(to, LabelPair::name, name);
  buffer.end_at(put_text(to, LabelPair::value, value));
}

/// In milliseconds. One before 1970 is a number of ten bytes.
std::uint64_t since_epoch(WallTime time) noexcept {
  return static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

std::uint64_t wire_type(MetricType type) noexcept {
  switch (type) {
    case MetricType::counter:
      return WireType::counter;
    case MetricType::histogram:
      return WireType::histogram;
    case MetricType::summary:
      return WireType::summary;
    case MetricType::unknown:
      return WireType::untyped;
    case MetricType::gauge:
    case MetricType::info:
    case MetricType::stateset:
      break;
  }
  return WireType::gauge;
}

}  // namespace

void ProtobufEncoder::family(const FamilyView& family) {
  end_message();
  message_.clear();
  put_text(message_, MetricFamily::name, escape_metric_name(family.name, escaping_));
  if (!family.help.empty()) put_text(message_, MetricFamily::help, family.help);
  type_ = family.type;
  message_.end_at(put_varint(message_.reserve(2), MetricFamily::type, wire_type(type_)));
  if (!family.unit.empty()) put_text(message_, MetricFamily::unit, family.unit);
  header_size_ = message_.size();
  part(family);
}

void ProtobufEncoder::part(const FamilyView& family) {
  const_labels_ = family.const_labels.size();
  const_pairs_.clear();
  for (const auto& [name, value] : family.const_labels) {
    put_label(const_pairs_, Metric::label, escape_label_name(name, escaping_), value);
  }
  size_around_values_ = const_pairs_.size();
  before_value_.clear();
  for (const std::string& name : family.label_names) {
    value_.clear();
    put_text(value_, LabelPair::name, escape_label_name(name, escaping_));
    before_value_.emplace_back(value_.view()).push_back(LabelPair::value);
    size_around_values_ += 3 + before_value_.back().size();
  }
}

void ProtobufEncoder::sample(const Sample& sample) {
  value_.clear();
  const bool is_counter = type_ == MetricType::counter;
  value_.end_at(
      put_double(value_.reserve(double_size), is_counter ? Counter::value : Gauge::value, sample.value.real()));
  if (is_counter) {
    if (sample.exemplar != nullptr) {
      prepare_exemplar(*sample.exemplar);
      put_text(value_, Counter::exemplar, exemplar_.view());
    }
    if (sample.created) put_timestamp(value_, Counter::created_timestamp, *sample.created);
  }
  const char other = type_ == MetricType::unknown ? Metric::untyped : Metric::gauge;
  put_metric(sample.labels, is_counter ? Metric::counter : other, sample.timestamp);
}

void ProtobufEncoder::histogram(const HistogramSample& sample) {
  value_.clear();
  exemplars_.clear();
  const std::uint64_t count = std::accumulate(sample.counts.begin(), sample.counts.end(), std::uint64_t{0});
  char* to = value_.reserve(1 + max_varint_size + double_size);
  to = put_varint(to, Histogram::sample_count, count);
  value_.end_at(put_double(to, Histogram::sample_sum, sample.sum));

  std::uint64_t cumulative_count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    cumulative_count += sample.counts[i];
    const ExemplarView* exemplar = i < sample.exemplars.size() ? sample.exemplars[i] : nullptr;
    if (i < sample.bounds.size()) {
      put_bucket(cumulative_count, sample.bounds[i], exemplar);
    } else if (exemplar != nullptr) {  // the sample count says what +Inf holds
      put_bucket(cumulative_count, std::numeric_limits<double>::infinity(), exemplar);
    }
  }
  if (sample.native != nullptr) put_native(*sample.native);
  if (sample.created) put_timestamp(value_, Histogram::created_timestamp, *sample.created);
  if (sample.native != nullptr) value_.put(exemplars_.view());
  put_metric(sample.labels, Metric::histogram, sample.timestamp);
}

void ProtobufEncoder::summary(const SummarySample& sample) {
  value_.clear();
  char* to = value_.reserve(1 + max_varint_size + double_size);
  to = put_varint(to, Summary::sample_count, sample.count);
  value_.end_at(put_double(to, Summary::sample_sum, sample.sum));
  for (const auto& [quantile, value] : sample.quantiles) {
    to = value_.reserve(size_with_length(2 * double_size));
    to = put_varint(to, Summary::quantile, 2 * double_size);
    to = put_double(to, QuantileValue::quantile, quantile);
    value_.end_at(put_double(to, QuantileValue::value, value));
  }
  if (sample.created) put_timestamp(value_, Summary::created_timestamp, *sample.created);
  put_metric(sample.labels, Metric::summary, sample.timestamp);
}

void ProtobufEncoder::finish() { end_message(); }

/// Puts one series. Its Counter, Gauge, Histogram, Summary or Untyped is in `value_`.
void ProtobufEncoder::put_metric(Labels labels, char key, const std::optional<WallTime>& timestamp) {
  const Labels own = labels.subspan(const_labels_);
  const std::uint64_t milliseconds = timestamp ? since_epoch(*timestamp) : 0;
  const std::size_t timestamp_size = timestamp ? 1 + varint_size(milliseconds) : 0;
  // The size of the content of a LabelPair.
  const auto pair_size = [](std::string_view before_value, std::string_view value) noexcept {
    return before_value.size() + varint_size(value.size()) + value.size();
  };
  // If the whole is below 128 bytes, so is every part, and each length takes one byte.
  std::size_t size = size_around_values_ + size_with_length(value_.size()) + timestamp_size;
  for (const Label& label : own) size += label.value.size();
  if (size >= 128) {
    size = const_pairs_.size() + size_with_length(value_.size()) + timestamp_size;
    for (std::size_t i = 0; i < own.size(); ++i) size += size_with_length(pair_size(before_value_[i], own[i].value));
  }

  char* to = put_varint(message_.reserve(size_with_length(size)), MetricFamily::metric, size);
  to = detail::put(to, const_pairs_.view());
  for (std::size_t i = 0; i < own.size(); ++i) {
    const std::string_view value = own[i].value;
    to = put_varint(to, Metric::label, pair_size(before_value_[i], value));
    to = detail::put(to, before_value_[i]);
    to = detail::put(put_varint(to, value.size()), value);
  }
  to = put_text(to, key, value_.view());
  if (timestamp) to = put_varint(to, Metric::timestamp_ms, milliseconds);
  message_.end_at(to);
  if (message_.size() >= message_limit) end_message();
}

/// Prepares the exemplar without its key and length, because its key varies.
void ProtobufEncoder::prepare_exemplar(const ExemplarView& exemplar) {
  exemplar_.clear();
  for (const auto& [name, value] : exemplar.labels) {
    put_label(exemplar_, Exemplar::label, escape_label_name(name, escaping_), value);
  }
  exemplar_.end_at(put_double(exemplar_.reserve(double_size), Exemplar::value, exemplar.value));
  put_timestamp(exemplar_, Exemplar::timestamp, exemplar.time);
}

void ProtobufEncoder::put_bucket(std::uint64_t cumulative_count, double upper_bound, const ExemplarView* exemplar) {
  std::size_t size = 1 + varint_size(cumulative_count) + double_size;
  if (exemplar != nullptr) {
    prepare_exemplar(*exemplar);
    size += size_with_length(exemplar_.size());
    exemplars_.put(Histogram::exemplars);
    exemplars_.end_at(put_varint(exemplars_.reserve(max_varint_size), exemplar_.size()));
    exemplars_.put(exemplar_.view());
  }
  char* to = value_.reserve(size_with_length(size));
  to = put_varint(to, Histogram::bucket, size);
  to = put_varint(to, Bucket::cumulative_count, cumulative_count);
  to = put_double(to, Bucket::upper_bound, upper_bound);
  if (exemplar != nullptr) to = put_text(to, Bucket::exemplar, exemplar_.view());
  value_.end_at(to);
}

void ProtobufEncoder::put_native(const NativeBuckets& native) {
  char* to = value_.reserve(2 * (1 + max_varint_size) + double_size);
  to = put_varint(to, Histogram::schema, zigzag(native.schema));
  to = put_double(to, Histogram::zero_threshold, native.zero_threshold);
  value_.end_at(put_varint(to, Histogram::zero_count, native.zero_count));
  put_side(Histogram::negative_span, Histogram::negative_delta, native.negative);
  put_side(Histogram::positive_span, Histogram::positive_delta, native.positive);

  // A reader takes a histogram for native by its content. An empty one has a span without buckets for that.
  const bool has_buckets = !native.positive.empty() || !native.negative.empty();
  if (!has_buckets && native.zero_count == 0 && native.zero_threshold == 0) put_span(Histogram::positive_span, 0, 0);
}

/// Buckets are written as spans of neighbours, followed by the counts of all spans, each as the difference from the one
/// before. A reader walks through the spans with the counts. If there are more counts than the spans have buckets,
/// Prometheus 2.42 runs past the end and crashes. So spans and counts are made in one loop, and a span grows with every
/// count.
void ProtobufEncoder::put_side(char span_key, char delta_key, std::span<const NativeBuckets::Bucket> buckets) {
  if (buckets.empty()) return;
  // Gaps up to this are written as empty buckets, because a span takes more bytes. The Go client has the same limit.
  constexpr std::int64_t longest_filled_gap = 2;

  deltas_.clear();
  std::uint64_t before = 0;
  std::int64_t offset = buckets.front().index;  // of the span: from 0, or from the end of the span before
  std::uint32_t length = 0;
  std::int64_t next = offset;
  const auto put_count = [&](std::uint64_t count) {
    const auto delta = static_cast<std::int64_t>(count - before);
    deltas_.end_at(put_varint(deltas_.reserve(max_varint_size), zigzag(delta)));
    before = count;
    ++length;
    ++next;
  };
  for (const auto& [index, count] : buckets) {
    const std::int64_t gap = index - next;
    if (gap > longest_filled_gap) {
      put_span(span_key, offset, length);
      offset = gap;
      length = 0;
      next = index;
    }
    while (next < index) put_count(0);
    put_count(count);
  }
  put_span(span_key, offset, length);
  put_text(value_, delta_key, deltas_.view());
}

void ProtobufEncoder::put_span(char key, std::int64_t offset, std::uint32_t length) {
  const std::size_t size = 2 + varint_size(zigzag(offset)) + varint_size(length);
  char* to = value_.reserve(size_with_length(size));
  to = put_varint(to, key, size);
  to = put_varint(to, BucketSpan::offset, zigzag(offset));
  value_.end_at(put_varint(to, BucketSpan::length, length));
}

/// Moves the message to the page, and begins another one of the same family.
void ProtobufEncoder::end_message() {
  if (message_.size() == header_size_) return;
  char* to = put_varint(page_.reserve(max_varint_size + message_.size()), message_.size());
  std::memcpy(to, message_.view().data(), message_.size());
  page_.end_at(to + message_.size());
  message_.end_at(message_.view().data() + header_size_);
}

}  // namespace quipu::detail
