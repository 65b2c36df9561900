// A program with an httplib of its own, whose classes are laid out otherwise than those of the system's, beside an
// Exposer. Both answer: quipu's libraries neither take the program's httplib for theirs nor the other way round.

#include <httplib.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "quipu/exposer.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"

#if HTTPLIB_ONLY_DECLARES
// The definitions that this program needs. Those of the system's library are for the system's classes.
namespace httplib {
namespace {

Server::Handler handler;
int listener = -1;

}  // namespace

#if !HTTPLIB_HAS_SOCKET_OPTIONS
void default_socket_options(socket_t) {}
#endif

Server::Server() : svr_sock_(INVALID_SOCKET), is_running_(false) {
  added_.front() = "a text that is in no small buffer";
}
Server::~Server() = default;
bool Server::is_valid() const { return true; }

Server& Server::Get(const std::string&, Handler made) {
  handler = std::move(made);
  return *this;
}

int Server::bind_to_any_port(const std::string&, int) {
  listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool is_bound = ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                        ::listen(listener, 1) == 0 &&
                        ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  return is_bound ? ntohs(address.sin_port) : -1;
}

bool Server::process_and_close_socket(socket_t socket) {
  std::string head;
  std::array<char, 4096> some{};
  while (head.find("\r\n\r\n") == head.npos) {
    const auto count = ::recv(socket, some.data(), some.size(), 0);
    if (count <= 0) break;
    head.append(some.data(), static_cast<std::size_t>(count));
  }
  Response response;
  handler(Request(), response);
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(response.body.size()) +
                             "\r\nConnection: close\r\n\r\n" + response.body;
  const auto sent = ::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL);
  ::close(socket);
  return sent == static_cast<ssize_t>(answer.size());
}

bool Server::listen_after_bind() {
  for (int socket = -1; (socket = ::accept(listener, nullptr, nullptr)) >= 0;) process_and_close_socket(socket);
  ::close(listener);
  return true;
}

void Server::stop() { ::shutdown(listener, SHUT_RDWR); }

}  // namespace httplib
#endif

int main() {
  httplib::Server server;
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    response.status = 200;
    response.body = "the program's own\n";
  });
  const int port = server.bind_to_any_port("127.0.0.1");
  std::thread thread([&server] { server.listen_after_bind(); });

  const quipu::Registry registry;
  registry.counter({.name = "orders_total", .help = "Orders."}).inc();
  bool is_right = true;
  const auto check = [&](const http_client::Answer& answer, std::string_view text) {
    if (answer.status == 200 && answer.body.find(text) != std::string::npos) return;
    is_right = false;
    std::cout << "expected " << text << "\ngot " << answer.raw << '\n';
  };
  {
    const quipu::Exposer exposer(registry, {.listen = http_client::any_port});
    for (int i = 0; i < 3; ++i) {
      check(http_client::ask(exposer, "GET /metrics?name[]=orders_total"), "\norders_total 1\n");
      check(http_client::ask(static_cast<std::uint16_t>(port), "GET /"), "the program's own\n");
    }
  }
  check(http_client::ask(static_cast<std::uint16_t>(port), "GET /"), "the program's own\n");
  server.stop();
  thread.join();
  return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}
