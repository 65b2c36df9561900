#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/family.hpp"
#include "quipu/registry.hpp"
#include "quipu/runtime_family.hpp"
#include "support/page.hpp"

namespace label_lookup_test {

enum class Method { get, post, other };
enum class Shape { round, angular };
enum Color { red, green };

}  // namespace label_lookup_test

using namespace label_lookup_test;

namespace {

using Text = std::string_view;
using Lines = std::vector<std::string>;
using Names = std::vector<std::string>;

static_assert(std::constructible_from<quipu::LabelValue, Method>);
static_assert(std::constructible_from<quipu::detail::LabelPairs, std::map<std::string, int>>);
static_assert(std::constructible_from<quipu::detail::LabelPairs, quipu::Labels>);
static_assert(!std::constructible_from<quipu::detail::LabelPairs, std::vector<std::string>>);
static_assert(std::constructible_from<quipu::detail::TextValues, std::span<const std::string>>);
static_assert(!std::constructible_from<quipu::detail::TextValues, std::vector<int>>);
static_assert(!std::constructible_from<quipu::detail::TextValues, const char*>);

/// What the LabelError says that `look_up` throws.
template <class LookUp>
std::string refusal(LookUp look_up) {
  try {
    look_up();
  } catch (const quipu::LabelError& error) {
    return error.what();
  }
  return "(no error)";
}

bool says(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("labels by name find the series of their values, in any order") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a", "b", "c"});
  const auto expected = family("1", "2", "3");
  const std::string one = "1";
  CHECK(family.with({{"a", one}, {"b", "2"}, {"c", Text("3")}}) == expected);
  CHECK(family.with({{"a", one}, {"c", "3"}, {"b", "2"}}) == expected);
  CHECK(family.with({{"b", "2"}, {"a", one}, {"c", "3"}}) == expected);
  CHECK(family.with({{"b", "2"}, {"c", "3"}, {"a", one}}) == expected);
  CHECK(family.with({{"c", "3"}, {"a", one}, {"b", "2"}}) == expected);
  CHECK(family.with({{"c", "3"}, {"b", "2"}, {"a", one}}) == expected);
  CHECK_FALSE(family.with({{"c", "1"}, {"b", "2"}, {"a", "3"}}) == expected);
  CHECK(family.size() == 2);

  // One that is made is what a look-up by values finds.
  family.with({{"c", "z"}, {"b", "y"}, {"a", "x"}}).inc(7);
  CHECK(page::value(registry, R"(x_total{a="x",b="y",c="z"})") == "7");
  CHECK(family("x", "y", "z").value() == 7);

  const auto single = registry.gauge({.name = "g"}, {"a"});
  single.with({{"a", "1"}}).set(4);
  CHECK(single("1").value() == 4);
}

TEST_CASE("labels by name are any range of pairs") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method, int>({.name = "x_total"}, {"method", "code"});
  family.with(std::map<std::string, std::string>{{"code", "200"}, {"method", "get"}}).inc();
  family.with(std::vector<std::pair<std::string, std::string>>{{"method", "get"}, {"code", "200"}}).inc();
  family.with(std::vector<std::pair<Text, quipu::LabelValue>>{{"method", Method::get}, {"code", 200}}).inc();
  family.with(std::map<Text, quipu::LabelValue>{{"method", Method::get}, {"code", 200}}).inc();
  const std::array<quipu::Label, 2> labels = {{{"code", "200"}, {"method", "get"}}};
  family.with(quipu::Labels(labels)).inc();
  const std::vector<quipu::LabelPair> pairs = {{"code", 200}, {"method", Method::get}};
  family.with(std::span(pairs)).inc();
  family.with(std::list<quipu::LabelPair>(pairs.begin(), pairs.end())).inc();
  const auto codes = registry.counter<int, int>({.name = "y_total"}, {"a", "b"});
  codes.with(std::map<std::string, int>{{"a", 1}, {"b", 2}}).inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{method="get",code="200"} 7)", R"(y_total{a="1",b="2"} 1)"});
}

TEST_CASE("a value by name has the type of its label") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method, bool, unsigned char, std::int64_t, std::uint64_t, Color>(
      {.name = "x_total"}, {"method", "cached", "small", "signed", "unsigned", "color"});
  const auto expected = family(Method::post, true, 255, -1, 7, green);
  CHECK(family.with({{"method", Method::post},
                     {"cached", true},
                     {"small", 255},
                     {"signed", -1},
                     {"unsigned", std::uint8_t{7}},
                     {"color", green}}) == expected);
  CHECK(family.with({{"method", "post"},
                     {"cached", "true"},
                     {"small", "255"},
                     {"signed", "-1"},
                     {"unsigned", "7"},
                     {"color", "1"}}) == expected);
  CHECK(family.size() == 1);
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  CHECK(family.with({{"method", Method::get},
                     {"cached", false},
                     {"small", 0},
                     {"signed", std::to_string(least)},
                     {"unsigned", std::to_string(most)},
                     {"color", red}}) == family(Method::get, false, 0, least, most, red));

  const auto text = registry.counter({.name = "t_total"}, {"a"});
  const auto number = registry.counter<int>({.name = "n_total"}, {"a"});
  const auto small = registry.counter<signed char>({.name = "s_total"}, {"a"});
  const auto large = registry.counter<std::uint64_t>({.name = "l_total"}, {"a"});
  const auto flag = registry.counter<bool>({.name = "f_total"}, {"a"});
  const auto method = registry.counter<Method>({.name = "m_total"}, {"a"});
  const auto refuses = [](const auto& refusing, const quipu::LabelValue& value) {
    return says(refusal([&] { refusing.create_with({{"a", value}}); }), "label \"a\" takes ");
  };
  CHECK(refuses(text, 1));
  CHECK(refuses(text, true));
  CHECK(refuses(text, Method::get));
  for (const char* wrong : {"", "1 ", " 1", "+1", "0x1", "1.0", "1e3", "one", "2147483648", "99999999999999999999"}) {
    CHECK(refuses(number, wrong));
  }
  CHECK(refuses(number, true));
  CHECK(refuses(number, Method::get));
  CHECK(refuses(number, 2147483648));
  CHECK(refuses(small, 128));
  CHECK(refuses(small, -129));
  CHECK(refuses(small, most));
  CHECK(refuses(large, -1));
  CHECK(refuses(large, "-1"));
  CHECK(refuses(flag, 1));
  CHECK(refuses(flag, "yes"));
  CHECK(refuses(flag, Method::get));
  CHECK(refuses(method, 0));
  CHECK(refuses(method, "GET"));
  CHECK(refuses(method, "0"));
  CHECK(refuses(method, Shape::round));
  CHECK(refuses(method, false));
  CHECK(registry.counter({.name = "t_total"}, {"a"}).size() == 0);
  CHECK(method.size() + flag.size() + large.size() + small.size() + number.size() == 0);
}

TEST_CASE("labels by name of closed sets are found as an index") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method, bool>({.name = "x_total"}, {"method", "cached"});
  family.with({{"cached", true}, {"method", Method::post}}).inc(3);
  CHECK(family(Method::post, true).value() == 3);
  family.create_all();
  CHECK(family.size() == 6);
  for (const Method m : {Method::get, Method::post, Method::other}) {
    for (const bool cached : {true, false}) {
      CHECK(family.with({{"method", m}, {"cached", cached}}) == family(m, cached));
    }
  }
  const auto unnamed = static_cast<Method>(17);
  CHECK(family.with({{"method", unnamed}, {"cached", true}}) == family(unnamed, true));
  CHECK(page::value(registry, R"(x_total{method="17",cached="true"})") == "0");
}

TEST_CASE("a label that is missing, unknown or given twice is an error that names the family and what is wrong") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  const auto family = registry.counter<Method, int>({.name = "x_total"}, {"method", "code"});
  CHECK(refusal([&] {
          family.create_with({{"method", Method::get}});
        }) ==
        "cannot look up {method=get} in shop_x_total{method enum, code integer}: label \"code\" is missing; give it, "
        "too");
  CHECK(refusal([&] { family.create_with({}); }) ==
        "cannot look up {} in shop_x_total{method enum, code integer}: label \"method\" is missing; give it, too");
  CHECK(
      refusal([&] {
        family.create_with({{"verb", "get"}, {"code", 200}});
      }) ==
      "cannot look up {verb=\"get\", code=200} in shop_x_total{method enum, code integer}: there is no label \"verb\"; "
      "give the family's own labels");
  CHECK(refusal([&] {
          family.create_with({{"code", 1}, {"code", 2}});
        }) ==
        "cannot look up {code=1, code=2} in shop_x_total{method enum, code integer}: label \"code\" is given twice; "
        "leave "
        "one of them out");
  CHECK(says(refusal([&] { family.create_with({{"method", "get"}, {"code", 1}, {"code", 2}}); }), "given twice"));
  CHECK(says(refusal([&] { family.create_with({{"method", "get"}, {"code", 1}, {"x", 2}}); }), "no label \"x\""));
  CHECK(refusal([&] {
          family.create_with({{"method", "gte"}, {"code", 1}});
        }) ==
        "cannot look up {method=\"gte\", code=1} in shop_x_total{method enum, code integer}: label \"method\" takes "
        "one of "
        "get, post, other, and not \"gte\"");
  CHECK(refusal([&] {
          family.create_with({{"method", "get"}, {"code", "1.5"}});
        }) ==
        "cannot look up {method=\"get\", code=\"1.5\"} in shop_x_total{method enum, code integer}: label \"code\" "
        "takes an "
        "integer from -2147483648 to 2147483647, and not \"1.5\"");
  // So are those of the other operations.
  CHECK(says(refusal([&] { static_cast<void>(family.find_with({{"code", 1}})); }), "missing"));
  CHECK(says(refusal([&] { static_cast<void>(family.remove_with({{"code", 1}})); }), "missing"));
  CHECK(family.size() == 0);

  // A message is one line of bounded length, whatever it is about.
  const std::string garbage(100'000, '\n');
  std::vector<std::pair<std::string, std::string>> many(1000, {garbage, garbage});
  const std::string message = refusal([&] { family.create_with(many); });
  CHECK(message.size() < 2000);
  CHECK_FALSE(says(message, "\n"));
}

TEST_CASE("a series is found without being made") {
  const auto registry = page::empty_registry();
  const auto texts = registry.counter({.name = "a_total"}, {"a", "b"});
  CHECK(texts.find("1", "2") == std::nullopt);
  CHECK(texts.find_with({{"b", "2"}, {"a", "1"}}) == std::nullopt);
  CHECK(texts.size() == 0);
  texts("1", "2").inc(5);
  CHECK(texts.find("1", "2") == texts("1", "2"));
  CHECK(texts.find_with({{"b", "2"}, {"a", "1"}}) == texts("1", "2"));
  CHECK(texts.remove("1", "2"));
  CHECK(texts.find("1", "2") == std::nullopt);

  const auto closed = registry.counter<Method, bool>({.name = "b_total"}, {"a", "b"});
  CHECK(closed.find(Method::get, true) == std::nullopt);
  closed.create(Method::get, true);
  CHECK(closed.find(Method::get, true) == closed(Method::get, true));
  CHECK(closed.find(Method::get, false) == std::nullopt);
  CHECK(closed.find(static_cast<Method>(9), false) == std::nullopt);
  closed.create(static_cast<Method>(9), false);
  CHECK(closed.find(static_cast<Method>(9), false) == closed(static_cast<Method>(9), false));
  CHECK(closed.find_with({{"a", Method::get}, {"b", false}}) == std::nullopt);

  const auto mixed = registry.histogram<int, Text>({.name = "c"}, {"a", "b"});
  CHECK(mixed.find(1, "x") == std::nullopt);
  mixed(1, "x").observe(2);
  REQUIRE(mixed.find(1, "x"));
  CHECK(mixed.find(1, "x")->snapshot().count() == 1);
}

TEST_CASE("texts that are stored in another form are found, made and removed by name") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a", "b"});
  const auto runtime = registry.counter({.name = "x_total"}, Names{"a", "b"});
  const std::string huge(5000, 'x');
  CHECK(family.find(huge, "\xFF") == std::nullopt);
  family.with({{"b", "\xFF"}, {"a", huge}}).inc(1);
  family(huge, "\xFF").inc(10);
  runtime({huge, "\xFF"}).inc(100);
  runtime.curry_with({{"a", huge}})({"\xFF"}).inc(1000);
  family.curry(huge)("\xFF").inc(10'000);
  CHECK(family.size() == 1);
  REQUIRE(family.find(huge, "\xFF"));
  CHECK(family.find(huge, "\xFF")->value() == 11'111);
  CHECK(family.find_with({{"a", huge}, {"b", "\xFF"}}) == family(huge, "\xFF"));
  CHECK(runtime.find({huge, "\xFF"}) == family(huge, "\xFF"));
  CHECK(family.curry(huge).find("\xFF") == family(huge, "\xFF"));
  CHECK(family.curry(huge).size() == 1);
  CHECK(runtime.curry_with({{"b", "\xFF"}}).size() == 1);
  CHECK(family.remove_with({{"a", huge}, {"b", "\xFF"}}));
  CHECK(family.find(huge, "\xFF") == std::nullopt);
}

TEST_CASE("a family whose labels are known at run time is the family of texts with the same labels") {
  const auto registry = page::empty_registry();
  const Names names = {"method", "code"};
  const auto runtime = registry.counter({.name = "x_total"}, names);
  const auto typed = registry.counter({.name = "x_total"}, {"method", "code"});
  static_assert(std::is_same_v<decltype(runtime), const quipu::RuntimeFamily<quipu::Counter>>);
  runtime({"get", "200"}).inc();
  runtime(Names{"get", "200"}).inc();
  runtime(std::array<Text, 2>{"get", "200"}).inc();
  runtime(std::span<const std::string>(Names{"get", "200"})).inc();
  runtime(std::list<const char*>{"get", "200"}).inc();
  runtime.with({{"code", "200"}, {"method", "get"}}).inc();
  typed("get", "200").inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{method="get",code="200"} 7)"});
  CHECK(runtime.find({"get", "200"}) == typed("get", "200"));
  CHECK(runtime.find({"get", "404"}) == std::nullopt);
  runtime.create({"get", "404"});
  CHECK(typed.size() == 2);
  CHECK(runtime.size() == 2);
  CHECK(runtime.remove({"get", "404"}));
  CHECK_FALSE(runtime.remove({"get", "404"}));
  CHECK(runtime.remove_if([](quipu::Labels labels) { return labels[1].name == "code" && labels[1].value == "200"; }) ==
        1);
  runtime.create({"get", "404"});
  runtime.clear();
  CHECK(runtime.size() == 0);

  CHECK_THROWS_AS(registry.counter<int>({.name = "x_total"}, {"method"}), quipu::RegistrationError);
  CHECK_THROWS_AS(registry.counter({.name = "x_total"}, Names{"method"}), quipu::RegistrationError);
  CHECK_THROWS_AS(registry.counter({.name = "y_total"}, Names{"a b"}), quipu::RegistrationError);
  CHECK_THROWS_AS(registry.counter({.name = "y_total"}, Names{"a", "a"}), quipu::RegistrationError);
  CHECK_THROWS_AS(registry.histogram({.name = "y"}, Names{"le"}), quipu::RegistrationError);
}

TEST_CASE("a wrong number of values is an error that names the family and both numbers") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, Names{"a", "b"});
  CHECK(refusal([&] { family.create({"1"}); }) ==
        "cannot look up {\"1\"} in x_total{a text, b text}: 1 value is given for 2 labels; give one for each");
  CHECK(
      refusal([&] {
        family.create({"1", "2", "3"});
      }) ==
      "cannot look up {\"1\", \"2\", \"3\"} in x_total{a text, b text}: 3 values are given for 2 labels; give one for "
      "each");
  CHECK(says(refusal([&] { family.create({}); }), "0 values are given for 2 labels"));
  CHECK(says(refusal([&] { static_cast<void>(family.find({"1"})); }), "1 value is given for 2 labels"));
  CHECK(says(refusal([&] { static_cast<void>(family.remove({"1"})); }), "1 value is given for 2 labels"));
  const auto part = family.curry_with({{"b", "2"}});
  CHECK(
      refusal([&] {
        part.create({"1", "2"});
      }) ==
      "cannot look up {\"1\", \"2\"} in x_total{a text, b text (fixed)}: 2 values are given for 1 label; give one for "
      "each");
  CHECK(family.size() == 0);
}

TEST_CASE("there may be any number of labels at run time") {
  const auto registry = page::empty_registry();
  for (std::size_t count = 0; count <= 40; ++count) {
    INFO(count);
    Names names;
    Names values;
    std::vector<std::pair<std::string, std::string>> pairs;
    for (std::size_t i = 0; i < count; ++i) {
      names.push_back("label_" + std::to_string(i));
      values.push_back("value_" + std::to_string(i * count));
      pairs.insert(pairs.begin(), {names.back(), values.back()});
    }
    const auto family = registry.gauge({.name = quipu::runtime("g" + std::to_string(count))}, names);
    family(values).inc();
    family.with(pairs).inc();
    CHECK(family(values).value() == 2);
    CHECK(family.find(values) == family.with(pairs));
    CHECK(family.find_with(pairs) == family(values));
    CHECK(family.size() == 1);
    if (count > 0) {
      const auto part = family.curry_with(std::span(pairs).first(1));
      CHECK(part(Names(values.begin(), values.end() - 1)) == family(values));
      CHECK(part.with(std::span(pairs).subspan(1)) == family(values));
    }
    CHECK(family.remove(values));
    CHECK(family.size() == 0);
  }
}

TEST_CASE("without label names at run time the only series is on the page at once") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, Names());
  CHECK(page::samples(registry) == Lines{"x_total 0"});
  family({}).inc();
  family.with({}).inc();
  CHECK(family({}) == registry.counter({.name = "x_total"}));
  CHECK(page::samples(registry) == Lines{"x_total 2"});
  CHECK_THROWS_AS(family.create({"1"}), quipu::LabelError);
  CHECK_THROWS_AS(family.create_with({{"a", "1"}}), quipu::LabelError);
}

TEST_CASE("every instrument has families whose labels are known at run time") {
  const auto registry = page::empty_registry();
  const std::vector<Text> names = {"a", "b"};
  registry.counter({.name = "c_total"}, names)({"1", "2"}).inc();
  registry.fractional_counter({.name = "f_total"}, names)({"1", "2"}).inc(0.5);
  registry.gauge({.name = "g"}, names)({"1", "2"}).set(3);
  registry.stateset<Method>({.name = "s", .first = Method::post}, names)({"1", "2"}).enable(Method::get);
  const auto histogram = registry.histogram({.name = "h", .buckets = {1.0}}, names);
  histogram({"1", "2"}).observe(2);
  const auto native = registry.native_histogram({.name = "n", .buckets = quipu::Buckets{1.0}}, names);
  native.with({{"b", "2"}, {"a", "1"}}).observe(2);
  CHECK(page::samples(registry) ==
        Lines{R"(c_total{a="1",b="2"} 1)", R"(f_total{a="1",b="2"} 0.5)", R"(g{a="1",b="2"} 3)",
              R"(h_bucket{a="1",b="2",le="1"} 0)", R"(h_bucket{a="1",b="2",le="+Inf"} 1)", R"(h_sum{a="1",b="2"} 2)",
              R"(h_count{a="1",b="2"} 1)", R"(n_bucket{a="1",b="2",le="1"} 0)", R"(n_bucket{a="1",b="2",le="+Inf"} 1)",
              R"(n_sum{a="1",b="2"} 2)", R"(n_count{a="1",b="2"} 1)", R"(s{a="1",b="2",s="get"} 1)",
              R"(s{a="1",b="2",s="post"} 1)", R"(s{a="1",b="2",s="other"} 0)"});

  // The state of a stateset is none of the labels that are given.
  const auto states = registry.stateset<Method, Shape>({.name = "t"}, {"shape"});
  states.with({{"shape", "round"}}).set(Method::get);
  CHECK(states(Shape::round).is_in(Method::get));
  CHECK_THROWS_AS(states.create_with({{"shape", "round"}, {"t", "get"}}), quipu::LabelError);
}

TEST_CASE("a timer takes labels that are known at run time") {
  const auto registry = page::empty_registry();
  const auto family = registry.histogram({.name = "h"}, Names{"a", "b"});
  {
    auto timer = family.time();
    timer.labels({"1", "2"});
  }
  {
    auto timer = family.time();
    timer.labels_with({{"b", "2"}, {"a", "1"}});
    CHECK_THROWS_AS(timer.labels({"1"}), quipu::LabelError);
  }
  family.time().stop({"1", "2"});
  family.curry_with({{"a", "1"}}).time().stop({"2"});
  const auto typed = registry.histogram({.name = "h"}, {"a", "b"});
  typed.curry("1").time().stop("2");
  auto timer = typed.time();
  timer.labels_with({{"b", "2"}, {"a", "1"}});
  timer.stop();
  family.time().discard();
  CHECK(typed("1", "2").snapshot().count() == 6);
  CHECK(typed.size() == 1);
  const quipu::FamilyTimer<Text, Text> named = typed.time();
  static_cast<void>(named);
}

TEST_CASE("a curried family has the series of the fixed values, and finds them by the others") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method, int, Text>({.name = "x_total"}, {"method", "code", "route"});
  const auto get = family.curry(Method::get);
  const auto get_ok = get.curry(200);
  static_assert(std::is_same_v<decltype(get), const quipu::CurriedFamily<quipu::CounterFamily<Method, int, Text>, 1>>);
  static_assert(
      std::is_same_v<decltype(get_ok), const quipu::CurriedFamily<quipu::CounterFamily<Method, int, Text>, 2>>);
  CHECK(get(200, "/a") == family(Method::get, 200, "/a"));
  CHECK(get_ok("/a") == family(Method::get, 200, "/a"));
  CHECK(get.with({{"route", "/a"}, {"code", 200}}) == family(Method::get, 200, "/a"));
  CHECK(get_ok.with({{"route", "/a"}}) == family(Method::get, 200, "/a"));
  CHECK(get.find(404, "/a") == std::nullopt);
  CHECK(get.find_with({{"code", 404}, {"route", "/a"}}) == std::nullopt);
  get.create(404, "/a");
  get_ok.create("/b");
  family.create(Method::post, 200, "/a");
  CHECK(family.size() == 4);
  CHECK(get.size() == 3);
  CHECK(get_ok.size() == 2);
  CHECK(get_ok.remove("/b"));
  CHECK_FALSE(get_ok.remove("/b"));
  CHECK(get.remove_with({{"code", "404"}, {"route", "/a"}}));
  get.create(500, "/a");
  CHECK(get.remove_if([](quipu::Labels labels) { return labels[2].value == "/a" && labels[1].value == "500"; }) == 1);
  CHECK(family.size() == 2);
  get.clear();
  CHECK(get.size() == 0);
  CHECK(page::samples(registry) == Lines{R"(x_total{method="post",code="200",route="/a"} 0)"});

  CHECK(
      refusal([&] {
        get.create_with({{"method", "get"}, {"code", 1}, {"route", ""}});
      }) ==
      "cannot look up {method=\"get\", code=1, route=\"\"} in x_total{method enum (fixed), code integer, route text}: "
      "label \"method\" is fixed already; leave it out");
  CHECK(says(refusal([&] { get.create_with({{"code", 1}}); }), "label \"route\" is missing"));
}

TEST_CASE("a curried family keeps its texts, and may outlive the registry") {
  std::optional<quipu::CurriedFamily<quipu::CounterFamily<Text, Text, Text>, 2>> kept;
  std::optional<quipu::RuntimeFamily<quipu::Counter>> kept_by_name;
  {
    const auto registry = page::empty_registry();
    const auto family = registry.counter({.name = "x_total"}, {"a", "b", "c"});
    std::string first = "a text of more than sixteen bytes";
    auto one = family.curry(first);
    kept = one.curry(std::string("another one of more than sixteen bytes"));
    kept_by_name = registry.counter({.name = "x_total"}, Names{"a", "b", "c"}).curry_with({{"a", first}});
    first.assign(first.size(), '?');
    const auto copy = *kept;
    kept = copy;
    (*kept)("x").inc();
    (*kept_by_name)({"another one of more than sixteen bytes", "x"}).inc();
    CHECK(page::samples(registry) ==
          Lines{"x_total{a=\"a text of more than sixteen bytes\",b=\"another one of more than "
                "sixteen bytes\",c=\"x\"} 2"});
  }
  (*kept)("x").inc();
  CHECK((*kept)("x").value() == 3);
  CHECK((*kept_by_name)({"another one of more than sixteen bytes", "x"}).value() == 3);
}

TEST_CASE("a family whose labels are known at run time is curried by name") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, Names{"a", "b", "c", "d"});
  const auto expected = family({"1", "2", "3", "4"});
  const auto part = family.curry_with({{"c", "3"}, {"a", "1"}});
  CHECK(part({"2", "4"}) == expected);
  CHECK(part.with({{"d", "4"}, {"b", "2"}}) == expected);
  CHECK(part.curry_with({{"d", "4"}})({"2"}) == expected);
  CHECK(part.curry_with({{"d", "4"}, {"b", "2"}})({}) == expected);
  CHECK(part.curry_with({})({"2", "4"}) == expected);
  CHECK(part.find({"2", "4"}) == expected);
  CHECK(part.find({"4", "2"}) == std::nullopt);
  CHECK(family.size() == 1);
  family.create({"x", "2", "3", "4"});
  part.create({"5", "6"});
  CHECK(part.size() == 2);
  CHECK(part.remove({"5", "6"}));
  part.clear();
  CHECK(page::samples(registry) == Lines{R"(x_total{a="x",b="2",c="3",d="4"} 0)"});

  const auto refuses = [&](const quipu::detail::LabelPairs& pairs, std::string_view why) {
    return says(refusal([&] { static_cast<void>(part.curry_with(pairs)); }), why);
  };
  CHECK(refuses({{"a", "1"}}, "label \"a\" is fixed already"));
  CHECK(refuses({{"e", "1"}}, "there is no label \"e\""));
  CHECK(refuses({{"b", "1"}, {"b", "1"}}, "label \"b\" is given twice"));
  CHECK(refuses({{"b", 1}}, "label \"b\" takes text, and not 1"));
}

TEST_CASE("families that were never registered take any labels, and record nowhere") {
  const quipu::CounterFamily<Method, Text> typed;
  typed.with({{"what", 1}}).inc();
  typed.curry(Method::get)("x").inc();
  CHECK(typed.find(Method::get, "x") == std::nullopt);
  const quipu::RuntimeFamily<quipu::Histogram> runtime;
  runtime({"1", "2"}).observe(1);
  runtime({}).observe(1);
  runtime.with({{"a", "1"}}).observe(1);
  runtime.curry_with({{"a", "1"}})({"2"}).observe(1);
  runtime.time().stop({"1"});
  CHECK(runtime.find({"1"}) == std::nullopt);
  CHECK_FALSE(runtime.remove({"1"}));
  runtime.clear();
  CHECK(runtime.size() == 0);
  const quipu::CurriedFamily<quipu::CounterFamily<Text, int>, 1> curried;
  curried(1).inc();
  CHECK(curried.size() == 0);
}

TEST_CASE("what is beyond the limit is counted in the overflow series by name, too") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total", .max_series = 1}, Names{"a", "b"});
  family({"1", "2"}).inc();
  family({"3", "4"}).inc();
  family.with({{"b", "6"}, {"a", "5"}}).inc();
  family.curry_with({{"a", "7"}})({"8"}).inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{a="1",b="2"} 1)", R"(x_total{a="overflow",b="overflow"} 3)"});
  CHECK(family.find({"3", "4"}) == std::nullopt);
  CHECK(family.curry_with({{"a", "7"}}).size() == 0);
}

TEST_CASE("threads that look up by name, by values and by part find the same series") {
  const auto registry = page::empty_registry();
  const auto typed = registry.counter({.name = "x_total"}, {"a", "b", "c"});
  const auto runtime = registry.counter({.name = "x_total"}, Names{"a", "b", "c"});
  const auto part = typed.curry("1");
  const auto runtime_part = runtime.curry_with({{"b", "2"}});
  constexpr int rounds = 2000;
  std::atomic<int> wrong{0};
  std::vector<std::thread> crowd;
  for (int t = 0; t < 5; ++t) {
    crowd.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const std::string c = std::to_string(i % 200);
        if (t == 0) typed("1", "2", c).inc();
        if (t == 1) typed.with({{"c", c}, {"b", "2"}, {"a", "1"}}).inc();
        if (t == 2) runtime({"1", "2", c}).inc();
        if (t == 3) part("2", c).inc();
        if (t == 4) runtime_part({"1", c}).inc();
        if (!typed.find("1", "2", c)) wrong.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread& thread : crowd) thread.join();
  CHECK(wrong == 0);
  CHECK(typed.size() == 200);
  std::uint64_t sum = 0;
  for (int i = 0; i < 200; ++i) sum += typed("1", "2", std::to_string(i)).value();
  CHECK(sum == 5 * rounds);
}
