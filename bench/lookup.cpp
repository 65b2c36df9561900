#include <quipu/recorder.hpp>
#include <quipu/registry.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rows.hpp"

namespace bench {
enum class Method { get, head, post, put, patch, remove, options, other };

namespace {

const quipu::Registry& registry() {
  static const quipu::Registry made;
  return made;
}

Body look_up(quipu::MetricName name, std::size_t count) {
  using Text = std::string_view;
  const auto& family = *new auto(registry().counter<Text, Text, Text>({.name = name}, {"region", "service", "path"}));
  for (std::size_t i = 0; i < count; ++i) {
    const LabelValues values = label_values(i);
    static_cast<void>(family(values[0], values[1], values[2]));
  }
  const auto& lookups = *new Lookups(count);
  return each([&family, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    family(region, service, path).inc();
  });
}

Body record(std::size_t count) {
  const auto& recorder = *new quipu::Recorder(std::make_shared<quipu::RegistryRecorder>(registry()));
  const auto& lookups = *new Lookups(count);
  const auto increment = [&recorder, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    recorder.increment("recorder.lookups", 1, {{"region", region}, {"service", service}, {"path", path}});
  };
  for (std::size_t i = 0; i < count; ++i) increment(i);
  return each(increment);
}

Body look_up_closed() {
  const auto& family = *new auto(registry().counter<Method, bool>({.name = "lookup_closed_total"}, {"method", "cached"}));
  family.create_all();
  auto& values = *new std::vector<std::pair<Method, bool>>;
  for (const std::uint16_t index : random_indices(16)) {
    values.emplace_back(static_cast<Method>(index / 2), index % 2 != 0);
  }
  return each([&family, &values](std::size_t i) {
    const auto [method, cached] = values[i % inputs];
    family(method, cached).inc();
  });
}

}  // namespace

std::vector<Row> lookup_rows() {
  return {
      {"lookup_strings_200", "AA", [] { return look_up("lookup_strings_200_total", 200); }},
      {"recorder_increment_200", "AA", [] { return record(200); }},
      {"lookup_strings_100k", "AA", [] { return look_up("lookup_strings_100k_total", 100'000); }, 100'000},
      {"lookup_closed", "AA", look_up_closed},
  };
}

}  // namespace bench
