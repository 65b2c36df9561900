// expect: this label is text
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "x_total"}, {"code"})(200).inc();
}
