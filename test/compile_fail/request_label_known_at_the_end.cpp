// expect: these requests have no labels known at the end
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::RequestFamily requests(registry, {}, {"route"});
  requests("/cart").start().end(200);
}
