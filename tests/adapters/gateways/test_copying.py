from __future__ import annotations

from moorage.adapters.gateways import copying
from moorage.adapters.gateways.copying import _Progress
from moorage.runtime import NewEvent


def test_a_copy_of_everything_exports_the_same(filled, moorage_at, tmp_path):
    target = tmp_path / "copy"

    facts = dict(
        line.split(maxsplit=1)
        for line in filled(
            "copy", "--from", str(filled.data), "--to", f"journal:{target}"
        ).stdout.splitlines()
        if line.strip()
    )

    assert facts["sessions"] == "2 copied, 0 were there already"
    assert facts["compared"] == "every event, the same"
    copied = moorage_at(target)
    for session_id in ("a", "b"):
        assert filled("export", session_id).stdout == copied("export", session_id).stdout
    again = filled.json("copy", "--from", str(filled.data), "--to", str(target))
    assert (again["sessions"], again["sessions_there"], again["problems"]) == (0, 2, [])
    assert again["verified"] is True


HELD = """
import trio
from moorage.adapters.gateways.__main__ import main
from moorage.stores import copying

append = copying._Session._append

async def append_and_wait(self, records, *, final):
    await append(self, records, final=final)
    if self._info.id == "s10" and not final:
        print("in the middle", flush=True)
        await trio.sleep_forever()

copying._Session._append = append_and_wait
main()
"""
"""The command, which copies ten sessions and a part of the next one, and then waits."""


def test_a_copy_that_is_killed_goes_on_when_it_is_called_again(
    moorage, moorage_at, start, tmp_path
):
    sessions, appends, each = 30, 4, 250

    async def work(supervisor):
        for number in range(sessions):
            session = await supervisor.session(f"s{number:02}")
            for _ in range(appends):
                await session.append_many([NewEvent("note", {"text": "x" * 100})] * each)

    moorage.fill(work)
    target = moorage_at(tmp_path / "copy")
    command = ("copy", "--from", str(moorage.data), "--to", str(target.data))
    killed = start("-c", HELD, *command)
    told = killed.stdout.readline()
    killed.kill()
    killed.wait()

    report = moorage.json(*command)

    assert (told, killed.returncode) == ("in the middle\n", -9)
    assert report["problems"] == []
    assert (report["sessions"], report["sessions_there"]) == (sessions - 10, 10)
    for number in (0, 10, sessions // 2, sessions - 1):
        exports = [one("export", f"s{number:02}").stdout for one in (moorage, target)]
        assert exports[0] == exports[1]
        assert exports[0].count("\n") == 1 + 1 + appends * each


def test_sessions_are_chosen_by_id_or_prefix(filled, moorage_at, tmp_path):
    source = str(filled.data)
    by_id, by_prefix = tmp_path / "by_id", tmp_path / "by_prefix"

    filled("copy", "--from", source, "--to", str(by_id), "-s", "b", "--no-verify")
    filled("copy", "--from", source, "--to", str(by_prefix), "--prefix", "a")

    listed = [
        [one["id"] for one in moorage_at(path).json("sessions")] for path in (by_id, by_prefix)
    ]
    assert listed == [["b"], ["a"]]


def test_what_is_in_the_way_is_told_and_exits_one(filled, moorage_at, tmp_path):
    target = moorage_at(tmp_path / "copy")

    async def other_sessions(supervisor):
        await supervisor.session("a", tags={"another": "one"})

    target.fill(other_sessions)
    result = filled("copy", "--from", str(filled.data), "--to", str(target.data), code=1)

    assert "the target has another session under this id" in result.stdout
    assert "1 copied" in result.stdout
    assert "1 session was not copied; the others are there" in result.stderr


def test_the_same_store_twice_is_refused(filled):
    result = filled("copy", "--from", str(filled.data), "--to", str(filled.data), code=1)

    assert "same store" in result.stderr


class Clock:
    """The module ``time``, at these moments."""

    def __init__(self, *seconds):
        self._seconds = iter(seconds)

    def monotonic(self):
        return next(self._seconds)


def test_progress_is_told_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(copying, "time", Clock(0.0, 1.0, 2.5, 2.5, 3.0))
    progress = _Progress()

    for session_id in ("a", "b", "c"):
        progress.told(session_id, 10)

    assert capsys.readouterr().err == "moorage: 2 sessions, 20 events so far (b)\n"
