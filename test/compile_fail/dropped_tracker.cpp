// expect: quipu: keep
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.gauge({.name = "size"}).track();
}
