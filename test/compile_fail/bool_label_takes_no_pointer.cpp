// expect: this label is true or false
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<bool>({.name = "x_total"}, {"paid"})("no").inc();
}
