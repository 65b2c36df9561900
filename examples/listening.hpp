#pragma once

// What the example programs that serve pages of their own, with cpp-httplib, have in common: where they listen.

#include <httplib.h>
#include <sys/socket.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "program.hpp"

namespace example {

// A server listens from the constructor until destruction.
class Listening {
 public:
  // Throws std::runtime_error.
  Listening(httplib::Server& server, const std::string& host_and_port) : server_(server) {
    const auto address = parse_address(host_and_port);
    if (!address || address->host.empty()) throw std::runtime_error("cannot listen on \"" + host_and_port + '"');
    const auto& [host, port] = *address;
    // httplib's own choice would let two programs listen on one port.
    server.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server.set_keep_alive_max_count(1);  // an idle client would delay the end of the program
    port_ = port == 0 ? server.bind_to_any_port(host) : server.bind_to_port(host, port) ? port : -1;
    if (port_ < 0) throw std::runtime_error("cannot listen on \"" + host_and_port + "\"; is the port in use?");
    thread_ = std::thread([&server] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() {
    server_.stop();
    thread_.join();
  }

  [[nodiscard]] int port() const { return port_; }

 private:
  httplib::Server& server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace example
