// expect: one made at run time is quipu::runtime(text)
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const std::string name = "code";
  registry.counter({.name = "requests_total"}, {"method", name})("GET", "200").inc();
}
