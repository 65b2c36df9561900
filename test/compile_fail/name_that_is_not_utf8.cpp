// expect: a_name_is_not_empty_and_is_utf8
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry({.utf8_names = true});
  registry.gauge({.name = quipu::utf8("\xFF")}).set(1);
}
