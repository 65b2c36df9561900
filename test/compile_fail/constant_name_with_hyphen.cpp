// expect: a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  constexpr std::string_view name = "http-requests";
  registry.gauge({.name = name}).inc();
}
