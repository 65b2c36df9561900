#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "exposition/encoders.hpp"
#include "exposition/protobuf_encoder.hpp"
#include "quipu/quipu.hpp"
#include "support/page.hpp"
#include "support/protobuf_reader.hpp"

namespace {

using namespace std::string_literals;
using quipu::ExemplarView;
using quipu::FamilyView;
using quipu::HistogramSample;
using quipu::Label;
using quipu::Labels;
using quipu::MetricType;
using quipu::NativeBuckets;
using quipu::Number;
using quipu::Quantile;
using quipu::Sample;
using quipu::SummarySample;
using quipu::WallTime;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t not_a_number = 0x7ff8000000000001;
constexpr std::uint64_t end_of_series = 0x7ff0000000000002;  // what Prometheus means by this NaN

std::uint64_t bits(double number) { return std::bit_cast<std::uint64_t>(number); }

constexpr quipu::detail::Format format{.syntax = quipu::detail::Syntax::protobuf, .version = ""};

/// The page of what `show` shows to an encoder.
template <class Show>
std::string page_of(Show show) {
  quipu::detail::PageBuffer buffer(16);
  const auto encoder = quipu::detail::make_encoder(format, buffer);
  show(*encoder);
  encoder->finish();
  return std::string(buffer.view());
}

std::vector<protobuf::Family> read(std::string_view page) {
  protobuf::Reader reader;
  auto families = reader.page(page);
  REQUIRE(reader.unknown == 0);
  return families;
}

/// The one metric on the page of one series.
template <class AnySample>
protobuf::Metric metric_of(MetricType type, const AnySample& sample) {
  const auto families = read(page_of([&](quipu::Visitor& visitor) {
    visitor.family({.name = "x", .help = "", .unit = "", .type = type});
    if constexpr (std::is_same_v<AnySample, Sample>) {
      visitor.sample(sample);
    } else if constexpr (std::is_same_v<AnySample, SummarySample>) {
      visitor.summary(sample);
    } else {
      visitor.histogram(sample);
    }
  }));
  REQUIRE(families.size() == 1);
  REQUIRE(families[0].metrics.size() == 1);
  return families[0].metrics[0];
}

protobuf::Counter counter_of(const Sample& sample) {
  auto metric = metric_of(MetricType::counter, sample);
  REQUIRE(metric.counter);
  CHECK(!metric.gauge);
  CHECK(!metric.histogram);
  return *metric.counter;
}

protobuf::Histogram histogram_of(const HistogramSample& sample) {
  auto metric = metric_of(MetricType::histogram, sample);
  REQUIRE(metric.histogram);
  CHECK(!metric.gauge);
  CHECK(!metric.counter);
  return *metric.histogram;
}

std::string bytes(std::initializer_list<int> values) {
  std::string result;
  for (const int value : values) result.push_back(static_cast<char>(value));
  return result;
}

WallTime at(std::int64_t seconds, std::int64_t nanos = 0) {
  return WallTime(
      std::chrono::duration_cast<WallTime::duration>(std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos)));
}

protobuf::LabelPairs pairs(Labels labels) {
  protobuf::LabelPairs result;
  for (const Label& label : labels) result.emplace_back(label.name, label.value);
  return result;
}

protobuf::Exemplar read_back(const ExemplarView& exemplar) {
  const auto since = exemplar.time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {.labels = pairs(exemplar.labels),
          .value = exemplar.value,
          .timestamp = protobuf::Timestamp{seconds.count(), std::chrono::nanoseconds(since - seconds).count()}};
}

/// What the spans and deltas of one side say: the buckets that are not empty.
std::map<std::int64_t, std::uint64_t> populated(const std::vector<protobuf::Span>& spans,
                                                const std::vector<std::int64_t>& deltas) {
  std::map<std::int64_t, std::uint64_t> result;
  std::size_t next = 0;
  std::int64_t index = 0;
  std::uint64_t count = 0;
  for (const protobuf::Span& span : spans) {
    index += span.offset;
    for (std::uint64_t i = 0; i < span.length; ++i, ++index) {
      count += static_cast<std::uint64_t>(deltas.at(next++));
      if (count != 0) result[index] = count;
    }
  }
  REQUIRE(next == deltas.size());
  return result;
}

std::map<std::int64_t, std::uint64_t> populated(std::span<const NativeBuckets::Bucket> buckets) {
  std::map<std::int64_t, std::uint64_t> result;
  for (const auto& [index, count] : buckets) result[index] = count;
  return result;
}

/// What every reader needs of the spans of one side, and Prometheus 2.42 crashes without.
void check_spans(const std::vector<protobuf::Span>& spans, const std::vector<std::int64_t>& deltas) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    length += spans[i].length;
    CHECK(spans[i].length > 0);
    if (i > 0) CHECK(spans[i].offset > 2);  // a smaller gap is filled
  }
  REQUIRE(length == deltas.size());
}

}  // namespace

TEST_CASE("a page in protobuf that shows nothing has no bytes") {
  CHECK(page_of([](quipu::Visitor&) {}).empty());
  const auto registry = page::empty_registry();
  static_cast<void>(registry.counter({.name = "x_total"}, {"a"}));
  CHECK(page_of([&](quipu::Visitor& visitor) { registry.collect(visitor); }).empty());
}

TEST_CASE("a page in protobuf is, byte by byte, what the format says") {
  const std::vector<std::string> names{"a"};
  const Label labels[] = {{"a", "b"}};
  const std::string page = page_of([&](quipu::Visitor& visitor) {
    visitor.family({.name = "x_total", .help = "X.", .unit = "s", .type = MetricType::counter, .label_names = names});
    visitor.sample({.labels = labels, .value = 1.0});
    visitor.family({.name = "y", .help = "", .unit = "", .type = MetricType::gauge});
    visitor.sample({.labels = {}, .value = -2.0});
  });
  const std::string expected =
      bytes({39, 0x0A, 7}) + "x_total" + bytes({0x12, 2}) + "X." + bytes({0x18, 0, 0x2A, 1}) + "s" +  // the header
      bytes({0x22, 19}) +                                                                             // a metric
      bytes({0x0A, 6, 0x0A, 1}) + "a" + bytes({0x12, 1}) + "b" +                                      // its label
      bytes({0x1A, 9, 0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F}) +                                          // its value
      bytes({18, 0x0A, 1}) + "y" + bytes({0x18, 1, 0x22, 11, 0x12, 9, 0x09, 0, 0, 0, 0, 0, 0, 0, 0xC0});
  CHECK(page == expected);
}

TEST_CASE("every kind of family has its type in protobuf, and its whole name") {
  const auto families = read(page_of([](quipu::Visitor& visitor) {
    const auto family = [&](std::string_view name, MetricType type) {
      visitor.family({.name = name, .help = "Help.", .unit = "", .type = type});
    };
    const std::uint64_t counts[] = {1};
    family("a_total", MetricType::counter);
    visitor.sample({.labels = {}, .value = 2.0});
    family("b", MetricType::gauge);
    visitor.sample({.labels = {}, .value = 3.0});
    family("c", MetricType::histogram);
    visitor.histogram({.labels = {}, .bounds = {}, .counts = counts, .sum = 4});
    family("d_info", MetricType::info);
    visitor.sample({.labels = {}, .value = 1.0});
    family("e", MetricType::stateset);
    visitor.sample({.labels = {}, .value = 0.0});
  }));
  REQUIRE(families.size() == 5);
  const auto check = [&](std::size_t i, const std::string& name, protobuf::Type type) {
    CHECK(families[i].name == name);
    CHECK(families[i].help == "Help.");
    CHECK(families[i].type == type);
    CHECK(!families[i].unit);
    REQUIRE(families[i].metrics.size() == 1);
  };
  check(0, "a_total", protobuf::counter);
  check(1, "b", protobuf::gauge);
  check(2, "c", protobuf::histogram);
  check(3, "d_info", protobuf::gauge);
  check(4, "e", protobuf::gauge);
  CHECK(families[0].metrics[0].counter.value().value == 2);
  CHECK(families[1].metrics[0].gauge.value().value == 3);
  CHECK(families[2].metrics[0].histogram.value().sum == 4);
  CHECK(families[3].metrics[0].gauge.value().value == 1);
  CHECK(families[4].metrics[0].gauge.value().value == 0);
}

TEST_CASE("help, unit and label values are in protobuf as they are") {
  const std::string help = "Two \"lines\",\nC:\\new\\ \xF0\x9F\xAA\xA2"s + '\0' + "\xC3\xA9";
  const std::vector<std::string> names{"path", "empty"};
  const Label labels[] = {{"env", "eu \"west\""}, {"zone", "\n"}, {"path", help}, {"empty", ""}};
  const auto families = read(page_of([&](quipu::Visitor& visitor) {
    visitor.family({.name = "x_bytes",
                    .help = help,
                    .unit = "bytes",
                    .type = MetricType::gauge,
                    .const_labels = Labels(labels).first(2),
                    .label_names = names});
    visitor.sample({.labels = labels, .value = 1.0});
  }));
  REQUIRE(families.size() == 1);
  CHECK(families[0].help == help);
  CHECK(families[0].unit == "bytes");
  CHECK(families[0].metrics.at(0).labels == pairs(labels));
}

TEST_CASE("names and texts of any length are whole in protobuf") {
  // Around the lengths where one more byte is needed to say them: of a text, of the pair that it is in, of the metric.
  std::vector<std::size_t> sizes{0, 1, 2, 3, 1'000'000};
  for (const std::size_t power : {128u, 256u, 16384u, 2097152u}) {
    for (std::size_t below = 0; below < 40; ++below) sizes.push_back(power + 3 - below);
  }
  for (const std::size_t size : sizes) {
    const std::string text(size, 'v');
    const std::vector<std::string> names{"first", "second"};
    const Label labels[] = {{"const", "c"}, {"first", text}, {"second", "s"}};
    const auto families = read(page_of([&](quipu::Visitor& visitor) {
      visitor.family({.name = "x",
                      .help = text,
                      .unit = "",
                      .type = MetricType::gauge,
                      .const_labels = Labels(labels).first(1),
                      .label_names = names});
      visitor.sample({.labels = labels, .value = 1.5});
      visitor.sample({.labels = labels, .value = 2.5});
    }));
    INFO(size);
    std::vector<double> values;
    for (const auto& family : families) {
      for (const auto& metric : family.metrics) {
        REQUIRE(metric.labels == pairs(labels));
        values.push_back(metric.gauge.value().value.value());
      }
    }
    REQUIRE(values == std::vector{1.5, 2.5});
  }
}

TEST_CASE("a counter beyond 2^53 is rounded in protobuf") {
  CHECK(counter_of({.labels = {}, .value = (std::uint64_t{1} << 53) - 1}).value == 9007199254740991.0);
  CHECK(counter_of({.labels = {}, .value = (std::uint64_t{1} << 53) + 1}).value == 9007199254740992.0);
  CHECK(counter_of({.labels = {}, .value = UINT64_MAX}).value == 18446744073709551616.0);
}

TEST_CASE("no number in protobuf has the bits by which Prometheus knows the end of a series") {
  const auto stale = std::bit_cast<double>(end_of_series);
  REQUIRE(bits(stale) == end_of_series);  // that is, it came here as it was
  for (const double number : {stale, -stale, std::nan("7"), -std::nan("")}) {
    const ExemplarView exemplar{.labels = {}, .value = number, .time = at(1)};
    const ExemplarView* const exemplars[] = {&exemplar};
    const std::uint64_t counts[] = {1};
    const auto gauge = metric_of(MetricType::gauge, Sample{.labels = {}, .value = number}).gauge.value();
    CHECK(bits(gauge.value.value()) == not_a_number);
    const auto counter = counter_of({.labels = {}, .value = number, .exemplar = &exemplar});
    CHECK(bits(counter.value.value()) == not_a_number);
    CHECK(bits(counter.exemplar.value().value.value()) == not_a_number);
    const auto histogram =
        histogram_of({.labels = {}, .bounds = {}, .counts = counts, .sum = number, .exemplars = exemplars});
    CHECK(bits(histogram.sum.value()) == not_a_number);
  }
  for (const double number : {infinity, -infinity, -0.0, std::numeric_limits<double>::denorm_min(), 0.1}) {
    const auto gauge = metric_of(MetricType::gauge, Sample{.labels = {}, .value = number}).gauge.value();
    CHECK(bits(gauge.value.value()) == bits(number));
  }
}

TEST_CASE("a counter has its exemplar and the time of its creation in protobuf, and a gauge has none") {
  const Label trace[] = {{"trace_id", "0af7651916cd43dd8448eb211c80319c"}, {"span_id", ""}};
  const ExemplarView exemplar{.labels = trace, .value = 0.25, .time = at(1'700'000'000, 123'456'789)};
  const Sample sample{.labels = {}, .value = 1.0, .created = at(1'600'000'000, 1), .exemplar = &exemplar};
  const auto counter = counter_of(sample);
  CHECK(counter.exemplar == read_back(exemplar));
  CHECK(counter.exemplar.value().timestamp == protobuf::Timestamp{1'700'000'000, 123'456'789});
  CHECK(counter.created == protobuf::Timestamp{1'600'000'000, 1});

  for (const MetricType type : {MetricType::gauge, MetricType::info, MetricType::stateset}) {
    CHECK(metric_of(type, sample).gauge.value().value == 1.0);  // and nothing that a Gauge has not
  }
  const auto bare = counter_of({.labels = {}, .value = 1.0});
  CHECK(!bare.exemplar);
  CHECK(!bare.created);
}

TEST_CASE("a time before 1970 has a positive fraction in protobuf") {
  const auto created = [](WallTime time) { return counter_of({.labels = {}, .value = 1.0, .created = time}).created; };
  CHECK(created(at(0)) == protobuf::Timestamp{0, 0});
  CHECK(created(at(0, 999'999'999)) == protobuf::Timestamp{0, 999'999'999});
  CHECK(created(at(0, -1)) == protobuf::Timestamp{-1, 999'999'999});
  CHECK(created(at(-3, 500'000'000)) == protobuf::Timestamp{-3, 500'000'000});
}

TEST_CASE("a classic histogram has cumulative buckets in protobuf, and +Inf only for its exemplar") {
  const double bounds[] = {-1, 0.5, 2};
  const std::uint64_t counts[] = {3, 0, 200, 1};
  const auto classic = histogram_of({.labels = {}, .bounds = bounds, .counts = counts, .sum = -7.5, .created = at(5)});
  CHECK(classic.count == 204);
  CHECK(classic.sum == -7.5);
  CHECK(classic.created == protobuf::Timestamp{5, 0});
  REQUIRE(classic.buckets.size() == 3);
  const std::uint64_t cumulative[] = {3, 3, 203};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(classic.buckets[i].upper_bound == bounds[i]);
    CHECK(classic.buckets[i].cumulative_count == cumulative[i]);
    CHECK(!classic.buckets[i].exemplar);
  }
  // None of what makes a histogram native.
  CHECK(!classic.schema);
  CHECK(!classic.zero_threshold);
  CHECK(!classic.zero_count);
  CHECK(classic.positive_spans.empty());
  CHECK(classic.negative_spans.empty());
  CHECK(classic.exemplars.empty());

  const Label trace[] = {{"trace_id", "x"}};
  const ExemplarView first{.labels = trace, .value = -2, .time = at(7)};
  const ExemplarView last{.labels = {}, .value = 99, .time = at(8)};
  const ExemplarView* const exemplars[] = {&first, nullptr, nullptr, &last};
  const auto with_exemplars =
      histogram_of({.labels = {}, .bounds = bounds, .counts = counts, .sum = 0, .exemplars = exemplars});
  REQUIRE(with_exemplars.buckets.size() == 4);
  CHECK(with_exemplars.buckets[0].exemplar == read_back(first));
  CHECK(!with_exemplars.buckets[1].exemplar);
  CHECK(!with_exemplars.buckets[2].exemplar);
  CHECK(with_exemplars.buckets[3].exemplar == read_back(last));
  CHECK(with_exemplars.buckets[3].upper_bound == infinity);
  CHECK(with_exemplars.buckets[3].cumulative_count == 204);
  CHECK(with_exemplars.exemplars.empty());
}

TEST_CASE("a native histogram in protobuf has spans and deltas") {
  // The example of the format's description.
  const NativeBuckets::Bucket positive[] = {{-2, 3}, {-1, 5}, {2, 1}, {4, 3}, {5, 2}};
  const NativeBuckets::Bucket negative[] = {{-7, 1}, {-3, 2}};
  const NativeBuckets native{
      .schema = -4, .zero_threshold = 0x1p-128, .zero_count = 300, .positive = positive, .negative = negative};
  const std::uint64_t counts[] = {317};
  const auto histogram =
      histogram_of({.labels = {}, .bounds = {}, .counts = counts, .sum = 1.5, .created = at(9), .native = &native});
  CHECK(histogram.count == 317);
  CHECK(histogram.sum == 1.5);
  CHECK(histogram.buckets.empty());
  CHECK(histogram.schema == -4);
  CHECK(histogram.zero_threshold == 0x1p-128);
  CHECK(histogram.zero_count == 300);
  CHECK(histogram.positive_spans == std::vector<protobuf::Span>{{-2, 8}});
  CHECK(histogram.positive_deltas == std::vector<std::int64_t>{3, 2, -5, 0, 1, -1, 3, -1});
  CHECK(histogram.negative_spans == std::vector<protobuf::Span>{{-7, 1}, {3, 1}});
  CHECK(histogram.negative_deltas == std::vector<std::int64_t>{1, 1});
  CHECK(histogram.created == protobuf::Timestamp{9, 0});
}

TEST_CASE("an empty native histogram is one by its zero threshold, or else by a span without buckets") {
  const std::uint64_t counts[] = {0};
  const auto spans = [&](double zero_threshold) {
    const NativeBuckets native{
        .schema = 3, .zero_threshold = zero_threshold, .zero_count = 0, .positive = {}, .negative = {}};
    const auto histogram = histogram_of({.labels = {}, .bounds = {}, .counts = counts, .sum = 0, .native = &native});
    CHECK(histogram.schema == 3);
    CHECK(histogram.zero_threshold == zero_threshold);
    CHECK(histogram.positive_deltas.empty());
    CHECK(histogram.negative_spans.empty());
    CHECK(histogram.negative_deltas.empty());
    return histogram.positive_spans;
  };
  CHECK(spans(0x1p-128).empty());
  CHECK(spans(0) == std::vector<protobuf::Span>{{0, 0}});
}

TEST_CASE("a histogram that is native and classic has both in protobuf, and each exemplar twice") {
  const double bounds[] = {1, 4};
  const std::uint64_t counts[] = {2, 3, 1};
  const NativeBuckets::Bucket positive[] = {{0, 2}, {2, 3}, {7, 1}};
  const NativeBuckets native{.schema = 0, .zero_threshold = 0, .zero_count = 0, .positive = positive, .negative = {}};
  const Label trace[] = {{"trace_id", "x"}};
  const ExemplarView first{.labels = trace, .value = 3, .time = at(7, 5)};
  const ExemplarView last{.labels = {}, .value = 99, .time = at(8)};
  const ExemplarView* const exemplars[] = {nullptr, &first, &last};
  const auto histogram = histogram_of(
      {.labels = {}, .bounds = bounds, .counts = counts, .sum = 8, .exemplars = exemplars, .native = &native});
  CHECK(histogram.count == 6);
  CHECK(populated(histogram.positive_spans, histogram.positive_deltas) == populated(positive));
  REQUIRE(histogram.buckets.size() == 3);
  CHECK(histogram.buckets[0].cumulative_count == 2);
  CHECK(!histogram.buckets[0].exemplar);
  CHECK(histogram.buckets[1].exemplar == read_back(first));
  CHECK(histogram.buckets[2].upper_bound == infinity);
  CHECK(histogram.buckets[2].exemplar == read_back(last));
  CHECK(histogram.exemplars == std::vector{read_back(first), read_back(last)});
}

TEST_CASE("a histogram that is only native has a classic bucket for its exemplar alone") {
  const std::uint64_t counts[] = {1};
  const NativeBuckets::Bucket positive[] = {{0, 1}};
  const NativeBuckets native{.schema = 0, .zero_threshold = 0, .zero_count = 0, .positive = positive, .negative = {}};
  const ExemplarView exemplar{.labels = {}, .value = 1, .time = at(8)};
  const ExemplarView* const exemplars[] = {&exemplar};
  const auto histogram =
      histogram_of({.labels = {}, .bounds = {}, .counts = counts, .sum = 1, .exemplars = exemplars, .native = &native});
  REQUIRE(histogram.buckets.size() == 1);
  CHECK(histogram.buckets[0].upper_bound == infinity);
  CHECK(histogram.buckets[0].cumulative_count == 1);
  CHECK(histogram.buckets[0].exemplar == read_back(exemplar));
  CHECK(histogram.exemplars == std::vector{read_back(exemplar)});
}

TEST_CASE("the lengths of all spans add up to the number of deltas, whatever the buckets") {
  std::mt19937_64 random(42);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  const auto random_side = [&](std::int32_t schema) {
    // From the bucket of the smallest double to that of infinity.
    const auto scaled = [&](std::int64_t exponent) {
      return schema >= 0 ? exponent * (std::int64_t{1} << schema) : exponent / (std::int64_t{1} << -schema);
    };
    const std::int64_t lowest = scaled(-1074);
    const std::int64_t highest = scaled(1024) + 1;
    std::vector<NativeBuckets::Bucket> buckets;
    const std::uint64_t most = below(4) == 0 ? 3 : 60;
    const std::uint64_t longest_gap = std::array{1u, 2u, 3u, 4u, 6u, 40u, 100'000u}.at(below(7));
    std::int64_t index = below(3) == 0 ? lowest : -static_cast<std::int64_t>(below(40));
    index = std::max(index, lowest);
    for (std::uint64_t i = below(most); i > 0 && index <= highest; --i) {
      const std::uint64_t count = below(5) == 0 ? 1 + below(std::uint64_t{1} << 57) : 1 + below(300);
      buckets.push_back({static_cast<std::int32_t>(index), count});
      index += 1 + static_cast<std::int64_t>(below(longest_gap));
    }
    if (below(3) == 0 && (buckets.empty() || buckets.back().index < highest)) {
      buckets.push_back({static_cast<std::int32_t>(highest), 1});
    }
    return buckets;
  };
  for (int round = 0; round < 3'000; ++round) {
    const auto schema = static_cast<std::int32_t>(below(13)) - 4;
    const auto positive = random_side(schema);
    const auto negative = random_side(schema);
    const NativeBuckets native{.schema = schema,
                               .zero_threshold = below(2) == 0 ? 0 : 0x1p-128,
                               .zero_count = below(3),
                               .positive = positive,
                               .negative = negative};
    std::uint64_t count = native.zero_count;
    for (const auto& side : {positive, negative}) {
      for (const auto& bucket : side) count += bucket.count;
    }
    const std::uint64_t counts[] = {count};
    const auto histogram = histogram_of({.labels = {}, .bounds = {}, .counts = counts, .sum = 0, .native = &native});
    INFO(round);
    REQUIRE(histogram.count == count);
    REQUIRE(histogram.schema == schema);
    REQUIRE(histogram.zero_count == native.zero_count);
    const bool is_empty = positive.empty() && negative.empty() && native.zero_count == 0;
    if (is_empty && native.zero_threshold == 0) {
      REQUIRE(histogram.positive_spans == std::vector<protobuf::Span>{{0, 0}});
      continue;
    }
    check_spans(histogram.positive_spans, histogram.positive_deltas);
    check_spans(histogram.negative_spans, histogram.negative_deltas);
    REQUIRE(populated(histogram.positive_spans, histogram.positive_deltas) == populated(positive));
    REQUIRE(populated(histogram.negative_spans, histogram.negative_deltas) == populated(negative));
  }
}

TEST_CASE("a family that is too large for one message goes on in others, with the same header") {
  constexpr std::size_t limit = quipu::detail::ProtobufEncoder::message_limit;
  const std::vector<std::string> names{"n"};
  const FamilyView family{
      .name = "x_bytes_total", .help = "X.", .unit = "bytes", .type = MetricType::counter, .label_names = names};
  const auto show = [&](quipu::Visitor& visitor, std::size_t series) {
    visitor.family(family);
    for (std::size_t i = 0; i < series; ++i) {
      const std::string value = std::to_string(i);
      const Label labels[] = {{"n", value}};
      visitor.sample({.labels = labels, .value = std::uint64_t{i}});
    }
  };
  const auto check = [&](std::size_t series) {
    const auto families = read(page_of([&](quipu::Visitor& visitor) {
      show(visitor, series);
      visitor.family({.name = "y", .help = "", .unit = "", .type = MetricType::gauge});
      visitor.sample({.labels = {}, .value = 1.0});
    }));
    std::size_t next = 0;
    for (std::size_t i = 0; i + 1 < families.size(); ++i) {
      CHECK(families[i].name == "x_bytes_total");
      CHECK(families[i].help == "X.");
      CHECK(families[i].type == protobuf::counter);
      CHECK(families[i].unit == "bytes");
      CHECK(families[i].size < limit + 100);
      if (i + 2 < families.size()) CHECK(families[i].size >= limit);
      for (const auto& metric : families[i].metrics) {
        REQUIRE(metric.labels == protobuf::LabelPairs{{"n", std::to_string(next)}});
        REQUIRE(metric.counter.value().value == static_cast<double>(next));
        ++next;
      }
    }
    CHECK(next == series);
    CHECK(families.back().name == "y");
    return families.size() - 1;
  };
  CHECK(check(1) == 1);
  CHECK(check(1'000) == 1);
  CHECK(check(50'000) > 8);

  // One that ends where a message ends leaves no message without metrics.
  const std::size_t full = read(page_of([&](quipu::Visitor& visitor) { show(visitor, 10'000); }))[0].metrics.size();
  CHECK(check(full) == 1);
  CHECK(check(full + 1) == 2);
}

TEST_CASE("the pieces of a page in protobuf are the page") {
  std::vector<std::string> values;
  for (int i = 0; i < 20'000; ++i) values.push_back(std::to_string(i));
  const std::vector<std::string> names{"n"};
  const auto show = [&](quipu::Visitor& visitor, auto after_each) {
    for (const std::size_t series : {1u, 20'000u, 5u}) {
      const std::string name = "x" + std::to_string(series);
      visitor.family({.name = name, .help = "", .unit = "", .type = MetricType::gauge, .label_names = names});
      for (std::size_t i = 0; i < series; ++i) {
        const Label labels[] = {{"n", values[i]}};
        visitor.sample({.labels = labels, .value = std::uint64_t{i}});
        after_each();
      }
    }
  };
  const std::string whole = page_of([&](quipu::Visitor& visitor) { show(visitor, [] {}); });

  quipu::detail::PageBuffer buffer(16);
  const auto encoder = quipu::detail::make_encoder(format, buffer);
  std::string pieces;
  std::size_t longest = 0;
  const auto take = [&] {
    longest = std::max(longest, buffer.size());
    pieces += buffer.view();
    buffer.clear();
  };
  show(*encoder, take);
  encoder->finish();
  take();
  CHECK(pieces == whole);
  CHECK(longest < quipu::detail::ProtobufEncoder::message_limit + 1'000);
}

namespace {

/// Keeps what it is shown in the form in which the reader gives it back.
class Recorder : public quipu::Visitor {
 public:
  void family(const FamilyView& family) override {
    auto& kept = families.emplace_back();
    kept.name = family.name;
    if (!family.help.empty()) kept.help = family.help;
    if (!family.unit.empty()) kept.unit = family.unit;
    kind_ = family.type;
  }
  void sample(const Sample& sample) override {
    auto& kept = families.back().metrics.emplace_back();
    kept.labels = pairs(sample.labels);
    kept.timestamp_ms = milliseconds(sample.timestamp);
    if (kind_ != MetricType::counter) {
      (kind_ == MetricType::unknown ? kept.untyped : kept.gauge) = protobuf::Gauge{sample.value.real()};
      return;
    }
    auto& counter = kept.counter.emplace();
    counter.value = sample.value.real();
    if (sample.exemplar != nullptr) counter.exemplar = read_back(*sample.exemplar);
    if (sample.created) counter.created = read_back({{}, 0, *sample.created}).timestamp;
  }
  void histogram(const HistogramSample& sample) override {
    auto& kept = families.back().metrics.emplace_back();
    kept.labels = pairs(sample.labels);
    kept.timestamp_ms = milliseconds(sample.timestamp);
    auto& histogram = kept.histogram.emplace();
    histogram.count = std::accumulate(sample.counts.begin(), sample.counts.end(), std::uint64_t{0});
    histogram.sum = sample.sum;
    if (sample.created) histogram.created = read_back({{}, 0, *sample.created}).timestamp;
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < sample.counts.size(); ++i) {
      cumulative += sample.counts[i];
      const ExemplarView* exemplar = sample.exemplars.empty() ? nullptr : sample.exemplars[i];
      if (i == sample.bounds.size() && exemplar == nullptr) continue;
      auto& bucket = histogram.buckets.emplace_back();
      bucket.cumulative_count = cumulative;
      bucket.upper_bound = i == sample.bounds.size() ? infinity : sample.bounds[i];
      if (exemplar == nullptr) continue;
      bucket.exemplar = read_back(*exemplar);
      if (sample.native != nullptr) histogram.exemplars.push_back(read_back(*exemplar));
    }
    if (sample.native == nullptr) return;
    histogram.schema = sample.native->schema;
    histogram.zero_threshold = sample.native->zero_threshold;
    histogram.zero_count = sample.native->zero_count;
    positive.push_back(populated(sample.native->positive));
    negative.push_back(populated(sample.native->negative));
  }
  void summary(const SummarySample& sample) override {
    auto& kept = families.back().metrics.emplace_back();
    kept.labels = pairs(sample.labels);
    kept.timestamp_ms = milliseconds(sample.timestamp);
    auto& summary = kept.summary.emplace();
    summary.count = sample.count;
    summary.sum = sample.sum;
    for (const auto& [quantile, value] : sample.quantiles) summary.quantiles.push_back({quantile, value});
    if (sample.created) summary.created = read_back({{}, 0, *sample.created}).timestamp;
  }

  std::vector<protobuf::Family> families;
  std::vector<std::map<std::int64_t, std::uint64_t>> positive;  // of each native histogram
  std::vector<std::map<std::int64_t, std::uint64_t>> negative;

 private:
  static std::optional<std::int64_t> milliseconds(const std::optional<WallTime>& time) {
    if (!time) return std::nullopt;
    return std::chrono::floor<std::chrono::milliseconds>(time->time_since_epoch()).count();
  }

  MetricType kind_ = MetricType::gauge;
};

void check_equal(const protobuf::Metric& found, const protobuf::Metric& shown) {
  REQUIRE(found.labels == shown.labels);
  REQUIRE(found.gauge.has_value() == shown.gauge.has_value());
  REQUIRE(found.counter.has_value() == shown.counter.has_value());
  REQUIRE(found.histogram.has_value() == shown.histogram.has_value());
  REQUIRE(found.summary.has_value() == shown.summary.has_value());
  REQUIRE(found.untyped.has_value() == shown.untyped.has_value());
  REQUIRE(found.timestamp_ms == shown.timestamp_ms);
  if (found.untyped) REQUIRE(found.untyped->value == shown.untyped->value);
  if (found.summary) {
    REQUIRE(found.summary->count == shown.summary->count);
    REQUIRE(found.summary->sum == shown.summary->sum);
    REQUIRE(found.summary->quantiles == shown.summary->quantiles);
    REQUIRE(found.summary->created == shown.summary->created);
  }
  if (found.gauge) REQUIRE(found.gauge->value == shown.gauge->value);
  if (found.counter) {
    REQUIRE(found.counter->value == shown.counter->value);
    REQUIRE(found.counter->exemplar == shown.counter->exemplar);
    REQUIRE(found.counter->created == shown.counter->created);
  }
  if (!found.histogram) return;
  const auto& [a, b] = std::tie(*found.histogram, *shown.histogram);
  REQUIRE(a.count == b.count);
  REQUIRE(a.sum == b.sum);
  REQUIRE(a.created == b.created);
  REQUIRE(a.exemplars == b.exemplars);
  REQUIRE(a.schema == b.schema);
  REQUIRE(a.zero_threshold == b.zero_threshold);
  REQUIRE(a.zero_count == b.zero_count);
  REQUIRE(a.buckets.size() == b.buckets.size());
  for (std::size_t i = 0; i < a.buckets.size(); ++i) {
    REQUIRE(a.buckets[i].cumulative_count == b.buckets[i].cumulative_count);
    REQUIRE(a.buckets[i].upper_bound == b.buckets[i].upper_bound);
    REQUIRE(a.buckets[i].exemplar == b.buckets[i].exemplar);
  }
}

/// The page says what was shown, in the same order.
void check_page(std::string_view page, const Recorder& shown) {
  const auto found = read(page);
  std::size_t native = 0;
  auto part = found.begin();
  for (const auto& family : shown.families) {
    INFO(*family.name);
    for (std::size_t next = 0; next < family.metrics.size(); ++part) {
      REQUIRE(part != found.end());
      REQUIRE(part->name == family.name);
      REQUIRE(part->help == family.help);
      REQUIRE(part->unit == family.unit);
      REQUIRE(!part->metrics.empty());
      for (const auto& metric : part->metrics) {
        REQUIRE(next < family.metrics.size());
        check_equal(metric, family.metrics[next++]);
        if (!metric.histogram || !metric.histogram->schema) continue;
        const auto& histogram = *metric.histogram;
        REQUIRE(populated(histogram.positive_spans, histogram.positive_deltas) == shown.positive.at(native));
        REQUIRE(populated(histogram.negative_spans, histogram.negative_deltas) == shown.negative.at(native));
        ++native;
      }
    }
  }
  CHECK(part == found.end());
  CHECK(native == shown.positive.size());
}

/// Shows families of all kinds with random series, the same ones for the same seed.
void show_at_random(quipu::Visitor& visitor, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  const auto text = [&] {
    std::string result;
    const std::uint64_t size = below(20) == 0 ? below(40'000) : below(10) == 0 ? below(300) : below(12);
    for (std::uint64_t i = 0; i < size; ++i) result.push_back(static_cast<char>(below(128)));
    return result;
  };
  const auto number = [&]() -> double {
    for (;;) {
      const auto result = below(2) == 0 ? static_cast<double>(below(1000)) : std::bit_cast<double>(random());
      if (!std::isnan(result)) return result;
    }
  };
  const auto time = [&] {
    return at(static_cast<std::int64_t>(below(4'000'000'000)) - 1'000'000'000,
              static_cast<std::int64_t>(below(1'000'000'000)));
  };
  const std::vector<std::string> all_names{"method", "route", "code", "a_name_with_more_than_thirty_two_characters"};
  const std::string const_value = text();
  const auto const_labels = static_cast<std::size_t>(below(3));
  for (std::uint64_t f = 0, families = below(8); f < families; ++f) {
    const std::string name = "family_" + std::to_string(f);
    const std::string help = text();
    const std::vector<std::string> names(all_names.begin(), all_names.begin() + static_cast<std::ptrdiff_t>(below(5)));
    std::vector<Label> labels{{"env", const_value}, {"zone", ""}};
    labels.resize(const_labels);
    for (const std::string& label : names) labels.push_back({label, {}});
    const MetricType type = static_cast<MetricType>(below(7));
    visitor.family({.name = name,
                    .help = help,
                    .unit = below(2) == 0 ? "" : "seconds",
                    .type = type,
                    .const_labels = Labels(labels).first(const_labels),
                    .label_names = names});
    const bool is_native = below(2) == 0;
    std::vector<double> bounds(is_native && below(2) == 0 ? 0 : below(20));
    std::iota(bounds.begin(), bounds.end(), -2.5);
    const std::uint64_t series = 1 + (below(10) == 0 ? below(3'000) : below(20));
    for (std::uint64_t s = 0; s < series; ++s) {
      std::vector<std::string> values(names.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = text();
        labels[const_labels + i].value = values[i];
      }
      const std::string trace = text();
      const std::string long_name(40, 'n');
      const Label trace_labels[] = {{"trace_id", trace}, {long_name, "x"}};
      const std::optional<WallTime> created = below(2) == 0 ? std::optional(time()) : std::nullopt;
      std::vector<ExemplarView> exemplars;
      for (std::size_t i = 0; i <= bounds.size(); ++i) {
        exemplars.push_back({Labels(trace_labels).first(below(3)), number(), time()});
      }
      const std::optional<WallTime> timestamp = below(8) == 0 ? std::optional(time()) : std::nullopt;
      if (type == MetricType::summary) {
        std::vector<Quantile> quantiles(below(6));
        for (std::size_t i = 0; i < quantiles.size(); ++i) quantiles[i] = {static_cast<double>(i) / 8, number()};
        visitor.summary({.labels = labels,
                         .quantiles = quantiles,
                         .count = random() >> below(64),
                         .sum = number(),
                         .created = created,
                         .timestamp = timestamp});
        continue;
      }
      if (type != MetricType::histogram) {
        const Number value = below(2) == 0 ? Number(random() >> below(64)) : Number(number());
        const ExemplarView* exemplar = type == MetricType::counter && below(2) == 0 ? exemplars.data() : nullptr;
        visitor.sample(
            {.labels = labels, .value = value, .created = created, .exemplar = exemplar, .timestamp = timestamp});
        continue;
      }
      std::vector<std::uint64_t> counts(bounds.size() + 1);
      for (std::uint64_t& count : counts) count = random() >> (10 + below(54));
      std::vector<const ExemplarView*> shown(below(2) == 0 ? 0 : counts.size());
      for (std::size_t i = 0; i < shown.size(); ++i) shown[i] = below(2) == 0 ? nullptr : &exemplars[i];
      std::vector<NativeBuckets::Bucket> sides[2];
      for (auto& side : sides) {
        std::int32_t index = static_cast<std::int32_t>(below(100)) - 50;
        for (std::uint64_t i = below(12); i > 0; --i) {
          side.push_back({index, 1 + (random() >> (10 + below(54)))});
          index += 1 + static_cast<std::int32_t>(below(5));
        }
      }
      const NativeBuckets native{.schema = static_cast<std::int32_t>(below(13)) - 4,
                                 .zero_threshold = 0x1p-128,
                                 .zero_count = below(1000),
                                 .positive = sides[0],
                                 .negative = sides[1]};
      visitor.histogram({.labels = labels,
                         .bounds = bounds,
                         .counts = counts,
                         .sum = number(),
                         .created = created,
                         .exemplars = shown,
                         .native = is_native ? &native : nullptr,
                         .timestamp = timestamp});
    }
  }
}

}  // namespace

TEST_CASE("a summary in protobuf has its quantiles, and what is of unknown type is untyped") {
  const std::vector<Quantile> quantiles = {{0.5, 0.125}, {0.99, std::nan("")}};
  const SummarySample sample{.labels = {},
                             .quantiles = quantiles,
                             .count = std::uint64_t{1} << 60,
                             .sum = -2.5,
                             .created = at(1'790'000'000, 5),
                             .timestamp = at(1'790'000'001, 999'999)};
  const auto metric = metric_of(MetricType::summary, sample);
  CHECK(metric.timestamp_ms == 1'790'000'001'000);
  CHECK(!metric.gauge);
  REQUIRE(metric.summary);
  CHECK(metric.summary->count == std::uint64_t{1} << 60);
  CHECK(metric.summary->sum == -2.5);
  CHECK(metric.summary->created == protobuf::Timestamp{1'790'000'000, 5});
  REQUIRE(metric.summary->quantiles.size() == 2);
  CHECK(metric.summary->quantiles[0] == protobuf::Quantile{0.5, 0.125});
  CHECK(bits(metric.summary->quantiles[1].value.value()) == not_a_number);

  const auto unknown = metric_of(MetricType::unknown, Sample{.labels = {}, .value = -7, .timestamp = at(-1)});
  CHECK(!unknown.gauge);
  REQUIRE(unknown.untyped);
  CHECK(unknown.untyped->value == -7.0);
  CHECK(unknown.timestamp_ms == -1000);

  const auto types = read(page_of([](quipu::Visitor& visitor) {
    visitor.family({.name = "a", .help = "", .unit = "", .type = MetricType::summary});
    visitor.summary({.labels = {}, .quantiles = {}, .count = 0, .sum = 0});
    visitor.family({.name = "b", .help = "", .unit = "", .type = MetricType::unknown});
    visitor.sample({.labels = {}, .value = 1});
  }));
  REQUIRE(types.size() == 2);
  CHECK(types[0].type == protobuf::summary);
  CHECK(types[1].type == protobuf::untyped);
}

TEST_CASE("whatever is shown comes back from protobuf, in the same order") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    INFO(seed);
    Recorder shown;
    show_at_random(shown, seed);
    check_page(page_of([&](quipu::Visitor& visitor) { show_at_random(visitor, seed); }), shown);
  }
}

TEST_CASE("what a program counted comes back from protobuf") {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "prod"}}});
  std::mt19937_64 random(7);
  const auto counters = registry.counter<int, bool>({.name = "orders_total", .help = "Orders."}, {"customer", "paid"});
  const auto cpu = registry.fractional_counter({.name = "cpu_seconds_total"}, {"core"});
  const auto gauges = registry.gauge({.name = "queue_length", .help = "Jobs that wait."}, {"queue"});
  const auto times = registry.histogram({.name = "seconds", .buckets = {0.1, 1.0, 10.0}}, {"route"});
  for (int i = 0; i < 5'000; ++i) {
    const auto n = static_cast<int>(random() % 700);
    counters(n, n % 2 == 0).inc(random() % 100);
    cpu(std::to_string(n % 8)).inc(static_cast<double>(n) / 7);
    gauges(std::string(static_cast<std::size_t>(n % 200), 'q')).set(static_cast<double>(n) - 300);
    times(std::to_string(n % 30)).observe(static_cast<double>(n) / 50);
  }
  Recorder shown;
  registry.collect(shown);
  REQUIRE(shown.families.size() == 4);
  check_page(page_of([&](quipu::Visitor& visitor) { registry.collect(visitor); }), shown);
}

TEST_CASE("the tests' reader refuses what is not protobuf, and counts what it does not know") {
  const auto refusal = [](std::initializer_list<int> page) -> std::string {
    try {
      protobuf::Reader().page(bytes(page));
    } catch (const protobuf::Error& error) {
      return error.what();
    }
    return "(nothing was refused)";
  };
  CHECK(refusal({3, 0x0A, 1}) == "cut off");
  CHECK(refusal({2, 0x0A, 1}) == "cut off");
  CHECK(refusal({0x80}) == "cut off");
  CHECK(refusal({2, 0x0B, 1}) == "a wire type that is none, or a group");
  CHECK(refusal({2, 0x02, 0}) == "a field number out of range");
  CHECK(refusal({4, 0x18, 1, 0x18, 1}) == "a singular field that comes twice");
  CHECK(refusal({2, 0x1A, 0}) == "a varint with another wire type");
  CHECK(refusal({12, 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0}) == "a varint of more than 64 bits");
  CHECK(refusal({4, 0x22, 2, 0x12, 0}) == "(nothing was refused)");

  protobuf::Reader reader;
  const auto families = reader.page(bytes({15, 0x30, 5, 0x3D, 1, 2, 3, 4, 0x22, 4, 0x42, 2, 1, 2, 0x18, 3}));
  REQUIRE(families.size() == 1);
  CHECK(families[0].type == protobuf::untyped);
  CHECK(families[0].metrics.size() == 1);
  CHECK(reader.unknown == 3);
}
