"""The Parquet schemas of datasets of chairs."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tasks.dataset_parts import Split
from tasks.tables import hugging_face_schema

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_CHAIR_COLUMNS: dict[str, pa.DataType] = {
    "image": _PICTURE,
    "mask": _PICTURE,
    "chair": pa.int32(),
    "name": pa.string(),
    "azimuth": pa.float64(),
    "elevation": pa.float64(),
    "split": pa.string(),
    "source": pa.string(),
}
CHAIRS = hugging_face_schema(_CHAIR_COLUMNS)

CHAIR_FAILURES = pa.schema(
    {
        "source": pa.string(),
        "status": pa.string(),
        "error_type": pa.string(),
        "error": pa.string(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChairRow:
    """One view of one chair: an RGB PNG on white, and a PNG of one channel, its coverage 0..255.

    chair: the class's number, from 0, and `name` its name. azimuth, elevation: degrees.
    source: the rendering's path below its collection; none where we rendered it ourselves.
    """

    image: dict[Literal["bytes", "path"], bytes | str]
    mask: dict[Literal["bytes", "path"], bytes | str]
    chair: int
    name: str
    azimuth: float
    elevation: float
    split: Split
    source: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChairFailure:
    """Why a rendering is not in the dataset."""

    source: str
    status: Literal["failed"] = "failed"
    error_type: str
    error: str
