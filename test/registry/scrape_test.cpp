#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

namespace {

constexpr std::size_t piece_size = std::size_t{64} * 1024;

std::string rest_of(quipu::PageStream& stream) {
  std::string body;
  for (auto piece = stream.next(); !piece.empty(); piece = stream.next()) body += piece;
  return body;
}

quipu::CounterFamily<int> counters(const quipu::Registry& registry, int count) {
  auto family = registry.counter<int>({.name = "x_total", .help = "X.", .max_series = 2'000'000}, {"n"});
  for (int i = 0; i < count; ++i) family(i).inc(static_cast<std::uint64_t>(i));
  return family;
}

/// The series of a page, each with its value; a series that is there twice fails the test.
std::map<std::string, std::string> series_of(std::string_view body) {
  std::map<std::string, std::string> series;
  for (const std::string& line : page::lines(body)) {
    if (line.starts_with('#')) continue;
    const auto space = line.rfind(' ');
    const auto [place, is_new] = series.emplace(line.substr(0, space), line.substr(space + 1));
    INFO(place->first);
    REQUIRE(is_new);
  }
  return series;
}

std::string series_name(int n) { return "x_total{n=\"" + std::to_string(n) + "\"}"; }

}  // namespace

TEST_CASE("the pieces of a page are the page") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  counters(registry, 20'000);
  const auto sizes = registry.histogram({.name = "sizes", .help = "Sizes."}, {"kind"});
  for (int i = 0; i < 500; ++i) sizes(std::to_string(i)).observe(i);
  registry.gauge({.name = "y", .help = "Y."}).set(0.5);

  const auto stream = quipu::open_page(registry);
  CHECK(stream->content_type() == "text/plain; version=0.0.4; charset=utf-8");
  std::string body;
  std::size_t pieces = 0;
  std::size_t longest = 0;
  std::size_t shortest_but_last = piece_size;
  for (auto piece = stream->next(); !piece.empty(); ++pieces) {
    body += piece;
    longest = std::max(longest, piece.size());
    const std::size_t size = piece.size();
    piece = stream->next();
    if (!piece.empty()) shortest_but_last = std::min(shortest_but_last, size);
  }
  CHECK(body == page::body(registry));
  CHECK(series_of(body).size() == 20'000 + 500 * 14 + 1);
  CHECK(pieces > 10);
  CHECK(longest < 2 * piece_size);
  CHECK(shortest_but_last >= piece_size);
  CHECK(stream->next().empty());
}

TEST_CASE("an empty page has no piece") { CHECK(quipu::open_page(page::empty_registry())->next().empty()); }

TEST_CASE("a page may be rendered again into the memory of another") {
  const auto registry = page::empty_registry();
  const auto family = counters(registry, 1000);
  quipu::Page page{"nonsense", std::string(1'000'000, 'x')};
  const char* memory = page.body.data();
  quipu::render(registry, {}, page);
  CHECK(page.body == page::body(registry));
  CHECK(page.content_type == quipu::render(registry).content_type);
  CHECK(page.body.data() == memory);
}

TEST_CASE("a scrape may ask for some families only") {
  const quipu::Registry registry({.prefix = "shop"});
  registry.counter({.name = "a_total", .help = "A."}).inc(1);
  registry.gauge({.name = "b", .help = "B."}, {"l"})("v").set(2);
  registry.histogram({.name = "c", .help = "C.", .buckets = {1.0}}).observe(3);
  int calls = 0;
  const auto callback = registry.gauge_callback({.name = "d", .help = "D."}, [&calls] { return double(++calls); });

  const auto body = [&registry](std::vector<std::string> families) {
    return quipu::render(registry, {.families = families}).body;
  };
  const std::string a = "# HELP shop_a_total A.\n# TYPE shop_a_total counter\nshop_a_total 1\n";
  const std::string b = "# HELP shop_b B.\n# TYPE shop_b gauge\nshop_b{l=\"v\"} 2\n";
  CHECK(body({"shop_a_total"}) == a);
  CHECK(body({"shop_b", "shop_a_total", "shop_b"}) == a + b);
  CHECK(body({"shop_c"}).find("shop_c_bucket{le=\"1\"} 0\n") != std::string::npos);
  CHECK(calls == 0);
  CHECK(body({"shop_d", "absent"}) == "# HELP shop_d D.\n# TYPE shop_d gauge\nshop_d 1\n");
  CHECK(body({"absent"}).empty());
  CHECK(body({"a_total", "shop_c_bucket", ""}).empty());
  CHECK(body({"quipu_collector_errors_total"}).find("process_") == std::string::npos);
}

TEST_CASE("a stream keeps the metrics, and may be left half-way") {
  std::unique_ptr<quipu::PageStream> stream;
  std::unique_ptr<quipu::PageStream> other;
  quipu::Counter counter;
  {
    const auto registry = page::empty_registry();
    counter = counters(registry, 20'000)(19'999);
    stream = quipu::open_page(registry);
    other = quipu::open_page(registry);
  }
  CHECK(!stream->next().empty());
  stream.reset();
  counter.inc(1);
  const std::string body = rest_of(*other);
  CHECK(series_of(body).at(series_name(19'999)) == "20000");
  other.reset();
  counter.inc(1);
  CHECK(counter.value() == 0);
}

TEST_CASE("series that come and go between two pieces are shown once, or not at all") {
  const auto registry = page::empty_registry();
  const auto family = counters(registry, 20'000);
  const auto stream = quipu::open_page(registry);
  std::string body(stream->next());
  const std::size_t shown = series_of(body).size();
  REQUIRE(shown > 100);
  REQUIRE(shown < 10'000);
  // Removed and made again: of those that were shown, none is shown again; of those to come, none any more.
  for (int i = 0; i < 20'000; i += 2) family.remove(i);
  for (int i = 0; i < 20'000; i += 4) family(i).inc(1'000'000);
  for (int i = 20'000; i < 30'000; ++i) family(i).inc();
  family(19'999).inc(1);
  body += rest_of(*stream);
  const auto series = series_of(body);
  for (int i = 1; i < 20'000; i += 2) {
    INFO(i);
    REQUIRE(series.contains(series_name(i)));
  }
  CHECK(!series.contains(series_name(19'996)));
  CHECK(!series.contains(series_name(19'998)));
  CHECK(!series.contains(series_name(20'000)));
  CHECK(series.at(series_name(19'999)) == "20000");
  // The next page shows what there is.
  const auto next = series_of(page::body(registry));
  CHECK(next.size() == 10'000 + 5'000 + 10'000);
  CHECK(next.at(series_name(19'996)) == "1000000");
}

TEST_CASE("places of removed series are taken again while a page is being made") {
  const auto registry = page::empty_registry();
  const auto family = counters(registry, 10'000);
  const auto stream = quipu::open_page(registry);
  static_cast<void>(stream->next());
  const std::size_t before = resident_bytes();
  for (int round = 0; round < 30; ++round) {
    for (int i = 0; i < 10'000; ++i) family.remove(i);
    for (int i = 0; i < 10'000; ++i) family(i).inc();
  }
  if (!is_sanitized) CHECK(resident_bytes() < before + 2'000'000);
  CHECK(family.size() == 10'000);
  static_cast<void>(rest_of(*stream));
}

TEST_CASE("a label value larger than a piece is shown whole") {
  const auto registry = page::empty_registry({.max_label_value_size = 1'000'000});
  const auto family = registry.gauge({.name = "x"}, {"text"});
  const std::string plain(300'000, 'a');
  const std::string odd = std::string(200'000, '"') + std::string(100'000, '\n');
  family("small").set(1);
  family(plain).set(2);
  family(odd).set(3);
  std::string escaped;
  for (const char c : odd) escaped += c == '"' ? "\\\"" : "\\n";
  CHECK(page::value(registry, "x{text=\"small\"}") == "1");
  CHECK(page::value(registry, "x{text=\"" + plain + "\"}") == "2");
  CHECK(page::value(registry, "x{text=\"" + escaped + "\"}") == "3");
}

TEST_CASE("what needs an escape has it wherever it stands in a label value") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge({.name = "x"}, {"first", "second"});
  std::set<std::string> expected;
  for (const auto& [odd, shown] :
       {std::pair<char, std::string>('\\', "\\\\"), std::pair<char, std::string>('"', "\\\""),
        std::pair<char, std::string>('\n', "\\n")}) {
    for (std::size_t length = 1; length < 40; ++length) {
      for (std::size_t i = 0; i < length; ++i) {
        std::string text(length, 'a');
        text[i] = odd;
        family("plain", text).set(1);
        text.replace(i, 1, shown);
        expected.insert("x{first=\"plain\",second=\"" + text + "\"} 1");
      }
    }
  }
  const auto shown = page::samples(registry);
  CHECK(std::set<std::string>(shown.begin(), shown.end()) == expected);
}

TEST_CASE("label values of any length stand beside each other as they are") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge({.name = "x"}, {"a", "b"});
  std::set<std::string> expected;
  for (std::size_t i = 0; i < 70; ++i) {
    for (std::size_t j = 0; j < 70; ++j) {
      const std::string a(i, 'a');
      const std::string b(j, 'b');
      family(a, b).set(1);
      expected.insert("x{a=\"" + a + "\",b=\"" + b + "\"} 1");
    }
  }
  const auto shown = page::samples(registry);
  CHECK(std::set<std::string>(shown.begin(), shown.end()) == expected);
}

TEST_CASE("whole numbers are printed digit by digit") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<std::uint64_t>({.name = "x_total"}, {"n"});
  std::vector<std::uint64_t> numbers;
  std::mt19937_64 random(1);
  for (int bits = 0; bits < 64; ++bits) {
    for (int i = 0; i < 100; ++i) numbers.push_back(random() >> bits);
  }
  for (std::uint64_t power = 1, i = 0; i < 20; ++i, power *= 10) {
    for (const std::uint64_t near : {power - 1, power, power + 1}) numbers.push_back(near);
  }
  for (std::uint64_t i = 0; i < 10'100; ++i) numbers.push_back(i);
  std::ranges::sort(numbers);
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  for (const std::uint64_t n : numbers) family(n).inc(n);
  const auto series = series_of(page::body(registry));
  CHECK(series.size() == numbers.size());
  for (const std::uint64_t n : numbers) {
    const std::string digits = std::to_string(n);
    INFO(digits);
    REQUIRE(series.at("x_total{n=\"" + digits + "\"}") == digits);
  }
}

TEST_CASE("a scrape that is asked to stop does not wait for collectors, and does not count them") {
  using Clock = std::chrono::steady_clock;
  const quipu::Registry registry({.process_metrics = false});
  registry.counter({.name = "x_total", .help = "X."}).inc();
  Gate gate;
  const auto hanging = registry.gauge_callback({.name = "y"}, [&gate] {
    gate.pass();
    return 1.0;
  });
  // Also where the deadline is far away, and where there is none.
  const auto deadline = GENERATE(Clock::now() + std::chrono::hours(1), Clock::time_point::max());
  const std::stop_source stop;
  std::thread stopping([&] {
    soon([&gate] { return gate.entered() > 0; });
    stop.request_stop();
  });
  const std::string body = quipu::render(registry, {.deadline = deadline, .stop = stop.get_token()}).body;
  stopping.join();
  CHECK(series_of(body).count("x_total") == 1);
  CHECK(series_of(body).count("y") == 0);
  // One that was asked before it began waits for nothing either.
  CHECK(series_of(quipu::render(registry, {.deadline = deadline, .stop = stop.get_token()}).body).count("y") == 0);
  gate.open();
  CHECK(soon([&gate] { return gate.passed() == gate.entered(); }));
  CHECK(quipu::testing::value_of(registry, "quipu_collector_errors_total",
                                 {{"collector", "y"}, {"reason", "timeout"}}) == 0);
}

TEST_CASE("a visitor sees the families that were asked for, without waiting for others") {
  const quipu::Registry registry({.process_metrics = false});
  registry.counter({.name = "x_total"}).inc(3);
  static_cast<void>(registry.counter({.name = "y_total"}));
  Gate gate;
  const auto hangs = registry.gauge_callback({.name = "z"}, [&gate] {
    gate.pass();
    return 1.0;
  });
  struct : quipu::Visitor {
    std::string text;
    void family(const quipu::FamilyView& family) override { text += std::string(family.name) + ":"; }
    void sample(const quipu::Sample& sample) override { text += std::to_string(sample.value.whole()) + ";"; }
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
  } visitor;
  const std::vector<std::string> names{"x_total"};
  registry.collect(visitor, {.families = names});
  CHECK(visitor.text == "x_total:3;");
  CHECK(gate.entered() == 0);
  visitor.text.clear();
  const std::vector<std::string> both{"y_total", "z"};
  registry.collect(visitor,
                   {.families = both, .deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20)});
  CHECK(visitor.text == "y_total:0;");
  gate.open();
  CHECK(soon([&gate] { return gate.passed() == gate.entered(); }));
}

#ifdef __GLIBC__
TEST_CASE("a scrape takes little memory, however long the page") {
  if (is_sanitized) return;
  const auto registry = page::empty_registry();
  counters(registry, 1'000'000);
  const std::size_t before = resident_bytes();
  std::size_t most = before;
  std::size_t size = 0;
  const auto stream = quipu::open_page(registry);
  for (auto piece = stream->next(); !piece.empty(); piece = stream->next()) {
    size += piece.size();
    most = std::max(most, resident_bytes());
  }
  CHECK(size > 20'000'000);
  CHECK(most - before < 500'000);
}

TEST_CASE("a thousand scrapes leave the memory as it was") {
  if (is_sanitized) return;
  const quipu::Registry registry;
  counters(registry, 200);
  const auto callback = registry.gauge_callback({.name = "y"}, [] { return 1.0; });
  const auto scrape = [&registry] { static_cast<void>(rest_of(*quipu::open_page(registry))); };
  for (int i = 0; i < 100; ++i) scrape();
  const auto in_use = [] { return ::mallinfo2().uordblks; };
  const std::size_t before = in_use();
  for (int i = 0; i < 1'000; ++i) scrape();
  CHECK(in_use() <= before + 1000);
}
#endif
