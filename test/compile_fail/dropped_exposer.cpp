// expect: quipu: keep
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::Exposer{registry};
}
