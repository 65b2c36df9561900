#include "quipu/name.hpp"

#include <string>
#include <type_traits>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"

namespace {

// A text that is not a literal needs the mark.
static_assert(!std::is_convertible_v<std::string, quipu::MetricName>);
static_assert(!std::is_convertible_v<std::string_view, quipu::LabelName>);
static_assert(std::is_convertible_v<quipu::RuntimeName, quipu::MetricName>);
static_assert(quipu::MetricName("http_requests_total").text() == "http_requests_total");
static_assert(quipu::MetricName("_:A9").text() == "_:A9");
static_assert(quipu::LabelName("_a9Z").text() == "_a9Z");
static_assert(quipu::MetricPrefix("").text().empty());

std::string refusal_of_name(std::string_view name) {
  return page::refusal([&] {
    const auto registry = page::empty_registry();
    static_cast<void>(registry.gauge({.name = quipu::runtime(name)}));
  });
}

std::string refusal_of_label(std::string_view label) {
  return page::refusal([&] {
    const auto registry = page::empty_registry();
    static_cast<void>(registry.gauge({.name = "size"}, {quipu::runtime(label)}));
  });
}

std::string refusal_of_prefix(std::string_view prefix) {
  return page::refusal([&] { static_cast<void>(page::empty_registry({.prefix = quipu::runtime(prefix)})); });
}

constexpr std::string_view accepted = "(nothing was refused)";
constexpr std::string_view metric_rule = "[a-zA-Z_:][a-zA-Z0-9_:]*";
constexpr std::string_view label_rule = "[a-zA-Z_][a-zA-Z0-9_]*";

}  // namespace

TEST_CASE("good names that are built at run time are taken") {
  for (const char* name : {"a", "Z", "_", "__x", ":", "a:b", "a9", "node_cpu:rate5m", "_9"}) {
    INFO(name);
    CHECK(refusal_of_name(name) == accepted);
    CHECK(refusal_of_prefix(name) == accepted);
  }
  for (const char* label : {"a", "Z", "_", "_a", "a__b", "a9", "quantile", "instance"}) {
    INFO(label);
    CHECK(refusal_of_label(label) == accepted);
  }
}

TEST_CASE("bad names that are built at run time are refused with the name and the rule") {
  for (const std::string name :
       {"9", "9a", "a-b", "a.b", "a b", " a", "a ", "a\n", "caf\xC3\xA9", "a\"b", "a{b}", "\xFF", "a/b", "\x7F"}) {
    INFO(name);
    CHECK(page::missing(refusal_of_name(name), {"cannot register gauge " + name, metric_rule}) == "");
    CHECK(page::missing(refusal_of_prefix(name), {"prefix \"" + name + '"', metric_rule}) == "");
  }
  CHECK(page::missing(refusal_of_name(""), {"cannot register gauge ", metric_rule}) == "");
  // The rest of the message is lost in what(), which ends at a NUL.
  CHECK(refusal_of_name(std::string_view("a\0b", 3)) == "cannot register gauge a");
}

TEST_CASE("bad label names that are built at run time are refused with the name and the rule") {
  for (const std::string label :
       {"", "9", "9a", "a-b", "a:b", ":", "a b", "caf\xC3\xA9", "__a", "__name__", "__", "\xFF"}) {
    INFO(label);
    CHECK(page::missing(refusal_of_label(label), {"cannot register gauge size", "label \"" + label + '"', label_rule,
                                                  "begins neither with a digit nor with \"__\""}) == "");
  }
}

TEST_CASE("names built at run time need not outlive the call") {
  const auto registry = page::empty_registry();
  quipu::GaugeFamily<std::string_view> family = [&registry] {
    const std::string name = "a_name_that_is_too_long_for_the_small_string_optimization";
    const std::string label = "a_label_that_is_too_long_for_the_small_string_optimization";
    const std::string help = "A help text that is too long for the small string optimization.";
    return registry.gauge({.name = quipu::runtime(name), .help = help}, {quipu::runtime(label)});
  }();
  family("x").set(1);
  CHECK(page::body(registry) == R"(# HELP a_name_that_is_too_long_for_the_small_string_optimization )"
                                "A help text that is too long for the small string optimization.\n"
                                "# TYPE a_name_that_is_too_long_for_the_small_string_optimization gauge\n"
                                "a_name_that_is_too_long_for_the_small_string_optimization{"
                                "a_label_that_is_too_long_for_the_small_string_optimization=\"x\"} 1\n");
}
