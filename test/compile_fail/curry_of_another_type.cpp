// expect: this label is an integer, and takes no bool, character or other type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  static_cast<void>(registry.counter<int, int>({.name = "x_total"}, {"a", "b"}).curry("1"));
}
