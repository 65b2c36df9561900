// expect: quipu: this event is none of those that the list was declared with
#include <quipu/observers.hpp>

struct Started {};
struct Ended {};

int main() {
  quipu::ObserverList<Started> list;
  list.notify(Ended{});
}
