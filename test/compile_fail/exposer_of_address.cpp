// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::Exposer endpoint(registry, "127.0.0.1:9464");
}
