// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto requests = registry.counter("requests_total", {"method"});
  requests("GET").inc();
}
