// expect: these requests have no labels known at the end
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::Requests requests(registry);
  requests.start(500);
}
