// expect: a route is a function of nothing, or of a RouteRequest
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  quipu::Exposer endpoint(registry, {.routes = {{.path = "/hello", .respond = [] { return 1; }}}});
}
