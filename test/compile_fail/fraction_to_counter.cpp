// expect: inc() of a counter takes a whole number
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "requests_total"}).inc(0.5);
}
