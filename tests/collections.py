"""Collections of pictures put into a store, and what a run left of them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from tasks import runs, storage, tables
from tasks.runs import RunProgress, RunSummary
from tasks.upscaling import UpscaleJob, UpscaleRequest, open_job, plan, run_shard


def put(place: str, pictures: Mapping[str, bytes]) -> None:
    """Write each picture below a place."""
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda item: storage.write(storage.join(place, item[0]), item[1]), pictures.items()
            )
        )


def request(source: str, destination: str, **options: object) -> UpscaleRequest:
    """A request for the quick model, whatever the options do not say."""
    return UpscaleRequest(
        **{"model": "bicubic", "scale": 2, "source": source, "destination": destination, **options}
    )  # type: ignore[arg-type]


def run(job: UpscaleJob | UpscaleRequest, progress: RunProgress | None = None) -> RunSummary:
    """The upscale flow without Prefect around it."""
    job = open_job(job) if isinstance(job, UpscaleRequest) else job
    progress = progress or RunProgress()
    with runs.recorded(job.run, progress):
        for shard in runs.until_stopped(plan(job, progress), progress):
            run_shard(job, shard, progress)
    return runs.summarise(job.run, progress)


def manifest(destination: str) -> pa.Table:
    """Every row of every manifest part."""
    return _all_rows(storage.join(destination, "manifest"))


def run_records(destination: str) -> pa.Table:
    """The record of every run."""
    return _all_rows(storage.join(destination, "runs"))


def _all_rows(folder: str) -> pa.Table:
    parts = [entry.uri for page in storage.list_pages(folder) for entry in page]
    return pa.concat_tables(tables.from_parquet(storage.read(uri)) for uri in sorted(parts))


def current_rows(destination: str) -> dict[str, dict[str, object]]:
    """The latest row of each source, by its source."""
    rows = manifest(destination).sort_by("finished_at").to_pylist()
    return {row["source"]: row for row in rows}


def outputs(destination: str) -> dict[str, bytes]:
    """Path below DESTINATION -> bytes, of every image there."""
    root = storage.normalise(destination)
    found = [e.uri for page in storage.list_pages(storage.join(root, "images")) for e in page]
    return {uri[len(root) + 1 :]: storage.read(uri) for uri in found}


def sources(place: str, names: Iterable[str]) -> set[str]:
    """The URIs of names below a place."""
    return {storage.join(storage.normalise(place), name) for name in names}
