// expect: quipu: after the step comes an Exemplar
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "requests_total"}).inc(1, "4bf92f3577b34da6");
}
