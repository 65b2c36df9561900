#include "quipu/counter.hpp"

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "catch.hpp"
#include "support/page.hpp"

namespace {

static_assert(std::is_trivially_copyable_v<quipu::Counter>);
static_assert(std::is_trivially_copyable_v<quipu::FractionalCounter>);
static_assert(sizeof(quipu::Counter) <= 2 * sizeof(void*));
static_assert(sizeof(quipu::FractionalCounter) <= 2 * sizeof(void*));
static_assert(std::is_nothrow_default_constructible_v<quipu::Counter>);
static_assert(noexcept(quipu::Counter().inc()));
static_assert(noexcept(quipu::Counter().inc(1)));
static_assert(noexcept(quipu::FractionalCounter().inc(1)));

template <class Step>
concept CanBeCounted = requires(quipu::Counter counter, Step step) {
  counter.inc(step);
};
static_assert(CanBeCounted<int>);
static_assert(CanBeCounted<unsigned long>);
static_assert(CanBeCounted<unsigned long long>);

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <std::integral Step>
void count_steps_of_type() {
  INFO(sizeof(Step) << " bytes, signed: " << std::is_signed_v<Step>);
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "steps_total"});
  counter.inc(Step{0});
  CHECK(counter.value() == 0);
  counter.inc(Step{100});
  CHECK(counter.value() == 100);
  constexpr Step most = std::numeric_limits<Step>::max();
  counter.inc(most);
  CHECK(counter.value() == 100 + static_cast<std::uint64_t>(most));
}

template <std::signed_integral Step>
void reject_negative_steps_of_type() {
  INFO(sizeof(Step) << " bytes");
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "steps_total"});
  counter.inc(5);
  const auto before = page::rejected("negative_step");
  counter.inc(Step{-1});
  counter.inc(std::numeric_limits<Step>::min());
  CHECK(counter.value() == 5);
  CHECK(page::rejected("negative_step") == before + 2);
}

}  // namespace

TEST_CASE("a counter begins at 0 and goes up by 1") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "events_total"});
  CHECK(counter.value() == 0);
  CHECK(page::value(registry, "events_total") == "0");
  counter.inc();
  counter.inc();
  CHECK(counter.value() == 2);
  CHECK(page::value(registry, "events_total") == "2");
}

TEST_CASE("a counter takes steps of every integral type") {
  count_steps_of_type<signed char>();
  count_steps_of_type<unsigned char>();
  count_steps_of_type<char>();
  count_steps_of_type<short>();
  count_steps_of_type<unsigned short>();
  count_steps_of_type<int>();
  count_steps_of_type<unsigned>();
  count_steps_of_type<long>();
  count_steps_of_type<long long>();
  count_steps_of_type<char16_t>();
}

TEST_CASE("a counter is exact up to 2^64 - 1, on the page too") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "bytes_total"});
  counter.inc(std::uint64_t{1} << 53);
  counter.inc();
  CHECK(counter.value() == 9007199254740993u);
  CHECK(page::value(registry, "bytes_total") == "9007199254740993");
  counter.inc(std::numeric_limits<std::uint64_t>::max() - counter.value());
  CHECK(page::value(registry, "bytes_total") == "18446744073709551615");
  counter.inc();
  CHECK(counter.value() == 0);  // wraps, as documented
}

TEST_CASE("a counter of a million is written as plain digits") {
  const auto registry = page::empty_registry();
  registry.counter({.name = "events_total"}).inc(1'000'000);
  CHECK(page::value(registry, "events_total") == "1000000");
}

TEST_CASE("a negative step is not counted, but as a rejected recording") {
  reject_negative_steps_of_type<signed char>();
  reject_negative_steps_of_type<short>();
  reject_negative_steps_of_type<int>();
  reject_negative_steps_of_type<long>();
  reject_negative_steps_of_type<long long>();
}

TEST_CASE("copies of a counter count together and are equal") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "events_total"});
  const auto other = registry.counter({.name = "others_total"});
  const quipu::Counter copy = counter;
  copy.inc(3);
  CHECK(counter.value() == 3);
  CHECK(copy == counter);
  CHECK_FALSE(copy == other);
  CHECK(other.value() == 0);
}

TEST_CASE("a default-constructed counter counts nowhere") {
  const quipu::Counter counter;
  counter.inc();
  counter.inc(7);
  CHECK(counter.value() == 0);
  CHECK(quipu::Counter().value() == 0);

  const quipu::FractionalCounter fractional;
  fractional.inc(0.5);
  CHECK(fractional.value() == 0);
}

TEST_CASE("a counter whose series was removed counts nowhere") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "events_total"}, {"kind"});
  const auto removed = family("a");
  const auto kept = family("b");
  removed.inc(3);
  CHECK(family.remove("a"));
  removed.inc();
  CHECK(removed.value() == 0);
  CHECK(kept.value() == 0);
  family("a").inc(2);
  removed.inc();
  CHECK(page::samples(registry).size() == 2);
  CHECK(page::value(registry, R"(events_total{kind="a"})") == "2");
  CHECK(page::value(registry, R"(events_total{kind="b"})") == "0");
}

TEST_CASE("a counter whose registry is gone counts nowhere") {
  quipu::Counter counter;
  quipu::FractionalCounter fractional;
  {
    const auto registry = page::empty_registry();
    counter = registry.counter({.name = "events_total"});
    fractional = registry.fractional_counter({.name = "seconds_total"});
    counter.inc();
    fractional.inc(0.5);
    CHECK(counter.value() == 1);
    CHECK(fractional.value() == 0.5);
  }
  counter.inc();
  fractional.inc(1);
  CHECK(counter.value() == 0);
  CHECK(fractional.value() == 0);

  // Memory used again by others is not written to.
  const auto registry = page::empty_registry();
  const auto other = registry.counter({.name = "events_total"});
  counter.inc(5);
  CHECK(other.value() == 0);
}

TEST_CASE("a fractional counter adds what is not negative") {
  const auto registry = page::empty_registry();
  const auto counter = registry.fractional_counter({.name = "cpu_seconds_total"});
  CHECK(page::value(registry, "cpu_seconds_total") == "0");
  counter.inc(0.25);
  counter.inc(2);
  counter.inc(0);
  counter.inc(-0.0);
  CHECK(counter.value() == 2.25);
  CHECK(page::value(registry, "cpu_seconds_total") == "2.25");
}

TEST_CASE("a fractional counter rejects negative steps, NaN and infinities") {
  const auto registry = page::empty_registry();
  const auto counter = registry.fractional_counter({.name = "cpu_seconds_total"});
  counter.inc(1.5);
  const auto negative = page::rejected("negative_step");
  const auto no_number = page::rejected("not_a_number");
  counter.inc(-1);
  counter.inc(-5e-324);
  counter.inc(-infinity);
  CHECK(page::rejected("negative_step") == negative + 3);
  CHECK(page::rejected("not_a_number") == no_number);
  counter.inc(infinity);
  counter.inc(not_a_number);
  counter.inc(-not_a_number);
  CHECK(page::rejected("negative_step") == negative + 3);
  CHECK(page::rejected("not_a_number") == no_number + 3);
  CHECK(counter.value() == 1.5);
  counter.inc(std::numeric_limits<double>::max());
  CHECK(counter.value() == std::numeric_limits<double>::max());
}
