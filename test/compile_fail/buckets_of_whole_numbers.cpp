// expect: bucket bounds are a list of numbers or durations
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const std::vector<int> bounds = {1, 2, 3};
  registry.histogram({.name = "size", .buckets = bounds}).observe(1);
}
