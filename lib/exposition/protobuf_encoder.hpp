#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exposition/encoder.hpp"
#include "exposition/format.hpp"
#include "exposition/page_buffer.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// Writes io.prometheus.client.MetricFamily messages, each after its length. This is the only format that has native
/// histograms. https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
///
/// The format has doubles for the values of counters, so whole numbers beyond 2^53 are rounded. It has no type for info
/// and stateset, so these are written as gauges. Names keep their `_total` and `_info`.
class ProtobufEncoder final : public Encoder {
 public:
  /// `page` gets whole messages only, so it is empty until the first family ends.
  ProtobufEncoder(PageBuffer& page, Escaping escaping) : page_(page), escaping_(escaping) {}

  void family(const FamilyView& family) override;
  void part(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void summary(const SummarySample& sample) override;
  void finish() override;

  /// The size of a family, in bytes, from which on it continues in another message with the same name, help, type and
  /// unit.
  ///
  /// A message begins with its length, so a family has to be kept until its end. But a scrape may not take memory for a
  /// million series, and nobody knows at the beginning how many there are. Prometheus merges the series of several
  /// messages of one name into one family (test/exposition/protobuf_scrape.py verifies this). Some other readers put
  /// families into a map by name, where the last message replaces those before it. So the limit is as high as is
  /// possible without a cost: about 1,500 counters or 500 histograms fit into one message. From 256 KiB on, a scrape
  /// takes twice as long, because the system has to clear the memory first.
  static constexpr std::size_t message_limit = std::size_t{128} * 1024;

 private:
  void put_metric(Labels labels, char key, const std::optional<WallTime>& timestamp);
  void prepare_exemplar(const ExemplarView& exemplar);
  void put_bucket(std::uint64_t cumulative_count, double upper_bound, const ExemplarView* exemplar);
  void put_native(const NativeBuckets& native);
  void put_side(char span_key, char delta_key, std::span<const NativeBuckets::Bucket> buckets);
  void put_span(char key, std::int64_t offset, std::uint32_t length);
  void end_message();

  PageBuffer& page_;
  const Escaping escaping_;

  // For the current family.
  PageBuffer message_{message_limit + message_limit / 8};  // the header, and the metrics not written yet
  std::size_t header_size_ = 0;                            // of all fields but the metrics
  MetricType type_ = MetricType::gauge;
  std::size_t const_labels_ = 0;
  PageBuffer const_pairs_{0};              // these labels, as every metric has them
  std::vector<std::string> before_value_;  // of each other label: its name, and the key of its value
  std::size_t size_around_values_ = 0;     // the labels without these values, if each length takes one byte

  // A length stands before each part. A part whose length is not easily computed is put together here first.
  PageBuffer value_{0};  // a Counter, Gauge, Histogram, Summary or Untyped
  PageBuffer exemplar_{0};
  PageBuffer exemplars_{0};  // of all buckets, as fields of a native histogram, which come after its buckets
  PageBuffer deltas_{0};
};

}  // namespace quipu::detail
