// expect: no match
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const std::string name = "requests_total";
  registry.counter({.name = name}).inc();
}
