// expect: bucket bounds are a list of numbers or durations
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const std::vector<std::chrono::seconds> bounds = {std::chrono::seconds(1)};
  registry.histogram({.name = "size", .buckets = bounds}).observe(1);
}
