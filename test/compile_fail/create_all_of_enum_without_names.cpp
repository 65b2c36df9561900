// expect: create_all() needs labels of closed types
#include <quipu/quipu.hpp>

enum Method { get, post };

int main() {
  quipu::Registry registry;
  registry.counter<Method>({.name = "requests_total"}, {"method"}).create_all();
}
