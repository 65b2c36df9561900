// expect: a label value is std::string_view
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<void*>({.name = "x_total"}, {"at"})(nullptr).inc();
}
