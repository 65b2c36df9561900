#include "quipu/family.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/batch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace family_test {

enum class Method { get, post, other };
enum class Verb { get, put };
enum Color { red, green, blue };
enum Shape { circle, square };
enum class Big : std::uint64_t { zero };
enum class Small : signed char { negative = -3, none = 0, some };
enum class Gap { first = 0, third = 2 };
enum class Bool : bool { no, yes };
enum class Outcome { good, overflow };

}  // namespace family_test

using namespace family_test;

template <>
struct quipu::EnumLabels<family_test::Verb> {
  static constexpr std::array names = {"GET", "PUT \"it\""};
};
template <>
struct quipu::EnumLabels<family_test::Shape> {
  static constexpr std::array<std::string_view, 2> names = {"round", "angular"};
};

namespace {

enum class Hidden { one, two };

using Text = std::string_view;
using Lines = std::vector<std::string>;

static_assert(std::invocable<quipu::CounterFamily<Text>, const char*>);
static_assert(std::invocable<quipu::CounterFamily<Text>, std::string>);
static_assert(std::invocable<quipu::GaugeFamily<Method, int, bool>, Method, int, bool>);
static_assert(std::is_same_v<std::invoke_result_t<quipu::CounterFamily<Text>, Text>, quipu::Counter>);
static_assert(std::is_same_v<std::invoke_result_t<quipu::HistogramFamily<Text>, Text>, quipu::Histogram>);
static_assert(std::is_nothrow_invocable_v<quipu::CounterFamily<Text>, Text>);

template <class Family>
concept HasCreateAll = requires(Family family) {
  family.create_all();
};
static_assert(HasCreateAll<quipu::CounterFamily<Method, bool>>);
static_assert(HasCreateAll<quipu::CounterFamily<Shape>>);

template <class Family>
concept HasTime = requires(Family family) {
  family.time();
};
static_assert(HasTime<quipu::HistogramFamily<Text>>);
static_assert(HasTime<quipu::GaugeFamily<Text>>);
static_assert(!HasTime<quipu::CounterFamily<Text>>);

/// What the page says of a series of a counter family with one label of text.
std::string shown_as(std::string_view value) {
  const auto registry = page::empty_registry();
  registry.counter({.name = "x_total"}, {"v"})(value).inc();
  std::string body = page::body(registry);
  const std::string begin = "# TYPE x_total counter\nx_total{v=\"";
  const std::string end = "\"} 1\n";
  if (!body.starts_with(begin) || !body.ends_with(end)) return "unexpected: " + body;
  return body.substr(begin.size(), body.size() - begin.size() - end.size());
}

}  // namespace

TEST_CASE("label values are text of several types") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Text, std::string>({.name = "x_total"}, {"a", "b"});
  const std::string text = "1";
  family("1", "2").inc();
  family(text, std::string("2")).inc();
  family(std::string_view("12", 1), std::string_view("2")).inc();
  CHECK(family.size() == 1);
  CHECK(page::samples(registry) == Lines{R"(x_total{a="1",b="2"} 3)"});
}

TEST_CASE("label values are integers of every type") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int, std::uint64_t, signed char, unsigned char, long long>(
      {.name = "x_total"}, {"a", "b", "c", "d", "e"});
  family(0, 0, 0, 0, 0).inc();
  family(-1, 1, -1, 1, -1).inc();
  family(std::numeric_limits<int>::min(), std::numeric_limits<std::uint64_t>::max(), -128, 255,
         std::numeric_limits<long long>::min())
      .inc();
  family(std::numeric_limits<int>::max(), 200, 127, 200, std::numeric_limits<long long>::max()).inc();
  CHECK(page::samples(registry) ==
        Lines{
            R"(x_total{a="0",b="0",c="0",d="0",e="0"} 1)",
            R"(x_total{a="-1",b="1",c="-1",d="1",e="-1"} 1)",
            R"(x_total{a="-2147483648",b="18446744073709551615",c="-128",d="255",e="-9223372036854775808"} 1)",
            R"(x_total{a="2147483647",b="200",c="127",d="200",e="9223372036854775807"} 1)",
        });
}

TEST_CASE("label values are true and false") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge<bool>({.name = "x"}, {"cached"});
  family(true).set(1);
  family(false).set(2);
  CHECK(page::samples(registry) == Lines{R"(x{cached="true"} 1)", R"(x{cached="false"} 2)"});
}

TEST_CASE("an enum class has its enumerators' names") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method>({.name = "x_total"}, {"method"});
  family(Method::post).inc();
  family(Method::get).inc(2);
  family(Method::other).inc(3);
  CHECK(page::samples(registry) ==
        Lines{R"(x_total{method="post"} 1)", R"(x_total{method="get"} 2)", R"(x_total{method="other"} 3)"});
}

TEST_CASE("an enum class of an unnamed namespace, a class or a function has its enumerators' names") {
  struct Class {
    enum class Inner { alpha, beta };
  };
  enum class Local { gamma, delta };
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Hidden, Class::Inner, Local>({.name = "x_total"}, {"hidden", "inner", "local"});
  family(Hidden::two, Class::Inner::alpha, Local::delta).inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{hidden="two",inner="alpha",local="delta"} 1)"});
}

TEST_CASE("EnumLabels chooses the names of an enum") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Verb, Shape>({.name = "x_total"}, {"verb", "shape"});
  family(Verb::put, circle).inc();
  family(Verb::get, square).inc();
  CHECK(page::samples(registry) ==
        Lines{R"(x_total{verb="PUT \"it\"",shape="round"} 1)", R"(x_total{verb="GET",shape="angular"} 1)"});
}

TEST_CASE("an unscoped enum without names is shown as a number") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Color>({.name = "x_total"}, {"color"});
  family(green).inc();
  family(blue).inc();
  family(green).inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{color="1"} 2)", R"(x_total{color="2"} 1)"});
}

TEST_CASE("an enum's value beyond its names is shown as a number") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method>({.name = "x_total"}, {"method"});
  family(static_cast<Method>(3)).inc();
  family(static_cast<Method>(-1)).inc();
  family(static_cast<Method>(1000000)).inc();
  family(static_cast<Method>(3)).inc();
  CHECK(page::samples(registry) ==
        Lines{R"(x_total{method="3"} 2)", R"(x_total{method="-1"} 1)", R"(x_total{method="1000000"} 1)"});
  CHECK(family.remove(static_cast<Method>(3)));
  CHECK(family.size() == 2);

  const auto small = registry.counter<Small>({.name = "small_total"}, {"v"});
  small(Small::negative).inc();
  small(Small::some).inc();
  CHECK(page::value(registry, R"(small_total{v="-3"})") == "1");
  CHECK(page::value(registry, R"(small_total{v="some"})") == "1");

  const auto gap = registry.counter<Gap>({.name = "gap_total"}, {"v"});
  gap(Gap::first).inc();
  gap(Gap::third).inc();
  CHECK(page::value(registry, R"(gap_total{v="first"})") == "1");
  CHECK(page::value(registry, R"(gap_total{v="2"})") == "1");

  const auto flag = registry.counter<Bool>({.name = "flag_total"}, {"v"});
  flag(Bool::yes).inc();
  CHECK(page::value(registry, R"(flag_total{v="yes"})") == "1");
}

TEST_CASE("an unsigned enum's value beyond its names is shown without a sign") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Big>({.name = "x_total"}, {"v"});
  family(static_cast<Big>(std::numeric_limits<std::uint64_t>::max())).inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{v="18446744073709551615"} 1)"});
}

TEST_CASE("a metric without labels is on the page at 0 at once, a family when it has a series") {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.counter({.name = "a_total"}));
  static_cast<void>(registry.fractional_counter({.name = "b_total"}));
  static_cast<void>(registry.gauge({.name = "c"}));
  static_cast<void>(registry.histogram({.name = "d", .buckets = {1.0}}));
  const auto family = registry.counter({.name = "e_total"}, {"label"});
  CHECK(page::samples(registry) == Lines{"a_total 0", "b_total 0", "c 0", R"(d_bucket{le="1"} 0)",
                                         R"(d_bucket{le="+Inf"} 0)", "d_sum 0", "d_count 0"});
  static_cast<void>(family("x"));
  CHECK(page::value(registry, R"(e_total{label="x"})") == "0");
}

TEST_CASE("the same label values find the same series") {
  const auto registry = page::empty_registry();
  const auto text = registry.counter({.name = "a_total"}, {"x", "y"});
  text("1", "2").inc();
  CHECK(text("1", "2") == text(std::string("1"), "2"));
  CHECK(text("1", "2").value() == 1);
  CHECK_FALSE(text("1", "2") == text("2", "1"));
  const auto closed = registry.counter<Method, bool>({.name = "b_total"}, {"x", "y"});
  CHECK(closed(Method::post, true) == closed(Method::post, true));
  CHECK_FALSE(closed(Method::post, true) == closed(Method::post, false));
  CHECK_FALSE(closed(Method::post, false) == closed(Method::get, true));
  const auto copy = closed;
  CHECK(copy(Method::post, true) == closed(Method::post, true));
  const auto mixed = registry.gauge<Text, int, Method>({.name = "c"}, {"x", "y", "z"});
  CHECK(mixed("a", 1, Method::get) == mixed("a", 1, Method::get));
  CHECK_FALSE(mixed("a", 1, Method::get) == mixed("a", 2, Method::get));
}

TEST_CASE("create_all makes every combination of closed labels, at 0") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Method, bool, Shape>({.name = "x_total"}, {"method", "cached", "shape"});
  family(Method::post, true, square).inc(7);
  family.create_all();
  CHECK(family.size() == 12);
  const auto before = page::samples(registry);
  CHECK(before.size() == 12);
  for (const char* method : {"get", "post", "other"}) {
    for (const char* cached : {"true", "false"}) {
      for (const char* shape : {"round", "angular"}) {
        const std::string series =
            std::string("x_total{method=\"") + method + "\",cached=\"" + cached + "\",shape=\"" + shape + "\"}";
        INFO(series);
        const bool is_first = series == R"(x_total{method="post",cached="true",shape="angular"})";
        CHECK(page::value(registry, series) == (is_first ? "7" : "0"));
      }
    }
  }
  family.create_all();
  CHECK(page::samples(registry) == before);
}

TEST_CASE("texts that are the same when joined are different series") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a", "b"});
  const std::vector<std::pair<std::string, std::string>> values = {{"ab", "c"},
                                                                   {"a", "bc"},
                                                                   {"abc", ""},
                                                                   {"", "abc"},
                                                                   {"", ""},
                                                                   {"a", "b,c"},
                                                                   {"a,b", "c"},
                                                                   {"abc", std::string(1, '\0')},
                                                                   {std::string("\1c", 2), ""},
                                                                   {"", std::string("\1c", 2)},
                                                                   {std::string(1, '\0'), ""},
                                                                   {"", std::string(1, '\0')}};
  std::uint64_t step = 0;
  for (const auto& [a, b] : values) family(a, b).inc(++step);
  CHECK(family.size() == values.size());
  step = 0;
  for (const auto& [a, b] : values) CHECK(family(a, b).value() == ++step);
  const shown::Everything all(registry);
  CHECK(all.duplicates() == 0);
  CHECK(all.values().size() == values.size());
}

TEST_CASE("numbers and texts do not mix in a key") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Text, int, Text>({.name = "x_total"}, {"a", "n", "b"});
  family("", 1, "").inc(1);
  family(std::string(8, '\0'), 1, "").inc(2);
  family("", 256, "").inc(3);
  family("", 1, std::string(1, '\0')).inc(4);
  CHECK(family.size() == 4);
  CHECK(family("", 1, "").value() == 1);
  CHECK(family(std::string(8, '\0'), 1, "").value() == 2);
  CHECK(family("", 256, "").value() == 3);
}

TEST_CASE("label values are shown as they are, escaped") {
  CHECK(shown_as("") == "");
  CHECK(shown_as("plain") == "plain");
  CHECK(shown_as("say \"hi\"") == R"(say \"hi\")");
  CHECK(shown_as("C:\\new\\dir\\") == R"(C:\\new\\dir\\)");
  CHECK(shown_as("one\ntwo\n") == R"(one\ntwo\n)");
  CHECK(shown_as("\\n") == R"(\\n)");
  CHECK(shown_as("\\\"\n") == R"(\\\"\n)");
  CHECK(shown_as("cr\rtab\tbell\a") == "cr\rtab\tbell\a");
  CHECK(shown_as({"nul\0nul", 7}) == std::string("nul\0nul", 7));
  CHECK(shown_as("{a=\"b\"} 1 # 'x'") == R"({a=\"b\"} 1 # 'x')");
}

TEST_CASE("label values of 10 kB and of every shorter size are told apart") {
  const auto registry = page::empty_registry({.max_label_value_size = 10'000});
  const auto family = registry.counter({.name = "x_total"}, {"a", "b"});
  const std::string long_one(10'000, 'x');
  const std::string long_other = long_one.substr(1) + 'y';
  family(long_one, "").inc(1);
  family(long_other, "").inc(2);
  family("", long_one).inc(3);
  family(long_one, long_other).inc(4);
  CHECK(family(long_one, "").value() == 1);
  CHECK(family(long_other, "").value() == 2);
  CHECK(family("", long_one).value() == 3);
  CHECK(family(long_one, long_other).value() == 4);
  CHECK(page::value(registry, "x_total{a=\"" + long_one + "\",b=\"" + long_other + "\"}") == "4");
  CHECK(family.remove(long_one, long_other));

  family.clear();
  for (std::size_t size = 0; size <= 600; ++size) family(std::string(size, 'a'), "z").inc(size);
  CHECK(family.size() == 601);
  for (std::size_t size = 0; size <= 600; ++size) {
    INFO(size);
    REQUIRE(family(std::string(size, 'a'), "z").value() == size);
  }
  const shown::Everything all(registry);
  CHECK(all.duplicates() == 0);
  CHECK(all.values().at({"x_total", std::string(255, 'a'), "z"}) == 255);
  CHECK(all.values().at({"x_total", std::string(254, 'a'), "z"}) == 254);
  CHECK(all.values().at({"x_total", std::string(600, 'a'), "z"}) == 600);
}

TEST_CASE("a long label value is cut where a code point ends, and is one series with what is equal then") {
  const quipu::Registry registry({.process_metrics = false});
  const auto family = registry.counter({.name = "x_total"}, {"a"});
  const std::string whole(1024, 'x');
  for (int i = 0; i < 2; ++i) {
    family(whole).inc(1);
    family(whole + "1").inc(10);
    family(whole + "\xFF").inc(100);
    family(std::string(10'000'000, 'x')).inc(1000);
  }
  CHECK(page::value(registry, "x_total{a=\"" + whole + "\"}") == "2222");
  CHECK(family.size() == 1);
  CHECK(family(whole + "2") == family(whole));
  CHECK(page::value(registry, R"(quipu_truncated_lookups_total{family="x_total"})") == "7");
  CHECK(family.remove(whole + "3"));
  CHECK(family.size() == 0);

  // The last code point that fits is whole: of one, two, three and four bytes, of U+FFFD, and of what is cut off.
  const auto stored = [&](const std::string& value) {
    const quipu::Registry another = page::empty_registry();
    another.gauge({.name = "g"}, {"a"})(value).set(1);
    const std::string line = page::samples(another).at(0);
    return line.substr(5, line.size() - 9);
  };
  const std::string bad = "\xEF\xBF\xBD";
  for (const std::string& tail : {std::string("y"), std::string("\xC3\xA9"), std::string("\xE2\x82\xAC"),
                                  std::string("\xF0\x9F\xAA\xA2"), std::string("\xFF"), std::string("\xF0\x9F\xAA")}) {
    const std::string shown = tail == "\xFF" || tail == "\xF0\x9F\xAA" ? bad : tail;
    for (std::size_t before = 1018; before <= 1030; ++before) {
      INFO(before << " " << shown);
      const std::string kept = std::string(std::min<std::size_t>(before, 1024), 'x');
      const std::string expected = before + shown.size() <= 1024 ? kept + shown : kept;
      CHECK(stored(std::string(before, 'x') + tail) == expected);
      const std::string more =
          before + shown.size() + 1 <= 1024 ? expected + std::string(1024 - expected.size(), 'z') : expected;
      CHECK(stored(std::string(before, 'x') + tail + std::string(2000, 'z')) == more);
    }
  }
  // U+FFFD is longer than what it stands for.
  std::string many;
  for (int i = 0; i < 341; ++i) many += bad;
  CHECK(stored(std::string(1000, '\xFF')) == many);
}

TEST_CASE("a label value of 10 MB costs no more than one of the longest that is kept") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a", "b"});
  const std::string huge(10'000'000, 'x');
  const std::string broken(10'000'000, '\xFF');
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) {
    family(huge, broken).inc();
    family(broken, "").inc();
    CHECK(family.remove(broken, ""));
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));  // a minute, if all of it was read
  CHECK(family(huge, broken).value() == 500);
}

TEST_CASE("valid UTF-8 is left alone") {
  for (const char* text : {"caf\xC3\xA9", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xE2\x82\xAC", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xEF\xBF\xBF", "\xEF\xBF\xBD", "\xF0\x90\x80\x80", "\xF0\x9F\xAA\xA2",
                           "\xF4\x8F\xBF\xBF", "\xEF\xBB\xBF with a mark"}) {
    INFO(text);
    CHECK(shown_as(text) == text);
  }
}

TEST_CASE("what is not UTF-8 gets U+FFFD in its place") {
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(shown_as("\xFF\xFE") == bad + bad);
  CHECK(shown_as("caf\xE9") == "caf" + bad);
  CHECK(shown_as("caf\xE9!") == "caf" + bad + "!");
  CHECK(shown_as("\x80") == bad);
  CHECK(shown_as("a\xE2\x82") == "a" + bad);                        // cut off
  CHECK(shown_as("a\xF0\x9F\xAA") == "a" + bad);                    // cut off
  CHECK(shown_as("\xE2\x82\"") == bad + "\\\"");                    // the quote is not swallowed
  CHECK(shown_as("\xE2\n") == bad + "\\n");                         // nor the line feed
  CHECK(shown_as("\xC3\\") == bad + "\\\\");                        // nor the backslash
  CHECK(shown_as("\xC0\xAF") == bad + bad);                         // overlong
  CHECK(shown_as("\xC1\xBF") == bad + bad);                         // overlong
  CHECK(shown_as("\xE0\x80\xAF") == bad + bad + bad);               // overlong
  CHECK(shown_as("\xE0\x9F\xBF") == bad + bad + bad);               // overlong
  CHECK(shown_as("\xF0\x8F\xBF\xBF") == bad + bad + bad + bad);     // overlong
  CHECK(shown_as("\xED\xA0\x80") == bad + bad + bad);               // a surrogate
  CHECK(shown_as("\xED\xBF\xBF") == bad + bad + bad);               // a surrogate
  CHECK(shown_as("\xF4\x90\x80\x80") == bad + bad + bad + bad);     // beyond U+10FFFF
  CHECK(shown_as("\xF5\x80\x80\x80") == bad + bad + bad + bad);     // beyond U+10FFFF
  CHECK(shown_as("\xE2\x82\xE2\x82\xAC") == bad + "\xE2\x82\xAC");  // cut off, then a whole one
}

TEST_CASE("texts that become the same valid text are one series") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a", "b"});
  family("\xFF", "1").inc();
  family("\xFE", "1").inc();
  family("\xEF\xBF\xBD", "1").inc();
  family("\xE2\x82", "1").inc();
  CHECK(family.size() == 1);
  CHECK(page::samples(registry) == Lines{"x_total{a=\"\xEF\xBF\xBD\",b=\"1\"} 4"});
  CHECK(family("\xFF", "1") == family("\xFE", "1"));
  CHECK(family.remove("\x80", "1"));
  CHECK(family.size() == 0);
  CHECK(page::body(registry).empty());

  // Long enough to leave the stack, and growing as it is made valid.
  const std::string bad(400, '\xFF');
  family(bad, bad).inc();
  family(bad, std::string(400, '\xFE')).inc();
  CHECK(family.size() == 1);
  CHECK(family(bad, bad).value() == 2);
}

TEST_CASE("a removed series is off the page, and begins at 0 again") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Text, int>({.name = "x_total"}, {"a", "n"});
  family("x", 1).inc(5);
  family("y", 2).inc(6);
  CHECK(family.remove("x", 1));
  CHECK_FALSE(family.remove("x", 1));
  CHECK_FALSE(family.remove("y", 1));
  CHECK(page::samples(registry) == Lines{R"(x_total{a="y",n="2"} 6)"});
  CHECK(family("x", 1).value() == 0);
  CHECK(page::value(registry, R"(x_total{a="x",n="1"})") == "0");

  const auto closed = registry.counter<Method, bool>({.name = "closed_total"}, {"m", "b"});
  const auto old = closed(Method::get, true);
  old.inc(5);
  CHECK_FALSE(closed.remove(Method::get, false));
  CHECK(closed.remove(Method::get, true));
  CHECK_FALSE(closed.remove(Method::get, true));
  CHECK(closed.size() == 0);
  CHECK(closed(Method::get, true).value() == 0);
  CHECK_FALSE(closed(Method::get, true) == old);
  CHECK(closed.size() == 1);
  closed(Method::get, true).inc();
  old.inc();
  CHECK(page::value(registry, R"(closed_total{m="get",b="true"})") == "1");
}

TEST_CASE("clear removes every series") {
  const auto registry = page::empty_registry();
  const auto open = registry.counter<int>({.name = "a_total"}, {"n"});
  const auto closed = registry.counter<Method>({.name = "b_total"}, {"m"});
  for (int i = 0; i < 1000; ++i) open(i).inc();
  closed.create_all();
  const auto handle = closed(Method::get);
  open.clear();
  closed.clear();
  CHECK(open.size() == 0);
  CHECK(closed.size() == 0);
  CHECK(page::body(registry).empty());
  handle.inc();
  CHECK(closed(Method::get).value() == 0);
  closed(Method::get).inc();
  CHECK(closed(Method::get).value() == 1);
  CHECK(open(5).value() == 0);
  CHECK(open.size() == 1);
}

TEST_CASE("series are removed by what their labels are") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  const auto family = registry.gauge<Text, int, Method>({.name = "x"}, {"peer", "port", "method"});
  for (int port = 0; port < 600; ++port) family(port % 2 == 0 ? "even" : "odd", port, Method::post).set(port);
  std::size_t calls = 0;
  bool are_right = true;
  const auto removed = family.remove_if([&](quipu::Labels labels) {
    ++calls;
    are_right = are_right && labels.size() == 3 && labels[0].name == "peer" && labels[1].name == "port" &&
                labels[2] == quipu::Label{"method", "post"};
    return labels[0].value == "odd";
  });
  CHECK(calls == 600);
  CHECK(are_right);
  CHECK(removed == 300);
  CHECK(family.size() == 300);
  CHECK(family.remove_if([](quipu::Labels) { return false; }) == 0);
  const auto left = page::samples(registry);
  CHECK(left.size() == 300);
  CHECK(page::value(registry, R"(x{env="test",peer="odd",port="1",method="post"})") == page::absent);
  CHECK(page::value(registry, R"(x{env="test",peer="even",port="598",method="post"})") == "598");
  CHECK(family.remove_if([](quipu::Labels) { return true; }) == 300);
  CHECK(family.size() == 0);
}

TEST_CASE("a predicate may use its family") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  for (int i = 0; i < 10; ++i) family(i).inc(i);
  // Removes those of an even value, asks for the size, counts in another series, and removes 9 by itself.
  const auto removed = family.remove_if([&](quipu::Labels labels) {
    const int n = std::stoi(std::string(labels[0].value));
    family(1).inc(100);
    family.remove(9);
    return family.size() > 0 && family(n).value() % 2 == 0;
  });
  CHECK(removed == 5);
  CHECK(family.size() == 4);
  CHECK(family(1).value() == 1 + 9 * 100);
}

TEST_CASE("beyond max_series, new label values are counted in one overflow series") {
  const quipu::Registry registry({.process_metrics = false});
  const auto family = registry.counter({.name = "x_total", .max_series = 3}, {"a", "b"});
  family("1", "").inc(1);
  family("2", "").inc(2);
  family("3", "").inc(3);
  CHECK(page::value(registry, R"(quipu_overflowed_lookups_total{family="x_total"})") == page::absent);
  family("4", "").inc(10);
  family("5", "").inc(20);
  family("1", "").inc(1);
  family("\xFF", "").inc(30);
  CHECK(page::value(registry, R"(x_total{a="1",b=""})") == "2");
  CHECK(page::value(registry, R"(x_total{a="3",b=""})") == "3");
  CHECK(page::value(registry, R"(x_total{a="overflow",b="overflow"})") == "60");
  CHECK(page::value(registry, R"(x_total{a="4",b=""})") == page::absent);
  CHECK(page::value(registry, R"(quipu_overflowed_lookups_total{family="x_total"})") == "3");
  CHECK(family("4", "") == family("5", ""));
  CHECK(family("overflow", "overflow") == family("5", ""));
}

TEST_CASE("an overflow series is shown once, also when it is asked for by name") {
  const auto registry = page::empty_registry();
  SECTION("text, before") {
    const auto family = registry.counter({.name = "x_total", .max_series = 2}, {"a"});
    family("overflow").inc(1);
    family("x").inc(1);
    family("y").inc(2);
    CHECK(page::samples(registry) == Lines{R"(x_total{a="overflow"} 3)", R"(x_total{a="x"} 1)"});
  }
  SECTION("text, after") {
    const auto family = registry.counter({.name = "x_total", .max_series = 1}, {"a"});
    family("x").inc(1);
    family("y").inc(2);
    family("overflow").inc(3);
    CHECK(page::samples(registry) == Lines{R"(x_total{a="x"} 1)", R"(x_total{a="overflow"} 5)"});
    CHECK(family.remove("overflow"));
    family("z").inc();
    CHECK(page::samples(registry) == Lines{R"(x_total{a="x"} 1)", R"(x_total{a="overflow"} 1)"});
  }
  SECTION("an enumerator of that name, before") {
    const auto family = registry.counter<Outcome>({.name = "x_total", .max_series = 1}, {"outcome"});
    family(Outcome::overflow).inc(1);
    family(Outcome::good).inc(2);
    CHECK(shown::Everything(registry).duplicates() == 0);
    CHECK(page::value(registry, R"(x_total{outcome="overflow"})") == "3");
  }
  SECTION("an enumerator of that name among text") {
    const auto family = registry.counter<Outcome, Text>({.name = "x_total", .max_series = 1}, {"outcome", "a"});
    family(Outcome::overflow, "overflow").inc(1);
    family(Outcome::good, "x").inc(2);
    CHECK(shown::Everything(registry).duplicates() == 0);
  }
}

TEST_CASE("a full family of numbers has an overflow series too") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge<int, Method>({.name = "x", .max_series = 2}, {"n", "method"});
  family(1, Method::get).set(1);
  family(2, Method::get).set(2);
  family(3, Method::get).add(3);
  family(4, Method::post).add(4);
  CHECK(page::value(registry, R"(x{n="overflow",method="overflow"})") == "7");
  std::size_t seen = 0;
  CHECK(family.remove_if([&](quipu::Labels labels) {
    seen += static_cast<std::size_t>(labels[0].value == "overflow" && labels[1].value == "overflow");
    return true;
  }) == 3);
  CHECK(seen == 1);
  family(5, Method::get).set(5);
  CHECK(page::samples(registry) == Lines{R"(x{n="5",method="get"} 5)"});

  const auto histograms = registry.histogram<Method>({.name = "h", .buckets = {1.0}, .max_series = 1}, {"method"});
  histograms.create_all();
  histograms(Method::get).observe(1);
  histograms(Method::post).observe(1);
  histograms(Method::other).observe(2);
  CHECK(page::value(registry, R"(h_count{method="get"})") == "1");
  CHECK(page::value(registry, R"(h_bucket{method="overflow",le="1"})") == "1");
  CHECK(page::value(registry, R"(h_count{method="overflow"})") == "2");
}

TEST_CASE("a family for no series at all is refused") {
  const auto registry = page::empty_registry();
  CHECK(page::refusal([&] { static_cast<void>(registry.counter({.name = "x_total", .max_series = 0}, {"a"})); }) ==
        "cannot register counter x_total{a text} \"\": max_series is 0, and must be at least 1");
  const auto family = registry.counter({.name = "x_total", .max_series = 1}, {"a"});
  family("x").inc();
  family("y").inc();
  CHECK(page::samples(registry) == Lines{R"(x_total{a="x"} 1)", R"(x_total{a="overflow"} 1)"});
}

TEST_CASE("all families of a registry together have no more series than it may have") {
  const quipu::Registry registry({.max_series = 5, .process_metrics = false});
  auto a = std::make_unique<quipu::CounterFamily<Text>>(registry.counter({.name = "a_total"}, {"v"}));
  const auto b = registry.histogram<int>({.name = "b", .buckets = {1.0}}, {"n"});
  registry.gauge({.name = "c"}).set(1);  // counts
  for (const char* value : {"1", "2", "3"}) (*a)(value).inc();
  b(1).observe(1);
  b(2).observe(2);
  b(3).observe(3);
  (*a)("4").inc(4);
  (*a)("1").inc();
  CHECK(page::value(registry, R"(a_total{v="1"})") == "2");
  CHECK(page::value(registry, R"(a_total{v="overflow"})") == "4");
  CHECK(page::value(registry, R"(b_count{n="1"})") == "1");
  CHECK(page::value(registry, R"(b_sum{n="overflow"})") == "5");
  CHECK(page::value(registry, R"(quipu_overflowed_lookups_total{family="a_total"})") == "1");
  CHECK(page::value(registry, R"(quipu_overflowed_lookups_total{family="b"})") == "2");

  // Metrics without labels and one overflow series of each family are there in any case.
  const auto another = registry.counter({.name = "d_total"});
  another.inc(7);
  CHECK(page::value(registry, "d_total") == "7");
  CHECK(page::value(registry, R"(quipu_overflowed_lookups_total{family="d_total"})") == page::absent);
  registry.info({.name = "e_info"}, {{"k", "v"}});
  CHECK(page::value(registry, R"(e_info{k="overflow"})") == "1");

  // What is removed makes room again, also for another family.
  a->clear();
  b.clear();
  for (int n = 0; n < 3; ++n) b(n).observe(1);
  CHECK(b.size() == 3);  // with its overflow series
  CHECK(page::value(registry, R"(b_count{n="overflow"})") == "1");
  b.clear();
  for (const char* value : {"1", "2", "3"}) (*a)(value).inc();
  CHECK(a->size() == 3);
  CHECK(page::value(registry, R"(a_total{v="overflow"})") == "1");
}

TEST_CASE("a family that is gone gives its series back to the registry") {
  const auto registry = page::empty_registry({.max_series = 3});
  struct Refused : quipu::Error {
    using Error::Error;
  };
  struct Metrics {
    explicit Metrics(const quipu::Scope& scope) : family(scope.counter<int>({.name = "x_total"}, {"n"})) {
      for (int n = 0; n < 5; ++n) family(n).inc();
      throw Refused("no");
    }
    quipu::CounterFamily<int> family;
  };
  CHECK_THROWS_AS(static_cast<void>(quipu::batch<Metrics>(registry, "")), Refused);
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  for (int n = 0; n < 5; ++n) family(n).inc();
  CHECK(page::samples(registry) ==
        Lines{R"(x_total{n="0"} 1)", R"(x_total{n="1"} 1)", R"(x_total{n="2"} 1)", R"(x_total{n="overflow"} 2)"});
}

TEST_CASE("threads that fill a registry together make no series too many, and lose no count") {
  constexpr int threads = 4;
  constexpr int values = 2'000;
  constexpr std::size_t most = 1'500;
  const auto registry = page::empty_registry({.max_series = most});
  std::vector<quipu::CounterFamily<int>> families;
  for (int t = 0; t < threads; ++t) {
    families.push_back(registry.counter<int>({.name = quipu::runtime("x" + std::to_string(t) + "_total")}, {"n"}));
  }
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t) {
    crowd.emplace_back([&, t] {
      for (int n = 0; n < values; ++n) families[static_cast<std::size_t>(t)](n).inc();
    });
  }
  for (std::thread& thread : crowd) thread.join();
  std::size_t series = 0;
  for (const auto& family : families) series += family.size();
  CHECK(series >= most);
  CHECK(series <= most + threads);  // with their overflow series
  double sum = 0;
  for (const std::string& line : page::samples(registry)) sum += std::stod(line.substr(line.rfind(' ')));
  CHECK(sum == threads * values);
}

TEST_CASE("removing a series of a full family makes room") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total", .max_series = 2}, {"a"});
  family("1").inc();
  family("2").inc();
  CHECK(family.remove("1"));
  family("3").inc();
  CHECK(page::samples(registry).size() == 2);
  CHECK(page::value(registry, R"(x_total{a="3"})") == "1");
}

TEST_CASE("a family is what a map is, whatever is done to it") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<Text, int>({.name = "x_total"}, {"text", "n"});
  using Key = std::pair<std::string, int>;
  std::map<Key, std::uint64_t> model;
  std::map<Key, quipu::Counter> handles;  // some are of series that were removed
  std::mt19937 random(11);
  const auto random_key = [&random](unsigned range) {
    const auto n = static_cast<unsigned>(random() % range);
    return Key{std::string(n % 40, static_cast<char>('a' + n % 7)), static_cast<int>(n) - 1000};
  };
  const auto is_same = [&] {
    std::map<shown::Everything::Key, double> expected;
    for (const auto& [key, value] : model) {
      expected[{"x_total", key.first, std::to_string(key.second)}] = static_cast<double>(value);
    }
    const shown::Everything all(registry);
    return all.duplicates() == 0 && all.values() == expected && family.size() == model.size();
  };

  std::size_t removals = 0;
  std::size_t wrong_values = 0;
  for (int round = 0; round < 40; ++round) {
    const unsigned range = round % 4 == 3 ? 20 : 4000;   // now and then a few keys, again and again
    const unsigned removing = round % 2 == 0 ? 20 : 60;  // percent: grows, then shrinks
    for (int i = 0; i < 2500; ++i) {
      const Key key = random_key(range);
      const auto what = static_cast<unsigned>(random() % 100);
      if (what < removing) {
        const bool was_there = model.erase(key) == 1;
        removals += static_cast<std::size_t>(was_there);
        wrong_values += static_cast<std::size_t>(family.remove(key.first, key.second) != was_there);
      } else if (what < 95) {
        const auto counter = family(key.first, key.second);
        wrong_values += static_cast<std::size_t>(counter.value() != model[key]);
        counter.inc(what);
        model[key] += what;
        handles[key] = counter;
      } else if (const auto old = handles.find(key); old != handles.end()) {
        // A handle counts if and only if its series is the one that is there.
        const auto before = old->second.value();
        old->second.inc();
        const bool is_live = old->second.value() == before + 1;
        const auto modelled = model.find(key);
        if (is_live) {
          wrong_values += static_cast<std::size_t>(modelled == model.end() || modelled->second != before);
          ++model[key];
        } else {
          wrong_values += static_cast<std::size_t>(before != 0);
        }
      }
    }
    if (round % 10 == 9) {
      const auto is_odd = [](int n) { return n % 2 != 0; };
      const auto expected = std::erase_if(model, [&](const auto& item) { return is_odd(item.first.second); });
      CHECK(family.remove_if([&](quipu::Labels labels) { return is_odd(std::stoi(std::string(labels[1].value))); }) ==
            expected);
    }
    INFO("round " << round);
    REQUIRE(wrong_values == 0);
    REQUIRE(is_same());
  }
  CHECK(removals > 10'000);
  family.clear();
  model.clear();
  CHECK(is_same());
}

TEST_CASE("thousands of series are all found and all shown") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int, Text>({.name = "x_total"}, {"n", "text"});
  constexpr int count = 20'000;
  for (int i = 0; i < count; ++i) family(i, "value").inc(i);
  CHECK(family.size() == count);
  int wrong = 0;
  for (int i = 0; i < count; ++i) wrong += family(i, "value").value() != static_cast<std::uint64_t>(i);
  CHECK(wrong == 0);
  const shown::Everything all(registry);
  CHECK(all.duplicates() == 0);
  CHECK(all.values().size() == count);
  for (int i = 0; i < count; i += 2) static_cast<void>(family.remove(i, "value"));
  CHECK(family.size() == count / 2);
  for (int i = 0; i < count; ++i) wrong += family(i, "value").value() != static_cast<std::uint64_t>(i % 2 * i);
  CHECK(wrong == 0);
}

TEST_CASE("a series that is created is on the page at 0, and keeps what it has when it is created again") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<std::string_view, int>({.name = "x_total"}, {"a", "n"});
  family.create("one", 1);
  CHECK(page::samples(registry) == Lines{R"(x_total{a="one",n="1"} 0)"});
  family("one", 1).inc(3);
  family.create("one", 1);
  CHECK(page::samples(registry) == Lines{R"(x_total{a="one",n="1"} 3)"});
}

TEST_CASE("series keep their order from scrape to scrape") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  Lines expected;
  for (int i = 0; i < 1000; ++i) {
    static_cast<void>(family((i * 7919) % 1000));
    expected.push_back("x_total{n=\"" + std::to_string((i * 7919) % 1000) + "\"} 0");
  }
  CHECK(page::samples(registry) == expected);
  CHECK(page::body(registry) == page::body(registry));

  // What stays keeps its order when others go and come.
  for (int i = 0; i < 1000; i += 3) static_cast<void>(family.remove(i));
  std::erase_if(expected, [](const std::string& line) { return std::stoi(line.substr(11)) % 3 == 0; });
  CHECK(page::samples(registry) == expected);
  for (int i = 0; i < 500; ++i) static_cast<void>(family(10'000 + i));
  auto shown = page::samples(registry);
  CHECK(shown.size() == expected.size() + 500);
  std::erase_if(shown, [](const std::string& line) { return std::stoi(line.substr(11)) >= 10'000; });
  CHECK(shown == expected);
}

TEST_CASE("a series that is removed and made again during a scrape is shown once") {
  // More series than a scrape looks at in one go; a visitor, which is called without a lock, moves the first one.
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  constexpr int count = 3000;
  for (int i = 0; i < count; ++i) family(i).inc();

  struct Mover : quipu::Visitor {
    explicit Mover(const quipu::CounterFamily<int>& moved) : family_(moved) {}
    void family(const quipu::FamilyView&) override {}
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
    void sample(const quipu::Sample& sample) override {
      ++times_shown[std::string(sample.labels[0].value)];
      if (sample.labels[0].value != "0" || times_shown["0"] > 1) return;
      static_cast<void>(family_.remove(0));
      static_cast<void>(family_(count));  // takes its place
      static_cast<void>(family_(0));
    }
    std::map<std::string, int> times_shown;
    const quipu::CounterFamily<int>& family_;
  } mover(family);
  registry.collect(mover);
  CHECK(mover.times_shown["0"] == 1);
  int missed = 0;
  for (int i = 1; i < count; ++i) missed += mover.times_shown[std::to_string(i)] != 1;
  CHECK(missed == 0);
}

TEST_CASE("a family outlives its registry") {
  const auto family = page::empty_registry().counter({.name = "x_total"}, {"a"});
  family("1").inc();
  family("2").inc();
  CHECK(family.size() == 2);
  CHECK(family("1").value() == 1);
  CHECK(family.remove("1"));
  CHECK(family.remove_if([](quipu::Labels labels) { return labels[0].value == "2"; }) == 1);
}

TEST_CASE("a counter of a family that is gone counts nowhere") {
  quipu::Counter counter;
  quipu::Histogram histogram;
  {
    const auto registry = page::empty_registry();
    counter = registry.counter({.name = "x_total"}, {"a"})("1");
    histogram = registry.histogram<Method>({.name = "h"}, {"m"})(Method::get);
    counter.inc();
    CHECK(counter.value() == 1);
  }
  counter.inc();
  histogram.observe(1);
  CHECK(counter.value() == 0);
  CHECK(histogram.snapshot().count() == 0);
}
