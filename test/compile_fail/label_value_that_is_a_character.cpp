// expect: a label value is text, an integer, bool or an enum, and no character or other type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "x_total"}, {"a"}).with({{"a", 'x'}}).inc();
}
