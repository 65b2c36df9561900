// expect: a label value is text, an integer, bool or an enum, and no character or other type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const int number = 1;
  registry.counter<bool>({.name = "x_total"}, {"a"}).with({{"a", &number}}).inc();
}
