#!/usr/bin/python3
"""End to end: the exporter example, its health, and what a real Prometheus makes of both.

Usage: test/e2e/exporter.py EXPORTER [TEST...]
  EXPORTER  the path of the built example
  TEST      a class or Class.test of this file; all of them if there is none

Needs the Debian packages prometheus and python3-prometheus-client.
"""

import collections
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import unittest
import urllib.parse

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import PATIENCE, Dice, Program, Prometheus, lint, main, quantile, request, wait_for

ROUNDS = 150

# What the documentation of the exporter lists: type, and labels.
METRICS = {
    'export_trakt_exports_total': ('counter', {'status', 'type', 'format'}),
    'export_trakt_export_duration_seconds': ('histogram', {'type', 'status'}),
    'export_trakt_export_errors_total': ('counter', {'type', 'error_code', 'component'}),
    'export_trakt_api_calls_total': ('counter', {'service', 'endpoint', 'method', 'status_code'}),
    'export_trakt_api_call_duration_seconds': ('histogram', {'service', 'endpoint', 'method'}),
    'export_trakt_api_call_errors_total': ('counter', {'service', 'endpoint', 'error_type'}),
    'export_trakt_movies_exported_total': ('counter', {'category', 'status'}),
    'export_trakt_ratings_exported_total': ('counter', {'rating_value'}),
    'export_trakt_watchlist_exported_total': ('counter', {'item_type'}),
    'export_trakt_cache_hit_rate': ('gauge', {'cache_type'}),
    'export_trakt_goroutines_count': ('gauge', set()),
    'export_trakt_memory_usage_bytes': ('gauge', {'type'}),
    'export_trakt_cpu_usage_percent': ('gauge', set()),
    'export_trakt_start_time_seconds': ('gauge', set()),
    'export_trakt_health_status': ('gauge', {'version'}),
    'export_trakt_component_health': ('gauge', {'component', 'version'}),
}
EXPORT_BOUNDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, float('inf'))
CALL_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float('inf'))


class Books:
    """What the example has to count in its rounds, worked out once more."""

    endpoints = {'movies': '/sync/watched', 'ratings': '/sync/ratings', 'watchlist': '/sync/watchlist'}

    def __init__(self, rounds):
        self._dice = Dice()
        self.counts = collections.defaultdict(collections.Counter)
        self.export_times = collections.defaultdict(list)
        self.call_times = collections.defaultdict(list)
        self._hits = self._lookups = 0
        for number in range(rounds):
            self._export(number)
        self.hit_rate = 100 * self._hits / self._lookups

    def _export(self, number):
        kind = list(self.endpoints)[number % 3]
        milliseconds, problem = self._fetch(self.endpoints[kind])
        if problem:
            self.counts['export_errors_total'][kind, problem, 'trakt_api'] += 1
        else:
            self._write(kind)
        status = 'error' if problem else 'success'
        self.counts['exports_total'][status, kind, 'csv' if number % 5 else 'json'] += 1
        self.export_times[kind, status].append(milliseconds / 1000)

    def _fetch(self, endpoint):
        total = 0
        for _ in range(1 + self._dice.throw(3)):
            milliseconds = 20 + self._dice.throw(400)
            if self._dice.throw(40) == 0:
                milliseconds += 3000
            status = {0: 502, 1: 429}.get(self._dice.throw(25), 200)
            total += milliseconds
            self.counts['api_calls_total'][endpoint, 'GET', str(status)] += 1
            self.call_times[endpoint].append(milliseconds / 1000)
            if status != 200:
                error = 'rate_limit' if status == 429 else 'server_error'
                self.counts['api_call_errors_total'][endpoint, error] += 1
                return total, error
        return total, None

    def _write(self, kind):
        throw = self._dice.throw
        if kind == 'movies':
            self.counts['movies_exported_total']['watched', 'success'] += 10 + throw(40)
            self.counts['movies_exported_total']['watched', 'skipped'] += throw(5)
        elif kind == 'ratings':
            for _ in range(5 + throw(10)):
                self.counts['ratings_exported_total'][str(1 + throw(10)),] += 1
        else:
            self.counts['watchlist_exported_total']['movie',] += throw(20)
            self.counts['watchlist_exported_total']['show',] += throw(10)
        self._lookups += 20
        self._hits += throw(21)


def buckets(times, bounds):
    return [(bound, sum(time <= bound for time in times)) for bound in bounds]


class Exporter(Program):
    """The example, when it has done its rounds."""

    def __init__(self, *options):
        super().__init__('--rounds', str(ROUNDS), *options)
        try:
            self.root = urllib.parse.urljoin(self.printed_url('health'), '/')
            self.printed('^all rounds done$')
        except BaseException:
            self.stop()
            raise

    def stop(self):
        try:
            if self.process.poll() is None:
                self.end(signal.SIGTERM)  # it takes its folder with it
        finally:
            super().stop()

    def health(self):
        """The HTTP status and the report."""
        answer = request(self.root + 'health')
        return answer.status, json.loads(answer.body)

    def component(self, name):
        return self.health()[1]['components'][name]

    def statuses(self):
        return {path: request(self.root + path).status
                for path in ('health', 'health/ready', '-/ready', 'health/live', '-/healthy')}


class TheExporter(unittest.TestCase):
    """The example, scraped by a Prometheus server."""

    @classmethod
    def setUpClass(cls):
        cls.exporter = cls.enterClassContext(Exporter())
        cls.files = cls.exporter.printed('^files: +(.*)\n')[1]
        cls.prometheus = cls.enterClassContext(Prometheus({'exporter': cls.exporter.metrics_url}))
        cls.books = Books(ROUNDS)
        wait_for('the first checks', lambda: cls.exporter.health()[1]['status'] == 'healthy')
        cls.page = cls.exporter.page()
        cls.at = cls.prometheus.scrape_after(time.time(), 'exporter')

    def setUp(self):
        wait_for('health', lambda: self.exporter.health()[1]['status'] == 'healthy')

    def number(self, expression):
        return self.prometheus.number(expression, self.at)

    def vector(self, expression, *labels):
        return self.prometheus.vector(expression, self.at, *labels)

    # The page

    def test_what_is_documented_is_there(self):
        """Every metric of the documentation is on the page, with its type and its labels"""
        types = dict(self.page.declared('TYPE'))
        for name, (kind, labels) in METRICS.items():
            with self.subTest(name):
                self.assertEqual(types[name], kind)
                sample = name + '_count' if kind == 'histogram' else name
                found = {frozenset(key for key, _ in series.labels)
                         for series, _ in self.page.samples if series.name == sample}
                self.assertEqual(found, {frozenset(labels)})

    def test_the_linter_knows_one_name_better(self):
        """promtool has nothing to say of the page, but of the name that the dashboards know"""
        lint(self, self.page, 'export_trakt_goroutines_count')

    def test_the_page_agrees_with_the_books(self):
        """Every counter, bucket and sum is what the rounds make"""
        labels = {'exports_total': ('status', 'type', 'format'), 'export_errors_total': ('type', 'error_code', 'component'),
                  'api_calls_total': ('endpoint', 'method', 'status_code'),
                  'api_call_errors_total': ('endpoint', 'error_type'), 'movies_exported_total': ('category', 'status'),
                  'ratings_exported_total': ('rating_value',), 'watchlist_exported_total': ('item_type',)}
        self.assertEqual(set(labels), set(self.books.counts))
        for name, expected in self.books.counts.items():
            with self.subTest(name):
                found = self.page.by_label(f'export_trakt_{name}', *labels[name])
                self.assertEqual({key: value for key, value in found.items() if value}, +expected)
        for (kind, status), times in self.books.export_times.items():
            found = self.page.histogram('export_trakt_export_duration_seconds', type=kind, status=status)
            self.assertEqual(found['buckets'], buckets(times, EXPORT_BOUNDS))
            self.assertAlmostEqual(found['sum'], sum(times))
        for endpoint, times in self.books.call_times.items():
            found = self.page.histogram('export_trakt_api_call_duration_seconds', endpoint=endpoint)
            self.assertEqual(found['buckets'], buckets(times, CALL_BOUNDS))
            self.assertAlmostEqual(found['sum'], sum(times))
        self.assertAlmostEqual(self.page.value('export_trakt_cache_hit_rate'), self.books.hit_rate)

    # The dashboards

    def test_success_rate(self):
        """The share of exports that succeed, in all and by type, is that of the rounds"""
        exports = self.books.counts['exports_total']

        def share(kinds):
            of_kinds = {key: count for key, count in exports.items() if key[1] in kinds}
            return sum(count for key, count in of_kinds.items() if key[0] == 'success') / sum(of_kinds.values())

        self.assertAlmostEqual(
            self.number('sum(export_trakt_exports_total{status="success"}) / sum(export_trakt_exports_total)'),
            share(Books.endpoints))
        by_type = self.vector('sum by (type) (export_trakt_exports_total{status="success"})'
                              ' / sum by (type) (export_trakt_exports_total)', 'type')
        self.assertEqual(set(by_type), {(kind,) for kind in Books.endpoints})
        for (kind,), found in by_type.items():
            self.assertAlmostEqual(found, share([kind]))

    def test_latency(self):
        """The quantiles of API calls and exports are those of the rounds' buckets"""
        calls = sum(self.books.call_times.values(), [])
        exports = sum(self.books.export_times.values(), [])
        for q in (0.5, 0.95, 0.99):
            for name, times, bounds in (('api_call', calls, CALL_BOUNDS), ('export', exports, EXPORT_BOUNDS)):
                found = self.number(f'histogram_quantile({q}, sum by (le) (export_trakt_{name}_duration_seconds_bucket))')
                self.assertAlmostEqual(found, quantile(q, buckets(times, bounds)), msg=(q, name))
            by_endpoint = self.vector(f'histogram_quantile({q}, sum by (le, endpoint) '
                                      '(export_trakt_api_call_duration_seconds_bucket))', 'endpoint')
            for endpoint, times in self.books.call_times.items():
                self.assertAlmostEqual(by_endpoint[endpoint,], quantile(q, buckets(times, CALL_BOUNDS)))
        self.assertAlmostEqual(self.number('sum(export_trakt_api_call_duration_seconds_sum)'
                                           ' / sum(export_trakt_api_call_duration_seconds_count)'),
                               sum(calls) / len(calls))

    def test_error_rates(self):
        """The errors per call and per export, by what went wrong, are those of the rounds"""
        calls = sum(self.books.counts['api_calls_total'].values())
        found = self.vector('sum by (error_type) (export_trakt_api_call_errors_total)'
                            ' / ignoring(error_type) group_left sum(export_trakt_api_calls_total)', 'error_type')
        expected = collections.Counter()
        for (_, error), count in self.books.counts['api_call_errors_total'].items():
            expected[error,] += count
        self.assertEqual(set(found), set(expected))
        for error, count in expected.items():
            self.assertAlmostEqual(found[error], count / calls)
        failed = sum(count for (status, *_), count in self.books.counts['exports_total'].items() if status == 'error')
        self.assertEqual(self.number('sum(export_trakt_export_errors_total{component="trakt_api"})'), failed)

    def test_what_was_exported(self):
        """Movies, the mean rating, the watchlist and the cache have the numbers of the rounds"""
        counts = self.books.counts
        self.assertEqual(self.number('export_trakt_movies_exported_total{category="watched",status="success"}'),
                         counts['movies_exported_total']['watched', 'success'])
        ratings = {key[0]: count for key, count in counts['ratings_exported_total'].items()}
        self.assertEqual(self.vector('export_trakt_ratings_exported_total', 'rating_value'),
                         {(value,): count for value, count in ratings.items()})
        self.assertEqual(self.number('sum(export_trakt_watchlist_exported_total)'),
                         sum(counts['watchlist_exported_total'].values()))
        self.assertAlmostEqual(self.number('export_trakt_cache_hit_rate{cache_type="metadata"}'), self.books.hit_rate)

    def test_the_system(self):
        """Memory, threads, CPU usage and the start are those of the process"""
        resident = self.number('export_trakt_memory_usage_bytes{type="resident"}')
        self.assertAlmostEqual(resident / self.number('process_resident_memory_bytes'), 1, delta=0.2)
        self.assertGreater(self.number('export_trakt_memory_usage_bytes{type="virtual"}'), resident)
        self.assertGreaterEqual(self.number('export_trakt_goroutines_count'), 1 + 5 + 2)
        self.assertTrue(0 <= self.number('export_trakt_cpu_usage_percent') <= 100 * os.cpu_count() + 100)
        self.assertTrue(0 < time.time() - self.number('export_trakt_start_time_seconds') < 600)

    # Health

    def check_health(self, expected, components):
        """That the probes and Prometheus see this status of the whole, and these numbers of components."""
        status, report = self.exporter.health()
        self.assertEqual(report['status'], expected)
        probe = 503 if expected == 'unhealthy' else 200
        self.assertEqual(status, probe)
        self.assertEqual(self.exporter.statuses(), {'health': probe, 'health/ready': probe, '-/ready': probe,
                                                    'health/live': 200, '-/healthy': 200})
        at = self.prometheus.scrape_after(time.time(), 'exporter')
        number = {'healthy': 1, 'degraded': 0.5, 'unhealthy': 0}[expected]
        self.assertEqual(self.prometheus.vector('export_trakt_health_status', at, 'version'), {('2.0.0',): number})
        self.assertEqual(self.prometheus.vector('export_trakt_component_health', at, 'component'),
                         {(name,): value for name, value in components.items()})
        # What an alert asks.
        self.assertEqual(self.prometheus.vector('export_trakt_component_health < 1', at, 'component'),
                         {(name,): value for name, value in components.items() if value < 1})

    def test_the_report(self):
        """GET /health reports the whole and each component: status, times, message, details"""
        answer = request(self.exporter.root + 'health')
        self.assertEqual(answer.all('Content-Type'), ['application/json'])
        self.assertEqual(answer.all('Cache-Control'), ['no-store'])
        report = json.loads(answer.body)
        self.assertEqual(set(report), {'status', 'timestamp', 'version', 'uptime', 'components'})
        self.assertEqual(report['version'], '2.0.0')
        now = datetime.datetime.now(datetime.timezone.utc)

        def age(text):
            self.assertRegex(text, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
            return (now - datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))).total_seconds()

        self.assertTrue(-1 < age(report['timestamp']) < PATIENCE)
        self.assertTrue(0 < report['uptime'] < 600)
        self.assertEqual(list(report['components']), ['system', 'trakt_api', 'file_system'])
        for name, component in report['components'].items():
            self.assertEqual(set(component), {'name', 'status', 'critical', 'message', 'last_checked', 'duration',
                                              'details'})
            self.assertEqual((component['name'], component['status']), (name, 'healthy'))
            self.assertTrue(-1 < age(component['last_checked']) < PATIENCE)
            self.assertTrue(0 <= component['duration'] < 5)
        details = report['components']['system']['details']
        self.assertEqual(details['num_cpu'], os.cpu_count())
        self.assertTrue(1 < details['memory_alloc_mb'] < 500)

    def test_the_folder_goes_and_comes_back(self):
        """Without its folder the exporter is unhealthy, for probes and for Prometheus, until it is there again"""
        healthy = {'system': 1, 'trakt_api': 1, 'file_system': 1}
        self.check_health('healthy', healthy)
        folder = os.path.join(self.files, 'exports')
        shutil.rmtree(folder)
        try:
            wait_for('file_system to be unhealthy',
                     lambda: self.exporter.component('file_system')['status'] == 'unhealthy')
            self.assertEqual(self.exporter.component('file_system')['message'], f'cannot write to {folder}')
            self.check_health('unhealthy', {**healthy, 'file_system': 0})
        finally:
            os.mkdir(folder)
        wait_for('file_system to recover', lambda: self.exporter.component('file_system')['status'] == 'healthy')
        self.check_health('healthy', healthy)

    def test_the_service_hangs_and_answers_again(self):
        """When the service hangs, its check has timed out, the others go on, and the exporter is degraded"""
        outage = os.path.join(self.files, 'outage')
        with open(outage, 'w', encoding='utf-8'):
            pass
        try:
            wait_for('trakt_api to time out', lambda: self.exporter.component('trakt_api')['status'] == 'unhealthy')
            self.assertEqual(self.exporter.component('trakt_api')['message'], 'timed out after 0.5 s')
            self.check_health('degraded', {'system': 1, 'trakt_api': 0, 'file_system': 1})
            before = self.exporter.component('file_system')['last_checked']
            wait_for('the other checks', lambda: self.exporter.component('file_system')['last_checked'] > before)
        finally:
            os.remove(outage)
        wait_for('trakt_api to recover', lambda: self.exporter.component('trakt_api')['status'] == 'healthy')
        self.check_health('healthy', {'system': 1, 'trakt_api': 1, 'file_system': 1})

    def test_the_log_is_calm(self):
        """The server logs no warning and no error"""
        self.assertEqual(self.prometheus.complaints(), [])


class AnyText(unittest.TestCase):
    """Messages that are not meant for JSON."""

    def test_any_text_is_a_message(self):
        """A message of any bytes is read back by a JSON parser; what is not UTF-8 is U+FFFD"""
        odd = bytes(byte for byte in range(1, 256) if byte != ord('/'))  # what a name of a file may have
        with tempfile.TemporaryDirectory(prefix='quipu-e2e-') as folder:
            path = os.path.join(os.fsencode(folder), odd)
            os.mkdir(path)
            before = os.environ.get('TMPDIR')
            os.environb[b'TMPDIR'] = path
            try:
                exporter = self.enterContext(Exporter())
            finally:
                del os.environ['TMPDIR']
                if before is not None:
                    os.environ['TMPDIR'] = before
            files = os.path.join(path, f'quipu-exporter-{exporter.process.pid}'.encode())
            shutil.rmtree(os.path.join(files, b'exports'))
            wait_for('it to be unhealthy', lambda: exporter.component('file_system')['status'] == 'unhealthy')
            message = exporter.component('file_system')['message']
            self.assertEqual(message, 'cannot write to ' + os.path.join(files, b'exports').decode(errors='replace'))
            self.assertEqual(exporter.end(signal.SIGTERM)[0], 0)


if __name__ == '__main__':
    main(__doc__)
