// expect: quipu: what is observed is a number, or a std::chrono duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.histogram({.name = "size_bytes"}).observe("12");
}
