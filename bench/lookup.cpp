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

using Texts = quipu::CounterFamily<std::string_view, std::string_view, std::string_view>;

/// A family with a series for each of the first `count` lists of label values. It lives as long as the process.
const Texts& family_of_texts(quipu::MetricName name, std::size_t count) {
  const auto& family = *new Texts(registry().counter({.name = name}, {"region", "service", "path"}));
  for (std::size_t i = 0; i < count; ++i) {
    const LabelValues values = label_values(i);
    family.create(values[0], values[1], values[2]);
  }
  return family;
}

Body look_up(quipu::MetricName name, std::size_t count) {
  const Texts& family = family_of_texts(name, count);
  const auto& lookups = *new Lookups(count);
  return each([&family, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    family(region, service, path).inc();
  });
}

// The same 200 series as lookup_strings_200, found in the other ways.
constexpr std::size_t few = 200;

Body look_up_by_name() {
  const Texts& family = family_of_texts("lookup_by_name_total", few);
  const auto& lookups = *new Lookups(few);
  return each([&family, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    family.with({{"region", region}, {"service", service}, {"path", path}}).inc();
  });
}

Body look_up_in_other_order() {
  const Texts& family = family_of_texts("lookup_by_name_in_other_order_total", few);
  const auto& lookups = *new Lookups(few);
  return each([&family, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    family.with({{"path", path}, {"service", service}, {"region", region}}).inc();
  });
}

Body look_up_runtime_labels() {
  family_of_texts("lookup_runtime_labels_total", few);
  const std::vector<std::string> names = {"region", "service", "path"};
  const auto& family = *new auto(registry().counter({.name = "lookup_runtime_labels_total"}, names));
  const auto& lookups = *new Lookups(few);
  return each([&family, &lookups](std::size_t i) { family(lookups[i]).inc(); });
}

Body look_up_curried() {
  const Texts& family = family_of_texts("lookup_curried_total", few);
  const auto& lookups = *new Lookups(few);
  const auto& curried = *new auto(family.curry(lookups[0][0]));
  return each([&curried, &lookups](std::size_t i) {
    const auto [region, service, path] = lookups[i];
    curried(service, path).inc();
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
  const auto& family =
      *new auto(registry().counter<Method, bool>({.name = "lookup_closed_total"}, {"method", "cached"}));
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
      {"lookup_strings_200", "AA", [] { return look_up("lookup_strings_200_total", few); }},
      {"lookup_by_name_200", "TT", look_up_by_name},
      {"lookup_by_name_in_other_order_200", "TT", look_up_in_other_order},
      {"lookup_runtime_labels_200", "TT", look_up_runtime_labels},
      {"lookup_curried_200", "TT", look_up_curried},
      {"recorder_increment_200", "AA", [] { return record(200); }},
      {"lookup_strings_100k", "AA", [] { return look_up("lookup_strings_100k_total", 100'000); }, 100'000},
      {"lookup_closed", "AA", look_up_closed},
  };
}

std::vector<Baseline> lookup_baselines() {
  const auto make = [] { return look_up("lookup_baseline_total", few); };
  return {{'T', 1, "a look-up of three texts", make}, {'T', 2, "a look-up of three texts", make}};
}

}  // namespace bench
