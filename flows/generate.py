"""Draw chairs by a trained generator."""

from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.progress import RunDisplay
from tasks import generating, runs
from tasks.collection import Shard
from tasks.generating import GenerateJob, GenerateRequest, GenerateShard
from tasks.runs import RunProgress, RunSummary


@task(name="generate-shard", task_run_name="shard-{shard.number}", cache_policy=NO_CACHE)
def generate_shard(job: GenerateJob, shard: GenerateShard, progress: RunProgress) -> None:
    """One shard: its pictures, their animation and sheet, then its rows."""
    from tasks.chair_drawing import run_shard

    run_shard(job, shard, progress)


@flow(name="generate", flow_run_name="generate {destination}", persist_result=False)
def generate(
    destination: str,
    *,
    model: str | None = None,
    registry: str | None = None,
    chairs: tuple[int, ...] = (),
    azimuths: tuple[float, ...] = (30.0,),
    elevations: tuple[float, ...] = (20.0,),
    blend: tuple[tuple[int, float], ...] = (),
    morph: tuple[int, int] | None = None,
    turntable: Annotated[int, Field(ge=2, le=2000)] | None = None,
    to_azimuth: float | None = None,
    to_elevation: float | None = None,
    steps: Annotated[int, Field(ge=2, le=2000)] = 16,
    transformation: dict[str, float] | None = None,
    pixels: Literal["rgba", "rgb"] = "rgba",
    animation: Literal["gif", "webp", "none"] = "gif",
    sheet: bool = True,
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 512,
    overwrite: bool = False,
) -> RunSummary:
    """Draw chairs: views, a turntable, a morph of two chairs or of two views, a blend of several.

    Args:
        destination: Where images, animation, sheet, rows and the run's record go.
        model: A shipped name, NAME[@VERSION] in the registry, or a checkpoint's URI.
        registry: Where NAME[@VERSION] is looked up.
        chairs: Classes, each drawn from every azimuth and elevation.
        azimuths: Degrees; 0 sees the front.
        elevations: Degrees above the horizon.
        blend: Pairs of a chair and its weight, for one chair that is mixed of several.
        morph: Two chairs, the first of which becomes the second.
        turntable: So many pictures of one chair that turns once.
        to_azimuth: Where a morph's azimuth ends.
        to_elevation: Where a morph's elevation ends.
        steps: Pictures of a morph.
        transformation: rotation, shift_x, shift_y, zoom, stretch, hue, saturation, brightness.
        pixels: rgba has the mask as alpha; rgb is on white, with masks in files of their own.
        animation: The file that shows what moves.
        sheet: Also write a contact sheet.
        shard_size: Single views per shard, the unit of commit.
        overwrite: Do again what is done.
    """
    request = GenerateRequest(
        destination=destination,
        model=model,
        registry=registry,
        chairs=tuple(chairs),
        azimuths=tuple(azimuths),
        elevations=tuple(elevations),
        blend=tuple(blend),
        morph=morph,
        turntable=turntable,
        to_azimuth=to_azimuth,
        to_elevation=to_elevation,
        steps=steps,
        transformation=transformation or {},
        pixels=pixels,
        animation=animation,
        sheet=sheet,
        shard_size=shard_size,
        overwrite=overwrite,
    )
    job, progress = generating.open_job(request), RunProgress()
    with runs.recorded(job.run, progress), RunDisplay(progress, "generate") as display:
        for shard in generating.plan(job, progress):
            generate_shard(job, shard, progress)
            display.shard_done(Shard(number=shard.number, sources=()))
    summary = runs.summarise(job.run, progress)
    display.publish(summary)
    return summary
