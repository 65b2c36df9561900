// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram("latency_seconds").observe(1);
}
