"""Time that passes only when nothing else can happen: an event loop that jumps to its next timer instead of waiting.

``run(story)`` runs a coroutine on such a loop. As long as a callback is ready, a socket has something, or a thread is
at work (one that the loop started, or a store told by ``watch``), time stands still; then it jumps to the next timer.
A week passes in as many steps as something happens in it, in the same order on every machine. Sockets must belong to
this process: nobody else's time can be made to wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

#: A Monday.
BEGIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
# Real seconds for which a thread is waited for at a time, and after which a loop without timers is taken for stuck.
_THREAD = 0.05
_STUCK = 20.0
# So much may pass while a thread is at work: a store may keep work back for as long, which is a timer of the loop's.
_INSTANT = 0.002


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but threads; what it would have waited for otherwise, it lets pass."""

    loop: Lapse

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if (ready := super().select(0)) or timeout == 0:
            return ready
        waited = 0.0
        while (is_busy := self.loop.is_busy() and (timeout is None or timeout > _INSTANT)) or timeout is None:
            if ready := super().select(_THREAD):
                return ready
            waited += _THREAD
            if waited > _STUCK:
                raise RuntimeError(f"nothing happens any more; a thread at work: {is_busy}")
        self.loop.passed += timeout
        return []


class Lapse(asyncio.SelectorEventLoop):
    """See the module's promise."""

    def __init__(self) -> None:
        self.passed = 1_000_000.0
        self._threads = 0
        self._watched: list[Callable[[], bool]] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.passed

    def watch(self, is_idle: Callable[[], bool]) -> Callable[[], None]:
        """Let time stand still while ``is_idle`` says no; return what ends this."""
        self._watched.append(is_idle)
        return lambda: self._watched.remove(is_idle)

    def is_busy(self) -> bool:
        return self._threads > 0 or not all(is_idle() for is_idle in self._watched)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        self._threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _future: object) -> None:
        self._threads -= 1


class LapseClock:
    """``app.kit.clock.Clock`` of a ``Lapse`` loop.

    ``grain``: loops that look once a second look only so often, in seconds; everything else that waits for an instant
    or an event is exact. ``reboot`` begins another run of the machine.
    """

    def __init__(self, loop: Lapse, grain: float = 0.0) -> None:
        self.boot_id = "boot-1"
        self._loop = loop
        self._began = loop.time()
        self._booted = loop.time() - 1000.0
        self._grain = grain

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.passed)

    @property
    def passed(self) -> float:
        """Seconds since the story began."""
        return self._loop.time() - self._began

    def boot(self) -> float:
        return self._loop.time() - self._booted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, self._grain))

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if not event.is_set():
            try:
                async with asyncio.timeout(self._grain if self._grain and seconds == 1.0 else seconds):
                    await event.wait()
            except TimeoutError:
                pass
        return event.is_set()

    def reboot(self) -> None:
        self.boot_id += "+1"
        self._booted = self._loop.time() - 30.0


def run(story: Callable[[Lapse], Coroutine[Any, Any, T]]) -> T:
    """Run a story to its end and return what it returns."""
    loop = Lapse()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(story(loop))
