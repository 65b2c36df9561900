// expect: create_all() needs labels of closed types
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::RequestFamily requests(registry, {}, {"route"});
  requests.create_all();
}
