// expect: compare its value()
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const auto size = registry.gauge({.name = "size"});
  return size == 0.5 ? 1 : 0;
}
