// expect: deleted
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const auto first = registry.gauge_callback({.name = "depth"}, [] { return 1.0; });
  const quipu::Registration second = first;
}
