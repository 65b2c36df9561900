// expect: quipu: after the value comes how often it was observed
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "size_bytes"}).observe(12, 0.5);
}
