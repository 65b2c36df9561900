// expect: no match
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto registration = registry.add([](quipu::Samples& samples) { samples.add("up", true); });
}
