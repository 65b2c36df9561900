#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/batch.hpp"
#include "quipu/collector.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/protobuf_reader.hpp"

// Const labels of subsystems and families: a family on the page consists of parts.

namespace {

enum class Phase { start, run };

using Lines = std::vector<std::string>;
using page::missing;
using page::refusal;

}  // namespace

TEST_CASE("a subsystem adds its const labels to those of the registry, in their order") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "prod"}}});
  const auto database = registry.subsystem("db", {{"shard", "1"}, {"bad", "\xFF"}});
  const auto pool = database.subsystem("pool", {{"pool", "a"}});
  database.counter({.name = "queries_total"}).inc();
  pool.gauge({.name = "size", .const_labels = {{"part", "x"}}}, {"kind"})("idle").set(3);
  pool.info({.name = "build_info"}, {{"version", "2"}});
  const auto callback =
      pool.gauge_callback({.name = "free", .const_labels = {{"part", "y"}}}, {{"kind", "k"}}, [] { return 1.0; });
  registry.counter({.name = "others_total"}).inc();
  const std::string labels = "env=\"prod\",shard=\"1\",bad=\"\xEF\xBF\xBD\"";
  CHECK(page::samples(registry) == Lines{
                                       "db_pool_build_info{" + labels + ",pool=\"a\",version=\"2\"} 1",
                                       "db_pool_free{" + labels + ",pool=\"a\",part=\"y\",kind=\"k\"} 1",
                                       "db_pool_size{" + labels + ",pool=\"a\",part=\"x\",kind=\"idle\"} 3",
                                       "db_queries_total{" + labels + "} 1",
                                       "others_total{env=\"prod\"} 1",
                                   });
}

TEST_CASE("bad const labels of subsystems and families are refused") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "prod"}}, .max_label_value_size = 16});
  const auto subsystem = [&](std::vector<quipu::ConstLabel> labels) {
    return refusal([&] { static_cast<void>(registry.subsystem("db", labels)); });
  };
  CHECK(subsystem({{"env", "test"}}) ==
        "const label \"env\" is given twice, as env=\"prod\" and as env=\"test\"; leave one of them out");
  CHECK(missing(subsystem({{"a", "1"}, {"a", "2"}}), {"const label \"a\" is given twice"}) == "");
  CHECK(missing(subsystem({{"le", "1"}}), {"\"le\" is the bucket bound of a histogram"}) == "");
  CHECK(missing(subsystem({{"a", "12345678901234567"}}), {"\"a\"", "17 bytes", "may have 16"}) == "");
  CHECK(missing(subsystem({{quipu::runtime("a-b"), "1"}}), {"const label \"a-b\""}) == "");

  const auto shard = registry.subsystem("db", {{"shard", "1"}});
  const auto family = [&](std::vector<quipu::ConstLabel> labels) {
    return refusal([&] { static_cast<void>(shard.gauge({.name = "x", .const_labels = labels}, {"kind"})); });
  };
  CHECK(family({{"shard", "2"}}) ==
        "cannot register gauge db_x{env=\"prod\", shard=\"1\", shard=\"2\", kind text} \"\": const label \"shard\" is "
        "given twice, as shard=\"1\" and as shard=\"2\"; leave one of them out");
  CHECK(missing(family({{"kind", "k"}}),
                {"label \"kind\" is a const label, kind=\"k\"; choose another name for one of them"}) == "");
  CHECK(missing(family({{"a", "12345678901234567"}}), {"17 bytes"}) == "");
  CHECK(missing(refusal([&] {
                  static_cast<void>(shard.gauge_callback({.name = "y"}, {{"shard", "2"}}, [] { return 1.0; }));
                }),
                {"label \"shard\" is a const label, shard=\"1\""}) == "");
  CHECK(page::body(registry).empty());
}

TEST_CASE("scopes with other values of the same const labels share a family of the page") {
  const auto registry = page::empty_registry();
  const auto second = registry.subsystem("db", {{"shard", "2"}});
  const auto first = registry.subsystem("db", {{"shard", "1"}});
  const quipu::MetricOptions queries{.name = "queries_total", .help = "Queries."};
  second.counter(queries, {"kind"})("read").inc(2);
  first.counter(queries, {"kind"})("read").inc();
  first.counter(queries, {"kind"})("write").inc(5);
  second.histogram({.name = "seconds", .help = "Time.", .buckets = {1.0}}).observe(2);
  first.histogram({.name = "seconds", .help = "Time.", .buckets = {1.0}}).observe(1);
  first.stateset<Phase>({.name = "phase", .help = "Phase.", .first = Phase::run}).set(Phase::run);
  second.stateset<Phase>({.name = "phase", .help = "Phase.", .first = Phase::run}).set(Phase::start);
  const auto of_first = first.gauge_callback({.name = "free", .help = "Free."}, [] { return 1.0; });
  const auto of_second = second.gauge_callback({.name = "free", .help = "Free."}, [] { return 2.0; });
  CHECK(page::body(registry) ==
        "# HELP db_free Free.\n# TYPE db_free gauge\n"
        "db_free{shard=\"1\"} 1\ndb_free{shard=\"2\"} 2\n"
        "# HELP db_phase Phase.\n# TYPE db_phase gauge\n"
        "db_phase{shard=\"1\",db_phase=\"start\"} 0\ndb_phase{shard=\"1\",db_phase=\"run\"} 1\n"
        "db_phase{shard=\"2\",db_phase=\"start\"} 1\ndb_phase{shard=\"2\",db_phase=\"run\"} 0\n"
        "# HELP db_queries_total Queries.\n# TYPE db_queries_total counter\n"
        "db_queries_total{shard=\"1\",kind=\"read\"} 1\ndb_queries_total{shard=\"1\",kind=\"write\"} 5\n"
        "db_queries_total{shard=\"2\",kind=\"read\"} 2\n"
        "# HELP db_seconds Time.\n# TYPE db_seconds histogram\n"
        "db_seconds_bucket{shard=\"1\",le=\"1\"} 1\ndb_seconds_bucket{shard=\"1\",le=\"+Inf\"} 1\n"
        "db_seconds_sum{shard=\"1\"} 1\ndb_seconds_count{shard=\"1\"} 1\n"
        "db_seconds_bucket{shard=\"2\",le=\"1\"} 0\ndb_seconds_bucket{shard=\"2\",le=\"+Inf\"} 1\n"
        "db_seconds_sum{shard=\"2\"} 2\ndb_seconds_count{shard=\"2\"} 1\n");
  // The same values are the same family.
  CHECK(registry.subsystem("db", {{"shard", "1"}}).counter(queries, {"kind"})("read") ==
        first.counter(queries, {"kind"})("read"));
}

TEST_CASE("a collector of a subsystem with const labels shows values of every type, described or not") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "prod"}}});
  const auto show = [](double value) {
    return [value](quipu::Samples& samples) {
      samples.family({.name = "seconds", .help = "Time.", .type = quipu::MetricType::histogram, .labels = {"kind"}})
          .add({"read"}, quipu::HistogramValue{.bounds = {value}, .counts = {1, 2}, .sum = value});
    };
  };
  const std::vector<quipu::FamilyDescription> described = {
      {.name = "seconds", .help = "Time.", .type = quipu::MetricType::histogram, .labels = {"kind"}}};
  const auto second = registry.subsystem("db", {{"shard", "2"}});
  const auto first = registry.subsystem("db", {{"shard", "1"}});
  const auto of_second = second.add(described, show(2));
  const auto of_first = first.add(show(1));  // another part of the family, not described
  const auto more = first.add([](quipu::Samples& samples) {
    samples.family({.name = "free", .help = "Free."}).add(5);
    samples.family({.name = "seconds", .help = "Other.", .type = quipu::MetricType::histogram, .labels = {"kind"}})
        .add({"write"}, quipu::HistogramValue{.counts = {7}, .sum = 8});
  });
  const auto same = second.add([](quipu::Samples& samples) {
    samples.family({.name = "free", .help = "Other."}).add(6);  // a part of it, with the help of the first
  });
  const std::string page =
      "# HELP db_free Free.\n# TYPE db_free gauge\n"
      "db_free{env=\"prod\",shard=\"1\"} 5\ndb_free{env=\"prod\",shard=\"2\"} 6\n"
      "# HELP db_seconds Time.\n# TYPE db_seconds histogram\n"
      "db_seconds_bucket{env=\"prod\",shard=\"1\",kind=\"read\",le=\"1\"} 1\n"
      "db_seconds_bucket{env=\"prod\",shard=\"1\",kind=\"read\",le=\"+Inf\"} 3\n"
      "db_seconds_sum{env=\"prod\",shard=\"1\",kind=\"read\"} 1\n"
      "db_seconds_count{env=\"prod\",shard=\"1\",kind=\"read\"} 3\n"
      "db_seconds_bucket{env=\"prod\",shard=\"1\",kind=\"write\",le=\"+Inf\"} 7\n"
      "db_seconds_sum{env=\"prod\",shard=\"1\",kind=\"write\"} 8\n"
      "db_seconds_count{env=\"prod\",shard=\"1\",kind=\"write\"} 7\n"
      "db_seconds_bucket{env=\"prod\",shard=\"2\",kind=\"read\",le=\"2\"} 1\n"
      "db_seconds_bucket{env=\"prod\",shard=\"2\",kind=\"read\",le=\"+Inf\"} 3\n"
      "db_seconds_sum{env=\"prod\",shard=\"2\",kind=\"read\"} 2\n"
      "db_seconds_count{env=\"prod\",shard=\"2\",kind=\"read\"} 3\n";
  CHECK(page::body(registry) == page);
  for (const std::string_view accept : {"text/plain", "application/openmetrics-text;version=1.0.0"}) {
    const auto rendered = quipu::render(registry, accept);
    CHECK_NOTHROW(quipu::testing::read_page(rendered.body, rendered.content_type));
  }
  const std::vector<std::string> names{"db_free"};
  CHECK(page::samples(quipu::render(registry, {.families = names}).body) ==
        Lines{R"(db_free{env="prod",shard="1"} 5)", R"(db_free{env="prod",shard="2"} 6)"});

  // A collector without these const labels shows another family of the name, which is left out.
  const auto other = registry.add([](quipu::Samples& samples) { samples.family({.name = "db_free"}).add(9); });
  CHECK(page::body(registry) == page);
  // So does one whose label would be a const label.
  std::string refused;
  const auto twice = first.add([&refused](quipu::Samples& samples) {
    try {
      static_cast<void>(samples.family({.name = "x", .labels = {"shard"}}));
    } catch (const quipu::CollectorError& error) {
      refused = error.what();
    }
  });
  CHECK(page::body(registry) == page);
  CHECK(missing(refused, {"label \"shard\" is a const label, shard=\"1\""}) == "");
}

TEST_CASE("every format shows the parts of a family as one family") {
  const auto registry = page::empty_registry({.created_lines = true, .open_metrics_2 = true});
  for (const char* const shard : {"1", "2"}) {
    const auto scope = registry.subsystem("", {{"shard", shard}});
    scope.counter({.name = "x_total", .help = "X."}, {"kind"})("a").inc(7);
    scope.info({.name = "y_info", .help = "Y."}, {{"version", "1"}});
    scope.histogram({.name = "z", .help = "Z.", .buckets = {1.0}}).observe(1);
  }
  for (const std::string_view accept : {"text/plain", "application/openmetrics-text;version=1.0.0"}) {
    const auto page = quipu::render(registry, accept);
    const auto read = quipu::testing::read_page(page.body, page.content_type);  // refuses a family that comes twice
    for (const char* const shard : {"1", "2"}) {
      CHECK(quipu::testing::value_of(read, "x_total", {{"shard", shard}, {"kind", "a"}}) == 7);
      CHECK(quipu::testing::value_of(read, "y_info", {{"shard", shard}, {"version", "1"}}) == 1);
      CHECK(quipu::testing::value_of(read, "z_count", {{"shard", shard}}) == 1);
    }
  }
  const std::string second = quipu::render(registry, "application/openmetrics-text;version=2.0.0").body;
  CHECK(page::samples(second).size() == 6);
  CHECK(second.find("# TYPE z histogram\n", second.find("# TYPE z histogram\n") + 1) == std::string::npos);
  const auto families = protobuf::Reader().page(
      quipu::render(registry,
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
          .body);
  REQUIRE(families.size() == 3);
  for (const auto& family : families) {
    REQUIRE(family.metrics.size() == 2);
    CHECK(family.metrics[0].labels.front() == std::pair<std::string, std::string>("shard", "1"));
    CHECK(family.metrics[1].labels.front() == std::pair<std::string, std::string>("shard", "2"));
  }
}

TEST_CASE("a part with other label names or another type is refused, with both definitions") {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.subsystem("db", {{"shard", "1"}}).counter({.name = "x_total", .help = "H."}, {"kind"}));
  const auto refused = [&](const quipu::Scope& scope) {
    return refusal([&] { static_cast<void>(scope.counter({.name = "x_total", .help = "H."}, {"kind"})); });
  };
  const std::string first = R"(counter db_x_total{shard="1", kind text} "H.")";
  CHECK(missing(refused(registry.subsystem("db", {{"zone", "2"}})),
                {R"(cannot register counter db_x_total{zone="2", kind text} "H.": the name is taken by )" + first}) ==
        "");
  CHECK(missing(refused(registry.subsystem("db")), {"db_x_total{kind text}", first}) == "");
  CHECK(missing(refused(registry.subsystem("db", {{"shard", "2"}, {"zone", "2"}})), {first}) == "");
  const auto shard = registry.subsystem("db", {{"shard", "2"}});
  CHECK(missing(refusal([&] { static_cast<void>(shard.gauge({.name = "x_total", .help = "H."}, {"kind"})); }),
                {"gauge db_x_total", first}) == "");
  CHECK(missing(refusal([&] {
                  static_cast<void>(shard.counter_callback({.name = "x_total"}, {{"kind", "a"}}, [] { return 1.0; }));
                }),
                {first}) == "");
  CHECK(refused(shard) == "(nothing was refused)");
  // The name of a sample belongs to the family, whatever its parts are.
  CHECK(missing(refusal([&] { static_cast<void>(shard.gauge({.name = "x"})); }),
                {"\"db_x\" would be a sample of it"}) == "");
}

TEST_CASE("the name of a family is free when its last part has gone") {
  const auto registry = page::empty_registry();
  const auto first = registry.subsystem("", {{"shard", "1"}});
  const auto second = registry.subsystem("", {{"shard", "2"}});
  auto a = first.gauge_callback({.name = "x_count"}, [] { return 1.0; });
  auto b = second.gauge_callback({.name = "x_count"}, [] { return 2.0; });
  const auto histogram = [&] { return refusal([&] { static_cast<void>(registry.histogram({.name = "x"})); }); };
  a.end();
  CHECK(page::samples(registry) == Lines{"x_count{shard=\"2\"} 2"});
  CHECK(missing(histogram(), {"\"x_count\" would be a sample"}) == "");
  b.end();
  CHECK(histogram() == "(nothing was refused)");
}

TEST_CASE("a batch that fails takes back its part of a family, and no other") {
  const auto registry = page::empty_registry();
  registry.subsystem("", {{"shard", "1"}}).counter({.name = "x_total"}).inc();
  struct Failing {
    explicit Failing(const quipu::Scope& scope) {
      scope.counter({.name = "x_total"}).inc();
      scope.counter({.name = "y_total"}).inc();
      static_cast<void>(scope.gauge({.name = "x"}));
    }
  };
  CHECK_THROWS_AS(quipu::batch<Failing>(registry.subsystem("", {{"shard", "2"}}), ""), quipu::RegistrationError);
  CHECK(page::samples(registry) == Lines{"x_total{shard=\"1\"} 1"});
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "x"})); }), {"\"x\" would be a sample"}) == "");
}

TEST_CASE("lost look-ups are counted by family, whatever its parts are") {
  const quipu::Registry registry({.process_metrics = false});
  for (const char* const shard : {"1", "2"}) {
    const auto family = registry.subsystem("", {{"shard", shard}}).counter({.name = "x_total", .max_series = 1}, {"k"});
    family("a").inc();
    family("b").inc();
  }
  CHECK(quipu::testing::value_of(registry, "quipu_overflowed_lookups_total", {{"family", "x_total"}}) == 2);
}

TEST_CASE("a registry describes its families, also those without a series") {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "prod"}}});
  static_cast<void>(registry.histogram<Phase, bool, int, std::string_view>(
      {.name = "time_seconds", .help = "Time.", .unit = "seconds"}, {"phase", "ok", "code", "path"}));
  for (const char* const shard : {"2", "1"}) {
    static_cast<void>(registry.subsystem("db", {{"shard", shard}}).counter({.name = "x_total"}, {"kind"}));
  }
  static_cast<void>(registry.stateset<Phase>({.name = "phase"}));
  const auto callback = registry.gauge_callback({.name = "free", .help = "Free."}, {{"kind", "k"}}, [] { return 1.0; });
  using quipu::DescribedFamily;
  const quipu::DescribedLabel env{"env", {"prod"}};
  const std::vector<DescribedFamily> expected{
      {"shop_db_x_total", "", "", quipu::MetricType::counter, {env, {"shard", {"1", "2"}}}, {{"kind", {}}}},
      {"shop_free", "Free.", "", quipu::MetricType::gauge, {env}, {{"kind", {}}}},
      {"shop_phase", "", "", quipu::MetricType::stateset, {env}, {{"shop_phase", {"start", "run"}}}},
      {"shop_time_seconds",
       "Time.",
       "seconds",
       quipu::MetricType::histogram,
       {env},
       {{"phase", {"start", "run"}}, {"ok", {"false", "true"}}, {"code", {}}, {"path", {}}}},
  };
  CHECK((registry.describe() == expected));
  struct Hidden {
    explicit Hidden(const quipu::Scope& scope, const quipu::Registry& registry) {
      static_cast<void>(scope.counter({.name = "hidden_total"}));
      families = registry.describe();
    }
    std::vector<DescribedFamily> families;
  };
  CHECK((quipu::batch<Hidden>(registry, "", registry).families == expected));
  CHECK(registry.describe().size() == expected.size() + 1);
}
