// expect: observe() takes a number or a duration
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.native_histogram({.name = "age_seconds"}).observe(std::chrono::system_clock::now());
}
