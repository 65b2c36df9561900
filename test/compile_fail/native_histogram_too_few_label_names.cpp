// expect: each label has a name and a type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto wrong = registry.native_histogram<int, int>({.name = "size_bytes"}, {"code"});
}
