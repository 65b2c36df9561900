#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exposition/encoder.hpp"
#include "exposition/format.hpp"
#include "exposition/page_buffer.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// Writes io.prometheus.client.MetricFamily messages, each after its length: the only format that has native
/// histograms. https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
///
/// The format has doubles for the values of counters, so whole numbers beyond 2^53 are rounded. It has no info and no
/// stateset: those are gauges. Names keep their `_total` and `_info`.
class ProtobufEncoder final : public Encoder {
 public:
  /// `page` gets whole messages only, so it is empty until the first family ends.
  ProtobufEncoder(PageBuffer& page, Escaping escaping) : page_(page), escaping_(escaping) {}

  void family(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void finish() override;

  /// A family that is larger goes on in another message with the same name, help, type and unit.
  ///
  /// A message begins with its length, and how many series will come is not known by then, so a family is kept until
  /// its end; but a scrape may not take memory for a million series. Prometheus takes the series of several messages of
  /// one name for those of one family (test/exposition/protobuf_scrape.py asks it). Some other readers put families
  /// into a map by their names, where the last message takes the place of those before it. So the limit is as high as
  /// it can be without a cost: some 1,500 counters or 500 histograms are one message. From 256 KiB on, a scrape takes
  /// twice as long, for the memory that the system has to clear first.
  static constexpr std::size_t message_limit = std::size_t{128} * 1024;

 private:
  void put_metric(Labels labels, char key);
  void prepare_exemplar(const ExemplarView& exemplar);
  void put_bucket(std::uint64_t cumulative_count, double upper_bound, const ExemplarView* exemplar);
  void put_native(const NativeBuckets& native);
  void put_side(char span_key, char delta_key, std::span<const NativeBuckets::Bucket> buckets);
  void put_span(char key, std::int64_t offset, std::uint32_t length);
  void end_message();

  PageBuffer& page_;
  const Escaping escaping_;

  // Of the family at hand.
  PageBuffer message_{message_limit + message_limit / 8};  // the header, and the metrics that no message has yet
  std::size_t header_size_ = 0;                            // of all fields but the metrics
  bool is_counter_ = false;
  std::size_t const_labels_ = 0;
  PageBuffer const_pairs_{0};              // these labels, as every metric has them
  std::vector<std::string> before_value_;  // of each other label: its name, and the key of its value
  std::size_t size_around_values_ = 0;     // all of the labels but these values, if each length takes one byte

  // A part whose length stands before it is put together here first, unless the length is easily computed.
  PageBuffer value_{0};  // a Counter, Gauge or Histogram
  PageBuffer exemplar_{0};
  PageBuffer exemplars_{0};  // of all buckets, as fields of a native histogram, which come after its buckets
  PageBuffer deltas_{0};
};

}  // namespace quipu::detail
