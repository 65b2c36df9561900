// expect: quipu: a health check is a function of nothing, or of a std::stop_token, that can be copied and returns bool
#include <quipu/health.hpp>

int ping();

int main() {
  quipu::Health health;
  health.add({.name = "database", .check = [] { return ping(); }});
}
