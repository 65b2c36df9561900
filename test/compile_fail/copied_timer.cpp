// expect: deleted
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const auto first = registry.histogram({.name = "latency_seconds"}).time();
  const quipu::Timer second = first;
}
