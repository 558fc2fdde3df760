"""The same thing on several machines at once, in threads that nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 0.2


class Crowd(Generic[T, R]):
    """Work on several things, begun at once. Its threads are daemons: who is interrupted can leave them."""

    def __init__(self, work: Callable[[T], R], items: Sequence[T]) -> None:
        self._ended: SimpleQueue[tuple[int, list[R], BaseException | None]] = SimpleQueue()
        self._count = len(items)
        self._results: dict[int, R] = {}
        self._errors: dict[int, BaseException] = {}

        def one(index: int, item: T) -> None:
            try:
                self._ended.put((index, [work(item)], None))
            except BaseException as error:  # noqa: BLE001 - it is raised by `wait`
                self._ended.put((index, [], error))

        for index, item in enumerate(items):
            threading.Thread(target=one, args=(index, item), daemon=True).start()

    def wait(self, *, fatal: tuple[type[BaseException], ...] = ()) -> list[R]:
        """What the work returned, in order. An error is raised when all have ended, a `fatal` one at once."""
        while self._is_on():
            error = self._take()
            if isinstance(error, fatal):
                raise error
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[index] for index in range(self._count)]

    def settle(self) -> None:
        """Wait until all have ended, however they end."""
        while self._is_on():
            self._take()

    def _is_on(self) -> bool:
        return len(self._results) + len(self._errors) < self._count

    def _take(self) -> BaseException | None:
        """The next one that ends, if one does soon; its error, if it ended with one."""
        try:
            index, results, error = self._ended.get(timeout=_POLL_S)  # signals are seen in between
        except Empty:
            return None
        if error is not None:
            self._errors[index] = error
        for result in results:
            self._results[index] = result
        return error


def together(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What `work` returns for each item; the first error is raised when all have ended."""
    return Crowd(work, items).wait()
