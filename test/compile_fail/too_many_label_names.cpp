// expect: each label has a name and a type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto wrong = registry.counter<int>({.name = "requests_total"}, {"code", "method"});
}
