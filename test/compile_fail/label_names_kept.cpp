// expect: label names are one list in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto requests = registry.counter({.name = "x_total"}, "method", "code");
  requests("GET", "200").inc();
}
