"""The Parquet schemas of what generators of chairs draw, and of how they are judged."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from tasks.tables import UTC_TIME

Kind = Literal["view", "turntable", "morph"]

_GENERATED_COLUMNS: dict[str, pa.DataType] = {
    "output": pa.string(),
    "mask_output": pa.string(),
    "output_bytes": pa.int64(),
    "kind": pa.string(),
    "frame": pa.int32(),
    "frames": pa.int32(),
    "chairs": pa.list_(pa.int32()),
    "weights": pa.list_(pa.float64()),
    "azimuth": pa.float64(),
    "elevation": pa.float64(),
    "rotation": pa.float64(),
    "shift_x": pa.float64(),
    "shift_y": pa.float64(),
    "zoom": pa.float64(),
    "stretch": pa.float64(),
    "hue": pa.float64(),
    "saturation": pa.float64(),
    "brightness": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "model": pa.string(),
    "model_digest": pa.string(),
    "config_digest": pa.string(),
    "run": pa.string(),
    "finished_at": UTC_TIME,
}
GENERATED = pa.schema(_GENERATED_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedRow:
    """One picture: which chairs by which weights, from where, transformed how; its files' paths.

    Paths are below the destination; mask_output: only where masks have files of their own.
    frame, frames: its place in the turntable or morph, or in the list of views.
    """

    output: str
    mask_output: str | None
    output_bytes: int
    kind: Kind
    frame: int
    frames: int
    chairs: list[int]
    weights: list[float]
    azimuth: float
    elevation: float
    rotation: float
    shift_x: float
    shift_y: float
    zoom: float
    stretch: float
    hue: float
    saturation: float
    brightness: float
    width: int
    height: int
    model: str
    model_digest: str
    config_digest: str
    run: str
    finished_at: datetime


_SCORE_COLUMNS: dict[str, pa.DataType] = {
    "model": pa.string(),
    "model_digest": pa.string(),
    "chair": pa.int32(),
    "name": pa.string(),
    "azimuth": pa.float64(),
    "elevation": pa.float64(),
    "views": pa.int32(),
    "rgb_mse": pa.float64(),
    "masked_rgb_mse": pa.float64(),
    "mask_iou": pa.float64(),
    "nearest_rgb_mse": pa.float64(),
    "nearest_masked_rgb_mse": pa.float64(),
    "nearest_mask_iou": pa.float64(),
    "run": pa.string(),
    "at": UTC_TIME,
}
CHAIR_SCORES = pa.schema(_SCORE_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChairScoreRow:
    """A generator's pictures against held-out views, beside the nearest training view's.

    Of one view, or the mean over `views`: of a chair (no angles), or of a direction (no chair).
    Errors are of levels 0..1.
    """

    model: str
    model_digest: str
    chair: int | None
    name: str | None
    azimuth: float | None
    elevation: float | None
    views: int
    rgb_mse: float
    masked_rgb_mse: float
    mask_iou: float
    nearest_rgb_mse: float
    nearest_masked_rgb_mse: float
    nearest_mask_iou: float
    run: str
    at: datetime
