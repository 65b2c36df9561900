#pragma once

// What the example programs have in common: their command line, and running until somebody ends them.

#include <pthread.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace example {

inline std::optional<int> parse_number(std::string_view text, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > most) return std::nullopt;
  return number;
}

struct Address {
  std::string host;
  int port = 0;
};

inline std::optional<Address> parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!port) return std::nullopt;
  return Address{std::string(text.substr(0, colon)), *port};
}

// Throws the same numbers in each run.
class Dice {
 public:
  // 0 … sides - 1.
  int throw_one(int sides) {
    state_ = (state_ * 1103515245 + 12345) % 0x80000000;
    return static_cast<int>((state_ >> 16) % static_cast<std::uint64_t>(sides));
  }

 private:
  std::uint64_t state_ = 1;
};

// Keeps SIGINT and SIGTERM until somebody waits for them. Made before the first thread, because threads inherit it.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  // Whether one came within that time.
  bool wait_for(std::chrono::nanoseconds time) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const timespec limit{seconds.count(), static_cast<long>((time - seconds).count())};
    return sigtimedwait(&signals_, nullptr, &limit) > 0;
  }

  void wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
  }

 private:
  sigset_t signals_{};
};

struct Arguments {
  std::string listen = "127.0.0.1:9464";  // for the metrics
  std::optional<int> seconds{};           // until the end; none for until a signal
  std::optional<int> rounds{};            // of work; none for as many as there is time for
};

// Nothing if the arguments make no sense.
inline std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (++i == argc) return std::nullopt;
    if (option == "--listen" && parse_address(argv[i])) {
      arguments.listen = argv[i];
    } else if (const auto number = parse_number(argv[i], 1'000'000'000); option == "--seconds" && number) {
      arguments.seconds = number;
    } else if (option == "--rounds" && number) {
      arguments.rounds = number;
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

// Does `round(i)` for i = 0, 1, 2, … with pauses, until --rounds of them are done; then nothing, until --seconds are
// over or a signal ends the program.
inline void run(const Arguments& arguments, const EndSignals& signals, std::chrono::milliseconds pause,
                const std::function<void(int)>& round) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      arguments.seconds ? Clock::now() + std::chrono::seconds(*arguments.seconds) : Clock::time_point::max();
  for (int i = 0; !arguments.rounds || i < *arguments.rounds; ++i) {
    round(i);
    if (Clock::now() >= end || signals.wait_for(pause)) return;
  }
  std::cout << "all rounds done" << std::endl;
  if (!arguments.seconds) return signals.wait();
  if (Clock::now() < end) signals.wait_for(end - Clock::now());
}

// The main() of an example: `body(arguments, signals)` is the program. What it throws is shown.
inline int program(std::string_view name, int argc, char** argv,
                   const std::function<void(const Arguments&, const EndSignals&)>& body) try {
  const std::string usage = "usage: " + std::string(name) +
                            " [--listen HOST:PORT] [--seconds N] [--rounds N]\n"
                            "  --listen HOST:PORT  where the metrics are (127.0.0.1:9464)\n"
                            "  --seconds N         end after N seconds instead of at Ctrl-C\n"
                            "  --rounds N          do only that much, and then nothing but show it\n";
  if (argc == 2 && argv[1] == std::string_view("--help")) {
    std::cout << usage;
    return 0;
  }
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    std::cerr << usage;
    return 2;
  }
  const EndSignals signals;
  body(*arguments, signals);
  return 0;
} catch (const std::exception& error) {
  std::cerr << name << ": " << error.what() << '\n';
  return 1;
}

}  // namespace example
