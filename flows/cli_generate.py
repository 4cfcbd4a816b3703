"""`pixelmill generate`."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.bulk_options import Destination, Overwrite, Registry
from flows.terminal import explained, in_background, quiet_prefect, start_server

if TYPE_CHECKING:
    from tasks.generating import GenerateRequest


class PicturePixels(StrEnum):
    """Where the mask is."""

    RGBA = "rgba"
    RGB = "rgb"


class Animation(StrEnum):
    """The file that shows what moves."""

    GIF = "gif"
    WEBP = "webp"
    NONE = "none"


def generate(
    destination: Destination,
    model: Annotated[
        str | None,
        typer.Option(
            help="A shipped name, NAME or NAME@VERSION in a registry, or a URI"
            " [default: chairs-small]."
        ),
    ] = None,
    chair: Annotated[
        list[int] | None, typer.Option(help="A chair, by number from 0; repeatable.")
    ] = None,
    azimuth: Annotated[
        list[float] | None,
        typer.Option(help="Degrees, 0 sees the front; repeatable [default: 30]."),
    ] = None,
    elevation: Annotated[
        list[float] | None,
        typer.Option(help="Degrees above the horizon; repeatable [default: 20]."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="param=value: rotation, shift_x, shift_y, zoom, stretch, hue, saturation,"
            " brightness.",
        ),
    ] = None,
    blend: Annotated[
        str | None, typer.Option(help="One chair of several: 3=0.5,17=0.3,40=0.2.")
    ] = None,
    morph: Annotated[str | None, typer.Option(help="A,B: chair A becomes chair B.")] = None,
    to_azimuth: Annotated[
        float | None, typer.Option(help="The azimuth at a morph's end; alone a morph of views.")
    ] = None,
    to_elevation: Annotated[float | None, typer.Option(help="Likewise the elevation.")] = None,
    steps: Annotated[int, typer.Option(help="Pictures of a morph.")] = 16,
    turntable: Annotated[
        int | None, typer.Option(help="So many pictures of a chair that turns once.")
    ] = None,
    pixels: Annotated[
        PicturePixels, typer.Option(help="rgba, or rgb on white and masks beside.")
    ] = PicturePixels.RGBA,
    animation: Annotated[Animation, typer.Option(help="Of what moves.")] = Animation.GIF,
    sheet: Annotated[bool, typer.Option(help="Also write a contact sheet.")] = True,
    shard_size: Annotated[int, typer.Option(help="Single views per shard.")] = 512,
    registry: Registry = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw chairs by a generator: views, a turntable, a morph, a blend of several."""
    from tasks.generating import GenerateRequest, check_request

    with explained():
        request = GenerateRequest(
            destination=destination,
            model=model,
            registry=registry,
            chairs=tuple(chair or ()),
            azimuths=tuple(azimuth or (30.0,)),
            elevations=tuple(elevation or (20.0,)),
            blend=_blend(blend),
            morph=_pair(morph),
            turntable=turntable,
            to_azimuth=to_azimuth,
            to_elevation=to_elevation,
            steps=steps,
            transformation=_values(set_ or []),
            pixels=pixels.value,
            animation=animation.value,
            sheet=sheet,
            shard_size=shard_size,
            overwrite=overwrite,
        )
        check_request(request)
        # the server of Prefect starts in a process of its own: torch is imported meanwhile
        in_background(lambda: _preload(request))
        quiet_prefect()
        from flows.generate import generate as flow

        start_server()
        summary = flow(**asdict(request))
    typer.echo(summary.closing_line())


def _preload(request: "GenerateRequest") -> None:
    from contextlib import suppress

    from tasks.chair_models import load_generator

    # what goes wrong here goes wrong again in the flow, where it is reported
    with suppress(Exception):
        load_generator(request.model, request.registry)


def _blend(text: str | None) -> tuple[tuple[int, float], ...]:
    from tasks.failures import RequestError

    if text is None:
        return ()
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return tuple((int(chair), float(weight)) for chair, weight in pairs)
    except ValueError as error:
        raise RequestError(f"blend must be like 3=0.5,17=0.5, got {text!r}") from error


def _pair(text: str | None) -> tuple[int, int] | None:
    from tasks.failures import RequestError

    if text is None:
        return None
    try:
        first, last = (int(part) for part in text.split(","))
    except ValueError as error:
        raise RequestError(f"morph must be two chairs like 3,17, got {text!r}") from error
    return first, last


def _values(words: list[str]) -> dict[str, float]:
    from tasks.failures import RequestError
    from tasks.settings import parse_assignments

    found: dict[str, float] = {}
    for name, value in parse_assignments(words).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestError(f"--set {name} must be a number, got {value!r}")
        found[name] = float(value)
    return found
