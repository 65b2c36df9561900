#!/usr/bin/python3
"""End to end: the realtime example, which records through a facade to a page, scraped by a real Prometheus, and to a
StatsD server, which is here.

Usage: test/e2e/realtime.py REALTIME [TEST...]
  REALTIME  the path of the built example
  TEST      a class or Class.test of this file; all of them if there is none

Needs the Debian packages prometheus and python3-prometheus-client.
"""

import collections
import os
import signal
import socket
import sys
import threading
import unittest

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import Program, Series, lint, main, quantile, wait_for, watched

ROUNDS = 100  # of 50 ms: five seconds, with some scrapes in them
LATENCY = 'phoenix_request_duration_seconds'
QUERIES = 'database_query_duration_seconds'
TIME_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float('inf'))
SIZE_BOUNDS = (500.0, 1000.0, 2000.0, float('inf'))


class Books:
    """What the example records in its first rounds, worked out anew. Times are in milliseconds."""

    def __init__(self, rounds):
        self.requests = collections.Counter()  # by route and status
        self.latency = collections.defaultdict(list)  # by route and status
        self.queries = collections.defaultdict(list)  # by source and operation
        self.sizes = collections.defaultdict(list)  # by route
        self.creations = collections.Counter()  # by region
        self.messages = collections.Counter()  # by channel and event
        self.connections = {}
        self.online = {}
        for number in range(10 * rounds):
            self._serve(number)
        for number in range(rounds):
            self._talk(number)

    def _serve(self, n):
        route = ('/', '/rooms/:id', '/comments', '/search')[n % 4]
        status = '500' if n % 20 == 19 else '404' if n % 25 == 7 else '200'
        query = 1 + n * 17 % 130
        if route == '/comments' and status == '200':
            self.queries['comments', 'insert'].append(query)
            self.creations['eu' if n // 4 % 2 == 0 else 'us'] += 1
        else:
            self.queries[('comments', 'rooms', 'users')[n % 3], 'select'].append(query)
        self.requests[route, status] += 1
        self.latency[route, status].append(query + n * 7 % 40)
        self.sizes[route].append(200 + n % 10 * 300)

    def _talk(self, i):
        for c, channel in enumerate(('room:lobby', 'room:news', 'presence')):
            self.connections[channel] = 10 + (7 * i + 5 * c) % 20
            for e, event in enumerate(('new_msg', 'typing')):
                self.messages[channel, event] += 1 + (i + c + e) % 3
        self.online = {'eu': 100 + 13 * i % 50, 'us': 80 + 11 * i % 50}

    def latency_of(self, route):
        return [took for (at, _), times in self.latency.items() if at == route for took in times]

    def counters(self):
        """All counters of the page, as its series."""
        found = {}

        def put(name, names, counts):
            for values, count in counts.items():
                found[Series(name, frozenset(zip(names, values)))] = count

        put('phoenix_request_count_total', ('route', 'status'), self.requests)
        put('database_query_count_total', ('source', 'operation'), {key: len(t) for key, t in self.queries.items()})
        put('websocket_messages_total', ('channel', 'event'), self.messages)
        put('comments_created_total', (), {(): sum(self.creations.values())})
        return found


def buckets(values, bounds=TIME_BOUNDS):
    return [(bound, sum(value <= bound for value in values)) for bound in bounds]


def seconds(milliseconds):
    return [value / 1000 for value in milliseconds]


class StatsdServer:
    """Takes the lines of DogStatsD, over UDP, until it is closed."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self._socket.getsockname()[1]}'
        self._lock = threading.Lock()
        self._datagrams = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            data = self._socket.recv(65536)
            if not data:
                return
            with self._lock:
                self._datagrams.append(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.sendto(b'', self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def datagrams(self):
        with self._lock:
            return list(self._datagrams)

    def read(self):
        """What all lines say: sums of counters, last values of gauges, and all values of the rest, by series, each
        under its name with underscores, and by its type."""
        sums = collections.Counter()
        gauges = {}
        values = {'ms': collections.defaultdict(list), 'h': collections.defaultdict(list)}
        for data in self.datagrams():
            for line in data.decode('utf-8').split('\n'):
                head, kind, *tags = line.split('|')
                name, _, value = head.partition(':')
                labels = frozenset(tuple(tag.split(':', 1)) for tag in (tags[0][1:].split(',') if tags else ()))
                series = Series(name.replace('.', '_'), labels)
                if kind == 'c':
                    sums[series] += int(value)
                elif kind == 'g':
                    gauges[series] = float(value)
                else:
                    values[kind][series].append(float(value))
        return sums, gauges, values


def as_tags(series):
    """A series of the page as StatsD is told of it: without the "_total", and with what would break a line made '_'."""
    name = series.name.removesuffix('_total').removesuffix('_seconds')
    return Series(name, frozenset((label, value.replace(':', '_')) for label, value in series.labels))


def extrapolated(points, start, end):
    """PromQL's increase() of a counter that has these samples in the range."""
    (first, low), (last, high) = points[0], points[-1]
    sampled = last - first
    average = sampled / (len(points) - 1)
    to_start, to_end = first - start, end - last
    if high > low >= 0:
        to_start = min(to_start, sampled * low / (high - low))  # it was not below 0 then
    length = sampled
    for distance in (to_start, to_end):
        length += distance if distance < average * 1.1 else average / 2
    return (high - low) * length / sampled


class Recorded(unittest.TestCase):
    """The page, what a Prometheus server makes of it, and what StatsD was told, after known rounds."""

    @classmethod
    def setUpClass(cls):
        cls.books = Books(ROUNDS)
        cls.statsd = cls.enterClassContext(StatsdServer())
        os.environ['QUIPU_RECORDER'] = f'registry,dogstatsd://{cls.statsd.address}'
        cls.prometheus, cls.realtime, window = watched(cls, 'realtime', ROUNDS)
        cls.at = window.at  # every query is about this moment: the first scrape after the last round
        cls.page = cls.realtime.page()

    def check_vector(self, expression, expected, *labels, places=9):
        found = self.prometheus.vector(expression, self.at, *labels)
        self.assertEqual(set(found), set(expected), expression)
        for key, value in expected.items():
            self.assertAlmostEqual(found[key], value, places=places, msg=f'{expression} {key}')

    def points(self, selector):
        """The samples of a range selector, by all labels."""
        return {frozenset(one['metric'].items()): [(at, float(value)) for at, value in one['values']]
                for one in self.prometheus.query(selector, self.at)}

    # The page.

    def test_every_counter_is_exact(self):
        """All counters of the page are what the rounds recorded, and there are no others"""
        page = {key: value for key, value in self.page.samples if key.name.endswith('_total')
                and not key.name.startswith(('process_', 'quipu_', 'statsd_'))}
        self.assertEqual(page, self.books.counters())

    def test_gauges_have_the_last_values(self):
        """Connections and users online are those of the last round"""
        self.assertEqual(self.page.by_label('websocket_connections', 'channel'),
                         {(channel,): value for channel, value in self.books.connections.items()})
        self.assertEqual(self.page.by_label('users_online', 'region'),
                         {(region,): value for region, value in self.books.online.items()})

    def test_every_time_is_in_its_bucket(self):
        """The histograms of times are in seconds: buckets, count and sum are those of the rounds"""
        for name, labels, books in ((LATENCY, ('route', 'status'), self.books.latency),
                                    (QUERIES, ('source', 'operation'), self.books.queries)):
            self.assertEqual(len(self.page.histograms()[name]), len(books))
            for key, times in books.items():
                found = self.page.histogram(name, **dict(zip(labels, key)))
                self.assertEqual(found['buckets'], buckets(seconds(times)), key)
                self.assertEqual(found['count'], len(times))
                self.assertAlmostEqual(found['sum'], sum(times) / 1000)
        for route, sizes in self.books.sizes.items():
            self.assertEqual(self.page.histogram('response_size_bytes', route=route)['buckets'],
                             buckets(sizes, SIZE_BOUNDS))
            self.assertEqual(self.page.histogram('request_duration_seconds', route=route)['count'], len(sizes))

    def test_timers_are_counted(self):
        """Each comment that was created was timed, in its region"""
        self.assertEqual(self.page.by_label('comment_creation_duration_seconds_count', 'region'),
                         {(region,): count for region, count in self.books.creations.items()})

    def test_nothing_was_dropped(self):
        """Neither the page nor StatsD missed anything"""
        for name in ('quipu_recorder_dropped_total', 'statsd_dropped_lines_total', 'statsd_failed_datagrams_total'):
            values = self.page.by_label(name, 'reason')
            self.assertGreaterEqual(len(values), 3)
            self.assertEqual(set(values.values()), {0}, name)
        self.assertEqual(self.realtime.err, '')

    def test_promtool_finds_nothing_to_say(self):
        """promtool check metrics is silent"""
        lint(self, self.page)

    # The dashboards and alerts.

    def test_request_rates(self):
        """Rates by route, while requests come in, are what the scraped counters make of them"""
        window = 60
        expected = collections.Counter()
        for labels, points in self.points(f'phoenix_request_count_total[{window}s]').items():
            labels = dict(labels)
            self.assertGreaterEqual(len(points), 2)
            self.assertEqual(points[-1][1], self.books.requests[labels['route'], labels['status']])
            expected[labels['route'],] += extrapolated(points, self.at - window, self.at) / window
        self.assertGreater(min(expected.values()), 0)
        self.check_vector(f'sum by (route) (rate(phoenix_request_count_total[{window}s]))', expected, 'route')

    def test_latency_quantiles_by_route(self):
        """Quantiles of the latency by route are those of the recorded times, in these buckets"""
        for q in (0.5, 0.95, 0.99):
            expected = {(route,): quantile(q, buckets(seconds(self.books.latency_of(route))))
                        for route in self.books.sizes}
            self.check_vector(f'histogram_quantile({q}, sum by (route, le) ({LATENCY}_bucket))', expected, 'route')

    def test_error_rate(self):
        """The share of requests with an error is that of the rounds"""
        errors = sum(count for (_, status), count in self.books.requests.items() if status >= '500')
        total = sum(self.books.requests.values())
        self.assertGreater(errors, 0)
        self.assertAlmostEqual(self.prometheus.number(
            'sum(phoenix_request_count_total{status=~"5.."}) / sum(phoenix_request_count_total)', self.at),
            errors / total)

    def test_slow_queries(self):
        """Queries that took more than 100 ms are as many as there were, and the mean time is theirs"""
        slow = collections.Counter()
        times = collections.defaultdict(list)
        for (source, _), took in self.books.queries.items():
            slow[source,] += sum(one > 100 for one in took)
            times[source,] += took
        self.assertGreater(min(slow.values()), 0)
        self.check_vector(f'sum by (source) ({QUERIES}_count) - sum by (source) ({QUERIES}_bucket{{le="0.1"}})', slow,
                          'source')
        self.check_vector(f'sum by (source) ({QUERIES}_sum) / sum by (source) ({QUERIES}_count)',
                          {source: sum(took) / 1000 / len(took) for source, took in times.items()}, 'source')

    def test_connections_by_channel(self):
        """Connections and messages by channel are those of the rounds"""
        self.check_vector('websocket_connections', {(c,): n for c, n in self.books.connections.items()}, 'channel')
        messages = collections.Counter()
        for (channel, _), count in self.books.messages.items():
            messages[channel,] += count
        self.check_vector('sum by (channel) (websocket_messages_total)', messages, 'channel')

    def test_counters_never_go_down(self):
        """No counter went down from one scrape to the next, while it was recorded to"""
        for name in ('phoenix_request_count_total', 'websocket_messages_total', f'{LATENCY}_count'):
            for labels, points in self.points(f'{name}[5m]').items():
                values = [value for _, value in points]
                self.assertEqual(values, sorted(values), labels)

    def test_the_log_is_calm(self):
        """The server logs no warning and no error"""
        self.assertEqual(self.prometheus.complaints(), [])

    # StatsD.

    def read_all(self):
        """What StatsD was told, once it was told everything."""
        expected = {as_tags(key): value for key, value in self.books.counters().items()}

        def look():
            sums, gauges, values = self.statsd.read()
            return (sums, gauges, values) if sums == expected else None

        return wait_for('the deltas that make up the counters', look)

    def test_the_deltas_make_up_the_counters(self):
        """The sums of the deltas equal the counters of the page, series by series; there were several deltas of each"""
        sums, _, _ = self.read_all()
        page = {as_tags(key): value for key, value in self.page.samples if key in self.books.counters()}
        self.assertEqual(sums, page)
        busy = f'phoenix.request.count:'.encode()
        self.assertGreater(sum(data.count(busy) for data in self.statsd.datagrams()), 2 * len(self.books.requests))

    def test_gauges_are_told(self):
        """The last value of each gauge that was sent is the one on the page"""
        _, gauges, _ = self.read_all()
        page = {as_tags(key): value for key, value in self.page.samples
                if key.name in ('websocket_connections', 'users_online')}
        self.assertEqual(gauges, page)

    def test_every_value_is_told(self):
        """Each time was sent, in milliseconds, and each value of a histogram"""
        _, _, values = self.read_all()
        for (route, status), times in self.books.latency.items():
            series = as_tags(Series('phoenix_request_duration', {('route', route), ('status', status)}))
            self.assertEqual(sorted(values['ms'][series]), sorted(times))
        for route, sizes in self.books.sizes.items():
            series = as_tags(Series('response_size_bytes', {('route', route)}))
            self.assertEqual(sorted(values['h'][series]), sorted(sizes))

    def test_datagrams_are_small(self):
        """No datagram is longer than what fits into a frame of Ethernet; and the page counts them and their bytes"""
        self.read_all()

        def look():
            page, datagrams = self.realtime.page(), self.statsd.datagrams()
            return (page.value('statsd_sent_datagrams_total') == len(datagrams)
                    and page.value('statsd_sent_bytes_total') == sum(map(len, datagrams)))

        wait_for('as many datagrams as the page counts', look)
        self.assertLessEqual(max(map(len, self.statsd.datagrams())), 1432)


class TheEnd(unittest.TestCase):
    """What happens to what was not sent yet, and without a StatsD server."""

    def test_what_is_left_is_sent_at_the_end(self):
        """When the program is ended, all that was recorded has been sent"""
        with StatsdServer() as statsd:
            os.environ['QUIPU_RECORDER'] = f'registry,dogstatsd://{statsd.address}'
            with Program('--rounds', '1') as realtime:
                realtime.printed('^all rounds done$')
                status, _ = realtime.end(signal.SIGTERM)
                self.assertEqual((status, realtime.err), (0, ''))
            expected = {as_tags(key): value for key, value in Books(1).counters().items()}
            wait_for('the deltas of the first round', lambda: statsd.read()[0] == expected)

    def test_a_server_that_is_not_there_changes_nothing(self):
        """The page is the same when nobody listens for StatsD, or none is wanted"""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(('127.0.0.1', 0))
            nobody = f'127.0.0.1:{probe.getsockname()[1]}'
        for address in (nobody, None):
            with self.subTest(address):
                os.environ.pop('QUIPU_RECORDER', None)
                if address:
                    os.environ['QUIPU_RECORDER'] = f'registry,dogstatsd://{address}'
                with Program('--rounds', '1') as realtime:
                    realtime.printed('^all rounds done$')
                    page = realtime.page()
                    self.assertEqual({key: page.values[key] for key in Books(1).counters()}, Books(1).counters())

    def test_an_address_that_makes_no_sense(self):
        """A StatsD address that does not resolve ends the program, with a message that names it"""
        os.environ['QUIPU_RECORDER'] = 'dogstatsd://no.such.host.invalid:8125'
        done = Program.run('--rounds', '1', '--listen', '127.0.0.1:0')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('no.such.host.invalid:8125', done.stderr)


if __name__ == '__main__':
    main(__doc__)
