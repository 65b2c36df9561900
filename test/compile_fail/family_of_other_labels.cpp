// expect: another instrument or labels of other types
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::CounterFamily<int> requests;
  requests = registry.counter({.name = "requests_total"}, {"code"});
}
