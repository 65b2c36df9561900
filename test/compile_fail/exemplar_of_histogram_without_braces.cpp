// expect: observe() takes a number or a duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "latency_seconds"}).observe(0.1, "trace_id", "4bf92f3");
}
