// expect: a label value is std::string_view
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<char>({.name = "x_total"}, {"grade"})('a').inc();
}
