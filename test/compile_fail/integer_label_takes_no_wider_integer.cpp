// expect: cannot hold every value of the one given
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<int>({.name = "x_total"}, {"code"})(200L).inc();
}
