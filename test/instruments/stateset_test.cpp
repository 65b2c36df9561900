#include "quipu/stateset.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace stateset_test {

enum class Phase { starting, serving, draining };
enum Flag { flag_read, flag_write };

}  // namespace stateset_test

template <>
struct quipu::EnumLabels<stateset_test::Flag> {
  static constexpr std::array names = {"read", "\"write\""};
};

namespace {

using page::missing;
using page::refusal;
using shown::Labels;
using stateset_test::Flag;
using stateset_test::Phase;
using Names = std::vector<std::string>;

static_assert(std::is_trivially_copyable_v<quipu::StateSet<Phase>>);
static_assert(noexcept(quipu::StateSet<Phase>().set(Phase::serving)));
static_assert(noexcept(quipu::StateSet<Phase>().enable(Phase::serving, true)));

/// The names of the states that are 1. Fails if what is shown is not one series for each state.
template <class State = Phase>
Names active(const quipu::Registry& registry, const std::string& name) {
  const auto family = shown::family(registry, name);
  CHECK(family.series.size() == quipu::StateSet<State>::size);
  Names result;
  for (std::size_t i = 0; i < family.series.size(); ++i) {
    const auto& series = family.series[i];
    CHECK((series.value == 0 || series.value == 1));
    CHECK(series.labels.back() == std::pair(name, std::string(quipu::detail::LabelTraits<State>::column.names[i])));
    if (series.value == 1) result.push_back(series.labels.back().second);
  }
  return result;
}

}  // namespace

TEST_CASE("a stateset shows one series for each state, with a label of its own name") {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "test"}}});
  const auto phase = registry.stateset<Phase>({.name = "phase", .help = "Where it is.", .first = Phase::starting});
  const auto family = shown::family(registry, "shop_phase");
  CHECK(family.type == quipu::MetricType::stateset);
  CHECK(family.label_names == Names{"shop_phase"});
  REQUIRE(family.series.size() == 3);
  CHECK(family.series[0].labels == Labels{{"env", "test"}, {"shop_phase", "starting"}});
  CHECK(family.series[1].labels == Labels{{"env", "test"}, {"shop_phase", "serving"}});
  CHECK(family.series[2].labels == Labels{{"env", "test"}, {"shop_phase", "draining"}});
  CHECK(active(registry, "shop_phase") == Names{"starting"});
  phase.set(Phase::draining);
  CHECK(active(registry, "shop_phase") == Names{"draining"});
}

TEST_CASE("a stateset is in the state that was set last, and in no other") {
  const auto registry = page::empty_registry();
  const auto phase = registry.stateset<Phase>({.name = "phase"});
  CHECK(active(registry, "phase").empty());
  for (const auto state : {Phase::starting, Phase::draining, Phase::draining, Phase::serving}) {
    phase.set(state);
    for (const auto other : {Phase::starting, Phase::serving, Phase::draining}) {
      CHECK(phase.is_in(other) == (other == state));
    }
    CHECK(active(registry, "phase").size() == 1);
  }
}

TEST_CASE("the states of a set of flags are switched one by one") {
  const auto registry = page::empty_registry();
  const auto flags = registry.stateset<Flag>({.name = "flags"});
  flags.enable(stateset_test::flag_write);
  CHECK(active<Flag>(registry, "flags") == Names{"\"write\""});
  flags.enable(stateset_test::flag_read, true);
  flags.enable(stateset_test::flag_read, true);
  CHECK(active<Flag>(registry, "flags") == Names{"read", "\"write\""});
  flags.enable(stateset_test::flag_write, false);
  CHECK(active<Flag>(registry, "flags") == Names{"read"});
  flags.set(stateset_test::flag_write);
  CHECK(active<Flag>(registry, "flags") == Names{"\"write\""});
  CHECK_FALSE(shown::family(registry, "flags").series[1].needs_no_escaping);
}

TEST_CASE("a state that has no name is not set, and counted") {
  const auto registry = page::empty_registry();
  const auto phase = registry.stateset<Phase>({.name = "phase", .first = Phase::serving});
  const auto before = page::rejected("unknown_state");
  phase.set(static_cast<Phase>(3));
  phase.set(static_cast<Phase>(-1));
  phase.enable(static_cast<Phase>(64));
  phase.enable(static_cast<Phase>(65), false);
  CHECK(page::rejected("unknown_state") == before + 4);
  CHECK_FALSE(phase.is_in(static_cast<Phase>(64)));
  CHECK(active(registry, "phase") == Names{"serving"});
}

TEST_CASE("a stateset may have further labels, each combination with states of its own") {
  const auto registry = page::empty_registry();
  const auto shards = registry.stateset<Phase, int>({.name = "shard_phase", .first = Phase::starting}, {"shard"});
  shards(1).set(Phase::serving);
  shards.create(2);
  const auto family = shown::family(registry, "shard_phase");
  CHECK(family.label_names == Names{"shard", "shard_phase"});
  REQUIRE(family.series.size() == 6);
  CHECK(family.series[1].labels == Labels{{"shard", "1"}, {"shard_phase", "serving"}});
  CHECK(family.series[1].value == 1);
  CHECK(family.series[3].labels == Labels{{"shard", "2"}, {"shard_phase", "starting"}});
  CHECK(family.series[3].value == 1);

  const auto shard = shards(1);
  CHECK(shards.remove_if([](quipu::Labels labels) { return labels.size() == 1 && labels[0].value == "1"; }) == 1);
  shard.set(Phase::draining);
  shard.enable(Phase::draining);
  CHECK_FALSE(shard.is_in(Phase::serving));
  CHECK_FALSE(shard.is_in(Phase::draining));
  CHECK(shown::family(registry, "shard_phase").series.size() == 3);
  CHECK(shards(1).is_in(Phase::starting));

  const auto texts = registry.stateset<Phase>({.name = "text_phase"}, {"a", "b"});
  texts("x", "y").set(Phase::serving);
  CHECK(shown::family(registry, "text_phase").series[1].labels ==
        Labels{{"a", "x"}, {"b", "y"}, {"text_phase", "serving"}});
}

TEST_CASE("a series in a cell that was a stateset's begins at nothing, and the other way round") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter({.name = "x_total"}, {"a"});
  const auto phases = registry.stateset<Phase>({.name = "phase", .first = Phase::draining}, {"a"});
  for (int i = 0; i < 3; ++i) {
    phases("1").set(Phase::serving);
    phases.clear();
    CHECK(counters("1").value() == 0);
    counters("1").inc(7);
    counters.clear();
    CHECK(phases("1").is_in(Phase::draining));
    CHECK_FALSE(phases("1").is_in(Phase::serving));
  }
}

TEST_CASE("a stateset of which another definition is registered is refused") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  const auto phase = registry.stateset<Phase>({.name = "phase"});
  CHECK(registry.stateset<Phase>({.name = "phase"}) == phase);
  const auto other = [&] { static_cast<void>(registry.stateset<Phase>({.name = "phase", .first = Phase::serving})); };
  CHECK(missing(refusal(other), {"stateset phase{env=\"test\", phase enum} beginning as serving", "taken"}).empty());
  CHECK(missing(refusal([&] { static_cast<void>(registry.stateset<Flag>({.name = "phase"})); }), {"taken"}).empty());
  const auto unknown = [&] {
    static_cast<void>(registry.stateset<Phase>({.name = "mode", .first = static_cast<Phase>(3)}));
  };
  CHECK(missing(refusal(unknown), {"stateset mode", "3", "has no name"}).empty());
}

TEST_CASE("the label that names the state is a label like others: no second one, no colon, no const label") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  const auto twice = [&] { static_cast<void>(registry.stateset<Phase>({.name = "phase"}, {"phase"})); };
  CHECK(missing(refusal(twice), {"label \"phase\" is given twice"}).empty());
  const auto of_registry = [&] { static_cast<void>(registry.stateset<Phase>({.name = "env"})); };
  CHECK(missing(refusal(of_registry), {"label \"env\" is a const label"}).empty());
  const auto colon = [&] { static_cast<void>(registry.stateset<Phase>({.name = "a:b"})); };
  CHECK(missing(refusal(colon), {"label \"a:b\""}).empty());
}

TEST_CASE("a stateset that has no series takes what is set, and shows nothing") {
  const quipu::StateSet<Phase> nothing;
  nothing.set(Phase::serving);
  nothing.enable(Phase::serving);
  CHECK_FALSE(nothing.is_in(Phase::serving));
}
