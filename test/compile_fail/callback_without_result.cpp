// expect: a callback is a function of nothing that returns a number
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto depth = registry.gauge_callback({.name = "depth"}, [] {});
}
