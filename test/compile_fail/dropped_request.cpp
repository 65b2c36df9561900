// expect: quipu: keep
#include <quipu/requests.hpp>

int main() {
  quipu::Registry registry;
  quipu::Requests(registry).start();
}
