#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "rows.hpp"

namespace bench {

const std::array<std::uint16_t, inputs>& random_indices(std::size_t limit) {
  auto& indices = *new std::array<std::uint16_t, inputs>;
  std::mt19937_64 random(1);
  for (std::uint16_t& index : indices) index = static_cast<std::uint16_t>(random() % limit);
  return indices;
}

const std::array<double, inputs>& values_around(std::span<const double> bounds) {
  auto& values = *new std::array<double, inputs>;
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> exponent(std::log2(bounds.front() / 2), std::log2(bounds.back() * 2));
  for (double& value : values) value = std::exp2(exponent(random));
  return values;
}

LabelValues label_values(std::size_t series) {
  constexpr std::array regions = {"eu-central-1", "eu-west-1", "us-east-2", "us-west-1", "ap-south-1"};
  constexpr std::array services = {"checkout", "inventory", "recommendations"};
  return {regions[series % regions.size()], fmt::format("{}-backend", services[series / 5 % services.size()]),
          fmt::format("/api/v2/customers/{}/orders", series)};
}

Lookups::Lookups(std::size_t count) : picks_(std::bit_ceil(std::max(count, inputs))), mask_(picks_.size() - 1) {
  std::mt19937_64 random(3);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::shuffle(order, random);
  for (const std::size_t series : order) values_.push_back(label_values(series));
  for (const LabelValues& values : values_) views_.push_back({values[0], values[1], values[2]});
  // Many label values are taken as they lie, so that the caches miss in the library only. A few are at random, or their
  // order would be learnt.
  for (std::size_t i = 0; i < picks_.size(); ++i) {
    picks_[i] = static_cast<std::uint32_t>((count > inputs ? i : random()) % count);
  }
}

}  // namespace bench
