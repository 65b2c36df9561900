// A program that uses what most programs begin with: the core and the endpoint.
#include <quipu/quipu.hpp>

int main() {
  const quipu::Registry registry;
  registry.counter({.name = "consumer_events_total", .help = "Events."}).inc();
  const quipu::Exposer exposer(registry, {.listen = "127.0.0.1:0"});
  return exposer.port() != 0 ? 0 : 1;
}
