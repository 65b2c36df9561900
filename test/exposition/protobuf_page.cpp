// Writes a page in protobuf to the standard output, for protobuf_scrape.py, which knows what is on it.

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exposition/encoders.hpp"
#include "quipu/sample.hpp"

namespace {

using quipu::ExemplarView;
using quipu::Label;
using quipu::Labels;
using quipu::MetricType;
using quipu::NativeBuckets;
using quipu::Visitor;

constexpr double infinity = std::numeric_limits<double>::infinity();

void family(Visitor& visitor, MetricType type, std::string_view name, std::string_view help,
            const std::vector<std::string>& label_names = {}) {
  visitor.family({.name = name, .help = help, .unit = "", .type = type, .label_names = label_names});
}

/// The numbers that protobuf_scrape.py makes too.
std::vector<NativeBuckets::Bucket> some_buckets(std::uint32_t seed) {
  std::vector<NativeBuckets::Bucket> result;
  auto index = static_cast<std::int32_t>(seed % 15) - 7;
  std::uint64_t state = seed;
  for (std::uint32_t i = seed % 13; i > 0; --i) {
    state = (state * 1'103'515'245 + 12'345) % 0x8000'0000;
    result.push_back({index, 1 + state % 100});
    index += 1 + static_cast<std::int32_t>((state >> 8) % 6);
  }
  return result;
}

void many_counters(Visitor& visitor) {
  const std::vector<std::string> names{"n", "text"};
  family(visitor, MetricType::counter, "many_total", "Twenty thousand.", names);
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const std::string n = std::to_string(i);
    const Label labels[] = {{"n", n}, {"text", "some text that is on every series"}};
    visitor.sample({.labels = labels, .value = i});
  }
}

void many_histograms(Visitor& visitor) {
  const std::vector<std::string> names{"n"};
  family(visitor, MetricType::histogram, "many_seconds", "Three thousand.", names);
  for (std::uint32_t i = 0; i < 3'000; ++i) {
    const std::string n = std::to_string(i);
    const Label labels[] = {{"n", n}};
    const auto positive = some_buckets(i);
    const auto negative = some_buckets(i + 10'007);
    const NativeBuckets native{.schema = static_cast<std::int32_t>(i % 13) - 4,
                               .zero_threshold = 0x1p-128,
                               .zero_count = i % 5,
                               .positive = positive,
                               .negative = negative};
    std::uint64_t count = native.zero_count;
    for (const auto& bucket : positive) count += bucket.count;
    for (const auto& bucket : negative) count += bucket.count;
    const std::uint64_t counts[] = {count};
    visitor.histogram({.labels = labels, .bounds = {}, .counts = counts, .sum = i + 0.5, .native = &native});
  }
}

void extremes(Visitor& visitor) {
  // The buckets of the smallest number, of 1 and of infinity, at the finest and the coarsest resolution.
  const NativeBuckets::Bucket fine[] = {{-274'944, 1}, {0, 2}, {262'145, 3}};
  const NativeBuckets::Bucket coarse[] = {{-67, 4}, {0, 5}, {65, 6}};
  const std::vector<std::string> names{"schema"};
  family(visitor, MetricType::histogram, "extreme_bytes", "Indices.", names);
  for (const std::int32_t schema : {8, -4}) {
    const std::string text = std::to_string(schema);
    const Label labels[] = {{"schema", text}};
    const std::span<const NativeBuckets::Bucket> buckets = schema == 8 ? fine : coarse;
    const NativeBuckets native{
        .schema = schema, .zero_threshold = 0, .zero_count = 0, .positive = buckets, .negative = buckets};
    const std::uint64_t counts[] = {schema == 8 ? 12u : 30u};
    visitor.histogram({.labels = labels, .bounds = {}, .counts = counts, .sum = infinity, .native = &native});
  }
}

}  // namespace

int main() {
  quipu::detail::PageBuffer page(1);
  const auto encoder = quipu::detail::make_encoder({.syntax = quipu::detail::Syntax::protobuf, .version = ""}, page);
  Visitor& visitor = *encoder;
  const auto now = std::chrono::system_clock::now();
  const Label trace[] = {{"trace_id", "0af7651916cd43dd8448eb211c80319c"}};
  const ExemplarView first{.labels = trace, .value = 0.125, .time = now};
  const ExemplarView second{.labels = {}, .value = 7, .time = now};

  const double bounds[] = {0.25, 1, 2.5};
  const std::uint64_t counts[] = {3, 0, 4, 1};
  const ExemplarView* const exemplars[] = {&first, nullptr, nullptr, &second};
  family(visitor, MetricType::histogram, "both_seconds", "Classic and native.");
  const NativeBuckets::Bucket positive[] = {{-3, 3}, {1, 4}, {3, 1}};
  const NativeBuckets native{.schema = 0, .zero_threshold = 0, .zero_count = 0, .positive = positive, .negative = {}};
  visitor.histogram({.labels = {},
                     .bounds = bounds,
                     .counts = counts,
                     .sum = 15.5,
                     .created = now,
                     .exemplars = exemplars,
                     .native = &native});

  family(visitor, MetricType::histogram, "classic_seconds", "Classic.");
  visitor.histogram(
      {.labels = {}, .bounds = bounds, .counts = counts, .sum = 15.5, .created = now, .exemplars = exemplars});

  family(visitor, MetricType::info, "build_info", "", {"version"});
  const Label version[] = {{"version", "1.2"}};
  visitor.sample({.labels = version, .value = 1.0});

  const std::uint64_t none[] = {0};
  family(visitor, MetricType::histogram, "empty_seconds", "Nothing yet.");
  const NativeBuckets nothing{.schema = 3, .zero_threshold = 0x1p-128, .zero_count = 0, .positive = {}, .negative = {}};
  visitor.histogram({.labels = {}, .bounds = {}, .counts = none, .sum = 0, .native = &nothing});

  extremes(visitor);
  many_histograms(visitor);
  many_counters(visitor);

  family(visitor, MetricType::gauge, "not_a_number", "Of both signs, and one that would end the series.", {"which"});
  for (const auto& [which, bits] :
       {std::pair("plus", 0x7ff8'0000'0000'0000), std::pair("minus", -0x0008'0000'0000'0000),
        std::pair("stale", 0x7ff0'0000'0000'0002)}) {
    const Label labels[] = {{"which", which}};
    visitor.sample({.labels = labels, .value = std::bit_cast<double>(bits)});
  }

  family(visitor, MetricType::gauge, "texts", "Line feeds\nand \"quotes\" and \\.", {"text", "empty"});
  for (const std::string_view text : {"two words", "say \"hi\"", "C:\\new", "one\ntwo", "caf\xC3\xA9", "\x01"}) {
    const Label labels[] = {{"text", text}, {"empty", ""}};
    visitor.sample({.labels = labels, .value = static_cast<double>(text.size())});
  }

  const auto before = now - std::chrono::seconds(20);
  family(visitor, MetricType::summary, "rpc_seconds", "Of another program.");
  const quipu::Quantile quantiles[] = {{0.5, 0.125}, {0.99, 2.5}};
  visitor.summary({.labels = {}, .quantiles = quantiles, .count = 7, .sum = 3.5, .created = now, .timestamp = before});
  family(visitor, MetricType::unknown, "something", "Of another program.");
  visitor.sample({.labels = {}, .value = -3, .timestamp = before});

  family(visitor, MetricType::counter, "visits_total", "With an exemplar.");
  visitor.sample({.labels = {}, .value = (std::uint64_t{1} << 53) - 1, .created = now, .exemplar = &first});

  encoder->finish();
  return std::fwrite(page.view().data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
