// expect: each label has a name and a type
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  static_cast<void>(registry.native_histogram<int, int>({.name = "size_bytes"}, {"code"}));
}
