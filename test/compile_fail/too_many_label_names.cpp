// expect: no match
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<int>({.name = "requests_total"}, {"code", "method"});
}
