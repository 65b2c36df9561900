// expect: the label values of a family whose labels are known at run time are one list of texts
#include <quipu/quipu.hpp>

#include <string>
#include <vector>

int main() {
  quipu::Registry registry;
  const std::vector<std::string> names = {"a", "b"};
  registry.counter({.name = "x_total"}, names)("x", "y");
}
