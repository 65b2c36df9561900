#include "quipu/name.hpp"

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"

namespace {

static_assert(std::is_convertible_v<quipu::RuntimeName, quipu::MetricName>);

// Constants are names, and names are constants.
template <class Name>
constexpr bool is(const Name& name, std::string_view text) {
  return name.text() == text;
}
static_assert(is(quipu::MetricName("http_requests_total"), "http_requests_total"));
static_assert(is(quipu::MetricName("_:A9"), "_:A9"));
static_assert(is(quipu::LabelName("_a9Z"), "_a9Z"));
static_assert(is(quipu::MetricPrefix(""), ""));
static_assert(is(quipu::MetricPrefix(), ""));

constexpr std::string_view a_view = "a_view";
constexpr const char* a_pointer = "a_pointer";
constexpr char characters[] = "characters";
constexpr std::array<char, 3> an_array = {'a', 'b', 'c'};
constexpr quipu::LabelName a_name = a_view;
constexpr std::array<quipu::LabelName, 2> names{"literal", a_view};
static_assert(is(quipu::MetricName(a_view), "a_view"));
static_assert(is(quipu::MetricName(a_pointer), "a_pointer"));
static_assert(is(quipu::MetricName(characters), "characters"));
static_assert(is(quipu::MetricPrefix(an_array), "abc"));
static_assert(is(a_name, "a_view"));
static_assert(is(names[0], "literal"));
static_assert(is(quipu::MetricName(quipu::utf8(a_view)), "a_view"));

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

TEST_CASE("constants are names like literals") {
  constexpr std::string_view view = "size_bytes";
  constexpr const char* pointer = "unit";
  const auto registry = page::empty_registry({.prefix = a_view, .const_labels = {{a_pointer, "1"}}});
  registry.subsystem(an_array).gauge({.name = view}, {pointer, characters})("a", "b").set(1);
  CHECK(page::samples(registry) ==
        std::vector<std::string>{R"(a_view_abc_size_bytes{a_pointer="1",unit="a",characters="b"} 1)"});
}

TEST_CASE("names own the texts that are made at run time, and copies are apart") {
  std::string text = "size_bytes";
  quipu::MetricName name = quipu::runtime(text);
  const quipu::MetricName copy = name;
  const quipu::RuntimeName marked = quipu::runtime(text);
  text = "##########";
  CHECK(name.text() == "size_bytes");
  CHECK(quipu::MetricName(marked).text() == "size_bytes");
  name = quipu::MetricName("other");
  CHECK(name.text() == "other");
  CHECK(copy.text() == "size_bytes");
  name = copy;
  const quipu::MetricName moved = std::move(name);
  CHECK(moved.text() == "size_bytes");
  CHECK(quipu::LabelName(quipu::runtime("")).text().empty());
  CHECK(quipu::LabelName(quipu::runtime("a_label")).text() + "!" == "a_label!");  // of a temporary: a string
}
