"""The upscaling job as one writes it in Daft and in Ray Data: `python -m ... daft SOURCE OUTPUT`.

Both are given what helps them: our loader and arithmetic, our PNG settings, an instance of the
network to each core, their own parallel download and upload, and an error that costs one row.
"""

import os
import sys
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MODEL, SCALE, INSTANCES, BATCH = "mill-x4", 4, 2, 16
_SHARE = 0.25
"""Of a core, for a Ray task that reads, decodes or uploads: with whole ones, two cores hold no
more than the networks, and the job waits for ever."""


class Network:
    """The network, eager, on one thread; RGB pixels (H, W, 3) in, PNG bytes out."""

    def __init__(self) -> None:
        import torch

        from tasks.registry import load_model

        torch.set_num_threads(1)
        self._upscaler = load_model(MODEL, SCALE, "fp32").upscaler

    def png(self, pixels: npt.NDArray[np.uint8]) -> bytes:
        from PIL import Image

        from models.upscaling import upscale_pixels

        buffer = BytesIO()
        picture = Image.fromarray(upscale_pixels(self._upscaler, pixels[None])[0])
        picture.save(buffer, "PNG", compress_level=1, compress_type=3)
        return buffer.getvalue()


def in_daft(source: str, output: str) -> None:
    """Daft: native download, decoding and upload, the network in a class UDF."""
    import daft
    from daft import col
    from daft.functions import decode_image, download, regexp_replace, upload
    from daft.io import IOConfig, S3Config

    store = IOConfig(
        s3=S3Config(
            endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"],
            key_id=os.environ["AWS_ACCESS_KEY_ID"],
            access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            region_name=os.environ["AWS_DEFAULT_REGION"],
        )
    )

    @daft.cls(max_concurrency=INSTANCES, use_process=True)
    class Upscale:
        def __init__(self) -> None:
            self._network = Network()

        @daft.method.batch(return_dtype=daft.DataType.binary(), batch_size=BATCH)
        def png(self, images: daft.Series) -> list[bytes | None]:
            return [None if p is None else self._network.png(p) for p in images.to_pylist()]

    images = daft.from_glob_path(f"{source}/**", io_config=store).into_batches(BATCH)
    images = images.with_column("data", download(col("path"), on_error="null", io_config=store))
    images = images.with_column("image", decode_image(col("data"), on_error="null", mode="RGB"))
    images = images.with_column("png", Upscale().png(col("image")))
    target = regexp_replace(col("path"), f"^{source}/(.*)$", f"{output}/images/${{1}}.png")
    images = images.with_column("target", target)
    images = images.with_column(
        "output", upload(col("png"), col("target"), on_error="null", io_config=store)
    )
    images.select("path", "output").write_parquet(
        f"{output}/rows", write_mode="overwrite", io_config=store
    )


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image

    try:
        with Image.open(BytesIO(row["bytes"])) as image:
            pixels: npt.NDArray[np.uint8] | None = np.asarray(image.convert("RGB"))
            error = None
    except Exception as caught:  # noqa: BLE001 (one bad image costs one row)
        pixels, error = None, str(caught)
    data = None if pixels is None else pixels.tobytes()
    height, width = (0, 0) if pixels is None else pixels.shape[:2]
    return {
        "path": row["path"],
        "data": data,
        "height": height,
        "width": width,
        "error": error,
    }


class _Upscale:
    def __init__(self) -> None:
        self._network = Network()

    def __call__(self, batch: pa.Table) -> pa.Table:
        pngs = []
        for row in batch.to_pylist():
            sides = (row["height"], row["width"], 3)
            given = row["data"]
            pixels = None if given is None else np.frombuffer(given, np.uint8).reshape(sides)
            pngs.append(None if pixels is None else self._network.png(pixels))
        kept = batch.select(["path", "error"])
        return kept.append_column("png", pa.array(pngs, pa.binary()))


def in_ray_data(source: str, output: str) -> None:
    """Ray Data: its reader, a map that decodes, the network in a class UDF, a map that uploads."""
    import ray
    import ray.data
    from pyarrow.fs import S3FileSystem
    from ray.data import ActorPoolStrategy, DataContext, SaveMode

    endpoint = os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
    store = S3FileSystem(endpoint_override=endpoint, scheme="http", region="us-east-1")
    bucket, source = source.removeprefix("s3://").split("/")[0], source.removeprefix("s3://")
    output = output.removeprefix("s3://")
    below = f"{bucket}/" + source.removeprefix(f"{bucket}/")

    def uploaded(batch: pa.Table) -> pa.Table:
        from concurrent.futures import ThreadPoolExecutor

        def put(row: dict[str, Any]) -> str | None:
            if row["png"] is None:
                return None
            name = row["path"].removeprefix("s3://").removeprefix(f"{below}/")
            target = f"{output}/images/{name}.png"
            with store.open_output_stream(target) as stream:
                stream.write(row["png"])
            return target

        with ThreadPoolExecutor(BATCH) as pool:
            targets = list(pool.map(put, batch.to_pylist()))
        return batch.select(["path", "error"]).append_column("output", pa.array(targets))

    ray.init("local", num_cpus=INSTANCES, include_dashboard=False, log_to_driver=False)
    DataContext.get_current().enable_progress_bars = False
    images = ray.data.read_binary_files(
        source,
        filesystem=store,
        include_paths=True,
        ray_remote_args={"num_cpus": _SHARE},
    )
    images = images.map(_decoded, num_cpus=_SHARE).map_batches(
        _Upscale,
        batch_size=BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=INSTANCES),
        num_cpus=2 * _SHARE,
    )
    rows = images.map_batches(uploaded, batch_size=BATCH, batch_format="pyarrow", num_cpus=_SHARE)
    rows.write_parquet(
        f"{output}/rows",
        filesystem=store,
        mode=SaveMode.OVERWRITE,
        ray_remote_args={"num_cpus": _SHARE},
    )


if __name__ == "__main__":
    {"daft": in_daft, "ray-data": in_ray_data}[sys.argv[1]](*sys.argv[2:])
