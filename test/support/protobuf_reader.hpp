#pragma once

// Reads pages in protobuf, for the tests. Made from the table of fields in Prometheus' metrics.proto, and of nothing
// that the encoder is made of: what both agree on is the format. Stricter than a reader should be: a singular field
// that comes twice is an error, and unknown fields are counted.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protobuf {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The fields of one message, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  /// Goes to the next field, if there is one.
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t key = take_varint();
    number_ = key >> 3;
    wire_ = key & 7;
    if (number_ == 0 || number_ >= 1u << 29) throw Error("a field number out of range");
    switch (wire_) {
      case 0:
        varint_ = take_varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(take_varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        throw Error("a wire type that is none, or a group");
    }
    return true;
  }

  [[nodiscard]] std::uint64_t number() const { return number_; }
  [[nodiscard]] bool has_length() const { return wire_ == 2; }

  [[nodiscard]] std::uint64_t varint() const {
    if (wire_ != 0) throw Error("a varint with another wire type");
    return varint_;
  }
  [[nodiscard]] std::int64_t zigzag() const { return from_zigzag(varint()); }
  [[nodiscard]] double real() const {
    if (wire_ != 1) throw Error("a double with another wire type");
    std::uint64_t bits = 0;
    for (std::size_t i = 8; i-- > 0;) bits = bits << 8 | static_cast<unsigned char>(bytes_[i]);
    return std::bit_cast<double>(bits);
  }
  [[nodiscard]] std::string_view bytes() const {
    if (wire_ != 2) throw Error("a text or message with another wire type");
    return bytes_;
  }

  /// A varint that stands for itself, as in the lengths of messages and in packed fields.
  std::uint64_t take_varint() {
    std::uint64_t result = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (shift > 63) throw Error("a varint of more than ten bytes");
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      if (shift == 63 && byte > 1) throw Error("a varint of more than 64 bits");
      result |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return result;
    }
  }
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) throw Error("cut off");
    const std::string_view result = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return result;
  }
  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }

  static std::int64_t from_zigzag(std::uint64_t number) {
    return static_cast<std::int64_t>(number >> 1) ^ -static_cast<std::int64_t>(number & 1);
  }

 private:
  std::string_view rest_;
  std::uint64_t number_ = 0;
  std::uint64_t wire_ = 0;
  std::uint64_t varint_ = 0;
  std::string_view bytes_;
};

using LabelPairs = std::vector<std::pair<std::string, std::string>>;

struct Timestamp {
  std::int64_t seconds = 0;
  std::int64_t nanos = 0;

  friend bool operator==(const Timestamp&, const Timestamp&) = default;
};

struct Exemplar {
  LabelPairs labels;
  std::optional<double> value;
  std::optional<Timestamp> timestamp;

  friend bool operator==(const Exemplar&, const Exemplar&) = default;
};

struct Bucket {
  std::optional<std::uint64_t> cumulative_count;
  std::optional<double> upper_bound;
  std::optional<Exemplar> exemplar;
};

struct Span {
  std::int64_t offset = 0;
  std::uint64_t length = 0;

  friend bool operator==(const Span&, const Span&) = default;
};

struct Gauge {
  std::optional<double> value;
};

struct Counter {
  std::optional<double> value;
  std::optional<Exemplar> exemplar;
  std::optional<Timestamp> created;
};

struct Quantile {
  std::optional<double> quantile;
  std::optional<double> value;

  friend bool operator==(const Quantile&, const Quantile&) = default;
};

struct Summary {
  std::optional<std::uint64_t> count;
  std::optional<double> sum;
  std::vector<Quantile> quantiles;
  std::optional<Timestamp> created;
};

struct Histogram {
  std::optional<std::uint64_t> count;
  std::optional<double> sum;
  std::vector<Bucket> buckets;
  std::optional<std::int64_t> schema;
  std::optional<double> zero_threshold;
  std::optional<std::uint64_t> zero_count;
  std::vector<Span> negative_spans;
  std::vector<std::int64_t> negative_deltas;
  std::vector<Span> positive_spans;
  std::vector<std::int64_t> positive_deltas;
  std::optional<Timestamp> created;
  std::vector<Exemplar> exemplars;
};

struct Metric {
  LabelPairs labels;
  std::optional<Gauge> gauge;
  std::optional<Counter> counter;
  std::optional<Histogram> histogram;
  std::optional<Summary> summary;
  std::optional<Gauge> untyped;
  std::optional<std::int64_t> timestamp_ms;
};

enum Type : std::uint64_t { counter = 0, gauge = 1, summary = 2, untyped = 3, histogram = 4, gauge_histogram = 5 };

struct Family {
  std::optional<std::string> name;
  std::optional<std::string> help;
  std::optional<std::uint64_t> type;
  std::optional<std::string> unit;
  std::vector<Metric> metrics;
  std::size_t size = 0;  // of the message
};

/// Counts what it does not know.
class Reader {
 public:
  std::vector<Family> page(std::string_view body) {
    std::vector<Family> result;
    for (Fields messages(body); !messages.is_at_end();) {
      const std::string_view message = messages.take(messages.take_varint());
      result.push_back(family(message));
      result.back().size = message.size();
    }
    return result;
  }

  std::size_t unknown = 0;

 private:
  template <class T>
  static void once(std::optional<T>& field, T value) {
    if (field) throw Error("a singular field that comes twice");
    field = std::move(value);
  }

  using Known = std::initializer_list<std::pair<std::uint64_t, std::function<void(const Fields&)>>>;

  /// Gives each field of a message to the function of its number.
  void read(std::string_view message, Known known) {
    for (Fields field(message); field.next();) {
      const auto* const found = std::ranges::find(known, field.number(), [](const auto& entry) { return entry.first; });
      if (found == known.end()) {
        ++unknown;
      } else {
        found->second(field);
      }
    }
  }

  Family family(std::string_view message) {
    Family result;
    read(message, {{1, [&](const Fields& field) { once(result.name, std::string(field.bytes())); }},
                   {2, [&](const Fields& field) { once(result.help, std::string(field.bytes())); }},
                   {3, [&](const Fields& field) { once(result.type, field.varint()); }},
                   {4, [&](const Fields& field) { result.metrics.push_back(metric(field.bytes())); }},
                   {5, [&](const Fields& field) { once(result.unit, std::string(field.bytes())); }}});
    return result;
  }

  Metric metric(std::string_view message) {
    Metric result;
    read(message,
         {{1, [&](const Fields& field) { result.labels.push_back(label(field.bytes())); }},
          {2, [&](const Fields& field) { once(result.gauge, gauge(field.bytes())); }},
          {3, [&](const Fields& field) { once(result.counter, counter(field.bytes())); }},
          {4, [&](const Fields& field) { once(result.summary, summary(field.bytes())); }},
          {5, [&](const Fields& field) { once(result.untyped, gauge(field.bytes())); }},
          {6, [&](const Fields& field) { once(result.timestamp_ms, static_cast<std::int64_t>(field.varint())); }},
          {7, [&](const Fields& field) { once(result.histogram, histogram(field.bytes())); }}});
    return result;
  }

  std::pair<std::string, std::string> label(std::string_view message) {
    std::optional<std::string> name;
    std::optional<std::string> value;
    read(message, {{1, [&](const Fields& field) { once(name, std::string(field.bytes())); }},
                   {2, [&](const Fields& field) { once(value, std::string(field.bytes())); }}});
    if (!name || !value) throw Error("a label without a name or a value");
    return {*name, *value};
  }

  Gauge gauge(std::string_view message) {
    Gauge result;
    read(message, {{1, [&](const Fields& field) { once(result.value, field.real()); }}});
    return result;
  }

  Counter counter(std::string_view message) {
    Counter result;
    read(message, {{1, [&](const Fields& field) { once(result.value, field.real()); }},
                   {2, [&](const Fields& field) { once(result.exemplar, exemplar(field.bytes())); }},
                   {3, [&](const Fields& field) { once(result.created, timestamp(field.bytes())); }}});
    return result;
  }

  Summary summary(std::string_view message) {
    Summary result;
    read(message, {{1, [&](const Fields& field) { once(result.count, field.varint()); }},
                   {2, [&](const Fields& field) { once(result.sum, field.real()); }},
                   {3, [&](const Fields& field) { result.quantiles.push_back(quantile(field.bytes())); }},
                   {4, [&](const Fields& field) { once(result.created, timestamp(field.bytes())); }}});
    return result;
  }

  Quantile quantile(std::string_view message) {
    Quantile result;
    read(message, {{1, [&](const Fields& field) { once(result.quantile, field.real()); }},
                   {2, [&](const Fields& field) { once(result.value, field.real()); }}});
    return result;
  }

  Histogram histogram(std::string_view message) {
    Histogram result;
    read(message, {{1, [&](const Fields& field) { once(result.count, field.varint()); }},
                   {2, [&](const Fields& field) { once(result.sum, field.real()); }},
                   {3, [&](const Fields& field) { result.buckets.push_back(bucket(field.bytes())); }},
                   {5, [&](const Fields& field) { once(result.schema, field.zigzag()); }},
                   {6, [&](const Fields& field) { once(result.zero_threshold, field.real()); }},
                   {7, [&](const Fields& field) { once(result.zero_count, field.varint()); }},
                   {9, [&](const Fields& field) { result.negative_spans.push_back(span(field.bytes())); }},
                   {10, [&](const Fields& field) { add_deltas(result.negative_deltas, field); }},
                   {12, [&](const Fields& field) { result.positive_spans.push_back(span(field.bytes())); }},
                   {13, [&](const Fields& field) { add_deltas(result.positive_deltas, field); }},
                   {15, [&](const Fields& field) { once(result.created, timestamp(field.bytes())); }},
                   {16, [&](const Fields& field) { result.exemplars.push_back(exemplar(field.bytes())); }}});
    return result;
  }

  /// Packed or not.
  static void add_deltas(std::vector<std::int64_t>& deltas, const Fields& field) {
    if (!field.has_length()) {
      deltas.push_back(field.zigzag());
      return;
    }
    for (Fields packed(field.bytes()); !packed.is_at_end();)
      deltas.push_back(Fields::from_zigzag(packed.take_varint()));
  }

  Bucket bucket(std::string_view message) {
    Bucket result;
    read(message, {{1, [&](const Fields& field) { once(result.cumulative_count, field.varint()); }},
                   {2, [&](const Fields& field) { once(result.upper_bound, field.real()); }},
                   {3, [&](const Fields& field) { once(result.exemplar, exemplar(field.bytes())); }}});
    return result;
  }

  Span span(std::string_view message) {
    std::optional<std::int64_t> offset;
    std::optional<std::uint64_t> length;
    read(message, {{1, [&](const Fields& field) { once(offset, field.zigzag()); }},
                   {2, [&](const Fields& field) { once(length, field.varint()); }}});
    if (offset.value_or(0) < INT32_MIN || offset.value_or(0) > INT32_MAX || length.value_or(0) > UINT32_MAX) {
      throw Error("a span beyond 32 bits");
    }
    return {offset.value_or(0), length.value_or(0)};
  }

  Exemplar exemplar(std::string_view message) {
    Exemplar result;
    read(message, {{1, [&](const Fields& field) { result.labels.push_back(label(field.bytes())); }},
                   {2, [&](const Fields& field) { once(result.value, field.real()); }},
                   {3, [&](const Fields& field) { once(result.timestamp, timestamp(field.bytes())); }}});
    return result;
  }

  Timestamp timestamp(std::string_view message) {
    std::optional<std::uint64_t> seconds;
    std::optional<std::uint64_t> nanos;
    read(message, {{1, [&](const Fields& field) { once(seconds, field.varint()); }},
                   {2, [&](const Fields& field) { once(nanos, field.varint()); }}});
    return {static_cast<std::int64_t>(seconds.value_or(0)), static_cast<std::int64_t>(nanos.value_or(0))};
  }
};

}  // namespace protobuf
