// expect: labels whose names come at run time are text
#include <quipu/quipu.hpp>

#include <string>
#include <vector>

int main() {
  quipu::Registry registry;
  const std::vector<std::string> names = {"a", "b"};
  static_cast<void>(registry.counter<int, bool>({.name = "x_total"}, names));
}
