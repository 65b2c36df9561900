// expect: label names are one list in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  static_cast<void>(registry.counter({.name = "x_total"}, "method", "code"));
}
