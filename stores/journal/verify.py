"""Reading everything there is and checking it: every frame, every block, every session's seqs.

Changes nothing and takes no lock, so it works beside a live owner.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog, StoreFailed

from . import format as fmt
from .disk import OsDisk
from .gather import parts_down
from .manifest import Layout, load_manifest
from .recovery import load_durable, replay_for_reader
from .survey import Problem, manifest_or_guess, problem_of, segment_end, survey

if TYPE_CHECKING:
    from .disk import Disk
    from .durable import DurableEnd
    from .format import Block
    from .manifest import Manifest, Segment
    from .state import State, View

_PROBLEMS_MAX = 1_000
"""Problems that are reported one by one; a ruined disk has more."""
_TRIES = 5


@attrs.frozen
class VerifyReport:
    """Counts of what was read, ``problems`` (the first thousand), and ``tail_bytes`` behind the
    last good frame, which the next opening cuts off."""

    segments: int
    frames_bytes: int
    blocks: int
    events: int
    sessions: int
    tail_bytes: int
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(path: str | Path, *, disk: Disk | None = None) -> VerifyReport:
    """Check the journal in ``path``. Raises StoreFailed if there is none, it cannot be read, or
    its format is newer."""
    disk = OsDisk() if disk is None else disk
    layout = Layout(Path(path).absolute())
    for tries_left in reversed(range(_TRIES)):
        try:
            before = load_manifest(disk, layout)
            report = _Verifier(disk, layout).run()
            if report.sound or before == load_manifest(disk, layout):
                return report
        except FileNotFoundError as error:
            if not tries_left:
                raise StoreFailed(f"a file of the journal is missing: {error}") from error
        except CorruptLog as error:
            return VerifyReport(0, 0, 0, 0, 0, 0, (problem_of(error),))
        except OSError as error:
            raise StoreFailed(f"the journal cannot be read: {error}") from error
    return report  # the owner changed the segments each time; these problems may be no more


class _Verifier:
    def __init__(self, disk: Disk, layout: Layout) -> None:
        self._disk = disk
        self._layout = layout
        self._problems: list[Problem] = []
        self._blocks = self._events = self._bytes = self._tail = 0

    def run(self) -> VerifyReport:
        manifest = manifest_or_guess(self._disk, self._layout, self._problems)
        alive = self._disk.is_locked(self._layout.lock)
        durable = load_durable(self._disk, self._layout)
        for segment in manifest.segments:
            self._verify_segment(manifest, segment)
        state = self._state(manifest, durable, alive)
        if state is not None:
            self._verify_indexes(state)
            self._verify_sessions(state)
        return VerifyReport(
            segments=len(manifest.segments),
            frames_bytes=self._bytes,
            blocks=self._blocks,
            events=self._events,
            sessions=0 if state is None else state.directory.existing,
            tail_bytes=self._tail,
            problems=tuple(self._problems[:_PROBLEMS_MAX]),
        )

    def _report(self, problem: Problem) -> None:
        if problem not in self._problems[-8:]:
            self._problems.append(problem)

    def _state(self, manifest: Manifest, durable: DurableEnd | None, alive: bool) -> State | None:
        if self._problems and not manifest.directory:
            return None
        try:
            return replay_for_reader(self._disk, self._layout, manifest, durable, alive=alive)
        except CorruptLog as error:
            self._report(problem_of(error))
            return None

    def _verify_segment(self, manifest: Manifest, segment: Segment) -> None:
        path = str(self._layout.segment(segment.number))
        try:
            file = self._disk.open(Path(path))
        except FileNotFoundError:
            if load_manifest(self._disk, self._layout) != manifest:
                raise  # compacted meanwhile
            self._report(Problem(path, 0, "the file is missing"))
            return
        try:
            size = file.size()
            end = segment_end(self._disk, self._layout, manifest, segment, size)
            if segment.end is not None and size < segment.end:
                self._report(Problem(path, size, f"{segment.end} bytes of it were durable"))
            found = survey(file, path, log_id=manifest.log_id, number=segment.number, end=end)
            problems = []
            for one in found:
                if isinstance(one, Problem):
                    problems.append(one)
                else:
                    self._verify_block(one.block, path)
        finally:
            file.close()
        self._bytes += end
        if segment.end is None and len(problems) == 1 and self._is_tail(manifest, problems[0]):
            self._tail = end - problems[0].offset
            return
        for problem in problems:
            self._report(problem)

    def _is_tail(self, manifest: Manifest, problem: Problem) -> bool:
        """Whether recovery would cut it rather than refuse it."""
        durable = load_durable(self._disk, self._layout)
        alive = self._disk.is_locked(self._layout.lock)
        try:
            replay_for_reader(self._disk, self._layout, manifest, durable, alive=alive)
        except CorruptLog:
            return False
        return problem.offset >= manifest.replay_offset or (
            manifest.active.high != manifest.replay_place
        )

    def _verify_block(self, block: Block, path: str) -> None:
        self._blocks += 1
        self._events += block.events
        if block.kind != fmt.EVENTS:
            return
        try:
            events = codec.decode_block(block.session_id, block.seq, block.content)
        except CorruptLog as error:
            self._report(Problem(path, block.offset, error.reason))
            return
        if len(events) != block.events:
            reason = f"the block holds {len(events)} events instead of {block.events}"
            self._report(Problem(path, block.offset, reason))

    def _verify_indexes(self, state: State) -> None:
        for segment in state.segments:
            if segment.index_end:
                try:
                    state.files.index(segment)
                except CorruptLog as error:
                    self._report(problem_of(error))
                except FileNotFoundError as error:
                    self._report(Problem(str(error.filename), 0, "the file is missing"))

    def _verify_sessions(self, state: State) -> None:
        for session_id, entry in state.directory.entries.items():
            if not entry.info or entry.head_seq < entry.oldest_seq:
                continue
            try:
                self._verify_session(state.view(session_id, entry))
            except CorruptLog as error:
                self._report(problem_of(error))
            except FileNotFoundError:
                pass  # reported above

    def _verify_session(self, view: View) -> None:
        """The indexes lead to every seq from the oldest to the head."""
        expected = view.oldest
        parts = list(parts_down(view.session_id, view.memory_parts(), view.chain()))
        for part in reversed(parts):
            for span in part.ascending(view.oldest):
                if span.first_seq > expected:
                    break
                expected = max(expected, span.first_seq + span.events)
        if expected <= view.head:
            reason = f"seq {expected} of session {view.session_id!r} is missing"
            self._report(Problem(str(self._layout.root), 0, reason))
