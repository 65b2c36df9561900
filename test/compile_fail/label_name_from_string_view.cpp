// expect: a_name_made_at_run_time_is_quipu_runtime_of_its_text
#include <quipu/quipu.hpp>

void wrong(quipu::Registry& registry, std::string_view name) {
  registry.counter({.name = "requests_total"}, {"method", name})("GET", "200").inc();
}
