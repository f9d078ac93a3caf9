from __future__ import annotations

from moorage.adapters.gateways.http_client import Run

from tests.adapters.gateways.http_client.both_loops import listening


async def test_a_run_asks_its_session():
    async def work(client):
        session = await client.session("a")
        run = await session.submit("wait", key="k")
        before = await run.status()
        steered = await run.steer("more")
        return run, before, steered, await run.cancel(), await run.wait()

    async with listening() as server:
        run, before, steered, cancelled, outcome = await server.client("trio", work)

    assert isinstance(run, Run)
    assert repr(run) == f"<Run {run.id} of session 'a'>"
    assert (run.key, run.session_id) == ("k", "a")
    assert before.value in ("queued", "running")
    assert steered.steer_id != run.id
    assert (cancelled, outcome.run_id, outcome.state.value) == (True, run.id, "cancelled")
