// Options and names own their texts: each test makes them of texts that are overwritten before they are used.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/config.hpp"
#include "quipu/environment.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"
#include "quipu/registry.hpp"
#include "quipu/registry_options.hpp"
#include "quipu/stateset.hpp"
#include "quipu/statsd.hpp"
#include "support/page.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif

namespace {

enum class Phase { start, serve };

/// Texts that can be overwritten together. What refers to one of them then shows '#'.
class Texts {
 public:
  const std::string& operator()(const std::string& text) {
    return *texts_.emplace_back(std::make_unique<std::string>(text));
  }
  void overwrite() {
    for (const auto& text : texts_) std::ranges::fill(*text, '#');
  }

 private:
  std::vector<std::unique_ptr<std::string>> texts_;
};

}  // namespace

TEST_CASE("options of metrics own their texts") {
  Texts texts;
  const auto name = [&texts] { return quipu::runtime(texts("size_bytes")); };
  const quipu::MetricOptions metric{.name = name(), .help = texts("Sizes."), .unit = texts("bytes")};
  const quipu::HistogramOptions histogram{.name = name(), .help = texts("Sizes."), .unit = texts("bytes")};
  const quipu::NativeHistogramOptions native{.name = name(), .help = texts("Sizes."), .unit = texts("bytes")};
  const quipu::InfoOptions info{.name = name(), .help = texts("Sizes.")};
  const quipu::StateSetOptions<Phase> states{.name = name(), .help = texts("Sizes.")};
  texts.overwrite();
  const auto check = [](const auto& options) {
    CHECK(options.name.text() == "size_bytes");
    CHECK(options.help == "Sizes.");
    if constexpr (requires { options.unit; }) CHECK(options.unit == "bytes");
  };
  check(metric);
  check(histogram);
  check(native);
  check(info);
  check(states);

  const auto registry = page::empty_registry();
  registry.gauge(metric).set(1);
  CHECK(page::body(registry) == "# HELP size_bytes Sizes.\n# TYPE size_bytes gauge\nsize_bytes 1\n");
}

TEST_CASE("options of a registry own their texts") {
  Texts texts;
  const quipu::RegistryOptions options{
      .prefix = quipu::runtime(texts("shop")),
      .const_labels = {{quipu::runtime(texts("env")), texts("prod")}},
      .build_info = {.version = texts("1.2"), .revision = texts("4bf92f3"), .compiler = texts("mine")}};
  texts.overwrite();
  CHECK(page::samples(page::empty_registry(options)) ==
        std::vector<std::string>{R"(shop_build_info{env="prod",version="1.2",revision="4bf92f3",compiler="mine"} 1)"});
}

TEST_CASE("labels of infos and callbacks own their texts") {
  Texts texts;
  const std::vector<quipu::InfoLabel> labels{{quipu::runtime(texts("version")), texts("1.2")}};
  texts.overwrite();
  const auto registry = page::empty_registry();
  registry.info({.name = "build_info"}, labels);
  CHECK(page::samples(registry) == std::vector<std::string>{R"(build_info{version="1.2"} 1)"});
}

TEST_CASE("options of a StatsD recorder own their texts") {
  Texts texts;
  const quipu::StatsdOptions options{
      .address = texts("127.0.0.1:8126"), .prefix = texts("shop"), .labels = {{texts("env"), texts("prod")}}};
  texts.overwrite();
  CHECK(options.address == "127.0.0.1:8126");
  CHECK(options.prefix == "shop");
  REQUIRE(options.labels.size() == 1);
  CHECK(options.labels[0].name == "env");
  CHECK(options.labels[0].value == "prod");
}

TEST_CASE("options outlive the environment that they come from") {
  const quipu::RegistryOptions options = [] {
    const std::map<std::string, std::string> variables{{"QUIPU_PREFIX", "a_prefix_that_is_no_short_string"},
                                                       {"QUIPU_CONST_LABELS", "env=a_value_that_is_no_short_string"}};
    auto environment = std::make_unique<quipu::Environment>(variables);
    return environment->registry();
  }();
  const std::vector<std::string> other_memory(100, std::string(32, '#'));
  CHECK(options.prefix.text() == "a_prefix_that_is_no_short_string");
  REQUIRE(options.const_labels.size() == 1);
  CHECK(options.const_labels[0].name.text() == "env");
  CHECK(options.const_labels[0].value == "a_value_that_is_no_short_string");
}

#if QUIPU_HAS_HTTP
TEST_CASE("options of an endpoint own their texts") {
  Texts texts;
  const quipu::ExposerOptions options{.listen = texts("127.0.0.1:0"), .path = texts("/numbers")};
  texts.overwrite();
  CHECK(options.listen == "127.0.0.1:0");
  CHECK(options.path == "/numbers");
}
#endif
