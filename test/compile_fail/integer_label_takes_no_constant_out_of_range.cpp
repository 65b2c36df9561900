// expect: this_label_value_does_not_fit_in_the_type_of_the_label
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<unsigned char>({.name = "x_total"}, {"code"})(300).inc();
}
