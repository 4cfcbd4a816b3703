"""A split of a dataset on the local disk: memory holds an index, the system's cache the rest."""

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from models.patches import EncodedPair


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedPair:
    """Where a pair lies in the file; its contents are read when asked for."""

    file: mmap.mmap
    start: int
    middle: int
    end: int
    width: int
    height: int

    @property
    def image(self) -> bytes:
        return self.file[self.start : self.middle]

    @property
    def low(self) -> bytes:
        return self.file[self.middle : self.end]


class StagedPairs(Sequence[StagedPair]):
    """The pairs of one file, in the order they came; any number of threads may read."""

    def __init__(self, file: mmap.mmap, index: list[tuple[int, int, int, int, int]]) -> None:
        self._file = file
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, k: int) -> StagedPair: ...
    @overload
    def __getitem__(self, k: slice) -> list[StagedPair]: ...
    def __getitem__(self, k: int | slice) -> StagedPair | list[StagedPair]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        start, middle, end, width, height = self._index[k]
        return StagedPair(
            file=self._file, start=start, middle=middle, end=end, width=width, height=height
        )


def stage(pairs: Iterable[EncodedPair], path: Path) -> StagedPairs:
    """Write pairs one after the other into a file and look at it through a memory map.

    Raises:
        ValueError: there is no pair.
    """
    index: list[tuple[int, int, int, int, int]] = []
    with path.open("wb") as file:
        for pair in pairs:
            start = file.tell()
            file.write(pair.image)
            middle = file.tell()
            file.write(pair.low)
            index.append((start, middle, file.tell(), pair.width, pair.height))
    if not index:
        raise ValueError("the split has no picture, wanted at least one")
    with path.open("rb") as file:
        return StagedPairs(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), index)
