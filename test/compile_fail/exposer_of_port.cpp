// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::Exposer endpoint(registry, 9464);
}
