#!/usr/bin/python3
"""End to end: the web_server example. Its metrics are one of its own pages, and count what its handlers do.

Usage: test/e2e/web_server.py WEB_SERVER [TEST...]
  WEB_SERVER  the path of the built example
  TEST        a class or Class.test of this file; all of them if there is none
"""

import signal
import sys
import unittest
import urllib.parse

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import TEXT_FORMAT, Page, Program, lint, main, request, watched

ROUNDS = 50
REQUESTS = 'web_http_requests_total'
LABELS = ('method', 'route', 'code')


def expected_requests(rounds):
    """Each round keeps a note, but every tenth, which fails, and reads the one of the round's number."""
    kept = sum(number % 10 != 9 for number in range(rounds))
    found = sum(number < sum(earlier % 10 != 9 for earlier in range(number + 1)) for number in range(rounds))
    return {('POST', '/notes', '201'): kept, ('POST', '/notes', '500'): rounds - kept,
            ('GET', '/notes/:number', '200'): found, ('GET', '/notes/:number', '404'): rounds - found}


class WebServer(unittest.TestCase):
    """The example, which has done its rounds while a Prometheus scraped it."""

    @classmethod
    def setUpClass(cls):
        cls.prometheus, cls.server, cls.window = watched(cls, 'web', ROUNDS)
        cls.root = urllib.parse.urljoin(cls.server.metrics_url, '/')

    def test_requests(self):
        """The handlers' requests are counted by method, route and code, and timed; none is in flight"""
        page = self.server.page()
        expected = expected_requests(ROUNDS)
        self.assertEqual(page.by_label(REQUESTS, *LABELS), expected)
        for method, route in (('POST', '/notes'), ('GET', '/notes/:number')):
            timed = page.histogram('web_http_request_duration_seconds', method=method, route=route)
            self.assertEqual(timed['count'], ROUNDS)
            self.assertGreater(timed['sum'], 0)
        self.assertEqual(set(page.by_label('web_http_requests_in_flight', 'method', 'route').values()), {0})
        self.assertEqual(page.value('web_notes'), expected['POST', '/notes', '201'])

    def test_prometheus_has_the_same(self):
        """Prometheus has scraped the same totals from the program's own server"""
        self.assertEqual(self.prometheus.vector(REQUESTS, self.window.at, *LABELS), expected_requests(ROUNDS))

    def test_the_page_is_as_any(self):
        """The page has its content type, for GET and HEAD, its families on request, and pleases the linter"""
        url = self.server.metrics_url
        answer = request(url)
        self.assertEqual((answer.status, answer.all('Content-Type')), (200, [TEXT_FORMAT]))
        head = request(url, method='HEAD')
        self.assertEqual((head.status, head.all('Content-Type'), head.body), (200, [TEXT_FORMAT], b''))
        chosen = Page(request(url + '?name[]=web_notes').text)
        self.assertEqual([key.name for key, _ in chosen.samples], ['web_notes'])
        text = request(url, headers={'Accept': 'application/openmetrics-text;version=1.0.0'}).text
        self.assertTrue(text.endswith('# EOF\n'))
        zipped = request(url, headers={'Accept-Encoding': 'gzip'})
        self.assertIn(REQUESTS, zipped.text)
        lint(self, self.server.page())

    def test_the_program_has_its_own_pages(self):
        """The program's own pages are there, beside the metrics"""
        self.assertEqual(request(self.root + 'notes/0').text, 'note of round 0')
        self.assertEqual(request(self.root + 'elsewhere').status, 404)


class TheEnd(unittest.TestCase):
    """The end of the program."""

    def test_signals(self):
        """SIGINT and SIGTERM end the program at once, with exit status 0"""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number), Program() as server:
                request(server.metrics_url)
                status, seconds = server.end(number)
                self.assertEqual((status, server.err), (0, ''))
                self.assertLess(seconds, 5)


if __name__ == '__main__':
    main(__doc__)
