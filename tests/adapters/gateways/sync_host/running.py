"""What tests of the sync face have in common."""

from __future__ import annotations

import functools
import signal
import threading
from contextlib import contextmanager

from moorage.adapters.gateways import sync_host
from moorage.stores import MemoryStore

SECONDS_MAX = 60


@sync_host.sync_agent
def streaming(request, context):
    """Emits three words."""
    for word in ("a", "b", "c"):
        context.emit("message_streamed", {"delta": word})
    return {"input": request.input}


@sync_host.sync_agent
def endless(request, context):
    """Runs until it is cancelled."""
    context.emit("message_streamed", {"delta": "begun"})
    context.sleep(3_600)


@contextmanager
def opened(agent=streaming, store=None, **named):
    """A supervisor and its session ``user-1``."""
    store = MemoryStore() if store is None else store
    with sync_host.open_supervisor(store, agent, **named) as supervisor:
        yield supervisor, supervisor.session("user-1")


def event_of(session, type, *, after=0):
    """The first event of a type, as soon as it is there."""
    with session.subscribe(after=after, types={type}) as events:
        for event in events:
            return event
    raise AssertionError(f"it ended without {type}")


def in_thread(function, *args):
    """Call it in a thread; returns what waits for its result."""
    results = []

    def run():
        try:
            results.append((function(*args), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(SECONDS_MAX)
        value, error = results[0]
        if error is not None:
            raise error
        return value

    return result


def leaves_no_thread(test):
    """Nothing of a supervisor may be left behind."""

    @functools.wraps(test)
    def run(*args, **named):
        test(*args, **named)
        assert [t for t in threading.enumerate() if t.name == "moorage supervisor"] == []

    return run


@contextmanager
def no_longer_than_a_minute():
    """A main thread that waits for longer raises TimeoutError there."""

    def too_long(*_):
        raise TimeoutError("it has waited for a minute")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
