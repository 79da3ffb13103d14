"""Asks a worker over HTTP, as Prometheus and a kubelet do."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.worker.running import Worker


class Answer(NamedTuple):
    status: int
    body: str
    headers: Mapping[str, str]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def wrong(self) -> set[str]:
        """The checks that are not ok."""
        return {name for name, check in self.document["checks"].items() if not check["ok"]}


def port_of(worker: Worker) -> int:
    """Of the reporter that was started last."""
    port: int = worker.wait_event("reporter.started")[-1]["port"]
    return port


def ask(worker: Worker, path: str, *, method: str = "GET", **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", port_of(worker), timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), dict(response.headers))
    finally:
        connection.close()


class Scrape:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of those with this name and these labels, among others."""
        found = self.all(name, **labels)
        assert found, f"no {name} {labels}"
        return sum(found)

    def all(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]


def scrape(worker: Worker) -> Scrape:
    answer = ask(worker, "/metrics")
    assert answer.status == 200, answer.body
    return Scrape(answer.body)


def wait_value(worker: Worker, value: float, name: str, **labels: str) -> Scrape:
    """The first scrape that says so."""
    last: list[Scrape] = []

    def is_so() -> bool:
        last.append(scrape(worker))
        return last[-1].all(name, **labels) != [] and last[-1](name, **labels) == value

    wait_until(
        is_so,
        describe=lambda: (
            f"{name} {labels} to be {value}; it is {last and last[-1].all(name, **labels)}"
        ),
    )
    return last[-1]
