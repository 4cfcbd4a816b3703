"""What an optimiser reported of each image: loss curves and pictures on the way, in Parquet."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from models.images import Picture as DecodedPicture
from models.images import encode
from models.pixels import Pixels
from tasks import storage, tables
from tasks.failures import persistently

_CURVE_COLUMNS: dict[str, pa.DataType] = {
    "run": pa.string(),
    "source": pa.string(),
    "step": pa.int32(),
    "metric": pa.string(),
    "value": pa.float64(),
}
CURVES = pa.schema(_CURVE_COLUMNS)
STEPS = tables.hugging_face_schema(
    {"source": pa.string(), "step": pa.int32(), "image": tables.PICTURE, "run": pa.string()}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveRow:
    """One number of one iteration."""

    run: str
    source: str
    step: int
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRow:
    """One picture on the way, PNG."""

    source: str
    step: int
    image: dict[str, bytes | str]
    run: str


@dataclass(kw_only=True, eq=False)
class LossCurves:
    """The curves of a shard's images; written before the manifest part says that they are done.

    Layout: DESTINATION/curves/run=<run>/shard-<n>.parquet, and steps/run=<run>/shard-<n>.parquet.

    Args:
        every: iterations between two rows; the last is always there.
        picture_every: iterations between two pictures; 0 for none.
    """

    run: str
    destination: str
    every: int = 1
    picture_every: int = 0
    _rows: list[CurveRow] = field(default_factory=list)
    _pictures: list[StepRow] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, source: str) -> "ImageCurve":
        """What one image's optimiser tells its losses."""
        return ImageCurve(curves=self, source=tables.storable(source))

    def keep(self, rows: list[CurveRow], pictures: list[StepRow]) -> None:
        """Take over a finished image's rows."""
        with self._lock:
            self._rows += rows
            self._pictures += pictures

    def write(self, shard: int) -> None:
        """Write the shard's parts, if there is anything in them."""
        for folder, rows, schema in (
            ("curves", self._rows, CURVES),
            ("steps", self._pictures, STEPS),
        ):
            if rows:
                part = f"{folder}/run={self.run}/shard-{shard:06d}.parquet"
                uri = storage.join(self.destination, part)
                data = tables.to_parquet(rows, schema)
                persistently(_writer(uri, data))


def _writer(uri: str, data: bytes) -> Callable[[], object]:
    return lambda: storage.write(uri, data)


@dataclass(kw_only=True, eq=False)
class ImageCurve:
    """One image's rows while it is worked on; kept only when it is finished."""

    curves: LossCurves
    source: str
    rows: list[CurveRow] = field(default_factory=list)
    pictures: list[StepRow] = field(default_factory=list)

    def losses(self, step: int, losses: dict[str, float]) -> None:
        """The losses of an iteration."""
        if step % self.curves.every == 0:
            self.rows += [
                CurveRow(
                    run=self.curves.run, source=self.source, step=step, metric=name, value=value
                )
                for name, value in losses.items()
            ]

    def picture(self, step: int, pixels: Callable[[], Pixels]) -> None:
        """The picture of an iteration, where one is due."""
        if self.curves.picture_every and step % self.curves.picture_every == 0:
            data = encode(DecodedPicture(pixels=pixels()), "png")
            name = f"{self.source.rsplit('/', 1)[-1]}-{step:05d}.png"
            self.pictures.append(
                StepRow(
                    source=self.source,
                    step=step,
                    image={"bytes": data, "path": name},
                    run=self.curves.run,
                )
            )

    def finish(self) -> None:
        """The image is done: its rows belong to the shard."""
        self.curves.keep(self.rows, self.pictures)
