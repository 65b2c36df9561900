// expect: bucket bounds are a list of numbers or durations
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "size", .buckets = 5}).observe(1);
}
