#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>

namespace quipu::detail {

/// What the scrapes of a family have found of its series, and which of them are idle: not recorded to for the family's
/// `idle_expiry`. Idle series are hidden: they are on no page.
///
/// Recording knows nothing of this. Each scrape looks at a number that changes with the series' recordings, its
/// fingerprint. A series is hidden when two looks that are at least `idle_expiry` apart, and all looks in between, have
/// found the same fingerprint. It is shown again by the first look that finds another one. So a hidden series loses
/// nothing: its cells count as before.
///
/// Series are numbered by their positions in the table, whose mutex guards this object. A record takes 32 bytes.
class IdleSeries {
 public:
  using Clock = std::chrono::steady_clock;

  struct Look {
    std::uint64_t fingerprint;
    bool is_in_use;  // for certain, whatever the fingerprint is
    Clock::time_point begin;
    Clock::time_point end;
  };

  explicit IdleSeries(std::chrono::nanoseconds expiry) noexcept : expiry_(expiry) {}

  /// Makes room for positions below this number, so that nothing else needs memory. Throws std::bad_alloc.
  void make_room(std::size_t positions) {
    if (records_.size() < positions) records_.resize(positions);
  }

  /// Takes note of a look at the series with this tag. Returns whether the series is hidden now.
  bool is_hidden(std::uint32_t position, std::uint32_t tag, const Look& look) noexcept {
    Record& record = records_[position];
    if (look.is_in_use || record.tag != tag || record.fingerprint != look.fingerprint) {
      show(position);
      record.tag = tag;
      record.fingerprint = look.fingerprint;
      record.since = look.end;
    } else if (!record.is_hidden && look.begin - record.since >= expiry_) {
      hide(position);
    }
    return record.is_hidden;
  }

  /// Forgets what was found of the series at the position.
  void forget(std::uint32_t position) noexcept {
    show(position);
    records_[position].tag = 0;
  }

  /// The position of the series that was hidden first, of those that are hidden.
  [[nodiscard]] std::optional<std::uint32_t> first_hidden() const noexcept {
    return first_ == none ? std::nullopt : std::optional(first_);
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  struct Record {
    std::uint64_t fingerprint = 0;
    Clock::time_point since{};  // the end of the first look that found the fingerprint
    std::uint32_t tag = 0;      // of the series that was looked at; 0 for none
    // The neighbours in the list of hidden series, in the order in which they were hidden.
    std::uint32_t before = none;
    std::uint32_t after = none;
    bool is_hidden = false;
  };
  static_assert(sizeof(Record) == 32);

  /// Where the list says what comes before the position, or what comes after it.
  [[nodiscard]] std::uint32_t& before(std::uint32_t position) noexcept {
    return position == none ? last_ : records_[position].before;
  }
  [[nodiscard]] std::uint32_t& after(std::uint32_t position) noexcept {
    return position == none ? first_ : records_[position].after;
  }

  void hide(std::uint32_t position) noexcept {
    Record& record = records_[position];
    record.is_hidden = true;
    record.before = last_;
    record.after = none;
    after(record.before) = position;
    last_ = position;
  }
  void show(std::uint32_t position) noexcept {
    Record& record = records_[position];
    if (!record.is_hidden) return;
    record.is_hidden = false;
    after(record.before) = record.after;
    before(record.after) = record.before;
  }

  const std::chrono::nanoseconds expiry_;
  std::deque<Record> records_;
  std::uint32_t first_ = none;
  std::uint32_t last_ = none;
};

}  // namespace quipu::detail
