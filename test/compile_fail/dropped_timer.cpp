// expect: quipu: keep
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "latency_seconds"}).time();
}
