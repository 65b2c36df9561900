// expect: each_metric_and_each_label_has_a_name_that_is_not_empty
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "requests_total"}, {"code", ""})("200", "").inc();
}
