// expect: a family takes one value for each of its labels
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "requests_total"}, {"method", "code"})("get").inc();
}
