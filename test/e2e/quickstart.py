#!/usr/bin/python3
"""End to end: the quickstart example as its users meet it, scraped by a real Prometheus.

Usage: test/e2e/quickstart.py QUICKSTART [TEST...]
  QUICKSTART  the path of the built example
  TEST        a class or Class.test of this file; all of them if there is none

Needs the Debian packages prometheus, python3-prometheus-client and curl.
"""

import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import (PATIENCE, TEXT_FORMAT, Customers, Page, Prometheus, Quickstart, Series, connect,
                     exchange, histograms, lint, main, program, quantile, request, wait_for)

# A program that ends at a signal "at once" has this long, on a machine that may be busy.
PROMPTLY = 5.0

REQUESTS = 'shop_http_requests_total'
LATENCY = 'shop_http_request_duration_seconds'
ORDERS = 'shop_order_value_euros'
SIZES = 'shop_http_response_size_bytes'  # a native histogram


class ThePage(unittest.TestCase):
    """The page, read back with Prometheus' Python client."""

    @classmethod
    def setUpClass(cls):
        cls.quickstart = cls.enterClassContext(Quickstart('--rounds', '0'))
        cls.customers = Customers(cls.quickstart.shop_url)
        cls.fresh = cls.quickstart.page()
        cls.customers.first_day()
        cls.customers.second_day()
        cls.page = cls.quickstart.page()

    def test_nothing_is_counted_before_anything_happens(self):
        """Before the first request, the numbers of the shop are on the page as 0, but for labels not known yet"""
        shop = {key: value for key, value in self.fresh.samples
                if key.name.startswith('shop_') and key.name not in ('shop_build_info', 'shop_sign')}
        self.assertEqual(set(shop.values()), {0})
        later = {key for key in self.page.values if key.name.startswith('shop_') and key not in self.fresh.values}
        self.assertEqual({key.name for key in later}, {REQUESTS})

    def test_requests_are_counted_by_method_and_code(self):
        """The request counters equal the number of requests sent, by method and code"""
        self.assertEqual(self.page.by_label(REQUESTS, 'method', 'code'), dict(self.customers.requests))

    def test_request_times_are_counted_by_route(self):
        """The histogram of times counts each request once, under its route"""
        self.assertEqual(self.page.by_label(LATENCY + '_count', 'route'),
                         {(route,): count for route, count in self.customers.routes.items()})

    def test_times_are_seconds(self):
        """Requests that took at least 40 ms are in no bucket below that, and in the sum as seconds"""
        slow = self.page.histogram(LATENCY, route='/slow')
        below = max(count for bound, count in slow['buckets'] if bound < 0.040)
        self.assertLessEqual(below, 1)  # the one that did not wait
        self.assertGreaterEqual(slow['sum'], 5 * 0.040)
        self.assertLess(slow['sum'], 6 * PATIENCE)

    def test_orders_are_in_their_buckets(self):
        """Each order is in the bucket of its value; one that equals a bound is in that bound's bucket"""
        orders = self.page.histogram(ORDERS)
        self.assertIn(200.0, self.customers.orders)
        self.assertEqual(orders['buckets'], self.customers.order_buckets())
        self.assertEqual(orders['sum'], sum(self.customers.orders))
        self.assertEqual(orders['count'], len(self.customers.orders))

    def test_money_and_the_cart_are_exact(self):
        """A counter of fractions, a gauge, and a gauge read at the scrape have the values of the books"""
        self.assertEqual(self.page.value('shop_revenue_euros_total'), sum(self.customers.orders))
        self.assertEqual(self.page.value('shop_cart_items'), len(self.customers.cart))
        self.assertEqual(self.page.value('shop_cart_value_euros'), sum(self.customers.cart))

    def test_a_request_is_in_flight_while_it_is_served(self):
        """The gauge of requests in flight is 1 during a slow request, and 0 after it"""
        quickstart = self.enterContext(Quickstart('--rounds', '0'))
        in_flight = []
        for _ in range(5):  # on a busy machine the request may be over before the page is read
            visitor = threading.Thread(target=request, args=(quickstart.shop_url + '/slow?ms=1000',))
            visitor.start()
            while visitor.is_alive() and 1 not in in_flight:
                in_flight.append(quickstart.page().value('shop_http_requests_in_flight'))
            visitor.join()
            if 1 in in_flight:
                break
        self.assertEqual(set(in_flight) - {0}, {1})
        self.assertEqual(quickstart.page().value('shop_http_requests_in_flight'), 0)

    def test_every_family_is_in_one_piece(self):
        """Each family has one HELP line, one TYPE line, and its samples next to them"""
        types = [name for name, _ in self.page.declared('TYPE')]
        self.assertEqual(len(types), len(set(types)))
        self.assertEqual([name for name, _ in self.page.declared('HELP')], types)
        # The parser gives a family back each time that one begins, and one of its own to each stray sample.
        self.assertEqual(len(self.page.families), len(types))
        self.assertNotIn('unknown', {family.type for family in self.page.families})

    def test_every_series_is_there_once(self):
        """No series is on the page twice"""
        self.assertEqual(len(self.page.values), len(self.page.samples))
        self.assertEqual(len(self.page.samples), len(self.page.lines))

    def test_every_histogram_is_whole(self):
        """The buckets are cumulative, in the order of their bounds, and the last one, +Inf, equals the count"""
        check_histograms(self, self.page.histograms(), {LATENCY: 5, ORDERS: 1})

    def test_facts_and_states_are_shown(self):
        """Facts are labels, whatever text they are; of the states, one is 1"""
        facts = [dict(key.labels) for key, value in self.page.samples if key.name == 'shop_build_info' and value == 1]
        self.assertEqual([(one['version'], one['motto']) for one in facts],
                         [('1.0', '"Knots\\strings",\nand no paper.')])
        self.assertEqual(self.page.by_label('shop_sign', 'shop_sign'), {('open',): 1, ('closed',): 0})

    def test_the_constant_label_is_everywhere(self):
        """The registry's constant label is on every series"""
        values = {dict(key.labels).get('env') for key, _ in self.page.samples}
        self.assertEqual(len(values), 1, values)
        self.assertNotIn(None, values)

    def test_the_process_is_described(self):
        """The metrics of the process tell what the system tells"""
        pid = self.quickstart.process.pid
        page = self.quickstart.page()
        self.assertLess(abs(page.value('process_start_time_seconds') - time.time()), 300)
        self.assertGreater(page.value('process_resident_memory_bytes'), 100_000)
        self.assertLess(abs(page.value('process_open_fds') - len(os.listdir(f'/proc/{pid}/fd'))), 5)
        self.assertLess(page.value('process_cpu_seconds_total'), PATIENCE)

    def test_the_page_ends_with_a_line_feed(self):
        """Lines end with a line feed alone, the last one too, and no line is empty"""
        self.assertTrue(self.page.text.endswith('\n'))
        self.assertNotIn('\r', self.page.text)
        self.assertNotIn('\n\n', self.page.text)

    def test_promtool_finds_nothing_to_say(self):
        """promtool check metrics is silent"""
        for page in (self.fresh, self.page):
            lint(self, page)


def check_histograms(test, found, expected):
    """Each is whole; `expected` says how many label sets each of these names has."""
    test.assertEqual({name: len(found[name]) for name in expected}, expected)
    for name, sets in found.items():
        for labels, histogram in sets.items():
            bounds = [bound for bound, _ in histogram['buckets']]
            counts = [count for _, count in histogram['buckets']]
            test.assertEqual(bounds, sorted(set(bounds)), (name, labels))
            test.assertEqual(counts, sorted(counts), (name, labels))
            test.assertEqual(bounds[-1], math.inf, (name, labels))
            test.assertEqual(counts[-1], histogram['count'], (name, labels))
            test.assertIsNotNone(histogram['sum'], (name, labels))


class Scraped(unittest.TestCase):
    """What a Prometheus server makes of the page."""

    @classmethod
    def setUpClass(cls):
        cls.shop = cls.enterClassContext(Quickstart('--rounds', '0', name='quickstart without traffic'))
        cls.busy = cls.enterClassContext(Quickstart(name='quickstart with its own traffic'))
        cls.ending = cls.enterClassContext(Quickstart('--rounds', '0', name='quickstart that ends'))
        cls.customers = Customers(cls.shop.shop_url)
        cls.customers.first_day()
        cls.sent_on_first_day = dict(cls.customers.requests)
        cls.prometheus = cls.enterClassContext(
            Prometheus({'shop': cls.shop.metrics_url, 'busy': cls.busy.metrics_url, 'ending': cls.ending.metrics_url}))
        cls.prometheus.scrape_after(0, 'shop')
        cls.customers.second_day()
        # Every query is about this moment: the first scrape after the last request.
        cls.at = cls.prometheus.scrape_after(time.time(), 'shop')
        cls.page = cls.shop.page(ACCEPT_HEADERS['2.42'])  # what the server sees

    def test_the_target_is_up(self):
        """The target is up, without an error"""
        def look():
            targets = self.prometheus.get('targets', state='active')['activeTargets']
            return [t for t in targets
                    if t['labels']['job'] == 'shop' and t['health'] == 'up' and t['lastError'] == '']

        wait_for('a target without an error', look)
        self.assertEqual(self.prometheus.number('up{job="shop"}', self.at), 1)

    def test_nothing_was_dropped(self):
        """As many samples are scraped, and kept, as the page has lines"""
        for name in ('scrape_samples_scraped', 'scrape_samples_post_metric_relabeling'):
            self.assertEqual(self.prometheus.number(f'{name}{{job="shop"}}', self.at), len(self.page.lines))

    def test_every_series_arrives(self):
        """The server has every series of the page, with its labels and its value, and no other"""
        kept = {}
        for sample in self.prometheus.query('{job="shop", __name__!~"up|scrape_.+"}', self.at):
            labels = sample['metric']
            key = Series(labels['__name__'], frozenset(
                (name, text) for name, text in labels.items() if name not in ('__name__', 'job', 'instance')))
            kept[key] = float(sample['value'][1])
        self.assertEqual(set(kept), set(self.page.values))
        for key, value in self.page.samples:
            # Memory, how long a collector took, and the like differ from scrape to scrape.
            if key.name == 'quipu_collector_duration_seconds':
                continue
            if key.name == 'process_start_time_seconds' or not key.name.startswith('process_'):
                self.assertEqual(kept[key], value, key)

    def test_counters(self):
        """Counters have exactly the number of requests sent, by label values"""
        self.assertEqual(self.prometheus.vector(f'{REQUESTS}{{job="shop"}}', self.at, 'method', 'code'),
                         dict(self.customers.requests))
        self.assertEqual(self.prometheus.vector(f'{LATENCY}_count{{job="shop"}}', self.at, 'route'),
                         {(route,): count for route, count in self.customers.routes.items()})
        self.assertEqual(self.prometheus.number('shop_revenue_euros_total{job="shop"}', self.at),
                         sum(self.customers.orders))

    def test_gauges(self):
        """Gauges have the values of the moment"""
        for name, value in {'shop_cart_items': len(self.customers.cart),
                            'shop_cart_value_euros': sum(self.customers.cart),
                            'shop_http_requests_in_flight': 0}.items():
            self.assertEqual(self.prometheus.number(f'{name}{{job="shop"}}', self.at), value, name)

    def test_quantiles(self):
        """histogram_quantile gives what the observed values, in these buckets, have to give"""
        for q in (0, 0.1, 0.5, 0.75, 0.8, 0.95, 1):
            found = self.prometheus.number(f'histogram_quantile({q}, {ORDERS}_bucket{{job="shop"}})', self.at)
            self.assertAlmostEqual(found, quantile(q, self.customers.order_buckets()), places=9, msg=f'quantile {q}')

        slow = self.page.histogram(LATENCY, route='/slow')
        median = self.prometheus.number(
            f'histogram_quantile(0.5, {LATENCY}_bucket{{job="shop", route="/slow"}})', self.at)
        self.assertAlmostEqual(median, quantile(0.5, slow['buckets']), places=9)
        self.assertGreaterEqual(median, 0.032)  # most took 40 ms, and the bucket of those begins here

    def test_increase_and_rate(self):
        """increase() and rate() give what was sent between two scrapes"""
        selector = f'{REQUESTS}{{job="shop"}}[1m]'
        increase = self.prometheus.vector(f'increase({selector})', self.at, 'method', 'code')
        rate = self.prometheus.vector(f'rate({selector})', self.at, 'method', 'code')
        samples = self.prometheus.vector(f'count_over_time({selector})', self.at, 'method', 'code')
        for key, total in self.customers.requests.items():
            sent = total - self.sent_on_first_day[key]
            # Prometheus extrapolates at both ends, by no more than 1.1 times the distance of two samples.
            self.assertGreaterEqual(increase[key], sent, key)
            self.assertLessEqual(increase[key], sent * (1 + 2.2 / (samples[key] - 1)) + 1e-9, key)
            self.assertAlmostEqual(rate[key], increase[key] / 60, places=9, msg=str(key))
        self.assertGreater(increase['get', '200'], 0)

    def test_metadata(self):
        """The server knows the type and the help of each family, as the page says them"""
        found = self.prometheus.get('targets/metadata', match_target='{job="shop"}')
        self.assertEqual({entry['metric']: entry['type'] for entry in found}, dict(self.page.declared('TYPE')))
        self.assertEqual({entry['metric']: entry['help'] for entry in found}, dict(self.page.declared('HELP')))
        types = {entry['metric']: entry['type'] for entry in found}
        # The family of a counter is called so without the _total of its series.
        self.assertEqual([types[name] for name in ('shop_http_requests', LATENCY, 'shop_cart_items',
                                                   'shop_cart_value_euros', 'shop_revenue_euros')],
                         ['counter', 'histogram', 'gauge', 'gauge', 'counter'])

    def test_the_log_is_calm(self):
        """The server logs no warning and no error"""
        self.assertEqual(self.prometheus.complaints(), [])

    def test_history_under_traffic(self):
        """With requests at all times, no counter ever goes down, and each scrape finds every histogram whole"""
        def look():
            found = self.prometheus.query('{job="busy"}[5m]')
            return found if any(len(one['values']) >= 3 for one in found) else None

        history = wait_for('three scrapes', look, pause=0.2)
        moments = {}
        types = dict(self.page.declared('TYPE'))
        for one in history:
            name = one['metric'].pop('__name__')
            values = [float(value) for _, value in one['values']]
            if types.get(name) == 'counter' or name.startswith((LATENCY, ORDERS)):
                self.assertEqual(values, sorted(values), (name, one['metric']))
            for moment, value in one['values']:
                moments.setdefault(moment, []).append((name, one['metric'], float(value)))
        for samples in moments.values():
            # The server gives series back in an order of its own.
            found = histograms(sorted(samples, key=lambda s: float(s[1].get('le', '0').replace('Inf', 'inf'))))
            if found:  # not at a scrape that failed
                check_histograms(self, found, {LATENCY: 5, ORDERS: 1})
        self.assertGreater(self.prometheus.number(f'sum({REQUESTS}{{job="busy"}})', None), 0)

    def test_the_end(self):
        """A program ended by SIGTERM exits with 0, while clients are connected; the target goes down, its series end"""
        gauge = 'shop_cart_items{job="ending"}'
        before = self.prometheus.scrape_after(0, 'ending')
        self.assertEqual(self.prometheus.number(gauge, before), 0)
        with connect(self.ending.metrics_url), connect(self.ending.metrics_url) as unfinished:
            unfinished.sendall(b'GET /metrics HTTP/1.1\r\nHost:')
            status, seconds = self.ending.end(signal.SIGTERM)
        self.assertEqual((status, self.ending.err), (0, ''))
        self.assertLess(seconds, PROMPTLY)
        after = self.prometheus.scrape_after(time.time(), 'ending', is_up=False)
        self.assertEqual(self.prometheus.query(gauge, after), [])


class ScrapedAsNative(unittest.TestCase):
    """What a Prometheus server makes of the page that is told to take native histograms and exemplars."""

    @classmethod
    def setUpClass(cls):
        cls.shop = cls.enterClassContext(Quickstart('--rounds', '0'))
        cls.prometheus = cls.enterClassContext(
            Prometheus({'shop': cls.shop.metrics_url}, features=('native-histograms', 'exemplar-storage')))
        cls.prometheus.scrape_after(0, 'shop')
        cls.sizes = []
        for i in range(40):
            for path in ('/product/1', '/product/2', '/product/9', '/cellar', '/slow?ms=0'):
                answer = request(cls.shop.shop_url + path, headers={'X-Trace-Id': f'trace-{i}'})
                cls.sizes.append(len(answer.body))
        cls.at = cls.prometheus.scrape_after(time.time(), 'shop')

    def test_every_observation_arrives(self):
        """The native histogram has as many observations as there were requests, and their sum"""
        for function, expected in (('histogram_count', len(self.sizes)), ('histogram_sum', sum(self.sizes))):
            self.assertEqual(self.prometheus.number(f'{function}({SIZES}{{job="shop"}})', self.at), expected)

    def test_quantiles_are_within_one_bucket(self):
        """histogram_quantile is no further from the exact quantile than a bucket is wide"""
        factor = 2 ** (2 ** -3)  # of the buckets for a growth factor of 1.1
        ordered = sorted(self.sizes)
        for q in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
            exact = ordered[math.ceil(q * len(ordered)) - 1]
            found = self.prometheus.number(f'histogram_quantile({q}, {SIZES}{{job="shop"}})', self.at)
            self.assertLessEqual(found, exact * factor, q)
            self.assertGreaterEqual(found, exact / factor, q)

    def test_exemplars_arrive(self):
        """Each series of requests has an exemplar, with the label that its request had"""
        found = self.prometheus.get('query_exemplars', query=f'{REQUESTS}{{job="shop"}}',
                                    start=f'{self.at - 60:.3f}', end=f'{self.at + 60:.3f}')
        exemplars = {(one['seriesLabels']['method'], one['seriesLabels']['code']): one['exemplars'] for one in found}
        self.assertEqual(set(exemplars), {('get', '200'), ('get', '404')})
        for each in exemplars.values():
            self.assertRegex(each[0]['labels']['trace_id'], r'^trace-\d+$')

    def test_classic_families_arrive_as_ever(self):
        """A classic histogram, a counter, a gauge and the states are there, with the values of the page"""
        page = self.shop.page()
        self.assertEqual(self.prometheus.number(f'{LATENCY}_count{{job="shop",route="/slow"}}', self.at),
                         page.histogram(LATENCY, route='/slow')['count'])
        self.assertEqual(self.prometheus.number(f'{REQUESTS}{{job="shop",code="404"}}', self.at), 80)
        self.assertEqual(self.prometheus.vector('shop_sign{job="shop"}', self.at, 'shop_sign'),
                         {('open',): 1, ('closed',): 0})
        self.assertEqual(self.prometheus.number('shop_build_info{job="shop"}', self.at), 1)

    def test_the_log_is_calm(self):
        """The server logs no warning and no error"""
        self.assertEqual(self.prometheus.complaints(), [])


# The Accept headers that Prometheus servers send.
OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
PROTOBUF = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
ACCEPT_HEADERS = {
    '2.42': 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,'
            'text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    '2.42, native histograms':
        'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,'
        'application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,'
        'text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    '2.49.0': 'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,'
              'text/plain;version=0.0.4;q=0.3,*/*;q=2',
    '2.50': 'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,'
            'text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    '3.0': 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
           'application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,'
           'text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.4,'
           'text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2',
    '3.4': 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
           'application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,'
           'text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    '3.4, native histograms':
        'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,'
        'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,'
        'application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,'
        'text/plain;version=0.0.4;q=0.2,*/*;q=0.1',
}


class TheEndpoint(unittest.TestCase):
    """The metrics endpoint, over real connections."""

    @classmethod
    def setUpClass(cls):
        cls.url = cls.enterClassContext(Quickstart('--rounds', '0')).metrics_url
        cls.root = urllib.parse.urljoin(cls.url, '/')

    def check_page(self, answer, content_type=TEXT_FORMAT, encodings=()):
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.all('Content-Type'), [content_type])
        self.assertEqual(answer.all('Content-Encoding'), list(encodings))
        # The length tells a page that was cut off at the end of a line.
        self.assertEqual(answer.all('Content-Length'), [str(len(answer.body))])
        if 'protobuf' in content_type:
            self.assertIn(LATENCY.encode(), answer.content)
        else:
            self.assertIn(LATENCY, dict(Page(answer.text).declared('TYPE')))

    def test_the_page_has_one_content_type(self):
        """GET gives the page with one Content-Type, that of the text format"""
        self.check_page(request(self.url))

    def test_every_prometheus_is_served(self):
        """The headers of Prometheus 2.42 to 3.x are answered with a page, compressed, in the format that they prefer"""
        for version, accept in ACCEPT_HEADERS.items():
            with self.subTest(version):
                expected = OPEN_METRICS
                if 'native' in version:
                    expected = PROTOBUF
                elif version == '2.49.0':
                    expected = TEXT_FORMAT
                elif version.startswith('3'):
                    expected += '; escaping=allow-utf-8'
                self.check_page(request(self.url, headers={
                    'User-Agent': f'Prometheus/{version}', 'Accept': accept, 'Accept-Encoding': 'gzip',
                    'X-Prometheus-Scrape-Timeout-Seconds': '0.5'}), expected, encodings=['gzip'])

    def test_any_accept_header_is_served(self):
        """An Accept header that asks for something else, or makes no sense, is answered with the page"""
        for accept in ('', '*/*', 'text/html', 'image/png;q=0', ';;,,', 'q=', '\u00e9', 'a' * 2000):
            with self.subTest(accept):
                self.check_page(request(self.url, headers={'Accept': accept}))

    def test_a_query_changes_nothing(self):
        """A query after the path is ignored"""
        self.check_page(request(self.url + '?x=1'))

    def test_head(self):
        """HEAD gives the headers of GET, and no body"""
        for url in (self.url, self.root, self.root + 'nowhere'):
            with self.subTest(url):
                path = urllib.parse.urlsplit(url).path

                def answer(method, path=path, url=url):
                    return exchange(url, f'{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
                                    .encode())

                # The length of the page is not the same at each scrape.
                def headers(data):
                    data = data.partition(b'\r\n\r\n')[0]
                    return re.sub(rb'Content-Length: [1-9]\d*\r', b'Content-Length: N\r', data)

                head, get = answer('HEAD'), answer('GET')
                self.assertEqual(headers(head), headers(get))
                self.assertIn(b'Content-Length: N\r\n', headers(get) + b'\r\n')
                self.assertTrue(head.endswith(b'\r\n\r\n'))
                self.assertEqual(head.count(b'\r\n\r\n'), 1)

    def test_not_found(self):
        """Other paths are not found"""
        for path in ('nowhere', 'metrics/', 'metrics/x', 'metric', 'Metrics', 'metrics.txt', '%2e%2e/metrics'):
            with self.subTest(path):
                self.assertEqual(request(self.root + path).status, 404)

    def test_not_allowed(self):
        """Other methods are not allowed, and the answer says which are"""
        for method in ('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'BREW'):
            with self.subTest(method):
                answer = request(self.url, method)
                self.assertEqual((answer.status, answer.all('Allow')), (405, ['GET, HEAD']))

    def test_the_landing_page(self):
        """The landing page is HTML, and links the page of metrics"""
        answer = request(self.root)
        self.assertEqual((answer.status, answer.all('Content-Type')), (200, ['text/html; charset=utf-8']))
        links = re.findall(r'href="([^"]*)"', answer.text)
        self.assertEqual([urllib.parse.urljoin(self.root, link) for link in links], [self.url])

    def test_many_at_once(self):
        """Many scrapes at once each get a page"""
        answers = []

        def scrape():
            for _ in range(5):
                answers.append(request(self.url))

        scrapers = [threading.Thread(target=scrape) for _ in range(16)]
        for scraper in scrapers:
            scraper.start()
        for scraper in scrapers:
            scraper.join()
        self.assertEqual(len(answers), 16 * 5)
        for answer in answers:
            self.check_page(answer)


class TheCommandLine(unittest.TestCase):
    """The quickstart as a command."""

    def test_help(self):
        """--help prints the usage"""
        done = Quickstart.run('--help')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        for option in ('--listen', '--shop', '--seconds', '--rounds'):
            self.assertIn(option, done.stdout)

    def test_wrong_options(self):
        """A wrong option is answered with the usage, on standard error, and exit status 2"""
        for options in (['--nonsense'], ['nonsense'], [''], ['--listen'], ['--listen', 'nonsense'],
                        ['--listen', '127.0.0.1:'], ['--listen', '127.0.0.1:65536'], ['--shop', '127.0.0.1:x'],
                        ['--seconds'], ['--seconds', ''], ['--seconds', '-1'], ['--seconds', '1x'],
                        ['--rounds', '0', '--nonsense'], ['--rounds', 'x']):
            with self.subTest(options):
                done = Quickstart.run(*options)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertIn('usage: quickstart', done.stderr)

    def test_port_in_use(self):
        """If a port is in use, the message names the address and the reason, and the exit status is 1"""
        for option, other in (('--listen', '--shop'), ('--shop', '--listen')):
            with self.subTest(option), socket.create_server(('127.0.0.1', 0)) as holder:
                address = f'127.0.0.1:{holder.getsockname()[1]}'
                done = Quickstart.run(option, address, other, '127.0.0.1:0')
                self.assertEqual((done.returncode, done.stdout), (1, ''))
                self.assertIn(address, done.stderr)
                self.assertIn('in use', done.stderr)
                if option == '--listen':
                    self.assertIn('Address already in use', done.stderr)

    def test_a_port_is_free_again_at_once(self):
        """A program that ended can be started again on the same port at once, after it has served scrapes"""
        with Quickstart('--rounds', '0') as first:
            address = urllib.parse.urlsplit(first.metrics_url).netloc
            request(first.metrics_url)
            first.end(signal.SIGTERM)
        done = Quickstart.run('--listen', address, '--seconds', '0', '--rounds', '0')
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_seconds(self):
        """--seconds 1 ends the program after a second, with exit status 0"""
        start = time.monotonic()
        done = Quickstart.run('--listen', '127.0.0.1:0', '--seconds', '1')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertGreaterEqual(time.monotonic() - start, 1)
        self.assertLess(time.monotonic() - start, 1 + PROMPTLY)

    def test_signals(self):
        """SIGINT and SIGTERM end the program at once, with and without traffic, with exit status 0"""
        for number in (signal.SIGINT, signal.SIGTERM):
            for options in ([], ['--rounds', '0'], ['--seconds', '1000']):
                with self.subTest(number=number, options=options), Quickstart(*options) as quickstart:
                    request(quickstart.metrics_url)
                    status, seconds = quickstart.end(number)
                    self.assertEqual((status, quickstart.err), (0, ''))
                    self.assertLess(seconds, PROMPTLY)

    def test_what_it_says_to_try(self):
        """The commands that it prints for trying it out work, and are counted"""
        curl = program('curl', 'curl')
        with Quickstart('--rounds', '0') as quickstart:
            lines = wait_for('commands', lambda: re.findall(r'\bcurl (.*)\n', quickstart.out))
            self.assertGreaterEqual(len(lines), 2)
            before = sum(quickstart.page().by_label(REQUESTS, 'method', 'code').values())
            visits = 0
            for line in lines:
                with self.subTest(line):
                    visits += quickstart.shop_url in line
                    done = subprocess.run([curl, '--silent', '--show-error', '--fail', '--max-time', '4',
                                           *shlex.split(line)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          encoding='utf-8', timeout=PATIENCE, check=False)
                    self.assertEqual(done.returncode, 0, done.stdout)
                    self.assertNotEqual(done.stdout, '')
            self.assertGreaterEqual(visits, 1)
            after = sum(quickstart.page().by_label(REQUESTS, 'method', 'code').values())
            self.assertEqual(after - before, visits)


if __name__ == '__main__':
    main(__doc__)
