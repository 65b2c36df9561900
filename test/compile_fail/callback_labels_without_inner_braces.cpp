// expect: each label is in braces of its own
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto depth = registry.gauge_callback({.name = "depth"}, {"queue", "a"}, [] { return 1.0; });
}
