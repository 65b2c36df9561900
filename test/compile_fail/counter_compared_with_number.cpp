// expect: compare its value()
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const auto requests = registry.counter({.name = "requests_total"});
  return requests == 3 ? 1 : 0;
}
