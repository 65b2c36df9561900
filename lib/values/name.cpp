#include "quipu/name.hpp"

namespace quipu::detail {

void a_metric_name_is_letters_digits_underscores_or_colons_and_begins_with_no_digit() {}
void a_label_name_is_letters_digits_or_underscores_and_begins_with_no_digit_and_no_double_underscore() {}
void a_name_is_not_empty_and_is_utf8() {}
void each_metric_and_each_label_has_a_name_that_is_not_empty() {}
void a_name_made_at_run_time_is_quipu_runtime_of_its_text() {}

}  // namespace quipu::detail
