// expect: quipu: keep
#include <quipu/batch.hpp>

struct Metrics {
  quipu::Scope scope;
};

int main() {
  quipu::Registry registry;
  quipu::batch<Metrics>(registry, "shop");
}
