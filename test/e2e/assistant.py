#!/usr/bin/python3
"""End to end: the assistant example, and what a real Prometheus makes of its requests, tokens, cost and health.

Usage: test/e2e/assistant.py ASSISTANT [TEST...]
  ASSISTANT  the path of the built example
  TEST       a class or Class.test of this file; all of them if there is none

Needs the Debian packages prometheus and python3-prometheus-client.
"""

import collections
import json
import sys
import time
import unittest
import urllib.parse

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import Dice, lint, main, quantile, request, wait_for, watched

ROUNDS = 300  # six seconds and more, so that some scrapes are in between
ENDPOINTS = (('post', '/chat'), ('post', '/complete'), ('get', '/summarize'))
STATUS = {None: '200', 'timeout': '504', 'rate_limited': '503', 'server_error': '502'}
PRICES = {'north-large': (5, 20), 'north-small': (0.5, 2), 'south-one': (1, 4)}
LATENCY_BOUNDS = tuple(0.1 * 2 ** i for i in range(7)) + (float('inf'),)
WINDOW = 60  # seconds that rates are taken over: more than all that the server has seen


class Books:
    """What the example has to count in its rounds, worked out once more."""

    def __init__(self, rounds):
        self._dice = Dice()
        self.requests = collections.Counter()
        self.by_status = {(*endpoint, status): 0 for endpoint in ENDPOINTS for status in STATUS.values()}
        self.failed = collections.Counter()
        self.error_types = collections.Counter()
        self.errors = collections.Counter()
        self.tokens = collections.Counter()
        self.cost = collections.Counter()
        self.times = collections.defaultdict(list)
        self.last = {'north': collections.deque(maxlen=20), 'south': collections.deque(maxlen=20)}
        for number in range(rounds):
            endpoint = ENDPOINTS[number % 3]
            self.requests[endpoint] += 1
            model = 'north-large' if self._dice.throw(3) == 0 else 'north-small'
            failure = self._ask('north', model) and self._ask('south', 'south-one')
            self.by_status[(*endpoint, STATUS[failure])] += 1
            if failure:
                self.failed[endpoint] += 1
                self.error_types[failure,] += 1

    def _ask(self, provider, model):
        """What went wrong, or None."""
        mishap = self._dice.throw(12)
        self.last[provider].append(mishap >= 3)
        if mishap < 3:
            failure = ('timeout', 'rate_limited', 'server_error')[mishap]
            self.errors[provider, failure] += 1
            return failure
        milliseconds = 100 + self._dice.throw(900)
        if self._dice.throw(20) == 0:
            milliseconds += 4000
        prompt, completion = 50 + self._dice.throw(500), 20 + self._dice.throw(300)
        self.times[model].append(milliseconds / 1000)
        self.tokens[model, 'prompt'] += prompt
        self.tokens[model, 'completion'] += completion
        prompt_price, completion_price = PRICES[model]
        self.cost[model] += (prompt * prompt_price + completion * completion_price) / 1e6
        return None

    def health(self, provider):
        return sum(self.last[provider]) / len(self.last[provider])


def latency_buckets(times):
    return [(bound, sum(time <= bound for time in times)) for bound in LATENCY_BOUNDS]


def rate(points, start, end):
    """PromQL's rate() of a counter that is never reset: its samples as pairs of time and value."""
    (first_time, first), (last_time, last) = points[0], points[-1]
    sampled = last_time - first_time
    between = sampled / (len(points) - 1)
    to_start, to_end = first_time - start, end - last_time
    if last > first >= 0:
        to_start = min(to_start, sampled * first / (last - first))  # no further than where it would be 0
    extrapolated = sampled + sum(gap if gap < between * 1.1 else between / 2 for gap in (to_start, to_end))
    return (last - first) * extrapolated / sampled / (end - start)


class TheAssistant(unittest.TestCase):
    """The example, scraped by a Prometheus server while it works and after that."""

    @classmethod
    def setUpClass(cls):
        cls.prometheus, cls.assistant, _ = watched(cls, 'assistant', ROUNDS)
        cls.root = urllib.parse.urljoin(cls.assistant.printed_url('health'), '/')
        cls.books = Books(ROUNDS)
        # The checks that see the last rounds, and a scrape that sees those.
        done = json.loads(request(cls.root + 'health').body)['timestamp']
        wait_for('the last checks', lambda: all(component['last_checked'] > done
                                                for component in cls.report()['components'].values()))
        cls.page = cls.assistant.page()
        cls.at = cls.prometheus.scrape_after(time.time(), 'assistant')

    @classmethod
    def report(cls):
        return json.loads(request(cls.root + 'health').body)

    def number(self, expression):
        return self.prometheus.number(expression, self.at)

    def vector(self, expression, *labels):
        return self.prometheus.vector(expression, self.at, *labels)

    def rates(self, name, *labels):
        """The rate of each series, worked out from the samples that the server has."""
        found = {}
        for series in self.prometheus.query(f'{name}[{WINDOW}s]', self.at):
            points = [(float(at), float(value)) for at, value in series['values']]
            self.assertGreaterEqual(len(points), 3)
            self.assertEqual(points, sorted(points))  # it never goes down
            found[tuple(series['metric'][label] for label in labels)] = rate(points, self.at - WINDOW, self.at)
        return found

    def assert_same(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for key, value in expected.items():
            self.assertAlmostEqual(found[key], value, msg=key)

    def test_the_linter_is_content(self):
        """promtool has nothing to say of the page"""
        lint(self, self.page)

    # Requests

    def test_requests_and_errors(self):
        """Requests by status, errors, and the share of errors are those of the rounds; none is in flight"""
        labels = ('method', 'endpoint')
        requests, failed = self.books.requests, {endpoint: self.books.failed[endpoint] for endpoint in ENDPOINTS}
        self.assertGreater(min(failed.values()), 0)
        self.assertEqual(self.vector('assistant_http_requests_total', *labels, 'status_code'), self.books.by_status)
        self.assertEqual(self.vector('assistant_http_request_errors_total', *labels), failed)
        self.assert_same(self.vector('sum by (method, endpoint) (assistant_http_request_errors_total) / '
                                     'sum by (method, endpoint) (assistant_http_requests_total)', *labels),
                         {key: failed[key] / requests[key] for key in requests})
        self.assertEqual(
            self.vector('sum by (method, endpoint) (assistant_http_requests_total{status_code=~"5.."})', *labels),
            failed)
        self.assertEqual(self.vector('assistant_http_request_duration_seconds_count', *labels), requests)
        self.assertEqual(self.vector('assistant_http_requests_in_flight', *labels), {key: 0 for key in requests})

    def test_error_types(self):
        """Errors by type are those of the rounds"""
        self.assertEqual(len(self.books.error_types), 3)
        self.assertEqual(self.vector('assistant_errors_total', 'type'), self.books.error_types)

    def test_connections(self):
        """The connections that clients have open are those of the last rounds"""
        self.assertEqual(self.number('assistant_active_connections'), 3)

    def test_request_rate(self):
        """rate() of requests by endpoint and status is that of the samples"""
        expected = self.rates('assistant_http_requests_total', 'endpoint', 'status_code')
        self.assertGreater(min(rate for (_, status), rate in expected.items() if status == '200'), 0)
        self.assert_same(self.vector(f'rate(assistant_http_requests_total[{WINDOW}s])', 'endpoint', 'status_code'),
                         expected)

    def test_request_durations(self):
        """The quantiles of request times are those of the page's buckets"""
        for method, endpoint in ENDPOINTS:
            buckets = self.page.histogram('assistant_http_request_duration_seconds',
                                          method=method, endpoint=endpoint)['buckets']
            found = self.number('histogram_quantile(0.9, '
                                f'assistant_http_request_duration_seconds_bucket{{endpoint="{endpoint}"}})')
            self.assertAlmostEqual(found, quantile(0.9, buckets))

    # Models

    def test_tokens(self):
        """The tokens by model and kind are those of the rounds"""
        self.assertEqual(self.vector('sum by (model, kind) (assistant_tokens_total)', 'model', 'kind'), self.books.tokens)
        north = sum(count for (model, _), count in self.books.tokens.items() if model.startswith('north-'))
        self.assertEqual(self.number('sum(assistant_tokens_total{provider="north"})'), north)

    def test_token_rates(self):
        """rate() of tokens by model and kind, and in all, is that of the samples"""
        expected = self.rates('assistant_tokens_total', 'model', 'kind')
        self.assertGreater(min(expected.values()), 0)
        self.assert_same(self.vector(f'rate(assistant_tokens_total[{WINDOW}s])', 'model', 'kind'), expected)
        self.assertAlmostEqual(self.number(f'sum(rate(assistant_tokens_total[{WINDOW}s]))'), sum(expected.values()))

    def test_cost(self):
        """The cost by model, by request and by hour is that of the tokens"""
        self.assert_same(self.vector('assistant_estimated_cost_dollars_total', 'model'),
                         {(model,): cost for model, cost in self.books.cost.items()})
        self.assertAlmostEqual(
            self.number('sum(assistant_estimated_cost_dollars_total) / sum(assistant_http_requests_total)'),
            sum(self.books.cost.values()) / ROUNDS)
        rates = self.rates('assistant_estimated_cost_dollars_total', 'model')
        self.assertAlmostEqual(
            self.number(f'sum(rate(assistant_estimated_cost_dollars_total[{WINDOW}s])) * 3600'),
            3600 * sum(rates.values()))

    def test_latency(self):
        """The quantiles of model latency, by model and in all, are those of the rounds"""
        everything = sum(self.books.times.values(), [])
        for q in (0.5, 0.9, 0.99):
            found = self.vector(f'histogram_quantile({q}, assistant_model_latency_seconds_bucket)', 'model')
            self.assert_same(found, {(model,): quantile(q, latency_buckets(times))
                                     for model, times in self.books.times.items()})
            self.assertAlmostEqual(
                self.number(f'histogram_quantile({q}, sum by (le) (assistant_model_latency_seconds_bucket))'),
                quantile(q, latency_buckets(everything)))

    # Providers

    def test_provider_errors(self):
        """Errors by provider and kind, rate limits, and the share of failed calls are those of the rounds"""
        self.assertEqual(self.vector('assistant_provider_errors_total', 'provider', 'kind'), self.books.errors)
        self.assertEqual(self.vector('assistant_provider_rate_limits_total', 'provider'),
                         {(name,): self.books.errors[name, 'rate_limited'] for name in ('north', 'south')})
        failed = sum(count for (name, _), count in self.books.errors.items() if name == 'north')
        answered = len(self.books.times['north-large']) + len(self.books.times['north-small'])
        share = self.number('sum(assistant_provider_errors_total{provider="north"}) / '
                            '(sum(assistant_provider_errors_total{provider="north"})'
                            ' + sum(assistant_model_latency_seconds_count{provider="north"}))')
        self.assertAlmostEqual(share, failed / (failed + answered))

    def test_health(self):
        """Providers are as healthy as their last calls; the whole is degraded if one is, and ready all the same"""
        shares = {name: self.books.health(name) for name in ('north', 'south')}
        self.assertEqual(self.vector('assistant_provider_health', 'provider'),
                         {(name,): share for name, share in shares.items()})
        statuses = {name: 'healthy' if share > 0.8 else 'degraded' for name, share in shares.items()}
        whole = 'degraded' if 'degraded' in statuses.values() else 'healthy'
        statuses.update({'database': 'healthy', 'cache': 'healthy'})
        report = self.report()
        self.assertEqual((report['version'], report['status']), ('3.1.0', whole))
        self.assertEqual({name: one['status'] for name, one in report['components'].items()}, statuses)
        self.assertEqual({name: one['critical'] for name, one in report['components'].items()},
                         {'north': False, 'south': False, 'database': True, 'cache': False})
        numbers = {'healthy': 1, 'degraded': 0.5}
        self.assertEqual(self.vector('assistant_component_health', 'component'),
                         {(name,): numbers[status] for name, status in statuses.items()})
        self.assertEqual(self.number('assistant_health_status'), numbers[whole])
        self.assertEqual([request(self.root + path).status for path in ('health', 'health/ready', 'health/live')],
                         [200, 200, 200])

    def test_the_log_is_calm(self):
        """The server logs no warning and no error"""
        self.assertEqual(self.prometheus.complaints(), [])


if __name__ == '__main__':
    main(__doc__)
