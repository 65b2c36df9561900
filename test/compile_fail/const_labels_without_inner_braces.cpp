// expect: each label is in braces of its own
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::Registry wrong({.const_labels = {"env", "prod"}});
}
