// expect: one made at run time is quipu::runtime(text)
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  char name[] = "requests_total";
  registry.counter({.name = name}).inc();
}
