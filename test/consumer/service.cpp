// A program that uses what a service needs beside its numbers.
#include <quipu/health.hpp>
#include <quipu/quipu.hpp>

int main() {
  const quipu::Registry registry;
  quipu::Health health;
  health.add({.name = "nothing", .check = [] { return quipu::HealthResult{}; }});
  const auto registration = health.expose(registry);
  const quipu::Exposer exposer(registry, {.listen = "127.0.0.1:0", .routes = health.routes()});
  return exposer.port() != 0 && health.remove("nothing") ? 0 : 1;
}
