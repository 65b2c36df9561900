#pragma once

/// All of quipu. The endpoint is there when the library was built with it.

#include "quipu/buckets.hpp"
#include "quipu/collector.hpp"
#include "quipu/config.hpp"
#include "quipu/counter.hpp"
#include "quipu/error.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/exposition.hpp"
#include "quipu/family.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/label.hpp"
#include "quipu/name.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/registry.hpp"
#include "quipu/sample.hpp"
#include "quipu/stateset.hpp"
#include "quipu/thread_cell_budget.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif
