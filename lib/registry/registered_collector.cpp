#include "registry/registered_collector.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <list>
#include <stdexcept>
#include <utility>

#include "base/signals_blocked.hpp"
#include "base/utf8.hpp"
#include "registry/registry_core.hpp"

namespace quipu {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// A source that takes longer does not keep the next one waiting: another thread goes on. It is thousands of times what
/// starting a thread costs, and a hundredth of the ten seconds that a scraper waits by default.
constexpr auto long_call = 100ms;

/// Helpers that wait for the next scrape. Those who come back from slow collectors, or from scrapes at the same time,
/// and find as many waiting, end. The endpoint makes three pages at a time.
constexpr std::size_t most_idle = 3;

/// A callback, as a collector of one series.
class Callback final : public Collector {
 public:
  Callback(FamilyDescription family, std::vector<std::string> label_values, std::function<double()> read)
      : family_(std::move(family)), label_values_(std::move(label_values)), read_(std::move(read)) {}

  std::vector<FamilyDescription> describe() const override { return {family_}; }
  void collect(Samples& samples) override {
    const std::vector<std::string_view> values(label_values_.begin(), label_values_.end());
    samples.add(family_.name, values, read_());
  }

 private:
  const FamilyDescription family_;
  const std::vector<std::string> label_values_;
  const std::function<double()> read_;
};

}  // namespace

std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                         std::function<double()> read) {
  return std::make_shared<Callback>(std::move(family), std::move(label_values), std::move(read));
}

// Sources.

/// A thread being inside a collector, or being told not to enter it.
class Source::Call {
 public:
  Call(Source& source, const Asker& asker) : source_(source), asker_(asker) {
    const std::lock_guard lock(source_.mutex_);
    source_.forget_calls_before_fork(asker.process);
    is_skipped_ = asker.has_deadline && std::ranges::any_of(source_.calls_, [](const Caller& caller) {
                    return caller.asker->has_gone.load(std::memory_order_relaxed);
                  });
    is_inside_ = source_.is_open_ && !is_skipped_;
    if (is_inside_) source_.calls_.push_back({&asker, asker.process, std::this_thread::get_id()});
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (!is_inside_) return;
    const std::lock_guard lock(source_.mutex_);
    std::erase_if(source_.calls_, [this](const Caller& caller) { return caller.asker == &asker_; });
    source_.left_.notify_all();
  }

  [[nodiscard]] bool is_inside() const noexcept { return is_inside_; }
  [[nodiscard]] bool is_skipped() const noexcept { return is_skipped_; }

 private:
  Source& source_;
  const Asker& asker_;  // which asks a source once only
  bool is_inside_;
  bool is_skipped_;
};

Source::Source(Collector& collector, std::vector<CollectedFamily> families,
               std::unique_ptr<const std::vector<std::string>> fixed_labels)
    : collector_(collector), families_(std::move(families)), fixed_labels_(std::move(fixed_labels)) {}

void Source::belong_to(std::weak_ptr<RegistryCore> registry, std::shared_ptr<Collector> owned) noexcept {
  registry_ = std::move(registry);
  owned_ = std::move(owned);
}

std::optional<std::vector<CollectedFamily>> Source::collect(const Asker& asker) {
  const Call call(*this, asker);
  if (call.is_skipped()) return std::nullopt;
  std::vector<CollectedFamily> families = families_;
  if (call.is_inside()) {
    Samples samples(families);
    collector_.collect(samples);
  }
  return families;
}

void Source::end() noexcept {
  if (const auto registry = registry_.lock()) registry->remove_source(*this);
  std::unique_lock lock(mutex_);
  is_open_ = false;
  forget_calls_before_fork(::getpid());
  left_.wait(lock, [this] {
    return std::ranges::all_of(calls_,
                               [](const Caller& caller) { return caller.thread == std::this_thread::get_id(); });
  });
  if (!calls_.empty()) return;
  // A scrape may keep the source for a while. What a callback holds goes now.
  const auto owned = std::move(owned_);
  lock.unlock();
}

void Source::forget_calls_before_fork(pid_t process) noexcept {
  std::erase_if(calls_, [process](const Caller& caller) { return caller.process != process; });
}

// Rounds.

namespace {

/// What came of asking a source.
struct Answer {
  enum class Outcome { none, shown, thrown };
  Outcome outcome = Outcome::none;
  std::vector<CollectedFamily> families{};
};

struct Question {
  std::shared_ptr<Source> source;
  Answer answer{};
};

Answer ask(Source& source, const Asker& asker) noexcept {
  try {
    auto families = source.collect(asker);
    if (!families) return {};
    return {Answer::Outcome::shown, std::move(*families)};
  } catch (...) {
    return {Answer::Outcome::thrown};
  }
}

}  // namespace

/// What one scrape asks on other threads.
///
/// One helper has the turn: it asks one source after the other, so that quick ones cost a single handoff. When it has
/// been inside a source for `long_call`, the scraping thread, which waits anyway, passes the turn to another helper,
/// which goes on with the sources after that one. A helper that comes back and has lost the turn leaves its answer, and
/// leaves. At the deadline the scraping thread takes all questions with it, with the answers that there are; a helper
/// that comes back later finds that the asker has gone, and throws its answer away.
///
/// `mutex_` guards all of it, and is not held during a call; what a helper wrote happens before the scraping thread's
/// reading by it. The helpers share the round, which may outlive the scrape and the registry; its questions do not, and
/// who is inside a source keeps that one alone.
class Round : public std::enable_shared_from_this<Round> {
 public:
  Round(std::vector<Question> questions, Clock::time_point deadline, pid_t process, Crew& crew)
      : asker_{process, true}, deadline_(deadline), crew_(crew), questions_(std::move(questions)) {}

  // For the scraping thread, one after the other.
  void begin() noexcept;
  [[nodiscard]] std::vector<Question> finish() noexcept;

  /// For the helper that has the turn.
  void ask() noexcept;

 private:
  void give_turn() noexcept;

  Asker asker_;
  const Clock::time_point deadline_;
  Crew& crew_;  // for the scraping thread only, which keeps the registry

  std::mutex mutex_;
  std::condition_variable all_answered_;
  std::vector<Question> questions_;
  std::size_t next_ = 0;  // the next to ask
  std::size_t answered_ = 0;
  unsigned turn_ = 0;                                // counts those who had it
  std::optional<Clock::time_point> inside_since_{};  // the one who has the turn; nothing until it has come
};

/// The helpers of one process. They share it.
class Crew : public std::enable_shared_from_this<Crew> {
 public:
  explicit Crew(pid_t process) noexcept : process_(process) {}

  [[nodiscard]] pid_t process() const noexcept { return process_; }

  /// Has a helper ask; false if there is none, and none can be started.
  [[nodiscard]] bool take(std::shared_ptr<Round> round) noexcept;
  /// When no scrape is being made any more.
  void end() noexcept;

 private:
  struct Helper {
    std::thread thread{};
    bool is_idle = false;
  };

  void work(std::list<Helper>::iterator self) noexcept;

  const pid_t process_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable has_changed_;
  std::deque<std::shared_ptr<Round>> rounds_;  // that wait for a helper
  std::list<Helper> helpers_;
  std::size_t idle_ = 0;
  bool has_ended_ = false;
};

void Round::begin() noexcept {
  if (Clock::now() < deadline_) give_turn();
}

void Round::give_turn() noexcept {
  // A page that may be late is better than none.
  if (!crew_.take(shared_from_this())) ask();
}

void Round::ask() noexcept {
  std::unique_lock lock(mutex_);
  // This one's turn: it is passed on only from someone who is inside a source.
  const unsigned turn = turn_;
  while (turn == turn_ && next_ < questions_.size()) {
    const auto now = Clock::now();
    if (now >= deadline_) return;
    inside_since_ = now;
    const std::size_t index = next_++;
    auto source = questions_[index].source;
    lock.unlock();
    Answer answer = detail::ask(*source, asker_);
    lock.lock();
    if (asker_.has_gone.load(std::memory_order_relaxed)) {
      lock.unlock();  // before the source goes, perhaps with what its user holds in it
      return;
    }
    questions_[index].answer = std::move(answer);
    if (++answered_ == questions_.size()) all_answered_.notify_one();
  }
}

std::vector<Question> Round::finish() noexcept {
  std::unique_lock lock(mutex_);
  while (answered_ < questions_.size()) {
    const auto now = Clock::now();
    if (now >= deadline_) break;
    auto wake = deadline_;
    if (next_ < questions_.size()) {
      const auto end_of_turn = inside_since_.value_or(now) + long_call;
      if (end_of_turn <= now) {
        ++turn_;
        inside_since_.reset();
        lock.unlock();
        give_turn();
        lock.lock();
        continue;
      }
      wake = std::min(wake, end_of_turn);
    }
    all_answered_.wait_until(lock, wake);
  }
  asker_.has_gone.store(true, std::memory_order_relaxed);
  return std::exchange(questions_, {});
}

bool Crew::take(std::shared_ptr<Round> round) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    rounds_.push_back(std::move(round));
  } catch (const std::exception&) {
    return false;
  }
  if (idle_ >= rounds_.size()) {
    has_changed_.notify_one();
    return true;
  }
  try {
    std::list<Helper> made(1);
    const SignalsBlocked blocked;
    made.front().thread = std::thread([crew = shared_from_this(), self = made.begin()] { crew->work(self); });
    helpers_.splice(helpers_.end(), made);
    return true;
  } catch (const std::exception&) {
    rounds_.pop_back();
    return false;
  }
}

void Crew::work(std::list<Helper>::iterator self) noexcept {
#ifdef __linux__
  ::pthread_setname_np(::pthread_self(), "quipu-collect");
#endif
  std::unique_lock lock(mutex_);
  while (!has_ended_) {
    if (rounds_.empty()) {
      if (idle_ == most_idle) {
        self->thread.detach();
        helpers_.erase(self);
        return;
      }
      self->is_idle = true;
      ++idle_;
      has_changed_.wait(lock, [this] { return has_ended_ || !rounds_.empty(); });
      --idle_;
      if (has_ended_) return;
      self->is_idle = false;
    }
    auto round = std::move(rounds_.front());
    rounds_.pop_front();
    lock.unlock();
    round->ask();
    round.reset();
    lock.lock();
  }
}

void Crew::end() noexcept {
  std::list<Helper> idle;
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
    rounds_.clear();
    for (auto helper = helpers_.begin(); helper != helpers_.end();) {
      const auto next = std::next(helper);
      // One that is not idle may be inside a collector, or may be this thread, inside a callback that held the
      // registry.
      if (helper->is_idle) {
        idle.splice(idle.end(), helpers_, helper);
      } else {
        helper->thread.detach();
      }
      helper = next;
    }
    helpers_.clear();
  }
  has_changed_.notify_all();
  for (Helper& helper : idle) helper.thread.join();
}

Helpers::~Helpers() {
  std::unique_ptr<std::shared_ptr<Crew>> crew(crew_.load(std::memory_order_acquire));  // pairs with crew()
  if (crew == nullptr) return;
  if ((*crew)->process() == ::getpid()) {
    (*crew)->end();
  } else {
    static_cast<void>(crew.release());  // as in crew()
  }
}

Crew& Helpers::crew(pid_t process) {
  auto* known = crew_.load(std::memory_order_acquire);  // pairs with the exchange
  if (known != nullptr && (*known)->process() == process) return **known;
  // What a forked child has of its parent's crew is let alone, and lost: threads that are not here will never leave its
  // mutex and its condition variable. For the same reason no mutex guards this.
  auto made = std::make_unique<std::shared_ptr<Crew>>(std::make_shared<Crew>(process));
  const bool is_first = crew_.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel,
                                                      std::memory_order_acquire);  // pairs with itself and the loads
  return is_first ? **made.release() : **known;
}

Collected collect(std::span<const std::shared_ptr<Source>> sources, std::chrono::steady_clock::time_point deadline,
                  CollectorErrors& errors, Helpers& helpers) {
  const bool has_deadline = deadline != Clock::time_point::max();
  const pid_t process = ::getpid();
  std::vector<Question> here;
  std::vector<Question> elsewhere;
  for (const auto& source : sources) (has_deadline && !source->is_prompt() ? elsewhere : here).push_back({source});
  std::shared_ptr<Round> round;
  if (!elsewhere.empty()) {
    round = std::make_shared<Round>(std::move(elsewhere), deadline, process, helpers.crew(process));
    round->begin();
  }
  // Nothing may be thrown until the round is finished.
  const Asker asker{process, false};
  for (Question& question : here) question.answer = ask(*question.source, asker);
  if (round != nullptr) elsewhere = round->finish();

  // What went wrong is counted at the end, so that a page shows the errors of the pages before.
  Collected collected;
  for (auto* questions : {&here, &elsewhere}) {
    for (auto& [source, answer] : *questions) {
      switch (answer.outcome) {
        case Answer::Outcome::shown:
          collected.emplace(source.get(), std::move(answer.families));
          break;
        case Answer::Outcome::thrown:
          errors.exceptions.fetch_add(1, std::memory_order_relaxed);
          break;
        case Answer::Outcome::none:
          errors.timeouts.fetch_add(1, std::memory_order_relaxed);
          break;
      }
    }
  }
  return collected;
}

}  // namespace detail

void Samples::add(std::string_view family, std::initializer_list<std::string_view> label_values, Number value) {
  add(family, std::span(label_values.begin(), label_values.size()), value);
}

void Samples::add(std::string_view family, std::span<const std::string_view> label_values, Number value) {
  const auto found = std::ranges::find(families_, family, &detail::CollectedFamily::local_name);
  if (found == families_.end()) {
    throw std::invalid_argument(fmt::format("collector: family \"{}\" was not described", family));
  }
  const std::size_t labels = found->definition->label_names.size();
  if (label_values.size() != labels) {
    throw std::invalid_argument(
        fmt::format("collector: family \"{}\" has {} labels, not {}", family, labels, label_values.size()));
  }
  detail::CollectedSeries series{{}, value};
  for (const std::string_view label : label_values) series.label_values.push_back(detail::to_utf8(label));
  found->series.push_back(std::move(series));
}

Registration::Registration(std::shared_ptr<detail::Source> source) noexcept : source_(std::move(source)) {}
Registration::Registration(Registration&&) noexcept = default;
Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    end();
    source_ = std::move(other.source_);
  }
  return *this;
}
Registration::~Registration() { end(); }

void Registration::end() noexcept {
  if (const auto source = std::exchange(source_, nullptr)) source->end();
}

}  // namespace quipu
