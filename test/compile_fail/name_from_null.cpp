// expect: one made at run time is quipu::runtime(text)
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = nullptr}).inc();
}
