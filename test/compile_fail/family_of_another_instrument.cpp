// expect: another instrument or labels of other types
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::CounterFamily<int> requests = registry.gauge<int>({.name = "size"}, {"code"});
}
