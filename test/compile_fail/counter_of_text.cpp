// expect: options are in braces: counter({.name =
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto requests = registry.counter("requests_total");
  requests.inc();
}
