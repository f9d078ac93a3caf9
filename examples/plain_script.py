"""A worker without any event loop: submit, follow, cancel, drain on SIGTERM.

python examples/plain_script.py --data moorage-data "ten words please" "another slowly spoken text"

Run it twice: what had ended is told and not done again. What is cancelled is the text "cancel me".
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from moorage.adapters.gateways import sync_host
from moorage.runtime import MoorageError, RunRequest, SupervisorLimits
from moorage.stores import JournalStore


@sync_host.sync_agent
def agent(request: RunRequest, context: sync_host.SyncRunContext) -> object:
    """Says its input word by word; "slowly" makes each word take a while."""
    words = str(request.input).split()
    for word in words:
        context.emit("message_streamed", {"delta": word})
        context.sleep(0.2 if "slowly" in words else 0)
    if request.input == "cancel me":
        context.sleep(3_600)
    return {"content": request.input}


def say(line: str) -> None:
    """Write a line in one call: print() may write its end apart, behind what another said."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def follow(session: sync_host.Session, run: sync_host.Run) -> None:
    """Tell what a run says, and how it ends."""
    with session.subscribe(run_id=run.id) as events:
        for event in events:
            if event.type == "message_streamed":
                say(f"{run.key}: {event.data['delta']}")
                if run.key == "cancel me" and event.data["delta"] == "me":
                    run.cancel(reason="it said so")
    try:
        say(f"{run.key}: {run.wait().state}")
    except MoorageError:  # the supervisor has left
        say(f"{run.key}: left for the next time")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="moorage-data")
    parser.add_argument("texts", nargs="+")
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    limits = SupervisorLimits(drain_seconds=20)
    with sync_host.open_supervisor(JournalStore(options.data), agent, limits=limits) as supervisor:
        session = supervisor.session("worker", slots=2)
        followers = []
        for text in options.texts:
            run = session.submit(text, key=text)
            followers.append(threading.Thread(target=follow, args=(session, run)))
            followers[-1].start()
        while any(follower.is_alive() for follower in followers):
            if stop.wait(0.05):
                break  # leaving drains: what runs may end, what is queued stays for the next time
    for follower in followers:
        follower.join()


if __name__ == "__main__":
    main()
