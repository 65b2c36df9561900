#pragma once

// What the example programs have in common: their command line, and running until somebody ends them.

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

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
  int throw_one(int sides) { return static_cast<int>(engine_() % static_cast<unsigned>(sides)); }

 private:
  std::minstd_rand engine_;
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

// What may stand on a command line: NAME VALUE.
struct Option {
  std::string name;
  std::string value;
  std::string help;
  std::function<bool(std::string_view)> take;  // whether the value makes sense
};

inline Option number_option(std::string name, std::string help, std::optional<int>& number) {
  return {std::move(name), "N", std::move(help), [&number](std::string_view text) {
            number = parse_number(text, 1'000'000'000);
            return number.has_value();
          }};
}

inline Option address_option(std::string name, std::string help, std::string& address) {
  return {std::move(name), "HOST:PORT", std::move(help), [&address](std::string_view text) {
            address = text;
            return parse_address(text).has_value();
          }};
}

inline std::string usage(std::string_view program, const std::vector<Option>& options) {
  std::string first = "usage: " + std::string(program);
  std::string rest;
  for (const Option& option : options) {
    const std::string both = option.name + ' ' + option.value;
    first += " [" + both + ']';
    rest += "  " + both + std::string(20 - both.size(), ' ') + option.help + '\n';
  }
  return first + '\n' + rest;
}

// Whether the command line makes sense.
inline bool parse(int argc, char** argv, const std::vector<Option>& options) {
  for (int i = 1; i < argc; i += 2) {
    const auto option =
        std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == argv[i]; });
    if (option == options.end() || i + 1 == argc || !option->take(argv[i + 1])) return false;
  }
  return true;
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

// The main() of an example: `body(arguments, signals)` is the program. What it throws is shown. `more` are options that
// only this one has.
inline int program(std::string_view name, int argc, char** argv,
                   const std::function<void(const Arguments&, const EndSignals&)>& body,
                   const std::vector<Option>& more = {}) try {
  Arguments arguments;
  std::vector<Option> options{
      address_option("--listen", "where the metrics are (" + arguments.listen + ')', arguments.listen),
      number_option("--seconds", "end after N seconds instead of at Ctrl-C", arguments.seconds),
      number_option("--rounds", "do only that much, and then nothing but show it", arguments.rounds),
  };
  options.insert(options.end(), more.begin(), more.end());
  if (argc == 2 && argv[1] == std::string_view("--help")) {
    std::cout << usage(name, options);
    return 0;
  }
  if (!parse(argc, argv, options)) {
    std::cerr << usage(name, options);
    return 2;
  }
  const EndSignals signals;
  body(arguments, signals);
  return 0;
} catch (const std::exception& error) {
  std::cerr << name << ": " << error.what() << '\n';
  return 1;
}

}  // namespace example
