// expect: a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.counter({.name = "requests_total"}, {"__name__"})("x").inc();
}
