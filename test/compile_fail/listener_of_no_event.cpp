// expect: quipu: this listener hears of none of the events of the list
#include <quipu/observers.hpp>

struct Started {};
struct Ended {};
struct Log {
  void on(const Ended&) {}
};

int main() {
  quipu::ObserverList<Started> list;
  list.add(Log{});
}
