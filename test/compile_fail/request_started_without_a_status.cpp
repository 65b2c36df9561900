// expect: start() takes the values that the labels known at the end have
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::RequestFamily requests(registry, {}, {"route"}, {"code"});
  requests("/cart").start();
}
