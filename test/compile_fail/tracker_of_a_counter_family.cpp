// expect: track
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  const auto requests = registry.counter({.name = "requests_total"}, {"route"});
  const auto tracker = requests.track();
}
