// expect: this label is text
#include <quipu/quipu.hpp>

#include <string>
#include <vector>

int main() {
  quipu::Registry registry;
  const std::vector<std::string> names = {"a", "b"};
  registry.counter({.name = "x_total"}, names)({"x", 1}).inc();
}
