#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>

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
  constexpr std::size_t services = 100;
  constexpr std::size_t paths_of_version = 1000;
  static const auto paths = [] {
    std::vector<std::string> made;
    for (const int version : {2, 3}) {
      for (std::size_t i = 0; i < paths_of_version; ++i) {
        made.push_back(fmt::format("/api/v{}/customers/{:03}/orders", version, i));
      }
    }
    return made;
  }();
  static const auto service_names = [] {
    std::vector<std::string> made;
    for (std::size_t i = 0; i < services; ++i) made.push_back(fmt::format("checkout-back-{:02}", i));
    return made;
  }();
  constexpr std::array regions = {"eu-central", "eu-west-1", "us-east-2", "us-west-1", "ap-south-1"};
  // The regions go with the services, otherwise in each further hundred thousand; with all of them come other paths.
  constexpr std::size_t turn = services * paths_of_version;
  return {regions[(series + series / turn) % regions.size()], service_names[series % services],
          paths[series / services % paths_of_version + series / turn / regions.size() % 2 * paths_of_version]};
}

std::uint32_t counter_value(std::size_t series) {
  // The number's bits, well mixed (splitmix64), are where it stands from 10^0 to 10^7.
  std::uint64_t bits = (series + 1) * 0x9e3779b97f4a7c15u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>(std::pow(10, std::ldexp(static_cast<double>(bits >> 11), -53) * 7));
}

Lookups::Lookups(std::size_t count) : mask_(std::bit_ceil(std::max(count, inputs)) - 1) {
  std::mt19937_64 random(3);
  for (std::size_t i = 0; i <= mask_; ++i) values_.push_back(label_values(random() % count));
}

}  // namespace bench
