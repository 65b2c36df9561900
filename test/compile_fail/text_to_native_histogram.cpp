// expect: observe() takes a number or a duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.native_histogram({.name = "latency_seconds"}).observe("x");
}
