#!/usr/bin/python3
"""End to end: the pipeline example. What its observers made of the same events, as numbers, log lines and the program's
own lines, is what its executions must have been; and a real Prometheus answers the usual queries with those numbers.

Usage: test/e2e/pipeline.py PIPELINE [TEST...]
  PIPELINE  the path of the built example
  TEST      a class or Class.test of this file; all of them if there is none
"""

import collections
import json
import re
import signal
import sys
import unittest

sys.dont_write_bytecode = True  # the source folder stays as it is

# pylint: disable-next=wrong-import-position
from harness import Program, lint, main, quantile, watched

ROUNDS = 240
DOCKET = 'example_docket_'
STEPS = [('fetch', 'io'), ('parse', 'cpu'), ('enrich', 'io'), ('report', 'cpu')]
DEFAULT_BOUNDS = [.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10]
CHECK_BOUNDS = [.001, .005, .01, .025, .05, .1, .25, .5, 1]


class Books:
    """What happens in that many executions, told independently of the program."""

    def __init__(self, rounds):
        self.hits = collections.Counter()
        self.misses = collections.Counter()
        self.checks = collections.defaultdict(list)  # seconds
        self.retries = collections.Counter({(name,): 0 for name, _ in STEPS})
        self.errors = collections.Counter({(name,): 0 for name, _ in STEPS})
        self.steps = collections.defaultdict(list)   # by name, type and status
        self.graphs = collections.defaultdict(list)  # by status
        self.failures = []
        for execution in range(rounds):
            self._execute(execution)

    def _execute(self, execution):
        total = 0
        for index, step in enumerate(STEPS):
            status, milliseconds = self._step(execution, index, step)
            total += milliseconds
            if status != 'success':
                self.failures.append((f'execution-{execution}', step[0]))
                break
        self.graphs['success' if status == 'success' else 'error',].append(total / 1000)

    def _step(self, execution, index, step):
        check = 1 + (execution * 5 + index) % 6 * 3
        self.checks[step].append(check / 1000)
        status, attempts = 'success', 0
        if (execution * 7 + index * 3) % 4 == 0:
            self.hits[step] += 1
        else:
            self.misses[step] += 1
            attempts = 1
            if step[0] == 'parse' and execution % 37 == 36:
                status = 'panic'
            elif step[0] == 'enrich' and execution % 29 == 5:
                status, attempts = 'error', 3
            elif (execution * 11 + index * 5) % 13 == 0:
                attempts = 2
            self.retries[step[0],] += attempts - 1
            self.errors[step[0],] += status != 'success'
        milliseconds = check + attempts * (2 + (execution * 31 + index * 17) % 97 * 5)
        self.steps[(*step, status)].append(milliseconds / 1000)
        return status, milliseconds


def buckets(bounds, values):
    return [(bound, sum(value <= bound for value in values)) for bound in [*bounds, float('inf')]]


class Pipeline(unittest.TestCase):
    """The example, which has done its rounds while a Prometheus scraped it."""

    @classmethod
    def setUpClass(cls):
        cls.prometheus, cls.pipeline, cls.window = watched(cls, 'pipeline', ROUNDS)
        cls.at = cls.window.at
        cls.page = cls.pipeline.page()
        cls.books = Books(ROUNDS)
        cls.lines = [json.loads(line) for line in cls.pipeline.err.splitlines()]

    # The page.

    def test_counters(self):
        """The counters are what happened in the executions, by step"""
        step = ('step_name', 'step_type')
        for name, labels, expected in (('cache_hits', step, self.books.hits), ('cache_misses', step, self.books.misses),
                                       ('step_retries', step[:1], self.books.retries),
                                       ('step_errors', step[:1], self.books.errors)):
            self.assertEqual(self.page.by_label(f'{DOCKET}{name}_total', *labels), dict(expected), name)
            self.assertGreater(sum(expected.values()), 0, name)

    def check_histogram(self, name, bounds, labels, expected):
        self.assertEqual(self.page.by_label(f'{DOCKET}{name}_count', *labels),
                         {key: len(values) for key, values in expected.items()})
        for key, values in expected.items():
            found = self.page.histogram(DOCKET + name, **dict(zip(labels, key)))
            self.assertEqual(found['buckets'], buckets(bounds, values), key)
            self.assertAlmostEqual(found['sum'], sum(values), places=9)

    def test_histograms(self):
        """The histograms have each step, each look into the cache, and each execution in its bucket"""
        steps = dict(self.books.steps)
        self.assertEqual({status for _, _, status in steps}, {'success', 'error', 'panic'})
        self.check_histogram('step_duration_seconds', DEFAULT_BOUNDS, ('step_name', 'step_type', 'status'), steps)
        self.check_histogram('cache_check_latency_seconds', CHECK_BOUNDS, ('step_name', 'step_type'), self.books.checks)
        self.check_histogram('graph_duration_seconds', DEFAULT_BOUNDS, ('status',), self.books.graphs)

    def test_executions_are_no_labels(self):
        """An execution is an exemplar of the histogram of executions, and no label"""
        self.assertFalse([key for key, _ in self.page.samples if 'execution_id' in dict(key.labels)])
        open_metrics = self.pipeline.page('application/openmetrics-text')
        found = [sample for family in open_metrics.families for sample in family.samples if sample.exemplar]
        self.assertEqual({sample.name for sample in found}, {DOCKET + 'graph_duration_seconds_bucket'})
        for sample in found:
            self.assertRegex(sample.exemplar.labels['execution_id'], r'^execution-\d+$')

    def test_promtool_finds_nothing_to_say(self):
        """promtool check metrics is silent"""
        lint(self, self.page)

    def test_no_listener_failed(self):
        """No listener threw"""
        self.assertEqual(self.page.value('example_observer_failures_total'), 0)

    # The log.

    def logged(self, message, **members):
        return [line for line in self.lines
                if line['msg'] == message and members.items() <= line.items()]

    def test_each_line_is_json(self):
        """Each log line is an object with a time, a level, a message and an execution"""
        for line in self.lines:
            self.assertEqual(list(line)[:4], ['time', 'level', 'msg', 'execution_id'])
            self.assertRegex(line['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
            self.assertIn(line['level'], ('info', 'warn', 'error'))
        self.assertEqual(len(self.logged('graph started')), ROUNDS)

    def test_the_log_agrees_with_the_numbers(self):
        """What the log says of each step is what the metrics count"""
        for name, kind in STEPS:
            def value(counter, *labels):
                return self.page.by_label(DOCKET + counter, 'step_name', *labels)

            ended = self.logged('step ended', step_name=name)
            retried = self.logged('step retried', step_name=name)
            self.assertEqual(len(self.logged('step started', step_name=name, step_type=kind, attempt=1)), len(ended))
            self.assertEqual(collections.Counter(line['attempt'] for line in self.logged(
                'step started', step_name=name, step_type=kind) if line['attempt'] > 1),
                             collections.Counter(line['attempt'] + 1 for line in retried))
            self.assertEqual(len(ended), sum(count for (step, *_), count in value(
                'step_duration_seconds_count', 'status').items() if step == name))
            self.assertAlmostEqual(sum(line['duration'] for line in ended), sum(total for (step, *_), total in value(
                'step_duration_seconds_sum', 'status').items() if step == name), places=6)
            self.assertEqual(len([line for line in ended if line['cached']]),
                             value('cache_hits_total', 'step_type')[name, kind])
            self.assertEqual(len(self.logged('step retried', step_name=name)), value('step_retries_total')[name,])
            self.assertEqual(len(self.logged('step failed', step_name=name)), value('step_errors_total')[name,])
            attempts = sum(line['attempt'] for line in ended)
            self.assertEqual(attempts, len([line for line in ended if not line['cached']]) +
                             len(self.logged('step retried', step_name=name)))
        graphs = self.logged('graph ended')
        self.assertAlmostEqual(sum(line['duration'] for line in graphs), sum(
            self.page.by_label(DOCKET + 'graph_duration_seconds_sum', 'status').values()), places=6)
        self.assertEqual(len(self.logged('graph ended', level='error')), len(self.books.failures))

    def test_any_text_is_logged(self):
        """A text with quotes and line feeds comes back from the log as it was"""
        errors = {line['error'] for line in self.logged('step retried')}
        self.assertEqual(errors, {'lost "the store":\n\ttry again'})

    def test_the_program_hears_too(self):
        """The program's own listener hears of each step that failed, in order"""
        self.assertEqual(re.findall(r'^(\S+): (\S+) failed$', self.pipeline.out, re.MULTILINE), self.books.failures)

    # Prometheus.

    def test_every_total_arrives(self):
        """Prometheus has the totals"""
        for name in ('cache_hits', 'cache_misses'):
            self.assertEqual(self.prometheus.vector(f'{DOCKET}{name}_total', self.at, 'step_name', 'step_type'),
                             self.page.by_label(f'{DOCKET}{name}_total', 'step_name', 'step_type'))

    def test_cache_hit_rate(self):
        """The cache hit rate"""
        labels = ('step_name', 'step_type')
        hits = self.window.increases(DOCKET + 'cache_hits_total', *labels)
        misses = self.window.increases(DOCKET + 'cache_misses_total', *labels)
        expected = {key: hits[key] / (hits[key] + misses[key]) for key in hits}
        self.assertEqual(set(expected), set(STEPS))
        self.window.check(self, 'rate({0}cache_hits_total[5m]) / (rate({0}cache_hits_total[5m]) + '
                                'rate({0}cache_misses_total[5m]))'.format(DOCKET), labels, expected)

    def test_errors_and_retries(self):
        """The rates of errors and retries, and the alert for errors"""
        for name in ('step_errors_total', 'step_retries_total'):
            rates = {key: value / self.window.seconds
                     for key, value in self.window.increases(DOCKET + name, 'step_name').items()}
            self.window.check(self, f'rate({DOCKET}{name}[5m])', ('step_name',), rates)
            if name == 'step_errors_total':
                many = {key: rate for key, rate in rates.items() if rate > 0.1}
                self.assertTrue({('enrich',)} <= set(many) < set(rates), rates)
                self.window.check(self, f'rate({DOCKET}{name}[5m]) > 0.1', ('step_name',), many)

    def test_quantiles(self):
        """The 95th percentile of the time of steps"""
        name = DOCKET + 'step_duration_seconds'
        labels = ('step_name', 'step_type', 'status')
        expected = {key: quantile(0.95, found) for key, found in self.window.buckets(name, *labels).items()
                    if key[2] == 'success'}
        self.assertEqual(len(expected), len(STEPS))
        self.window.check(self, f'histogram_quantile(0.95, rate({name}_bucket{{status="success"}}[5m]))', labels,
                          expected)
        # And of all that ever was, by the books.
        found = self.prometheus.vector(f'histogram_quantile(0.95, {name}_bucket)', self.at, *labels)
        self.assertEqual(set(found), set(self.books.steps))
        for key, values in self.books.steps.items():
            self.assertAlmostEqual(found[key], quantile(0.95, buckets(DEFAULT_BOUNDS, values)), places=9, msg=key)


class Levels(unittest.TestCase):
    """How much is logged."""

    def lines(self, level):
        with Program('--rounds', '30', '--log', level) as pipeline:
            pipeline.printed('^all rounds done$')
            status, _ = pipeline.end(signal.SIGTERM)
            self.assertEqual(status, 0)
            return [json.loads(line) for line in pipeline.err.splitlines()]

    def test_levels(self):
        """A level has its own lines and those above; looks into the cache are of the lowest"""
        levels = ['debug', 'info', 'warn', 'error']
        all_lines = [(line['level'], line['msg']) for line in self.lines('debug')]
        self.assertEqual({level for level, _ in all_lines}, set(levels))
        self.assertEqual({message for level, message in all_lines if level == 'debug'}, {'cache checked'})
        for index, level in enumerate(levels):
            found = [(line['level'], line['msg']) for line in self.lines(level)]
            self.assertEqual(found, [line for line in all_lines if line[0] in levels[index:]])
        self.assertEqual(self.lines('off'), [])


if __name__ == '__main__':
    main(__doc__)
