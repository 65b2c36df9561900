#!/usr/bin/python3
"""End to end: the live_server example. Its structs of metrics have the numbers that its rounds must have made, a real
Prometheus answers the queries and alerts of its dashboards with them, and the environment is heeded.

Usage: test/e2e/live_server.py LIVE_SERVER [TEST...]
  LIVE_SERVER  the path of the built example
  TEST         a class or Class.test of this file; all of them if there is none
"""

import collections
import os
import socket
import sys
import unittest
import unittest.mock

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import Program, Window, lint, main, quantile, watched

ROUNDS = 200  # from no connection up to 600, and down to none
LIVE = 'golivekit_'
LATENCY_BOUNDS = [.001, .005, .01, .025, .05, .1, .25, .5, 1]
SIZE_BOUNDS = [64, 256, 1024, 4096, 16384, 65536]
EVENTS = ['click', 'submit', 'keyup']
COMPONENTS = ['page', 'list', 'chat']


class Books:
    """What happens in that many rounds, told independently of the program."""

    def __init__(self, rounds):
        self.counters = collections.defaultdict(collections.Counter)  # by name, then by label values
        self.gauges = {}
        self.observed = collections.defaultdict(lambda: collections.defaultdict(list))
        self.active = [0]  # after each round
        for number in range(rounds):
            self._round(number)

    def _round(self, number):
        comes = number % 200 < 150
        self.active.append(self.active[-1] + (4 if comes else -12))
        self.counters['connections']['success',] += 4 if comes else 0
        self.counters['connections']['error',] += number % 5 == 0
        self.counters['errors']['render',] += number % 30 == 0
        self.counters['errors']['pubsub',] += number % 3 == 0
        self.counters['pubsub_messages']['news',] += 3
        self.counters['pubsub_messages']['chat',] += 5
        self.counters['db_errors']['timeout',] += number % 5 == 0  # of each 50th event
        self.counters['db_errors']['conflict',] += 0
        self.gauges['presence_count', ()] = number % 100
        self.gauges['active_connections', ()] = self.active[-1]
        self.gauges['db_connections', ()] = 0
        for event in range(number * 10, number * 10 + 10):
            self._event(event)

    def _event(self, number):
        kind = EVENTS[number % 3]
        seconds = 0.7 if kind == 'submit' and number % 10 == 0 else 0.0008 * (1 + number * 7 % 50)
        size = 32 * 2 ** (number % 10)
        component = COMPONENTS[number // 3 % 3]
        operation = 'insert' if number % 5 == 0 else 'select'
        self.counters['messages']['in', 'event'] += 1
        self.counters['messages']['out', 'heartbeat' if number % 4 == 0 else 'diff'] += 1
        self.counters['db_queries'][operation,] += 1
        self.gauges['component_instances', (component,)] = 1 + number % 7
        for name, key, value in (('event_latency_seconds', (kind,), seconds),
                                 ('render_latency_seconds', (component,), seconds / 2),
                                 ('diff_latency_seconds', (), seconds / 8),
                                 ('db_query_duration_seconds', (operation,), seconds / 4),
                                 ('message_size_bytes', (), size), ('message_size_bytes', (), 2 * size),
                                 ('diff_size_bytes', (), 2 * size)):
            self.observed[name][key].append(value)


LABELS = {'connections': ['status'], 'messages': ['direction', 'type'], 'errors': ['type'],
          'pubsub_messages': ['topic'],
          'db_queries': ['operation'], 'db_errors': ['type'], 'event_latency_seconds': ['event_type'],
          'render_latency_seconds': ['component'], 'db_query_duration_seconds': ['operation'],
          'component_instances': ['component']}


def buckets(bounds, values):
    # What is at a bound in the books may be beyond it by a last digit.
    return [(bound, sum(value <= bound * (1 + 1e-12) for value in values)) for bound in [*bounds, float('inf')]]


class LiveServer(unittest.TestCase):
    """The example, which has done its rounds while a Prometheus scraped it."""

    @classmethod
    def setUpClass(cls):
        cls.prometheus, cls.server, cls.window = watched(cls, 'live', ROUNDS)
        cls.at = cls.window.at
        cls.page = cls.server.page()
        cls.books = Books(ROUNDS)

    # The page.

    def test_counters(self):
        """The counters are what happened in the rounds, by their labels; what never happened is 0"""
        for name, expected in self.books.counters.items():
            found = self.page.by_label(f'{LIVE}{name}_total', *LABELS[name])
            self.assertEqual({key: value for key, value in found.items() if value != 0}, {
                key: value for key, value in expected.items() if value != 0}, name)
            self.assertTrue(set(expected) <= set(found), name)
        self.assertEqual(len(self.page.by_label(LIVE + 'messages_total', 'direction', 'type')), 2 * 3)

    def test_gauges(self):
        """The gauges have the values of the last round"""
        for (name, key), expected in self.books.gauges.items():
            self.assertEqual(self.page.by_label(LIVE + name, *LABELS.get(name, []))[key], expected, name)

    def test_histograms(self):
        """The histograms have each observation in its bucket"""
        for name, by_key in self.books.observed.items():
            bounds = SIZE_BOUNDS if name.endswith('_bytes') else LATENCY_BOUNDS
            for key, values in by_key.items():
                found = self.page.histogram(LIVE + name, **dict(zip(LABELS.get(name, []), key)))
                self.assertEqual(found['buckets'], buckets(bounds, values), (name, key))
                self.assertAlmostEqual(found['sum'], sum(values), places=6)

    def test_const_labels_and_build(self):
        """Every series has the program's labels, and one says what was built"""
        for key, _ in self.page.samples:
            self.assertTrue({('service', 'golivekit'), ('env', 'production')} <= key.labels, key)
        self.assertEqual(list(self.page.by_label(LIVE + 'build_info', 'version', 'revision').items()),
                         [(('1.4.0', '5f3a9c1'), 1)])
        self.assertRegex(list(self.page.by_label(LIVE + 'build_info', 'compiler'))[0][0], r'^(gcc|clang) \d+\.')

    def test_the_runtime_is_described(self):
        """The metrics of the runtime tell what the system tells"""
        pid = self.server.process.pid
        page = self.server.page()
        self.assertEqual(page.value('process_threads'), len(os.listdir(f'/proc/{pid}/task')))
        by_mode = page.by_label('cxx_cpu_seconds_total', 'mode')
        self.assertEqual(set(by_mode), {('user',), ('system',)})
        self.assertAlmostEqual(sum(by_mode.values()), page.value('process_cpu_seconds_total'), delta=0.1)
        memory = page.by_label('cxx_allocator_bytes', 'state')
        if memory:  # glibc 2.33 and later
            self.assertEqual(set(memory), {('in_use',), ('free',)})
            self.assertGreater(memory['in_use',], 10_000)

    def test_the_linter_knows_one_name_better(self):
        """promtool has nothing to say of the page, but of the name that the dashboards know"""
        lint(self, self.page, 'golivekit_presence_count')

    # Prometheus.

    def rates(self, name, *labels):
        return {key: value / self.window.seconds
                for key, value in self.window.increases(LIVE + name, *labels).items()}

    def test_the_last_values(self):
        """Prometheus has the totals, and the gauge of connections"""
        self.assertEqual(self.prometheus.number('golivekit_active_connections', self.at), self.books.active[-1])
        for name in self.books.counters:
            self.assertEqual(self.prometheus.vector(f'{LIVE}{name}_total', self.at, *LABELS[name]),
                             self.page.by_label(f'{LIVE}{name}_total', *LABELS[name]))

    def test_rates(self):
        """The rates of connections and messages"""
        for name in ('connections_total', 'messages_total'):
            labels = LABELS[name.removesuffix('_total')]
            rates = self.rates(name, *labels)
            self.assertGreater(sum(rates.values()), 0)
            self.window.check(self, f'rate({LIVE}{name}[5m])', labels, rates)

    def test_the_part_of_connections_that_fail(self):
        """The part of connections that fail needs a sum: without it each series is divided by itself"""
        rates = self.rates('connections_total', 'status')
        failed = 'rate(golivekit_connections_total{status="error"}[5m])'
        self.window.check(self, failed + ' / rate(golivekit_connections_total[5m])', ['status'], {('error',): 1})
        self.window.check(self, f'sum({failed}) / sum(rate(golivekit_connections_total[5m]))', [],
                          {(): rates['error',] / sum(rates.values())})

    def test_quantiles(self):
        """The quantiles of the time from an event to its answer, and the alert for slow ones"""
        scraped = self.window.buckets(LIVE + 'event_latency_seconds', 'event_type')
        self.assertEqual(set(scraped), {(event,) for event in EVENTS})
        for q in (0.5, 0.95, 0.99):
            expected = {key: quantile(q, found) for key, found in scraped.items()}
            query = f'histogram_quantile({q}, rate(golivekit_event_latency_seconds_bucket[5m]))'
            self.window.check(self, query, ['event_type'], expected)
            # And of all that ever was, by the books.
            found = self.prometheus.vector(query.replace('rate(', '(').replace('[5m]', ''), self.at, 'event_type')
            for key, values in self.books.observed['event_latency_seconds'].items():
                self.assertAlmostEqual(found[key], quantile(q, buckets(LATENCY_BOUNDS, values)), places=9, msg=key)
        slow = {key: value for key, value in
                ((key, quantile(0.95, found)) for key, found in scraped.items()) if value > 0.5}
        self.assertEqual(set(slow), {('submit',)})
        self.window.check(self, 'histogram_quantile(0.95, rate(golivekit_event_latency_seconds_bucket[5m])) > 0.5',
                          ['event_type'], slow)

    def test_the_mean_size(self):
        """The mean size of messages"""
        mean = (self.window.increases(LIVE + 'message_size_bytes_sum')[()] /
                self.window.increases(LIVE + 'message_size_bytes_count')[()])
        self.assertGreater(mean, 64)
        self.window.check(self, 'rate(golivekit_message_size_bytes_sum[5m]) / '
                                'rate(golivekit_message_size_bytes_count[5m])', [], {(): mean})

    def test_the_alert_for_errors(self):
        """The alert for errors fires for each type that has too many"""
        expected = {key: rate for key, rate in self.rates('errors_total', 'type').items() if rate > 0.1}
        self.assertIn(('pubsub',), expected)
        self.window.check(self, 'rate(golivekit_errors_total[5m]) > 0.1', ['type'], expected)

    def test_the_alert_for_lost_connections(self):
        """The alert for connections that are lost fires while they are, and not when they have come before"""
        points = [(float(at), float(value)) for at, value in
                  self.prometheus.query('golivekit_active_connections[5m]', self.at)[0]['values']]
        peak, most = max(points, key=lambda point: point[1])
        self.assertGreater(most, 200, points)
        self.assertIn(most, self.books.active)
        last = self.books.active[-1]
        self.assertLess(last - most, -100)
        alert = 'delta(golivekit_active_connections[5m]) < -100'
        Window(self.prometheus, peak, self.at).check(self, alert, [], {(): last - most})
        if points[0][1] < 100:  # else it came in late
            self.window.check(self, alert, [], {})


class FromOutside(unittest.TestCase):
    """The environment."""

    def start(self, **variables):
        with unittest.mock.patch.dict(os.environ, variables):
            return self.enterContext(Program('--rounds', '3'))

    def test_options_from_the_environment(self):
        """Variables change where it listens, its prefix, its labels, and what is shown"""
        with socket.socket() as reserved:
            reserved.bind(('127.0.0.1', 0))
            address = f'127.0.0.1:{reserved.getsockname()[1]}'
        server = self.start(QUIPU_LISTEN=address, QUIPU_PATH='/numbers', QUIPU_PREFIX='stage',
                            QUIPU_CONST_LABELS='env=staging, region="eu, \\"west\\""', QUIPU_RUNTIME_METRICS='off',
                            QUIPU_PROCESS_METRICS='0')
        self.assertEqual(server.metrics_url, f'http://{address}/numbers')
        server.printed('^all rounds done$')
        page = server.page()
        self.assertEqual(page.by_label('stage_connections_total', 'service', 'env', 'region', 'status'),
                         {('golivekit', 'staging', 'eu, "west"', 'success'): 12,
                          ('golivekit', 'staging', 'eu, "west"', 'error'): 1})
        self.assertFalse([key for key, _ in page.samples if key.name.startswith(('cxx_', 'process_'))])
        self.assertEqual(server.err, '')

    def test_mistakes_are_told_at_once(self):
        """Variables that are wrong end the program, which names all of them; one that is misspelled is told"""
        with unittest.mock.patch.dict(os.environ, QUIPU_LISTEN='nowhere', QUIPU_CONST_LABELS='env', QUIPU_GZIP='x'):
            done = Program.run('--seconds', '0')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        for part in ('QUIPU_LISTEN: ', 'expected HOST:PORT', 'QUIPU_CONST_LABELS: ', "at character 4: expected '='",
                     'QUIPU_GZIP: '):
            self.assertIn(part, done.stderr)
        with unittest.mock.patch.dict(os.environ, QUIPU_LISTENS='nowhere'):
            done = Program.run('--listen', '127.0.0.1:0', '--seconds', '0', '--rounds', '0')
        self.assertEqual((done.returncode, done.stderr), (0, 'live_server: nobody reads QUIPU_LISTENS\n'))


if __name__ == '__main__':
    main(__doc__)
