"""Reads scrapes with Prometheus' own parser: scrape.py FILE…

Prints one JSON object: for each file a list of {name, labels, value}. Whatever breaks OpenMetrics ends it with an error.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def samples(path):
    with open(path, encoding="utf-8") as file:
        families = list(text_string_to_metric_families(file.read()))
    for family in families:
        if not family.documentation:
            raise ValueError(f"{family.name} has no help")
    return [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in families
        for sample in family.samples
    ]


print(json.dumps({path: samples(path) for path in sys.argv[1:]}))
