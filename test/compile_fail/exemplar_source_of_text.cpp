// expect: a source of exemplars takes nothing, and returns a quipu::Exemplar
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry({.exemplars = [] { return "4bf92f3577b34da6"; }});
}
