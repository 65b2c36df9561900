#!/usr/bin/python3
"""A real Prometheus reads a page in protobuf, and is asked what it found.

Usage: test/protobuf_scrape.py PROTOBUF_PAGE [TEST...]
  PROTOBUF_PAGE  the path of the built program that writes the page
  TEST           a class or Class.test of this file; all of them if there is none

Needs the Debian package prometheus.
"""

import http.server
import math
import os
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True  # the source folder stays as it is
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'e2e'))

# pylint: disable-next=wrong-import-position,import-error
from harness import PATIENCE, Program, Prometheus, main

CONTENT_TYPE = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
JOB = 'page'
TRACE = {'trace_id': '0af7651916cd43dd8448eb211c80319c'}


class Endpoint:
    """Serves one page."""

    def __init__(self, page):
        accepted = self.accepted = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                accepted.append(self.headers['Accept'])
                self.send_response(200)
                self.send_header('Content-Type', CONTENT_TYPE)
                self.send_header('Content-Length', str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self._server.server_port}/metrics'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def some_buckets(seed):
    """The buckets that the program makes of this number: index -> count."""
    found = {}
    index = seed % 15 - 7
    state = seed
    for _ in range(seed % 13):
        state = (state * 1103515245 + 12345) % 2**31
        found[index] = 1 + state % 100
        index += 1 + (state >> 8) % 6
    return found


def bound(index, schema):
    """The upper one of a bucket, as a logarithm, which overflows at no index."""
    return index * 2.0 ** -schema


def log2(text):
    """Of a bound in an answer of Prometheus."""
    number = abs(float(text))
    return math.log2(number) if number else -math.inf


class Scraped(unittest.TestCase):
    """What a Prometheus that reads native histograms and exemplars makes of the page"""


    @classmethod
    def setUpClass(cls):
        page = subprocess.run([Program.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE,
                              check=True).stdout
        cls.endpoint = cls.enterClassContext(Endpoint(page))
        cls.started = time.time()
        cls.prometheus = cls.enterClassContext(
            Prometheus({JOB: cls.endpoint.url}, features=('native-histograms', 'exemplar-storage')))
        cls.at = cls.prometheus.scrape_after(cls.started, JOB)

    def labels_and(self, what, expression):
        """What every series of an instant query is, with its labels but those of the target."""
        target = ('__name__', 'instance', 'job')
        return [({name: text for name, text in sample['metric'].items() if name not in target}, sample[what][1])
                for sample in self.prometheus.query(expression, self.at)]

    def values(self, expression):
        return [(labels, float(value)) for labels, value in self.labels_and('value', expression)]

    def histogram(self, expression):
        found = self.labels_and('histogram', expression)
        self.assertEqual(len(found), 1, found)
        return found[0][1]

    def check_buckets(self, histogram, schema, positive, negative, zero_count):
        """The bounds of buckets are compared roughly: their digits are Prometheus' own."""
        expected = [(-1, bound(i, schema), count) for i, count in sorted(negative.items(), reverse=True)]
        expected += [(0, 0, zero_count)] if zero_count else []
        expected += [(1, bound(i, schema), count) for i, count in sorted(positive.items())]
        found = histogram.get('buckets', [])
        self.assertEqual(len(found), len(expected), found)
        for (_, lower, upper, count), (sign, at, expected_count) in zip(found, expected):
            self.assertEqual(int(count), expected_count)
            if sign == 0:
                self.assertEqual((float(lower), float(upper)), (-2.0**-128, 2.0**-128))
            else:
                self.assertAlmostEqual(log2(upper if sign > 0 else lower), at, places=6)

    def exemplars(self, expression):
        found = self.prometheus.get('query_exemplars', query=expression, start=f'{self.started - 600:.3f}',
                                    end=f'{self.started + 600:.3f}')
        return [(series['seriesLabels'].get('le'), exemplar['labels'], float(exemplar['value']))
                for series in found for exemplar in series['exemplars']]

    def test_it_asks_for_protobuf_first(self):
        """The server that reads native histograms asks for protobuf first"""
        self.assertRegex(self.endpoint.accepted[0], r'^application/vnd\.google\.protobuf;')

    def test_a_family_in_several_messages_is_whole(self):
        """Twenty thousand series of one family all arrive, although they come in several messages"""
        found = {int(labels['n']): value for labels, value in self.values('many_total')}
        self.assertEqual(found, {n: float(n) for n in range(20000)})
        self.assertEqual(self.prometheus.get('metadata', metric='many_total'),
                         {'many_total': [{'type': 'counter', 'help': 'Twenty thousand.', 'unit': ''}]})

    def test_native_histograms_arrive(self):
        """Three thousand native histograms of one family arrive, bucket by bucket"""
        found = {int(labels['n']): value for labels, value in self.labels_and('histogram', 'many_seconds')}
        self.assertEqual(len(found), 3000)
        for n, histogram in found.items():
            with self.subTest(n):
                positive, negative, zero_count = some_buckets(n), some_buckets(n + 10007), n % 5
                self.assertEqual(int(histogram['count']),
                                 sum(positive.values()) + sum(negative.values()) + zero_count)
                self.assertEqual(float(histogram['sum']), n + 0.5)
                self.check_buckets(histogram, n % 13 - 4, positive, negative, zero_count)

    def test_an_empty_native_histogram_is_one(self):
        """A native histogram without an observation arrives as a native one"""
        self.assertEqual(self.histogram('empty_seconds'), {'count': '0', 'sum': '0'})

    def test_extreme_indices(self):
        """The buckets at the ends of the finest and the coarsest resolution are where they belong"""
        fine = self.histogram('extreme_bytes{schema="8"}')['buckets']
        self.assertEqual([int(count) for _, _, _, count in fine], [3, 2, 1, 1, 2, 3])
        self.assertEqual([float(upper) for _, _, upper, _ in fine][3:5], [5e-324, 1])
        self.assertEqual(float(fine[-1][1]), sys.float_info.max)
        coarse = self.histogram('extreme_bytes{schema="-4"}')['buckets']
        self.assertEqual([int(count) for _, _, _, count in coarse], [6, 5, 4, 4, 5, 6])
        self.assertEqual([float(upper) for _, _, upper, _ in coarse][3:5], [2.0**-1072, 1])
        self.assertEqual(float(coarse[-1][1]), sys.float_info.max)

    def test_classic_histograms_arrive(self):
        """A classic histogram has its buckets, and +Inf from its count"""
        found = {float(labels['le'].replace('Inf', 'inf')): value
                 for labels, value in self.values('classic_seconds_bucket')}
        self.assertEqual(found, {0.25: 3, 1: 3, 2.5: 7, math.inf: 8})
        self.assertEqual(self.values('classic_seconds_sum'), [({}, 15.5)])
        self.assertEqual(self.values('classic_seconds_count'), [({}, 8)])

    def test_native_wins_over_classic(self):
        """Of a histogram that is both, the native one is read"""
        both = self.histogram('both_seconds')
        self.assertEqual((both['count'], both['sum']), ('8', '15.5'))
        self.check_buckets(both, 0, {-3: 3, 1: 4, 3: 1}, {}, 0)
        self.assertEqual(self.values('both_seconds_bucket'), [])

    def test_exemplars_arrive(self):
        """The exemplars of counters, of classic buckets and of native histograms arrive"""
        self.assertEqual(self.exemplars('visits_total'), [(None, TRACE, 0.125)])
        classic = sorted(self.exemplars('classic_seconds_bucket'), key=lambda exemplar: exemplar[2])
        self.assertEqual([exemplar[1:] for exemplar in classic], [(TRACE, 0.125), ({}, 7)])
        self.assertEqual([float(le.replace('Inf', 'inf')) for le, _, _ in classic], [0.25, math.inf])
        self.assertIn((None, TRACE, 0.125), self.exemplars('both_seconds'))

    def test_counters_gauges_and_texts_arrive(self):
        """Numbers and label values arrive as they were"""
        self.assertEqual(self.values('visits_total'), [({}, 2.0**53 - 1)])
        self.assertEqual(self.values('build_info'), [({'version': '1.2'}, 1)])
        texts = ['two words', 'say "hi"', 'C:\\new', 'one\ntwo', 'café', '\x01']
        self.assertEqual({labels['text']: value for labels, value in self.values('texts')},
                         {text: len(text.encode()) for text in texts})
        self.assertEqual(self.prometheus.get('metadata', metric='texts')['texts'][0]['help'],
                         'Line feeds\nand "quotes" and \\.')

    def test_summaries_untyped_and_timestamps_arrive(self):
        """A summary and an untyped series arrive, with the time at which their source measured them"""
        self.assertEqual({labels['quantile']: value for labels, value in self.values('rpc_seconds')},
                         {'0.5': 0.125, '0.99': 2.5})
        self.assertEqual(self.values('rpc_seconds_sum'), [({}, 3.5)])
        self.assertEqual(self.values('rpc_seconds_count'), [({}, 7)])
        self.assertEqual(self.values('something'), [({}, -3)])
        types = [self.prometheus.get('metadata', metric=name)[name][0]['type'] for name in ('rpc_seconds', 'something')]
        self.assertEqual(types, ['summary', 'unknown'])
        for name in ('rpc_seconds', 'rpc_seconds_sum', 'something'):
            for _, measured in self.values(f'timestamp({name})'):
                self.assertLess(measured, self.started - 5)

    def test_not_a_number_does_not_end_a_series(self):
        """A gauge that is not a number stays a series, whatever the bits of the NaN"""
        found = self.values('not_a_number')
        self.assertEqual(sorted(labels['which'] for labels, _ in found), ['minus', 'plus', 'stale'])
        self.assertTrue(all(math.isnan(value) for _, value in found))

    def test_prometheus_has_nothing_to_complain_of(self):
        """The server logs no warning, and is still there"""
        self.prometheus.check_alive()
        self.assertEqual(self.prometheus.complaints(), [])


if __name__ == '__main__':
    main(__doc__)
