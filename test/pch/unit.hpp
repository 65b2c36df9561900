// What most unit tests include, compiled once. Each test includes what it uses all the same.

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
