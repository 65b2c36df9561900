// expect: each label is in braces of its own
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.info({.name = "build_info"}, {"version", "1.2"});
}
