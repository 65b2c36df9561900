// expect: curry leaves a label open
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  static_cast<void>(registry.counter({.name = "x_total"}, {"a"}).curry("1"));
}
