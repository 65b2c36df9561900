#include "quipu/registry.hpp"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"

namespace {

enum class Method { get, post };
enum class Way { get, post };
enum class Verb { get, put };
enum class Phase { start, serve };

using Lines = std::vector<std::string>;
using page::missing;
using page::refusal;

constexpr std::string_view accepted = "(nothing was refused)";

/// What is said when the second is registered after the first.
template <class First, class Second>
std::string clash(First first, Second second) {
  const auto registry = page::empty_registry();
  static_cast<void>(first(registry));
  const std::string before = page::body(registry);
  std::string message = refusal([&] { static_cast<void>(second(registry)); });
  // Nothing is left of what was refused.
  if (message != accepted && page::body(registry) != before) return "the page has changed: " + page::body(registry);
  return message;
}

struct Definition {
  std::string_view kind;
  std::string_view name;

  void operator()(const quipu::Registry& registry) const {
    const auto name_at_run_time = quipu::runtime(name);
    if (kind == "counter") static_cast<void>(registry.counter({.name = name_at_run_time}));
    if (kind == "gauge") static_cast<void>(registry.gauge({.name = name_at_run_time}));
    if (kind == "histogram") static_cast<void>(registry.histogram({.name = name_at_run_time}));
  }
};

}  // namespace

TEST_CASE("a prefix stands before every name") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  registry.counter({.name = "orders_total"}).inc();
  registry.gauge({.name = "size"}, {"a"})("x").set(2);
  CHECK(page::samples(registry) == Lines{"shop_orders_total 1", R"(shop_size{a="x"} 2)"});
}

TEST_CASE("a subsystem is the same registry with a longer prefix") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  const auto database = registry.subsystem("db");
  const auto pool = database.subsystem("pool");
  const auto same = registry.subsystem("");
  database.counter({.name = "queries_total"}).inc();
  pool.gauge({.name = "size"}).set(3);
  same.counter({.name = "orders_total"}).inc(2);
  const auto callback = pool.gauge_callback({.name = "free"}, [] { return 1.0; });
  CHECK(page::samples(registry) ==
        Lines{"shop_db_pool_free 1", "shop_db_pool_size 3", "shop_db_queries_total 1", "shop_orders_total 2"});
  CHECK(registry.counter({.name = "db_queries_total"}) == database.counter({.name = "queries_total"}));
  CHECK(missing(refusal([&] { static_cast<void>(registry.subsystem(quipu::runtime("d b"))); }), {"prefix \"d b\""}) ==
        "");
  const auto bare = page::empty_registry();
  bare.subsystem("db").counter({.name = "queries_total"}).inc();
  CHECK(page::samples(bare) == Lines{"db_queries_total 1"});
}

TEST_CASE("const labels are on every series, before its own, in their order") {
  const std::string value = "eu\"1\"";
  const auto registry = page::empty_registry({.const_labels = {{"zone", value}, {"app", "shop"}, {"bad", "\xFF"}}});
  registry.counter({.name = "a_total"}).inc();
  registry.gauge({.name = "b"}, {"y", "x"})("1", "2").set(3);
  registry.histogram({.name = "c", .buckets = {1.0}}).observe(1);
  const auto callback = registry.gauge_callback({.name = "d"}, {{"k", "v"}}, [] { return 4.0; });
  const std::string labels = "zone=\"eu\\\"1\\\"\",app=\"shop\",bad=\"\xEF\xBF\xBD\"";
  CHECK(page::samples(registry) == Lines{
                                       "a_total{" + labels + "} 1",
                                       "b{" + labels + ",y=\"1\",x=\"2\"} 3",
                                       "c_bucket{" + labels + ",le=\"1\"} 1",
                                       "c_bucket{" + labels + ",le=\"+Inf\"} 1",
                                       "c_sum{" + labels + "} 1",
                                       "c_count{" + labels + "} 1",
                                       "d{" + labels + ",k=\"v\"} 4",
                                   });
}

TEST_CASE("bad const labels are refused") {
  const auto refused = [](std::vector<quipu::ConstLabel> labels) {
    return refusal([&] { static_cast<void>(page::empty_registry({.const_labels = std::move(labels)})); });
  };
  CHECK(refused({{"env", "a"}, {"zone", "1"}, {"env", "b"}}) ==
        "const label \"env\" is given twice, as env=\"a\" and as env=\"b\"; leave one of them out");
  CHECK(missing(refused({{quipu::runtime("a-b"), "x"}}), {"const label \"a-b\"", "[a-zA-Z_][a-zA-Z0-9_]*"}) == "");
  CHECK(missing(refused({{quipu::runtime("__a"), "x"}}), {"const label \"__a\"", "__"}) == "");
  CHECK(refused({{"le", "x"}}) ==
        "const label le=\"x\": \"le\" is the bucket bound of a histogram; choose another name");
  CHECK(refused({{"quantile", "0.5"}}) ==
        "const label quantile=\"0.5\": \"quantile\" is the quantile of a summary; choose another name");
  CHECK(refused({{"lee", "x"}}) == accepted);
  // What the registry shows of itself has labels too, and so have the options.
  CHECK(missing(refusal([] {
                  quipu::Registry({.const_labels = {{"reason", "x"}}});
                }),
                {"const label", "reason=\"x\"", "quipu_", "choose another name"}) == "");
}

TEST_CASE("a metric of any kind refuses to have no series") {
  const auto registry = page::empty_registry();
  const auto check = [](auto make) {
    CHECK(missing(refusal([&] { static_cast<void>(make()); }), {"max_series is 0, and must be at least 1"}) == "");
  };
  check([&] { return registry.counter({.name = "a_total", .max_series = 0}); });
  check([&] { return registry.counter({.name = "a_total", .max_series = 0}, {"label"}); });
  check([&] { return registry.fractional_counter({.name = "a_total", .max_series = 0}); });
  check([&] { return registry.gauge({.name = "a", .max_series = 0}); });
  check([&] { return registry.histogram({.name = "a", .max_series = 0}); });
  check([&] { return registry.histogram({.name = "a", .max_series = 0}, {"label"}); });
  check([&] { return registry.native_histogram({.name = "a", .max_series = 0}); });
  check([&] { return registry.stateset<Phase>({.name = "a", .max_series = 0}); });
  check([&] { return registry.gauge_callback({.name = "a", .max_series = 0}, [] { return 1.0; }); });
  check([&] { return registry.counter_callback({.name = "a_total", .max_series = 0}, [] { return 1.0; }); });
  CHECK(missing(refusal([&] {
                  registry.info({.name = "a_info", .max_series = 0}, {{"label", "x"}});
                }),
                {"max_series is 0"}) == "");
}

TEST_CASE("limits of a registry that make no sense are refused with their names") {
  const auto refused = [](const quipu::RegistryOptions& options) {
    return refusal([&] { static_cast<void>(page::empty_registry(options)); });
  };
  CHECK(refused({.max_series = 0}) == "RegistryOptions::max_series is 0, and must be at least 1");
  for (const std::size_t size : {std::size_t{0}, std::size_t{15}, std::size_t{1'048'577}}) {
    CHECK(refused({.max_label_value_size = size}) == "RegistryOptions::max_label_value_size is " +
                                                         std::to_string(size) +
                                                         ", and must be from 16 to 1048576 bytes");
  }
  CHECK(refused({.max_series = 1, .max_label_value_size = 16}) == accepted);
  CHECK(refused({.max_label_value_size = 1'048'576}) == accepted);
  const std::string value(1025, 'x');
  CHECK(missing(refused({.const_labels = {{"env", value}}}), {"const label \"env\"", "1025 bytes", "may have 1024"}) ==
        "");
  CHECK(refused({.const_labels = {{"env", value}}, .max_label_value_size = 1025}) == accepted);
}

TEST_CASE("label values of callbacks, collectors and infos are cut as those of families") {
  const auto registry = page::empty_registry({.max_label_value_size = 16});
  const std::string value = "123456789012345\xC3\xA9";
  const auto callback = registry.gauge_callback({.name = "a"}, {{"k", value}}, [] { return 1; });
  registry.info({.name = "b_info"}, {{"k", value}});
  struct : quipu::Collector {
    std::vector<quipu::FamilyDescription> describe() const override { return {{.name = "c", .labels = {"k"}}}; }
    void collect(quipu::Samples& samples) override { samples.add("c", {std::string(10'000'000, '\xFF')}, 1.0); }
  } collector;
  const auto registration = registry.add(collector);
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(page::samples(registry) == Lines{R"(a{k="123456789012345"} 1)", R"(b_info{k="123456789012345"} 1)",
                                         "c{k=\"" + bad + bad + bad + bad + bad + "\"} 1"});
}

TEST_CASE("registries know nothing of each other") {
  const auto one = page::empty_registry();
  const auto other = page::empty_registry({.const_labels = {{"n", "2"}}});
  const auto first = one.counter({.name = "x_total"});
  static_cast<void>(other.gauge({.name = "x"}));  // would clash in one registry
  const auto second = other.counter({.name = "y_total"});
  first.inc();
  second.inc(5);
  CHECK(page::samples(one) == Lines{"x_total 1"});
  CHECK(page::samples(other) == Lines{R"(x{n="2"} 0)", R"(y_total{n="2"} 5)"});
}

TEST_CASE("copies of a registry are the same registry, and keep it") {
  quipu::Registry copy = page::empty_registry();
  quipu::Counter counter;
  {
    const auto registry = page::empty_registry({.prefix = "shop"});
    counter = registry.counter({.name = "x_total"});
    copy = registry;
  }
  counter.inc();
  CHECK(page::samples(copy) == Lines{"shop_x_total 1"});
  CHECK(copy.counter({.name = "x_total"}) == counter);
}

TEST_CASE("families are shown in the order of their names, each once") {
  const auto registry = page::empty_registry();
  for (const char* name : {"m", "z", "a", "B", "_x", "a_b", "ab"}) {
    static_cast<void>(registry.gauge({.name = quipu::runtime(name)}));
  }
  CHECK(page::samples(registry) == Lines{"B 0", "_x 0", "a 0", "a_b 0", "ab 0", "m 0", "z 0"});
}

TEST_CASE("the same definition twice is the same family") {
  const auto registry = page::empty_registry();
  CHECK(registry.counter({.name = "a_total", .help = "H."}) == registry.counter({.name = "a_total", .help = "H."}));
  CHECK(registry.gauge({.name = "b"}) == registry.gauge({.name = "b"}));
  CHECK(registry.fractional_counter({.name = "c_total"}) == registry.fractional_counter({.name = "c_total"}));
  CHECK(registry.histogram({.name = "d", .buckets = {1.0, 2.0}}) ==
        registry.histogram({.name = "d", .buckets = {1.0, 2.0}}));
  CHECK(registry.counter({.name = "e_total"}, {"x", "y"})("1", "2") ==
        registry.counter({.name = "e_total"}, {"x", "y"})("1", "2"));
  CHECK(registry.counter<Method, int>({.name = "f_total"}, {"x", "y"})(Method::get, 2) ==
        registry.counter<Method, int>({.name = "f_total"}, {"x", "y"})(Method::get, 2));
  CHECK(registry.gauge({.name = "g_seconds", .unit = "seconds"}) ==
        registry.gauge({.name = "g_seconds", .unit = "seconds"}));
  CHECK(page::samples(registry).size() == 3 + 5 + 1 + 1 + 1);
}

TEST_CASE("another definition of a name is refused, with both definitions") {
  const auto counter = [](const quipu::Registry& r) {
    return r.counter({.name = "x_total", .help = "Things."}, {"kind"});
  };
  const auto check = [&](auto second, std::initializer_list<std::string_view> parts) {
    const auto message = clash(counter, second);
    CHECK(missing(message, parts) == "");
    CHECK(missing(message, {"is taken by counter x_total{kind text} \"Things.\""}) == "");
  };
  using Text = std::string_view;
  check([](auto& r) { return r.gauge({.name = "x_total", .help = "Things."}, {"kind"}); },
        {"cannot register gauge x_total{kind text} \"Things.\""});
  check([](auto& r) { return r.fractional_counter({.name = "x_total", .help = "Things."}, {"kind"}); },
        {"cannot register fractional counter x_total{kind text} \"Things.\""});
  check([](auto& r) { return r.counter({.name = "x_total", .help = "Things."}, {"sort"}); },
        {"cannot register counter x_total{sort text}"});
  check(
      [](auto& r) {
        return r.counter({.name = "x_total", .help = "Things."}, {"kind", "sort"});
      },
      {"cannot register counter x_total{kind text, sort text}"});
  check([](auto& r) { return r.counter({.name = "x_total", .help = "Things."}); },
        {"cannot register counter x_total \"Things.\""});
  check([](auto& r) { return r.template counter<int>({.name = "x_total", .help = "Things."}, {"kind"}); },
        {"cannot register counter x_total{kind integer}"});
  check([](auto& r) { return r.template counter<unsigned>({.name = "x_total", .help = "Things."}, {"kind"}); },
        {"cannot register counter x_total{kind unsigned}"});
  check([](auto& r) { return r.template counter<Method>({.name = "x_total", .help = "Things."}, {"kind"}); },
        {"cannot register counter x_total{kind enum}"});
  check(
      [](auto& r) {
        return r.histogram({.name = "x_total", .help = "Things.", .buckets = {1.0, 2.5}}, {"kind"});
      },
      {"cannot register histogram x_total{kind text} with buckets [1, 2.5] \"Things.\""});

  const auto histogram = [](auto& r) { return r.histogram({.name = "x", .buckets = {0.1, 1.0}}); };
  CHECK(missing(clash(histogram,
                      [](auto& r) {
                        return r.histogram({.name = "x", .buckets = {0.1, 2.0}});
                      }),
                {"cannot register histogram x with buckets [0.1, 2]", "taken by histogram x with buckets [0.1, 1]"}) ==
        "");
  CHECK(missing(clash([](auto& r) { return r.gauge({.name = "x_bytes"}); },
                      [](auto& r) { return r.gauge({.name = "x_bytes", .unit = "bytes"}); }),
                {"cannot register gauge x_bytes in bytes", "taken by gauge x_bytes \"\""}) == "");
  CHECK(missing(clash(
                    [](auto& r) {
                      return r.counter({.name = "x_total"}, {"a", "b"});
                    },
                    [](auto& r) {
                      return r.counter({.name = "x_total"}, {"b", "a"});
                    }),
                {"x_total{b text, a text}", "x_total{a text, b text}"}) == "");
  CHECK(missing(clash(
                    [](auto& r) {
                      return r.template counter<Text, Method>({.name = "x_total"}, {"a", "b"});
                    },
                    [](auto& r) {
                      return r.template counter<Text, Verb>({.name = "x_total"}, {"a", "b"});
                    }),
                {"cannot register counter x_total{a text, b enum}", "is taken by"}) == "");
  // Two enums with the same names are the same on the page.
  CHECK(clash([](auto& r) { return r.template counter<Method>({.name = "x_total"}, {"a"}); },
              [](auto& r) { return r.template counter<Way>({.name = "x_total"}, {"a"}); }) == accepted);
}

TEST_CASE("names that another family's samples have are refused in both orders") {
  struct Pair {
    Definition first;
    Definition second;
    std::string_view shared;
  };
  const std::vector<Pair> pairs = {
      {{"histogram", "x"}, {"gauge", "x_count"}, "x_count"},
      {{"histogram", "x"}, {"gauge", "x_sum"}, "x_sum"},
      {{"histogram", "x"}, {"gauge", "x_bucket"}, "x_bucket"},
      {{"histogram", "x"}, {"counter", "x_bucket"}, "x_bucket"},
      {{"histogram", "x"}, {"histogram", "x_sum"}, "x_sum"},
      {{"histogram", "x"}, {"gauge", "x_created"}, "x_created"},
      {{"counter", "x_total"}, {"gauge", "x"}, "x"},
      {{"counter", "x_total"}, {"counter", "x"}, "x"},
      {{"counter", "x_total"}, {"gauge", "x_created"}, "x_created"},
      {{"counter", "x_total"}, {"histogram", "x"}, "x"},
      {{"counter", "x_count_total"}, {"histogram", "x"}, "x_count"},
  };
  for (const auto& [one, other, shared] : pairs) {
    INFO(one.kind << ' ' << one.name << ", " << other.kind << ' ' << other.name);
    const std::string one_text = std::string(one.kind) + ' ' + std::string(one.name);
    const std::string other_text = std::string(other.kind) + ' ' + std::string(other.name);
    const std::string quoted = '"' + std::string(shared) + '"';
    CHECK(missing(clash(one, other), {"cannot register " + other_text, one_text, quoted}) == "");
    CHECK(missing(clash(other, one), {"cannot register " + one_text, other_text, quoted}) == "");
  }
  const std::vector<std::pair<Definition, Definition>> fine = {
      {{"histogram", "x"}, {"gauge", "x_max"}},     {{"histogram", "x"}, {"counter", "x_errors_total"}},
      {{"gauge", "x"}, {"gauge", "x_count"}},       {{"gauge", "x"}, {"gauge", "x_created"}},
      {{"counter", "x_total"}, {"gauge", "x_sum"}}, {{"counter", "x_total"}, {"gauge", "x_total_bytes"}},
  };
  for (const auto& [one, other] : fine) {
    INFO(one.kind << ' ' << one.name << ", " << other.kind << ' ' << other.name);
    CHECK(clash(one, other) == accepted);
    CHECK(clash(other, one) == accepted);
  }
}

TEST_CASE("a name that was refused can be used otherwise") {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.gauge({.name = "x_count"}));
  CHECK_THROWS_AS(registry.histogram({.name = "x"}), quipu::RegistrationError);
  static_cast<void>(registry.gauge({.name = "x"}));
  static_cast<void>(registry.gauge({.name = "x_bucket"}));
  CHECK(page::samples(registry) == Lines{"x 0", "x_bucket 0", "x_count 0"});
}

TEST_CASE("bad labels are refused with the definition") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  CHECK(refusal([&] {
          static_cast<void>(registry.gauge({.name = "x"}, {"a", "b", "a"}));
        }) == "cannot register gauge x{env=\"test\", a text, b text, a text} \"\": label \"a\" is given twice");
  CHECK(refusal([&] {
          static_cast<void>(registry.gauge({.name = "x"}, {"a", "env"}));
        }) ==
        "cannot register gauge x{env=\"test\", a text, env text} \"\": label \"env\" is a const label, env=\"test\"; "
        "choose another name for one of them");
  CHECK(missing(refusal([&] { static_cast<void>(registry.histogram({.name = "x"}, {"le"})); }),
                {"cannot register histogram x{env=\"test\", le text}",
                 "label \"le\" is the bucket bound of a histogram"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "x"}, {quipu::runtime("__a")})); }),
                {"label \"__a\"", "begins neither with a digit nor with \"__\""}) == "");
  CHECK(page::body(registry).empty());
}

TEST_CASE("a name ends in its unit") {
  const auto registry = page::empty_registry();
  static_cast<void>(registry.gauge({.name = "a_bytes", .unit = "bytes"}));
  static_cast<void>(registry.counter({.name = "b_bytes_total", .unit = "bytes"}));
  static_cast<void>(registry.histogram({.name = "c_seconds", .unit = "seconds"}));
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "d", .unit = "bytes"})); }),
                {"cannot register gauge d in bytes", "its name ends in _bytes"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.counter({.name = "d_total", .unit = "bytes"})); }),
                {"cannot register counter d_total in bytes", "its name ends in _bytes_total"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "d_bytes_total", .unit = "bytes"})); }),
                {"its name ends in _bytes"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "kilobytes", .unit = "bytes"})); }),
                {"its name ends in _bytes"}) == "");

  struct Units : quipu::Visitor {
    void family(const quipu::FamilyView& family) override { units.emplace_back(family.unit); }
    void sample(const quipu::Sample&) override {}
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
    Lines units;
  } shown;
  registry.collect(shown);
  CHECK(shown.units == Lines{"bytes", "bytes", "seconds"});
}

TEST_CASE("a visitor is shown names, labels, kinds and exact values") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  registry.counter({.name = "a_total", .help = "A\nB \xFF"}, {"x"})("1").inc((std::uint64_t{1} << 53) + 1);
  registry.fractional_counter({.name = "b_total"}).inc(0.5);
  registry.histogram({.name = "c", .buckets = {1.0, 2.0}}).observe(1.5);

  struct Notes : quipu::Visitor {
    void family(const quipu::FamilyView& family) override {
      notes.push_back(std::string(to_string(family.type)) + ' ' + std::string(family.name) + ": " +
                      std::string(family.help));
    }
    void sample(const quipu::Sample& sample) override {
      std::string note;
      for (const auto& label : sample.labels) note += std::string(label.name) + '=' + std::string(label.value) + ' ';
      note += sample.value.is_whole() ? std::to_string(sample.value.whole()) : "about half";
      notes.push_back(note);
    }
    void histogram(const quipu::HistogramSample& sample) override {
      CHECK(sample.labels.size() == 1);
      CHECK(std::vector<double>(sample.bounds.begin(), sample.bounds.end()) == std::vector<double>{1, 2});
      CHECK(std::vector<std::uint64_t>(sample.counts.begin(), sample.counts.end()) ==
            std::vector<std::uint64_t>{0, 1, 0});
      CHECK(sample.sum == 1.5);
    }
    void summary(const quipu::SummarySample&) override {}
    Lines notes;
  } shown;
  registry.collect(shown);
  CHECK(shown.notes == Lines{"counter a_total: A\nB \xEF\xBF\xBD", "env=test x=1 9007199254740993",
                             "counter b_total: ", "env=test about half", "histogram c: "});
}

TEST_CASE("what a visitor throws ends the scrape, and the next one is whole") {
  const auto registry = page::empty_registry();
  registry.counter({.name = "a_total"}).inc();
  registry.histogram({.name = "b", .buckets = {1.0}}).observe(1);
  struct Thrower : quipu::Visitor {
    void family(const quipu::FamilyView&) override {}
    void sample(const quipu::Sample&) override {}
    void histogram(const quipu::HistogramSample&) override { throw 5; }
    void summary(const quipu::SummarySample&) override {}
  } thrower;
  CHECK_THROWS_AS(registry.collect(thrower), int);
  CHECK(page::value(registry, "b_count") == "1");
}

TEST_CASE("a visitor may use the registry") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"}, {"x"});
  counter("1").inc();
  struct User : quipu::Visitor {
    explicit User(const quipu::Registry& used) : registry(used) {}
    void family(const quipu::FamilyView&) override {
      static_cast<void>(registry.gauge({.name = "b"}));
      body = page::body(registry);
    }
    void sample(const quipu::Sample&) override {}
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
    const quipu::Registry& registry;
    std::string body;
  } user(registry);
  registry.collect(user);
  CHECK(page::lines(user.body).size() == 4);
}

TEST_CASE("a page has the process' metrics and the library's own unless told otherwise") {
  const quipu::Registry everything;
  CHECK(page::body(everything).find("quipu_collector_") == std::string::npos);  // there is no collector
  CHECK(page::value(everything, R"(quipu_rejected_recordings_total{reason="negative_step"})") != page::absent);
  CHECK(page::value(everything, R"(quipu_rejected_recordings_total{reason="not_a_number"})") != page::absent);
  CHECK(page::body(page::empty_registry()).empty());
#ifdef __linux__
  CHECK(page::value(everything, "process_cpu_seconds_total") != page::absent);
  const quipu::Registry self({.process_metrics = false});
  CHECK(page::value(self, "process_cpu_seconds_total") == page::absent);
  const quipu::Registry process({.self_metrics = false});
  CHECK(page::value(process, "quipu_thread_cell_bytes") == page::absent);
  CHECK(page::value(process, "process_cpu_seconds_total") != page::absent);
#endif
  // They have no prefix, and the const labels.
  const quipu::Registry named({.prefix = "shop", .const_labels = {{"env", "test"}}, .process_metrics = false});
  const auto callback = named.gauge_callback({.name = "x"}, [] { return 1; });
  CHECK(page::value(named, R"(quipu_collector_errors_total{env="test",collector="shop_x",reason="exception"})") == "0");
}

TEST_CASE("build info is an info under the prefix, if there is a version") {
  const quipu::BuildInfo build{.version = "1.2", .revision = "abc"};
  const auto registry =
      page::empty_registry({.prefix = "shop", .const_labels = {{"env", "test"}}, .build_info = build});
#ifdef __clang__
  const std::string compiler = "clang " + std::to_string(__clang_major__) + ".";
#else
  const std::string compiler = "gcc " + std::to_string(__GNUC__) + ".";
#endif
  const auto lines = page::samples(registry);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with(R"(shop_build_info{env="test",version="1.2",revision="abc",compiler=")" + compiler));
  CHECK(lines[0].ends_with("\"} 1"));

  const auto unknown = page::empty_registry({.build_info = {.version = "1", .compiler = "mine"}});
  CHECK(page::samples(unknown) == std::vector<std::string>{R"(build_info{version="1",revision="",compiler="mine"} 1)"});
  CHECK(page::body(page::empty_registry({.build_info = {.revision = "abc"}})).empty());
  const auto message = refusal([] {
    page::empty_registry({.const_labels = {{"version", "2"}}, .build_info = {.version = "1"}});
  });
  CHECK(missing(message, {"build_info", "\"version\" is a const label, version=\"2\""}).empty());
}
