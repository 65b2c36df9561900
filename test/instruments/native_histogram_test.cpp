#include "quipu/native_histogram.hpp"

#include <quipu/thread_cell_budget.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using namespace std::chrono_literals;
using quipu::NativeHistogram;
using Counts = std::vector<std::uint64_t>;
using Side = std::map<std::int32_t, std::uint64_t>;
using quipu::detail::native_bound;

static_assert(std::is_trivially_copyable_v<NativeHistogram>);
static_assert(sizeof(NativeHistogram) <= 2 * sizeof(void*));

constexpr double infinity = std::numeric_limits<double>::infinity();

Side side(const std::vector<NativeHistogram::Snapshot::Bucket>& buckets) {
  Side result;
  for (const auto& [index, count] : buckets) result.emplace(index, count);
  return result;
}

/// What the page's format says of a native histogram, done plainly by one thread: buckets are counted in maps, and the
/// limit is kept by changing these. Without resets.
class PlainHistogram {
 public:
  PlainHistogram(std::int32_t schema, const quipu::NativeHistogramOptions& options)
      : schema_(schema),
        zero_threshold_(options.zero_threshold),
        max_zero_threshold_(options.max_zero_threshold),
        max_buckets_(options.max_buckets) {
    if (options.buckets) bounds_.assign(options.buckets->bounds().begin(), options.buckets->bounds().end());
    classic_.resize(bounds_.size() + 1);
  }

  void observe(double value) {
    sum_ += value;
    ++classic_[static_cast<std::size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin())];
    if (std::fabs(value) <= zero_threshold_) {
      ++zero_count_;
    } else {
      ++(value > 0 ? positive_ : negative_)[index(value)];
    }
    while (positive_.size() + negative_.size() > max_buckets_ && (widen() || halve())) {
    }
  }

  /// "" if the snapshot says the same.
  [[nodiscard]] std::string difference(const NativeHistogram::Snapshot& snapshot) const {
    if (snapshot.schema != schema_) return "schema";
    if (snapshot.zero_threshold != zero_threshold_) return "zero threshold";
    if (snapshot.zero_count != zero_count_) return "zero count";
    if (side(snapshot.positive) != positive_) return "positive buckets";
    if (side(snapshot.negative) != negative_) return "negative buckets";
    if (snapshot.counts != classic_) return "classic buckets";
    if (snapshot.sum != sum_) return "sum";
    return "";
  }

  [[nodiscard]] std::int32_t schema() const { return schema_; }
  [[nodiscard]] double zero_threshold() const { return zero_threshold_; }

 private:
  /// By a search, of which there can be no two opinions.
  [[nodiscard]] std::int32_t index(double value) const {
    const double size = std::fabs(value);
    std::int32_t low = -2000 * 256;
    std::int32_t high = 2000 * 256;
    if (std::isinf(size)) return (schema_ >= 0 ? 1024 << schema_ : 1024 >> -schema_) + 1;
    const std::int32_t most = schema_ >= 0 ? 1024 << schema_ : 1024 >> -schema_;
    high = most;
    while (high - low > 1) {
      const std::int32_t middle = low + (high - low) / 2;
      (native_bound(middle, schema_) >= size ? high : low) = middle;
    }
    return high;
  }
  bool widen() {
    std::int32_t closest = std::numeric_limits<std::int32_t>::max();
    for (const Side* buckets : {&positive_, &negative_}) {
      if (!buckets->empty()) closest = std::min(closest, buckets->begin()->first);
    }
    const double threshold = native_bound(closest, schema_);
    if (zero_threshold_ >= max_zero_threshold_ || threshold > max_zero_threshold_) return false;
    for (Side* buckets : {&positive_, &negative_}) {
      if (const auto found = buckets->find(closest); found != buckets->end()) {
        zero_count_ += found->second;
        buckets->erase(found);
      }
    }
    zero_threshold_ = threshold;
    return true;
  }
  bool halve() {
    if (schema_ == -4) return false;
    --schema_;
    for (Side* buckets : {&positive_, &negative_}) {
      Side halved;
      for (const auto& [index, count] : *buckets) halved[(index > 0 ? index + 1 : index) / 2] += count;
      *buckets = std::move(halved);
    }
    return true;
  }

  std::int32_t schema_;
  double zero_threshold_;
  const double max_zero_threshold_;
  const std::size_t max_buckets_;
  std::vector<double> bounds_;
  Side positive_;
  Side negative_;
  std::uint64_t zero_count_ = 0;
  Counts classic_;
  double sum_ = 0;
};

double seconds(quipu::NativeTimer::Clock::duration time) { return quipu::Seconds(time).count(); }

}  // namespace

TEST_CASE("a native histogram counts values in buckets that nobody chose") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "size_bytes", .growth_factor = 2});
  CHECK(histogram.snapshot().count() == 0);
  for (const double value : {0.0, 1.0, 1.5, 2.0, 100.0, 0.001, -3.0, -4.0}) histogram.observe(value);
  const auto snapshot = histogram.snapshot();
  CHECK(snapshot.schema == 0);
  CHECK(snapshot.zero_threshold == 0x1p-128);
  CHECK(snapshot.zero_count == 1);
  CHECK(side(snapshot.positive) == Side{{0, 1}, {1, 2}, {7, 1}, {-9, 1}});
  CHECK(side(snapshot.negative) == Side{{2, 2}});
  CHECK(std::ranges::is_sorted(snapshot.positive, {}, &quipu::NativeBuckets::Bucket::index));
  CHECK(snapshot.counts == Counts{8});
  CHECK(snapshot.count() == 8);
  CHECK(snapshot.sum == 0.0 + 1.0 + 1.5 + 2.0 + 100.0 + 0.001 - 3.0 - 4.0);
}

TEST_CASE("reading a native histogram leaves it as it is") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "size_bytes", .max_buckets = 4});
  for (int i = 1; i <= 100; ++i) {
    histogram.observe(i);
    for (int again = 0; again < 3; ++again) {
      const auto snapshot = histogram.snapshot();
      CHECK(snapshot.count() == static_cast<std::uint64_t>(i));
      CHECK(snapshot.sum == i * (i + 1) / 2);
      CHECK(snapshot.positive.size() <= 4);
    }
  }
}

TEST_CASE("a visitor is shown a native histogram's buckets, and when it began") {
  const auto registry = page::empty_registry();
  const auto before = std::chrono::system_clock::now();
  const auto histogram = registry.native_histogram({.name = "size_bytes", .growth_factor = 2, .zero_threshold = 0.5});
  const auto after = std::chrono::system_clock::now();
  for (const double value : {0.25, -0.5, 3.0, -5.0}) histogram.observe(value);
  CHECK(shown::family(registry, "size_bytes").type == quipu::MetricType::histogram);
  const shown::Series shown = shown::series(registry, "size_bytes");
  CHECK(shown.bounds.empty());
  CHECK(shown.counts == Counts{4});
  CHECK(shown.value == -2.25);
  REQUIRE(shown.native);
  CHECK(shown.native->schema == 0);
  CHECK(shown.native->zero_threshold == 0.5);
  CHECK(shown.native->zero_count == 2);
  CHECK(side(shown.native->positive) == Side{{2, 1}});
  CHECK(side(shown.native->negative) == Side{{3, 1}});
  REQUIRE(shown.created);
  CHECK(*shown.created >= before);
  CHECK(*shown.created <= after);
}

TEST_CASE("where a format has no native buckets, a page shows the sum, the count, and the classic buckets asked for") {
  const auto registry = page::empty_registry();
  const auto native = registry.native_histogram({.name = "a"});
  const auto both = registry.native_histogram({.name = "b", .buckets = quipu::Buckets{1.0, 2.0}});
  for (const double value : {0.5, 1.0, 1.5, 7.0}) {
    native.observe(value);
    both.observe(value);
  }
  CHECK(page::samples(registry) == std::vector<std::string>{
                                       R"(a_bucket{le="+Inf"} 4)",
                                       "a_sum 10",
                                       "a_count 4",
                                       R"(b_bucket{le="1"} 2)",
                                       R"(b_bucket{le="2"} 3)",
                                       R"(b_bucket{le="+Inf"} 4)",
                                       "b_sum 10",
                                       "b_count 4",
                                   });
}

TEST_CASE("a growth factor is rounded down to those there are") {
  const auto schema = [](double factor) {
    const auto registry = page::empty_registry();
    return registry.native_histogram({.name = "a", .growth_factor = factor}).snapshot().schema;
  };
  const std::pair<double, int> expected[] = {
      {1.0028, 8}, {1.005, 8}, {1.01, 7}, {1.02, 6}, {1.03, 5}, {1.05, 4},   {1.1, 3},    {1.2, 2},    {1.5, 1},
      {2, 0},      {3.9, 0},   {4, -1},   {16, -2},  {256, -3}, {65535, -3}, {65536, -4}, {1e300, -4},
  };
  for (const auto& [factor, wanted] : expected) {
    CAPTURE(factor);
    CHECK(schema(factor) == wanted);
  }
}

TEST_CASE("NaN is not observed in a native histogram, and infinities have buckets of their own") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "a", .growth_factor = 1.005});
  const auto before = page::rejected("not_a_number");
  histogram.observe(std::numeric_limits<double>::quiet_NaN());
  CHECK(page::rejected("not_a_number") == before + 1);
  CHECK(histogram.snapshot().count() == 0);
  histogram.observe(std::numeric_limits<double>::max());
  histogram.observe(infinity);
  CHECK(side(histogram.snapshot().positive) == Side{{262144, 1}, {262145, 1}});
  CHECK(histogram.snapshot().sum == infinity);
  histogram.observe(-infinity);
  CHECK(side(histogram.snapshot().negative) == Side{{262145, 1}});
  CHECK(std::isnan(histogram.snapshot().sum));
  CHECK(histogram.snapshot().count() == 3);
}

TEST_CASE("a native histogram that does as it is told is the same as one that is kept plainly") {
  std::mt19937_64 random(1);
  const auto one_of = [&random](auto... choices) {
    const std::common_type_t<decltype(choices)...> all[] = {choices...};
    return all[random() % sizeof...(choices)];
  };
  int widened = 0;
  int lowered = 0;
  for (int program = 0; program < 400; ++program) {
    quipu::NativeHistogramOptions options{.name = "a",
                                          .growth_factor = one_of(1.005, 1.02, 1.1, 1.1, 2.0, 16.0, 65536.0),
                                          .zero_threshold = one_of(0x1p-128, 0.0, 0.01, 0.3),
                                          .max_buckets = one_of(1u, 2u, 7u, 20u, 40u, 160u, 400u),
                                          .max_zero_threshold = one_of(0.0, 0.0, 1e-3, 0.5, 10.0, 1e300)};
    if (random() % 2 == 0) options.buckets = quipu::buckets::exponential(one_of(0.001, 0.1), 2.5, one_of(1, 11, 100));
    const auto registry = page::empty_registry();
    const auto histogram = registry.native_histogram(options);
    PlainHistogram plain(histogram.snapshot().schema, options);
    const std::int32_t schema = plain.schema();
    const double threshold = plain.zero_threshold();
    std::lognormal_distribution<double> usual(0, one_of(0.3, 3.0, 30.0));
    const auto sign_of = [&, mixed = random() % 2 == 0] { return mixed && random() % 4 == 0 ? -1.0 : 1.0; };
    const bool is_wild = random() % 8 == 0;
    const std::uint64_t reading = one_of(2u, 30u, 100'000u);
    const std::size_t length = one_of(20u, 300u, 2000u);
    const auto compared = [&]() -> std::string {
      const std::string difference = plain.difference(histogram.snapshot());
      return is_wild && difference == "sum" ? "" : difference;
    };
    std::string difference;
    for (std::size_t i = 0; i < length && difference.empty(); ++i) {
      // Few enough bits that the sum is exact, in whatever order it is made.
      double value = sign_of() * std::round(std::min(usual(random), 1e9) * 1024) / 1024;
      if (is_wild) value = sign_of() * std::ldexp(1, static_cast<int>(random() % 2000) - 1000);
      histogram.observe(value);
      plain.observe(value);
      if (random() % reading == 0) difference = compared();
    }
    if (difference.empty()) difference = compared();
    widened += static_cast<int>(plain.zero_threshold() != threshold);
    lowered += static_cast<int>(plain.schema() != schema);
    CAPTURE(program, schema, options.max_buckets, options.max_zero_threshold, options.zero_threshold);
    REQUIRE(difference == "");
  }
  CHECK(widened > 20);
  CHECK(lowered > 50);
}

TEST_CASE("no page shows more buckets than there may be, and none that is empty") {
  std::mt19937_64 random(3);
  for (const std::uint32_t most : {1u, 5u, 29u, 30u, 31u, 160u, 400u}) {
    const auto registry = page::empty_registry();
    const auto histogram = registry.native_histogram({.name = "a", .growth_factor = 1.005, .max_buckets = most});
    std::lognormal_distribution<double> usual(0, 2);
    for (int i = 1; i <= 20'000; ++i) {
      histogram.observe(1 + usual(random));  // the widest bucket is from 1 to 65536
      if (i % 100 != 0) continue;
      const shown::Series shown = shown::series(registry, "a");
      REQUIRE(shown.native);
      REQUIRE(shown.native->positive.size() <= most);
      std::uint64_t count = 0;
      for (const auto& bucket : shown.native->positive) {
        REQUIRE(bucket.count > 0);
        count += bucket.count;
      }
      REQUIRE(count == static_cast<std::uint64_t>(i));
      REQUIRE(shown.counts == Counts{count});
    }
  }
}

TEST_CASE("the widest buckets there are count every value, however few there may be") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram(
      {.name = "a", .zero_threshold = 0, .max_buckets = 1, .buckets = quipu::buckets::exponential(1e-200, 1e4, 100)});
  std::uint64_t count = 0;
  for (int times = 0; times < 3; ++times) {
    for (int power = -1074; power <= 1023; ++power) {
      histogram.observe(std::ldexp(1, power));
      histogram.observe(-std::ldexp(1, power));
      count += 2;
    }
    for (const double value : {0.0, infinity, -infinity}) histogram.observe(value);
    count += 3;
    const auto snapshot = histogram.snapshot();
    CHECK(snapshot.schema == -4);
    CHECK(snapshot.positive.size() == 133);
    CHECK(snapshot.negative.size() == 133);
    CHECK(snapshot.count() == count);
    std::uint64_t classic = 0;
    for (const std::uint64_t n : snapshot.counts) classic += n;
    CHECK(classic == count);
  }
}

TEST_CASE("a native histogram that is full is reset, if the last reset was long enough ago") {
  const auto registry = page::empty_registry();
  const auto fill = [](const NativeHistogram& histogram, int from, int to) {
    for (int power = from; power < to; ++power) histogram.observe(std::ldexp(1, power));
  };

  SECTION("at once: all but the last value is forgotten") {
    const auto histogram = registry.native_histogram(
        {.name = "a", .max_buckets = 10, .min_reset_interval = 1ns, .buckets = quipu::Buckets{1.0}});
    const auto made = histogram.snapshot().created;
    std::this_thread::sleep_for(2ms);
    fill(histogram, 0, 10);
    CHECK(histogram.snapshot().created == made);
    fill(histogram, 10, 11);
    const auto snapshot = histogram.snapshot();
    CHECK(snapshot.count() == 1);
    CHECK(snapshot.sum == 1024);
    CHECK(snapshot.counts == Counts{0, 1});
    CHECK(snapshot.schema == 3);
    CHECK(snapshot.created > made);
    CHECK(shown::series(registry, "a").created == snapshot.created);
  }
  SECTION("later: first its buckets become wider, and when it is due, the next page is the last to show it all") {
    const auto histogram = registry.native_histogram(
        {.name = "a", .max_buckets = 10, .max_zero_threshold = 1, .min_reset_interval = 300ms});
    const auto made = histogram.snapshot().created;
    fill(histogram, 0, 30);
    CHECK(histogram.snapshot().zero_threshold == 1);
    CHECK(histogram.snapshot().schema < 3);
    CHECK(histogram.snapshot().count() == 30);
    CHECK(histogram.snapshot().created == made);
    std::this_thread::sleep_for(310ms);
    histogram.observe(1);
    const auto shown_last = histogram.snapshot();
    CHECK(shown_last.count() == 31);
    CHECK(shown_last.created == made);
    const auto reset = histogram.snapshot();
    CHECK(reset.count() == 0);
    CHECK(reset.sum == 0);
    CHECK(reset.schema == 3);
    CHECK(reset.zero_threshold == 0x1p-128);
    CHECK(reset.created > made);
    fill(histogram, 0, 5);
    CHECK(histogram.snapshot().count() == 5);
    CHECK(histogram.snapshot().schema == 3);
  }
  SECTION("not without a reason") {
    const auto histogram = registry.native_histogram({.name = "a", .max_buckets = 10, .min_reset_interval = 1ns});
    fill(histogram, 0, 10);
    for (int i = 0; i < 5; ++i) CHECK(histogram.snapshot().count() == 10);
  }
  SECTION("not unless asked for") {
    const auto histogram = registry.native_histogram({.name = "a", .max_buckets = 10});
    fill(histogram, -50, 50);
    for (int i = 0; i < 5; ++i) CHECK(histogram.snapshot().count() == 100);
  }
}

TEST_CASE("durations and timers are observed by native histograms in seconds") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "latency_seconds"});
  histogram.observe(500us);
  histogram.observe(2min);
  histogram.observe(std::chrono::duration<double, std::milli>(2.5));
  CHECK(histogram.snapshot().sum == Approx(0.0005 + 120 + 0.0025));
  const double sum = histogram.snapshot().sum;
  {
    const auto timer = histogram.time();
    std::this_thread::sleep_for(2ms);
  }
  CHECK(histogram.snapshot().count() == 4);
  CHECK(histogram.snapshot().sum >= sum + 0.002);
  auto timer = histogram.time();
  const auto time = timer.stop();
  CHECK(histogram.snapshot().count() == 5);
  CHECK(seconds(time) >= 0);
  auto discarded = histogram.time();
  discarded.discard();
  quipu::NativeTimer moved = std::move(discarded);
  moved.stop();
  CHECK(histogram.snapshot().count() == 5);
}

TEST_CASE("a native histogram observes a value any number of times at once") {
  const auto registry = page::empty_registry();
  const auto once = registry.native_histogram({.name = "once", .growth_factor = 2, .max_buckets = 4});
  const auto each = registry.native_histogram({.name = "each", .growth_factor = 2, .max_buckets = 4});
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    const double value = std::ldexp(1.0, static_cast<int>(random() % 40));
    const auto count = random() % 5;
    once.observe(value, count);
    for (std::uint64_t n = 0; n < count; ++n) each.observe(value);
  }
  CHECK(once.snapshot().sum == each.snapshot().sum);
  CHECK(once.snapshot().positive == each.snapshot().positive);
  once.observe(-2min, std::uint64_t{1} << 50);
  CHECK(once.snapshot().negative.front().count == std::uint64_t{1} << 50);
  const auto count = once.snapshot().count();
  once.observe(0, -1);
  once.observe(std::numeric_limits<double>::quiet_NaN(), 1);
  once.observe(12345, 0);
  CHECK(once.snapshot().count() == count);
  NativeHistogram().observe(1, 5);
}

TEST_CASE("native histograms have families") {
  const auto registry = page::empty_registry();
  const auto texts = registry.native_histogram({.name = "a_seconds"}, {"route", "method"});
  texts("/cart", "get").observe(1);
  texts("/cart", "get").observe(2);
  texts("/cart", "put").observe(3);
  CHECK(texts.size() == 2);
  CHECK(texts("/cart", "get").snapshot().count() == 2);
  const auto typed = registry.native_histogram<bool, int>({.name = "b_seconds"}, {"flag", "n"});
  typed(true, 7).observe(1ms);
  {
    auto timer = typed.time();
    timer.labels(false, 1);
  }
  CHECK(typed(true, 7).snapshot().count() == 1);
  CHECK(typed(false, 1).snapshot().count() == 1);
  const shown::Everything all(registry);
  CHECK(all.values().size() == 4);
  CHECK(all.values().at({"a_seconds", "/cart", "put"}) == 1);
  const auto closed = registry.native_histogram<bool>({.name = "c"}, {"flag"});
  closed.create_all();
  CHECK(closed.size() == 2);
  const auto full = registry.native_histogram<int>({.name = "d", .max_series = 2}, {"n"});
  for (int n = 0; n < 10; ++n) full(n).observe(1);
  CHECK(full.size() == 3);
}

TEST_CASE("a native histogram whose series is gone observes nothing") {
  const NativeHistogram nowhere;
  nowhere.observe(1);
  nowhere.observe(1ms);
  { const auto timer = nowhere.time(); }
  CHECK(nowhere.snapshot().count() == 0);
  CHECK(nowhere.snapshot().counts == Counts{0});

  NativeHistogram of_registry;
  NativeHistogram removed;
  {
    const auto registry = page::empty_registry();
    of_registry = registry.native_histogram({.name = "a"});
    of_registry.observe(1);
    const auto family = registry.native_histogram({.name = "b"}, {"kind"});
    removed = family("x");
    removed.observe(1);
    CHECK(family.remove("x"));
    CHECK(shown::Everything(registry).values().size() == 1);
    // What takes the place of the old series has nothing of it.
    const auto again = family("x");
    removed.observe(1);
    removed.observe(5);
    CHECK(removed.snapshot().count() == 0);
    CHECK(again.snapshot().count() == 0);
    again.observe(5);
    CHECK(again.snapshot().count() == 1);
    CHECK(again.snapshot().sum == 5);
  }
  of_registry.observe(1);
  CHECK(of_registry.snapshot().count() == 0);
}

TEST_CASE("native histograms that come and go leave no memory behind") {
  const auto registry = page::empty_registry();
  const auto family = registry.native_histogram<int>({.name = "a", .max_buckets = 20}, {"n"});
  const auto counters = registry.counter<int>({.name = "b_total"}, {"n"});
  const auto round = [&] {
    for (int n = 0; n < 50; ++n) {
      const auto histogram = family(n);
      for (int power = 0; power < 60; ++power) histogram.observe(std::ldexp(1, power));
      CHECK(histogram.snapshot().count() == 60);
      counters(n).inc();
    }
    family.clear();
    counters.clear();
  };
  round();
  const std::size_t before = quipu::thread_cell_bytes();
  for (int i = 0; i < 20; ++i) round();
  CHECK(quipu::thread_cell_bytes() == before);
}

TEST_CASE("without room for thread cells, native histograms count all the same") {
  const std::size_t in_use = quipu::thread_cell_bytes();
  const auto registry = page::empty_registry();
  const auto histogram =
      registry.native_histogram({.name = "a", .max_buckets = 40, .buckets = quipu::Buckets{2.0, 30.0}});
  quipu::set_thread_cell_budget(in_use);
  PlainHistogram plain(3, {.name = "a", .max_buckets = 40, .buckets = quipu::Buckets{2.0, 30.0}});
  for (int i = 1; i <= 3000; ++i) {
    if (i == 1500) quipu::set_thread_cell_budget(std::size_t{64} << 20);
    histogram.observe(i);
    plain.observe(i);
    if (i % 97 == 0) CHECK(plain.difference(histogram.snapshot()) == "");
  }
  CHECK(plain.difference(histogram.snapshot()) == "");
}

TEST_CASE("the same native histogram can be registered again, and no other one under its name") {
  const auto registry = page::empty_registry();
  const auto first = registry.native_histogram({.name = "a", .help = "A."});
  const auto same = registry.native_histogram({.name = "a", .help = "A."});
  CHECK(first == same);
  CHECK(page::missing(page::refusal([&] {
                        static_cast<void>(registry.native_histogram({.name = "a", .help = "A.", .growth_factor = 2}));
                      }),
                      {"native histogram a of schema 0", "taken by native histogram a of schema 3"}) == "");
  CHECK(page::refusal([&] { static_cast<void>(registry.histogram({.name = "a", .help = "A."})); }) !=
        "(nothing was refused)");
  CHECK(page::missing(page::refusal([&] { static_cast<void>(registry.native_histogram({.name = "b"}, {"le"})); }),
                      {"le", "bucket bound"}) == "");
}

TEST_CASE("options of a native histogram that make no sense are refused") {
  const auto registry = page::empty_registry();
  const auto refusal = [&](quipu::NativeHistogramOptions options) {
    return page::refusal([&] { static_cast<void>(registry.native_histogram(options)); });
  };
  const auto says = [&](quipu::NativeHistogramOptions options, std::initializer_list<std::string_view> parts) {
    return page::missing(refusal(options), parts);
  };
  for (const double factor : {1.0, 1.0001, 0.5, -2.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(says({.name = "a", .growth_factor = factor}, {"native histogram a", "growth_factor", "from 1.00272"}) == "");
  }
  for (const double threshold : {-1.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(says({.name = "a", .zero_threshold = threshold}, {"zero_threshold", "0 or"}) == "");
    CHECK(says({.name = "a", .max_zero_threshold = threshold}, {"max_zero_threshold"}) == "");
  }
  CHECK(says({.name = "a", .max_buckets = 0}, {"max_buckets is 0", "from 1 to 400"}) == "");
  CHECK(says({.name = "a", .max_buckets = 401}, {"max_buckets is 401", "from 1 to 400"}) == "");
  CHECK(says({.name = "a", .min_reset_interval = -1s}, {"min_reset_interval"}) == "");
  CHECK(says({.name = "a", .buckets = quipu::buckets::linear(1, 1, 101)}, {"101", "at most 100"}) == "");
}
