#!/usr/bin/python3
"""Reads OpenMetrics pages with the strict parser of Prometheus' Python client, and compares each with the page of the
same registry in the text format that is beside it, if there is one.

Usage: open_metrics_parser.py PAGE.om...

Needs the Debian package python3-prometheus-client.
"""

import pathlib
import sys

try:
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as open_metrics_parser
except ModuleNotFoundError:
    sys.exit('prometheus_client is missing: install the Debian package python3-prometheus-client')


def series(families):
    """The values by name and labels, as text: NaN is not equal to itself. Bounds are numbers, however written."""
    values = {}
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            for name in labels.keys() & {'le', 'quantile'}:
                labels[name] = float(labels[name])
            key = (sample.name, tuple(sorted(labels.items())))
            if key in values:
                raise ValueError(f'{key} is there twice')
            values[key] = repr(float(sample.value))
    return values


def read(page):
    return series(open_metrics_parser.text_string_to_metric_families(page))


def check(path):
    page = path.read_bytes().decode()
    values = read(page)
    if not values:
        raise ValueError('there is no series')
    text = path.with_suffix('.txt')
    if text.exists():
        expected = series(parser.text_string_to_metric_families(text.read_bytes().decode()))
        for (name, labels), value in values.items():
            # The text parser gives counters a _total that they lack.
            found = expected.pop((name, labels), None) or expected.pop((name + '_total', labels), None)
            if found != value and not name.endswith('_created'):
                raise ValueError(f'{name} {labels} is {value}, but {found} in the text format')
        # A histogram whose sum can go down has neither sum nor count in OpenMetrics.
        missing = [name for name, _ in expected if not name.endswith(('_sum', '_count'))]
        if missing:
            raise ValueError(f'{missing} is only in the text format')
    # The parser has to be one that sees mistakes.
    for wrong in (page.removesuffix('# EOF\n'), page.replace(' ', '  ', 1), page + '\n'):
        try:
            read(wrong)
        except ValueError:
            continue
        raise ValueError('the parser takes a page that is wrong')


failed = 0
for name in sys.argv[1:]:
    try:
        check(pathlib.Path(name))
        print(name, 'is as it should be')
    except ValueError as error:
        print(f'{name}: {error}')
        failed += 1
sys.exit(1 if failed or len(sys.argv) == 1 else 0)
