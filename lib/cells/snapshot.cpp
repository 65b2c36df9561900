#include "quipu/snapshot.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quipu/detail/cells/native_layout.hpp"
#include "quipu/error.hpp"

namespace quipu {
namespace {

using Bucket = NativeBuckets::Bucket;
using Counts = std::vector<std::uint64_t>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

double mean_of(double sum, std::uint64_t count) noexcept {
  return count == 0 ? not_a_number : sum / static_cast<double>(count);
}

template <class Snapshot>
void require_same_bounds(const Snapshot& one, const Snapshot& other, const char* what) {
  if (one.bounds == other.bounds && one.counts.size() == other.counts.size()) return;
  throw SnapshotError(
      fmt::format("cannot {}: the one histogram has the bounds {}, the other {}; take histograms with "
                  "the same bounds",
                  what, one.bounds, other.bounds));
}

void add(Counts& to, const Counts& more) noexcept {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += more[i];
}

/// Takes `less` away; false, and nothing valid, if there is more of it anywhere.
bool take_away(Counts& from, const Counts& less) noexcept {
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] < less[i]) return false;
    from[i] -= less[i];
  }
  return true;
}

// Buckets of one sign.

void add(std::vector<Bucket>& to, const std::vector<Bucket>& more) {
  std::vector<Bucket> all;
  all.reserve(to.size() + more.size());
  std::ranges::merge(to, more, std::back_inserter(all), {}, &Bucket::index, &Bucket::index);
  to.clear();
  for (const Bucket& bucket : all) {
    if (!to.empty() && to.back().index == bucket.index) {
      to.back().count += bucket.count;
    } else {
      to.push_back(bucket);
    }
  }
}

bool take_away(std::vector<Bucket>& from, const std::vector<Bucket>& less) noexcept {
  auto next = from.begin();
  for (const Bucket& bucket : less) {
    next = std::ranges::lower_bound(next, from.end(), bucket.index, {}, &Bucket::index);
    if (next == from.end() || next->index != bucket.index || next->count < bucket.count) return false;
    next->count -= bucket.count;
  }
  std::erase_if(from, [](const Bucket& bucket) { return bucket.count == 0; });
  return true;
}

double upper_bound(const Bucket& bucket, std::int32_t schema) noexcept {
  return detail::native_bound(bucket.index, schema);
}
double lower_bound(const Bucket& bucket, std::int32_t schema) noexcept {
  return detail::native_bound(bucket.index - 1, schema);
}

/// The wider threshold of both. Where it would cut a bucket of the other, it goes to the end of that bucket.
double common_threshold(const NativeHistogramSnapshot& a, const NativeHistogramSnapshot& b) noexcept {
  double threshold = std::max(a.zero_threshold, b.zero_threshold);
  for (bool is_wider = true; is_wider;) {
    is_wider = false;
    for (const auto* one : {&a, &b}) {
      if (threshold <= one->zero_threshold) continue;
      for (const auto* side : {&one->positive, &one->negative}) {
        for (const Bucket& bucket : *side) {
          const double upper = upper_bound(bucket, one->schema);
          if (threshold <= lower_bound(bucket, one->schema) || threshold >= upper) continue;
          threshold = upper;
          is_wider = true;
        }
      }
    }
  }
  return threshold;
}

void make_coarser(NativeHistogramSnapshot& snapshot, const detail::NativeResolution& to) {
  for (auto* side : {&snapshot.positive, &snapshot.negative}) {
    std::size_t size = 0;
    for (const Bucket& bucket : *side) {
      if (to.zero_threshold > snapshot.zero_threshold && upper_bound(bucket, snapshot.schema) <= to.zero_threshold) {
        snapshot.zero_count += bucket.count;
        continue;
      }
      const std::int32_t index = detail::coarser_index(bucket.index, snapshot.schema, to.schema);
      if (size > 0 && (*side)[size - 1].index == index) {
        (*side)[size - 1].count += bucket.count;
      } else {
        (*side)[size++] = {index, bucket.count};
      }
    }
    side->resize(size);
  }
  snapshot.schema = to.schema;
  snapshot.zero_threshold = to.zero_threshold;
}

detail::NativeResolution common_resolution(const NativeHistogramSnapshot& a,
                                           const NativeHistogramSnapshot& b) noexcept {
  return {std::min(a.schema, b.schema), common_threshold(a, b)};
}

/// A bucket as values have it: for one of negative values, both bounds are negative.
struct Range {
  double lower;
  double upper;
  std::uint64_t count;
};

/// All buckets, by increasing value.
class Ranges {
 public:
  explicit Ranges(const NativeHistogramSnapshot& snapshot) noexcept : all_(snapshot) {}

  [[nodiscard]] std::size_t size() const noexcept { return all_.negative.size() + 1 + all_.positive.size(); }
  [[nodiscard]] Range operator[](std::size_t i) const noexcept {
    const double zero = all_.zero_threshold;
    if (i < all_.negative.size()) {
      const Bucket& mirrored = all_.negative[all_.negative.size() - 1 - i];
      return {-upper_bound(mirrored, all_.schema), -std::max(lower_bound(mirrored, all_.schema), zero), mirrored.count};
    }
    if (i == all_.negative.size()) {
      const bool is_positive = all_.negative.empty() && !all_.positive.empty();
      const bool is_negative = all_.positive.empty() && !all_.negative.empty();
      return {is_positive ? 0 : -zero, is_negative ? 0 : zero, all_.zero_count};
    }
    const Bucket& bucket = all_.positive[i - all_.negative.size() - 1];
    return {std::max(lower_bound(bucket, all_.schema), zero), upper_bound(bucket, all_.schema), bucket.count};
  }

 private:
  const NativeHistogramSnapshot& all_;
};

/// What lies above a part `fraction` of the range.
double interpolate(const Range& range, double fraction) noexcept {
  if (!std::isfinite(range.upper)) return range.upper;
  if (!std::isfinite(range.lower)) return range.lower;
  if (range.lower <= 0 && range.upper >= 0) return range.lower + (range.upper - range.lower) * fraction;
  const double lower = std::log2(std::fabs(range.lower));
  const double upper = std::log2(std::fabs(range.upper));
  const double size = std::exp2(lower + (upper - lower) * fraction);
  return std::clamp(range.lower > 0 ? size : -size, range.lower, range.upper);  // against rounding
}

/// The value that is off by the same factor from both ends.
double middle(const Range& range) noexcept {
  if (!std::isfinite(range.upper)) return range.upper;
  if (!std::isfinite(range.lower)) return range.lower;
  if (range.lower <= 0 && range.upper >= 0) return range.lower + (range.upper - range.lower) / 2;
  const double size = std::sqrt(std::fabs(range.lower)) * std::sqrt(std::fabs(range.upper));
  return range.lower > 0 ? size : -size;
}

}  // namespace

std::uint64_t HistogramSnapshot::count() const noexcept {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

double HistogramSnapshot::mean() const noexcept { return mean_of(sum, count()); }

double HistogramSnapshot::quantile(double q) const noexcept {
  if (std::isnan(q)) return not_a_number;
  if (q < 0) return -infinity;
  if (q > 1) return infinity;
  const auto total = static_cast<double>(count());
  if (bounds.empty() || counts.size() != bounds.size() + 1 || total == 0) return not_a_number;
  const double rank = q * total;
  double below = 0;  // before bucket i
  for (std::size_t i = 0; i < bounds.size(); below += static_cast<double>(counts[i++])) {
    const auto here = static_cast<double>(counts[i]);
    if (below + here < rank) continue;
    if (i == 0 && bounds[i] <= 0) return bounds[i];
    const double lower = i == 0 ? 0 : bounds[i - 1];
    return lower + (bounds[i] - lower) * ((rank - below) / here);
  }
  return bounds.back();
}

HistogramSnapshot& HistogramSnapshot::merge(const HistogramSnapshot& other) {
  if (other.counts.empty()) return *this;
  if (counts.empty()) return *this = other;
  require_same_bounds(*this, other, "merge snapshots");
  add(counts, other.counts);
  sum += other.sum;
  return *this;
}

HistogramSnapshot HistogramSnapshot::since(const HistogramSnapshot& earlier) const {
  if (earlier.counts.empty()) return *this;
  require_same_bounds(*this, earlier, "compare snapshots");
  HistogramSnapshot result = *this;
  if (!take_away(result.counts, earlier.counts)) return *this;
  result.sum -= earlier.sum;
  return result;
}

std::uint64_t NativeHistogramSnapshot::count() const noexcept {
  std::uint64_t total = zero_count;
  for (const Bucket& bucket : positive) total += bucket.count;
  for (const Bucket& bucket : negative) total += bucket.count;
  return total;
}

double NativeHistogramSnapshot::mean() const noexcept { return mean_of(sum, count()); }

double NativeHistogramSnapshot::quantile(double q) const noexcept {
  if (q < 0) return -infinity;
  if (q > 1) return infinity;
  const std::uint64_t total = count();
  if (total == 0 || std::isnan(q)) return not_a_number;
  const Ranges ranges(*this);
  // Counted from the nearer end, as Prometheus does: there, rounding matters least.
  const bool is_upper_half = q >= 0.5;
  const double rank = (is_upper_half ? 1 - q : q) * static_cast<double>(total);
  double passed = 0;
  Range last{};
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const Range range = ranges[is_upper_half ? ranges.size() - 1 - i : i];
    if (range.count == 0) continue;
    last = range;
    const auto here = static_cast<double>(range.count);
    if (passed + here >= rank) {
      const double part = (rank - passed) / here;
      return interpolate(range, is_upper_half ? 1 - part : part);
    }
    passed += here;
  }
  return is_upper_half ? last.lower : last.upper;
}

NativeHistogramSnapshot& NativeHistogramSnapshot::merge(const NativeHistogramSnapshot& other) {
  if (other.count() == 0) return *this;
  if (count() == 0) return *this = other;
  require_same_bounds(*this, other, "merge snapshots");
  const detail::NativeResolution common = common_resolution(*this, other);
  NativeHistogramSnapshot more = other;
  make_coarser(more, common);
  make_coarser(*this, common);
  zero_count += more.zero_count;
  add(positive, more.positive);
  add(negative, more.negative);
  add(counts, more.counts);
  sum += more.sum;
  created = std::min(created, more.created);
  return *this;
}

NativeHistogramSnapshot NativeHistogramSnapshot::since(const NativeHistogramSnapshot& earlier) const {
  if (earlier.count() == 0) return *this;
  if (created != earlier.created) return *this;
  require_same_bounds(*this, earlier, "compare snapshots");
  const detail::NativeResolution common = common_resolution(*this, earlier);
  NativeHistogramSnapshot before = earlier;
  NativeHistogramSnapshot result = *this;
  make_coarser(before, common);
  make_coarser(result, common);
  const bool is_one_histogram = result.zero_count >= before.zero_count && take_away(result.positive, before.positive) &&
                                take_away(result.negative, before.negative) && take_away(result.counts, before.counts);
  if (!is_one_histogram) return *this;
  result.zero_count -= before.zero_count;
  result.sum -= before.sum;
  return result;
}

double SummarySnapshot::quantile(double q) const noexcept {
  if (q < 0) return -infinity;
  if (q > 1) return infinity;
  const std::uint64_t total = window.count();
  if (total == 0 || std::isnan(q)) return not_a_number;
  // Rounded up, but for what the multiplication has added.
  const double rank = std::ceil(q * static_cast<double>(total) * (1 - 4 * std::numeric_limits<double>::epsilon()));
  const Ranges ranges(window);
  double passed = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const Range range = ranges[i];
    passed += static_cast<double>(range.count);
    if (range.count > 0 && passed >= rank) return middle(range);
  }
  return not_a_number;
}

}  // namespace quipu
