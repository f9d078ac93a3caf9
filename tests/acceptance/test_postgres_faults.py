"""Nodes that are killed or paused and a database that crashes: nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.postgres_node import TICK_SECONDS

LEASE_SECONDS = 5.0
"""So long that a busy machine which holds a node up for a while does not end it."""
PATIENCE_SECONDS = 120.0
PROGRAM = Path(__file__).with_name("postgres_node.py")


class Node:
    """A process of ``postgres_node.py``; ``acknowledged`` has every seq that it was told of."""

    def __init__(self, schema) -> None:
        self.acknowledged = []
        self.claims = []
        self.ticks = []
        self.words = []
        self._lines = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, schema.server.dsn, schema.name, str(LEASE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            word, *numbers = line.split()
            self.words.append(word)
            if word == "acknowledged":
                self.acknowledged.append(int(numbers[0]))
            elif word == "claimed":
                self.claims.append(int(numbers[0]))
                self.ticks.append(int(numbers[2]))

    def wait(self, condition, what) -> None:
        """Until ``condition(self)``."""
        begin = time.monotonic()
        patience = threading.Event()
        while not condition(self):
            assert not (self.process.poll() or 0) > 0, f"{what}: the node ended by itself"
            assert time.monotonic() - begin < PATIENCE_SECONDS, f"{what}: {self.words[-5:]}"
            patience.wait(0.005)

    def wait_acknowledged(self, more: int) -> None:
        wanted = len(self.acknowledged) + more
        self.wait(lambda node: len(node.acknowledged) >= wanted, f"{more} acknowledged")

    def send(self, what: signal.Signals) -> None:
        os.kill(self.process.pid, what)

    def kill(self, other: Node) -> None:
        """Let it kill another node, and count its ticks from then on."""
        self.process.stdin.write(f"{other.process.pid}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
            self.send(signal.SIGCONT)
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start_node(postgres):
    nodes = []

    def start():
        nodes.append(Node(postgres))
        return nodes[-1]

    yield start
    for node in nodes:
        node.end()


def check(postgres, *nodes) -> None:
    """Everything acknowledged is there, once, without gap, under epochs that only went up."""
    seqs = [row[0] for row in postgres.rows("SELECT seq FROM event ORDER BY seq")]
    acknowledged = [seq for node in nodes for seq in node.acknowledged]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(seqs)
    for node in nodes:
        assert node.claims == sorted(node.claims)
    claims = [epoch for node in nodes for epoch in node.claims]
    assert len(set(claims)) == len(claims)


def test_a_node_that_is_killed_is_replaced_after_its_lease(postgres, start_node):
    first = start_node()
    first.wait_acknowledged(20)
    second = start_node()
    second.wait(lambda node: "opened" in node.words, "it is a node")

    second.kill(first)
    second.wait_acknowledged(20)
    first.end()
    second.end()

    check(postgres, first, second)
    assert second.ticks[0] * TICK_SECONDS < 1.5 * LEASE_SECONDS


def test_a_node_that_was_paused_is_fenced(postgres, start_node):
    first = start_node()
    first.wait_acknowledged(20)
    second = start_node()

    first.send(signal.SIGSTOP)
    second.wait_acknowledged(20)
    before = len(first.acknowledged)
    first.send(signal.SIGCONT)
    first.wait(lambda node: "stale" in node.words, "the paused one is told")
    second.wait_acknowledged(20)
    first.end()
    second.end()

    check(postgres, first, second)
    # one append may have been acknowledged while it was being paused
    until_told = first.words[: first.words.index("stale")]
    assert until_told.count("acknowledged") <= before + 1


def test_a_database_that_crashes_loses_nothing_that_was_acknowledged(postgres, start_node):
    nodes = [start_node(), start_node()]
    for node in nodes:
        node.wait(lambda node: "opened" in node.words, "it is a node")
    for _ in range(2):
        begin = sum(len(node.acknowledged) for node in nodes)
        wait_for_more(nodes, begin + 20)

        postgres.server.stop(signal.SIGQUIT)
        postgres.server.start()
    wait_for_more(nodes, sum(len(node.acknowledged) for node in nodes) + 20)
    for node in nodes:
        node.end()

    check(postgres, *nodes)


def wait_for_more(nodes, count) -> None:
    nodes[0].wait(
        lambda _: sum(len(node.acknowledged) for node in nodes) >= count, f"{count} acknowledged"
    )
