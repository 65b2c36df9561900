// expect: the labels known at the end come last
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::RequestFamily<quipu::AtEnd<int>, int> requests(registry, {}, {"shard"}, {"code"});
}
