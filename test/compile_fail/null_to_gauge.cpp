// expect: set() of a gauge takes a number or a duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.gauge({.name = "size"}).set(nullptr);
}
