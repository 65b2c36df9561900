// expect: one made at run time is quipu::runtime(text)
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const std::string name = "requests.total";
  registry.counter({.name = quipu::utf8(name)}).inc();
}
