#include "recorder/statsd_stats.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace quipu::statsd {
namespace {

constexpr std::array<std::string_view, 3> failure_names = {"full", "refused", "other"};
constexpr std::array<std::string_view, 5> drop_names = {"forked", "not_finite", "too_long", "too_many", "unsent"};

constexpr std::string_view sent_datagrams = "statsd_sent_datagrams_total";
constexpr std::string_view sent_bytes = "statsd_sent_bytes_total";
constexpr std::string_view failed_datagrams = "statsd_failed_datagrams_total";
constexpr std::string_view dropped_lines = "statsd_dropped_lines_total";

}  // namespace

StatsdStats Stats::totals() const noexcept {
  StatsdStats totals{.sent_datagrams = datagrams_.load(std::memory_order_relaxed),
                     .sent_bytes = bytes_.load(std::memory_order_relaxed)};
  for (const auto& count : failures_) totals.failed_datagrams += count.load(std::memory_order_relaxed);
  for (const auto& count : drops_) totals.dropped_lines += count.load(std::memory_order_relaxed);
  return totals;
}

std::vector<FamilyDescription> Stats::describe() const {
  const auto counter = [](std::string_view name, std::string_view help, std::vector<std::string> labels = {}) {
    return FamilyDescription{
        .name = std::string(name), .help = std::string(help), .type = MetricType::counter, .labels = std::move(labels)};
  };
  return {counter(sent_datagrams, "Datagrams sent to StatsD."), counter(sent_bytes, "Bytes sent to StatsD."),
          counter(failed_datagrams, "Datagrams for StatsD that the socket did not take.", {"reason"}),
          counter(dropped_lines, "Lines for StatsD that will never be sent.", {"reason"})};
}

void Stats::collect(Samples& samples) {
  samples.add(sent_datagrams, datagrams_.load(std::memory_order_relaxed));
  samples.add(sent_bytes, bytes_.load(std::memory_order_relaxed));
  const auto add = [&samples](std::string_view family, const auto& names, const auto& counts) {
    for (std::size_t i = 0; i < counts.size(); ++i) {
      samples.add(family, {names[i]}, counts[i].load(std::memory_order_relaxed));
    }
  };
  add(failed_datagrams, failure_names, failures_);
  add(dropped_lines, drop_names, drops_);
}

}  // namespace quipu::statsd
