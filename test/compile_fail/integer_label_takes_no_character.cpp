// expect: this label is an integer, and takes no bool, character
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<int>({.name = "x_total"}, {"code"})('a').inc();
}
