// expect: observe() takes a number or a duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "latency_seconds"}).observe("x");
}
