// expect: an info has labels
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.info({.name = "build_info"});
}
