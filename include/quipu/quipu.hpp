#pragma once

/// The metrics, the registry, the pages, and the endpoint if the library was built with it. What only some programs
/// need stands in headers apart: batch.hpp, environment.hpp, health.hpp, httplib.hpp, observers.hpp, recorder.hpp,
/// requests.hpp, statsd.hpp and testing.hpp.

#include "quipu/buckets.hpp"
#include "quipu/build_info.hpp"
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
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/registry.hpp"
#include "quipu/registry_options.hpp"
#include "quipu/route.hpp"
#include "quipu/runtime_family.hpp"
#include "quipu/sample.hpp"
#include "quipu/scope.hpp"
#include "quipu/scrape_request.hpp"
#include "quipu/stateset.hpp"
#include "quipu/thread_cell_budget.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif
