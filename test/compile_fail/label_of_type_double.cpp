// expect: a label value is std::string_view (or std::string), an integer, bool or an enum
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter<double>({.name = "requests_total"}, {"size"})(0.5).inc();
}
