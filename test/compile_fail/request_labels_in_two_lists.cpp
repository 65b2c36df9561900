// expect: the labels known at the end have a list of their own
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::RequestFamily<int, int> requests(registry, {}, {"shard"}, {"code"});
}
