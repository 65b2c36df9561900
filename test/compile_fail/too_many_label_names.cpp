// expect: each label has a name and a type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  static_cast<void>(registry.counter<int>({.name = "requests_total"}, {"code", "method"}));
}
