// expect: curry fixes the first label, and takes one value
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "x_total"}, {"a", "b", "c"}).curry("1", "2");
}
