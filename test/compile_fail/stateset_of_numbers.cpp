// expect: the states of a StateSet are an enum
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.stateset<int>({.name = "phase"}).set(1);
}
