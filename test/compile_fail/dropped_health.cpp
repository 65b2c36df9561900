// expect: quipu: keep
#include <quipu/health.hpp>

int main() {
  quipu::Registry registry;
  quipu::Health{};
}
