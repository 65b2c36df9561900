"""What the end-to-end tests stand on: child processes that never outlive the tests, HTTP, pages of metrics, a
Prometheus server of their own. Standard library only, but for Debian's python3-prometheus-client. Loopback only, and
no fixed ports."""

import collections
import ctypes
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

PATIENCE = 30.0  # seconds to wait for what should take a moment; long, because the machine may be busy
TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8'


def wait_for(what, attempt, seconds=PATIENCE, pause=0.05):
    """Calls attempt() until it returns something true, and returns that. Fails with `what` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f'waited {seconds:.0f} s in vain for {what}; last seen: {result!r}')
        time.sleep(pause)


# ---- Child processes ----

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _prepare_child():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell has its background jobs ignore it
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def program(name, package):
    """The path of a program, which must be there."""
    path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/bin')
    if not path:
        raise AssertionError(f'{name} is missing: install the Debian package {package}')
    return path


class Child:
    """A child process, killed at stop() and at the latest when this program ends, however it ends."""

    living = []

    def __init__(self, name, arguments, cwd=None):
        self.name = name
        self._out = tempfile.TemporaryFile()
        self._err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, cwd=cwd,
            preexec_fn=_prepare_child)
        Child.living.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @staticmethod
    def _text(file):
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors='replace')  # leaves the child's write position alone

    @property
    def out(self):
        return self._text(self._out)

    @property
    def err(self):
        return self._text(self._err)

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f'{self.name} ended with {self.process.returncode}:\n{self.out}{self.err}')

    def end(self, number, seconds=PATIENCE):
        """Sends a signal, and returns the exit status and the seconds that the end took."""
        start = time.monotonic()
        self.process.send_signal(number)
        return self.status(seconds), time.monotonic() - start

    def status(self, seconds=PATIENCE):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.name} did not end within {seconds:.0f} s') from None

    def stop(self):
        if self in Child.living:
            Child.living.remove(self)
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self._out.close()
            self._err.close()

    def evidence(self):
        state = self.process.poll()
        state = 'running' if state is None else f'ended with {state}'
        return f'---- {self.name}: {state}\n{self.out[-3000:]}{self.err[-6000:]}'


# ---- HTTP ----

class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # pairs, as they came
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def content(self):
        return gzip.decompress(self.body) if self.all('Content-Encoding') == ['gzip'] else self.body

    @property
    def text(self):
        return self.content.decode('utf-8')

    def __repr__(self):
        return f'{self.status} {self.headers} {self.body[:200]!r}'


def request(url, method='GET', headers=None, seconds=PATIENCE):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        target = (parts.path or '/') + (f'?{parts.query}' if parts.query else '')
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def connect(url):
    """A connection on which nothing has been sent."""
    parts = urllib.parse.urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)


def exchange(url, data):
    """All bytes that the server answers to these bytes until it closes the connection."""
    with connect(url) as connection:
        connection.sendall(data)
        answer = b''
        while True:
            chunk = connection.recv(65536)
            if not chunk:
                return answer
            answer += chunk


# ---- Pages of metrics ----

def parse(text):
    try:
        from prometheus_client import parser
        from prometheus_client.openmetrics import parser as open_metrics_parser
    except ImportError:
        raise AssertionError(
            'the Python module prometheus_client is missing: install the Debian package python3-prometheus-client, '
            'and run this with /usr/bin/python3') from None
    format_parser = open_metrics_parser if text.endswith('# EOF\n') else parser
    return list(format_parser.text_string_to_metric_families(text))


Series = collections.namedtuple('Series', 'name labels')


class Page:
    """A page as prometheus_client reads it."""

    def __init__(self, text):
        self.text = text
        self.families = parse(text)
        self.samples = [(Series(sample.name, frozenset(sample.labels.items())), sample.value)
                        for family in self.families for sample in family.samples]
        self.values = dict(self.samples)
        self.lines = [line for line in text.splitlines() if line and not line.startswith('#')]

    def declared(self, what):
        """What the TYPE or HELP lines say, by name. These texts have no escapes in them."""
        return re.findall(rf'^# {what} (\S+) (.*)$', self.text, re.MULTILINE)

    def value(self, name):
        """Of the one series of that name."""
        found = [value for key, value in self.samples if key.name == name]
        if len(found) != 1:
            raise AssertionError(f'{len(found)} series of {name}')
        return found[0]

    def by_label(self, name, *labels):
        """The values of a name's series, by the values of these labels."""
        return {tuple(dict(key.labels)[label] for label in labels): value
                for key, value in self.samples if key.name == name}

    def histograms(self):
        return histograms([(key.name, dict(key.labels), value) for key, value in self.samples])

    def histogram(self, name, **labels):
        """The one with these labels, and maybe others."""
        found = [one for key, one in self.histograms()[name].items() if labels.items() <= dict(key).items()]
        if len(found) != 1:
            raise AssertionError(f'{len(found)} histograms {name} with {labels}')
        return found[0]


def histograms(samples):
    """name -> labels without le -> {'buckets': [(bound, count)] in the order they came, 'sum': ..., 'count': ...}"""
    found = collections.defaultdict(
        lambda: collections.defaultdict(lambda: {'buckets': [], 'sum': None, 'count': None}))
    names = {name[:-len('_bucket')] for name, labels, _ in samples if name.endswith('_bucket') and 'le' in labels}
    for name, labels, value in samples:
        base, _, suffix = name.rpartition('_')
        if base not in names:
            continue
        key = frozenset((label, text) for label, text in labels.items() if label != 'le')
        if suffix == 'bucket':
            found[base][key]['buckets'].append((float(labels['le'].replace('Inf', 'inf')), value))
        elif suffix in ('sum', 'count'):
            found[base][key][suffix] = value
    return found


def quantile(q, buckets):
    """PromQL's histogram_quantile: buckets are pairs of bound and cumulative count, by bound, the last of them +Inf."""
    total = buckets[-1][1]
    rank = q * total
    at = next(i for i, (_, count) in enumerate(buckets) if count >= rank or i == len(buckets) - 1)
    if at == len(buckets) - 1:
        return buckets[-2][0]
    bound, count = buckets[at]
    start, before = buckets[at - 1] if at > 0 else (0.0, 0)
    return start + (bound - start) * (rank - before) / (count - before)


# ---- The program under test ----

class Program(Child):
    """An example program, its metrics on a port of the system's choice."""

    path = None

    def __init__(self, *options, name=None):
        super().__init__(name or os.path.basename(self.path), [self.path, '--listen', '127.0.0.1:0', *options])
        try:
            self.metrics_url = self.printed_url('metrics')
        except BaseException:
            self.stop()
            raise

    def printed(self, pattern):
        """The match of what it prints, sooner or later."""
        def look():
            self.check_alive()
            return re.search(pattern, self.out, re.MULTILINE)

        return wait_for(f'the output {pattern}', look, pause=0.01)

    def printed_url(self, what):
        return self.printed(rf'^{what}: +(http://127\.0\.0\.1:[1-9]\d*\S*)\n')[1]

    @classmethod
    def run(cls, *options, seconds=PATIENCE):
        """Runs it to its end."""
        return subprocess.run([cls.path, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds, encoding='utf-8', check=False,
                              preexec_fn=_prepare_child)

    def page(self, accept=''):
        answer = request(self.metrics_url, headers={'Accept': accept})
        if answer.status != 200:
            raise AssertionError(f'GET {self.metrics_url}: {answer}')
        return Page(answer.text)

    def evidence(self):
        page = 'none'
        if self.process.poll() is None:
            try:
                page = request(self.metrics_url, seconds=5).body.decode(errors='backslashreplace')
            except OSError as error:
                page = f'not to be had: {error}'
        return f'{super().evidence()}---- its page now\n{page}'


class Dice:
    """The same numbers as those of the examples."""

    def __init__(self):
        self._state = 1

    def throw(self, sides):
        self._state = self._state * 48271 % (2 ** 31 - 1)  # std::minstd_rand
        return self._state % sides


class Quickstart(Program):
    """The quickstart example, its shop too on a port of the system's choice."""

    def __init__(self, *options, name=None):
        super().__init__('--shop', '127.0.0.1:0', *options, name=name)
        try:
            self.shop_url = self.printed_url('shop')
        except BaseException:
            self.stop()
            raise


class Customers:
    """Visits a shop, and keeps its own books of what the metrics have to say then."""

    prices = {'1': 4.5, '2': 180.0, '3': 12.25}
    order_bounds = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, float('inf'))

    def __init__(self, shop_url):
        self._url = shop_url
        self._lock = threading.Lock()
        self.requests = collections.Counter()  # by method and code, as in the labels
        self.routes = collections.Counter()
        self.cart = []
        self.orders = []

    def visit(self, method, path, route, status):
        answer = request(self._url + path, method)
        if answer.status != status:
            raise AssertionError(f'{method} {path} was answered with {answer}, and not with {status}')
        label = {'GET': 'get', 'POST': 'post'}.get(method, 'other')
        with self._lock:
            self.requests[label, str(status)] += 1
            self.routes[route] += 1

    def look(self, product='1', method='GET'):
        self.visit(method, f'/product/{product}', '/product/:id', 200 if product in self.prices else 404)

    def take(self, product):
        self.visit('POST', f'/cart?product={product}', '/cart', 200)
        self.cart.append(self.prices[product])

    def buy(self, *products):
        for product in products:
            self.take(product)
        self.visit('POST', '/checkout', '/checkout', 200 if self.cart else 409)
        if self.cart:
            self.orders.append(sum(self.cart))
        self.cart = []

    def wait(self, milliseconds):
        self.visit('GET', f'/slow?ms={milliseconds}', '/slow', 200)

    def get_lost(self, method='GET'):
        self.visit(method, '/cellar', 'other', 404)

    def all_at_once(self, *deeds):
        """Does each of these in a thread of its own."""
        failures = []

        def attempt(deed):
            try:
                deed()
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)

        threads = [threading.Thread(target=attempt, args=(deed,)) for deed in deeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def first_day(self):
        """A bit of everything, so that every series of the page exists."""
        self.look()
        self.look('4')
        self.look('2', 'HEAD')
        self.take('1')
        self.buy('3')  # 16.75
        self.buy()     # an empty cart
        self.wait(0)
        self.get_lost()
        self.get_lost('POST')

    def second_day(self):
        """Many at once, and orders for most of the buckets."""
        def crowd():
            for _ in range(10):
                self.look('3')
            for _ in range(3):
                self.look('99')
            self.get_lost('POST')

        self.all_at_once(crowd, crowd, crowd, crowd, *[lambda: self.wait(40)] * 5)
        for order in (['1'], ['1'], ['1', '1'], ['3'], ['3', '3'], ['2'], ['2', '2'], ['1'] * 39 + ['3'] * 2):
            self.buy(*order)  # the last one makes 200, which is the bound of a bucket
        self.take('1')
        self.take('3')

    def order_buckets(self):
        return [(bound, sum(order <= bound for order in self.orders)) for bound in self.order_bounds]


# ---- Prometheus ----

class Prometheus(Child):
    """A server that scrapes each of `targets` (job -> URL) every second. Its data is gone after stop()."""

    def __init__(self, targets, features=()):
        command = program('prometheus', 'prometheus')
        jobs = [{'job_name': job, 'metrics_path': urllib.parse.urlsplit(url).path,
                 'static_configs': [{'targets': [urllib.parse.urlsplit(url).netloc]}]} for job, url in targets.items()]
        self._folder = tempfile.TemporaryDirectory(prefix='quipu-e2e-')
        config = os.path.join(self._folder.name, 'prometheus.yml')
        with open(config, 'w', encoding='utf-8') as file:  # YAML understands JSON
            json.dump({'global': {'scrape_interval': '1s', 'scrape_timeout': '1s'}, 'scrape_configs': jobs}, file)
        for attempt in range(5):
            with socket.create_server(('127.0.0.1', 0)) as probe:
                port = probe.getsockname()[1]  # somebody else may take it before Prometheus does
            self.url = f'http://127.0.0.1:{port}'
            super().__init__('prometheus', [
                command, f'--config.file={config}', f'--storage.tsdb.path={self._folder.name}/data',
                f'--web.listen-address=127.0.0.1:{port}', '--log.format=json',
                *[f'--enable-feature={feature}' for feature in features]], cwd=self._folder.name)
            try:
                wait_for('Prometheus to be ready', self._is_ready)
                return
            except BaseException:
                is_port_taken = 'address already in use' in self.err and attempt < 4
                self.stop(keep_folder=is_port_taken)
                if not is_port_taken:
                    raise

    def _is_ready(self):
        self.check_alive()
        try:
            return request(f'{self.url}/-/ready').status == 200
        except OSError:
            return False

    def stop(self, keep_folder=False):
        super().stop()
        if not keep_folder:
            self._folder.cleanup()

    def get(self, path, **parameters):
        answer = request(f'{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}')
        content = json.loads(answer.body)
        if content['status'] != 'success' or content.get('warnings'):
            raise AssertionError(f'{path} {parameters}: {content}')
        return content['data']

    def query(self, expression, at=None):
        return self.get('query', query=expression, **({} if at is None else {'time': f'{at:.3f}'}))['result']

    def vector(self, expression, at, *labels):
        """The values of an instant query, by the values of these labels."""
        found = {}
        for sample in self.query(expression, at):
            found[tuple(sample['metric'].get(label, '') for label in labels)] = float(sample['value'][1])
        return found

    def number(self, expression, at):
        found = self.query(expression, at)
        if len(found) != 1:
            raise AssertionError(f'{expression} is not one number: {found}')
        return float(found[0]['value'][1])

    def scrape_after(self, moment, job, is_up=True):
        """Waits for a scrape that began after that moment, and returns its own."""
        def look():
            found = self.query(f'up{{job="{job}"}}[5m]')
            points = found[0]['values'] if found else []
            # Prometheus may shift a timestamp by 2 ms, to have them evenly spaced.
            fitting = [at for at, value in points if at > moment + 0.01 and float(value) == (1 if is_up else 0)]
            return fitting[0] if fitting else None

        try:
            return wait_for(f'a scrape of {job} that {"succeeds" if is_up else "fails"}', look, pause=0.1)
        except AssertionError as failure:
            targets = self.get('targets', state='active')['activeTargets']
            errors = [target['lastError'] for target in targets if target['labels']['job'] == job]
            raise AssertionError(f'{failure}; the last error of the target: {errors}') from None

    def complaints(self):
        """What it logged as a warning or worse."""
        return [line for line in self.err.splitlines() if json.loads(line).get('level') not in ('debug', 'info')]


class Window:
    """What Prometheus scraped of a job from one scrape to another, both included: to compare what PromQL makes of it
    with what it has to be. Ranges [5m] of queries are replaced by this one, and a millisecond, which leaves next to
    nothing to be extrapolated."""

    TOLERANCE = 2e-3  # relative

    def __init__(self, prometheus, start, end):
        self._prometheus = prometheus
        self.at = end
        self.seconds = end - start + 0.001
        self._range = f'[{round(self.seconds * 1000)}ms]'

    def query(self, expression, *labels):
        """The values, by the values of these labels."""
        return self._prometheus.vector(expression.replace('[5m]', self._range), self.at, *labels)

    def increases(self, name, *labels):
        """How much each series of a name has gone up (or down), by the values of these labels."""
        found = {}
        for series in self._prometheus.query(name + self._range, self.at):
            values = [float(value) for _, value in series['values']]
            found[tuple(series['metric'].get(label, '') for label in labels)] = values[-1] - values[0]
        return found

    def buckets(self, name, *labels):
        """How much each histogram of a name has got, as harness.quantile takes it."""
        found = collections.defaultdict(list)
        for (bound, *key), count in self.increases(name + '_bucket', 'le', *labels).items():
            found[tuple(key)].append((float(bound), count))
        return {key: sorted(buckets) for key, buckets in found.items()}

    def check(self, test, expression, labels, expected):
        """A query has these values, by the values of these labels; and with [5m], the same series."""
        found = self.query(expression, *labels)
        test.assertEqual(set(found), set(expected), expression)
        for key, value in expected.items():
            test.assertAlmostEqual(found[key], value, delta=max(abs(value), 1e-9) * self.TOLERANCE,
                                   msg=f'{expression} of {key}')
        if ' > ' not in expression and ' < ' not in expression:  # whose thresholds are of rates
            test.assertEqual(set(self._prometheus.vector(expression, self.at, *labels)), set(expected), expression)


def watched(test_class, job, rounds):
    """A Prometheus that sees a program do its rounds from the beginning. Both live as long as the tests of the class.
    Returns them, and the window from the first scrape to one after the last round."""
    # The server is there first, and at it, which takes seconds.
    with socket.socket() as reserved:
        reserved.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{reserved.getsockname()[1]}'
        prometheus = test_class.enterClassContext(Prometheus({job: f'http://{address}/metrics'}))
        prometheus.scrape_after(0, job, is_up=False)
    watched_program = test_class.enterClassContext(Program('--listen', address, '--rounds', str(rounds)))
    first = prometheus.scrape_after(0, job)
    watched_program.printed('^all rounds done$')
    return prometheus, watched_program, Window(prometheus, first, prometheus.scrape_after(time.time(), job))


# ---- Telling why ----

class Result(unittest.TextTestResult):
    """Adds the evidence to each test that fails: what the processes that are there printed, and their pages."""

    _told = None

    def _evidence(self, test):
        if self._told is test:  # by an earlier part of the same test
            return ''
        self._told = test
        return '\n' + '\n'.join(child.evidence() for child in Child.living)

    def addError(self, test, err):
        super().addError(test, err)
        self.errors[-1] = (test, self.errors[-1][1] + self._evidence(test))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failures[-1] = (test, self.failures[-1][1] + self._evidence(test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = self.failures if issubclass(err[0], test.failureException) else self.errors
            failed[-1] = (subtest, failed[-1][1] + self._evidence(test))


class Runner(unittest.TextTestRunner):
    resultclass = Result


def lint(test, page, *known):
    """promtool has nothing to say of the page, but of the families `known`, whose names others have chosen."""
    check = subprocess.run([program('promtool', 'prometheus'), 'check', 'metrics'], input=page.text,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8', timeout=PATIENCE,
                           check=False)
    test.assertEqual({line.split()[0] for line in check.stdout.splitlines()}, set(known), check.stdout)
    test.assertEqual(check.returncode, 3 if known else 0)


def main(usage):
    """Runs the tests of the file that calls this, with the program that its first argument names."""
    if len(sys.argv) < 2 or sys.argv[1].startswith('-'):
        sys.exit(usage)
    Program.path = os.path.abspath(sys.argv.pop(1))
    if not os.access(Program.path, os.X_OK):
        sys.exit(f'{Program.path} is not a program')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by SIGTERM'))  # so that the children end too
    try:
        unittest.main(verbosity=2, testRunner=Runner)
    finally:
        for child in list(Child.living):
            child.stop()
