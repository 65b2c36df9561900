#pragma once

#include <string>

// What both programs have besides their metrics.
struct Pool {
  int busy = 3;
  int idle = 5;
};

// What a scrape of each of them shows.
[[nodiscard]] std::string page_before(const Pool& pool);
[[nodiscard]] std::string page_after(const Pool& pool);
