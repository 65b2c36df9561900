// expect: create_all() needs labels of closed types
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<int>({.name = "requests_total"}, {"code"}).create_all();
}
