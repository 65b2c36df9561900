// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto size = registry.gauge("size_bytes", "The size.");
  size.set(1);
}
