// expect: quipu: keep
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.gauge_callback({.name = "depth"}, [] { return 1.0; });
}
