// A program that uses the core alone, as tools do that write their numbers to a file.
#include <quipu/quipu.hpp>

#include <cstdio>
#include <string>

int main() {
  quipu::Registry registry;
  auto events = registry.counter({.name = "consumer_events_total", .help = "Events."});
  events.inc();
  const auto page = quipu::render(registry);
  std::fputs(page.body.c_str(), stdout);
  return page.body.find("\nconsumer_events_total 1\n") != std::string::npos ? 0 : 1;
}
