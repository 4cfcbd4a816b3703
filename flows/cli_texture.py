"""`pixelmill texture`."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.bulk_options import (
    Destination,
    DryRun,
    FeatureNetworkName,
    Limit,
    MaxFailed,
    OutputFormat,
    Overwrite,
    Source,
    tell,
)
from flows.terminal import explained, quiet_prefect, start_server


class Method(StrEnum):
    """How a texture is made."""

    EFROS_LEUNG = "efros-leung"
    WEI_LEVOY = "wei-levoy"
    COHERENCE = "coherence"
    GRAM = "gram"


class Loss(StrEnum):
    """What gram compares."""

    GRAM = "gram"
    SLICED_WASSERSTEIN = "sliced_wasserstein"


class Pooling(StrEnum):
    """Of the network."""

    MAX = "max"
    AVERAGE = "average"


class Network(StrEnum):
    """Whose layers gram looks at."""

    VGG19 = "vgg19"
    VGG16 = "vgg16"
    SQUEEZENET = "squeezenet1_0"
    RANDOM = "random"


def texture(
    source: Source,
    destination: Destination,
    method: Annotated[
        Method, typer.Option(help="coherence is fast; gram is slow, and matches statistics.")
    ] = Method.COHERENCE,
    size: Annotated[
        str | None, typer.Option(help="512 or 640x480 pixels; by default twice the exemplar.")
    ] = None,
    tileable: Annotated[
        bool, typer.Option("--tileable", help="Edges continue at the opposite ones.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another one gives another texture.")] = 0,
    window: Annotated[
        int | None, typer.Option(help="Odd side of the neighbourhood, pixels (not gram).")
    ] = None,
    k: Annotated[int, typer.Option(help="coherence: proposals a neighbour; 1 is fastest.")] = 4,
    layers: Annotated[
        list[str] | None, typer.Option(help="gram: relu1_1,relu2_1,... of the network.")
    ] = None,
    layer_weights: Annotated[
        str | None, typer.Option(help="gram: one number a layer, e.g. 1,1,0.5.")
    ] = None,
    iterations: Annotated[int, typer.Option(help="gram: of L-BFGS.")] = 500,
    loss: Annotated[Loss, typer.Option(help="gram: what is compared.")] = Loss.GRAM,
    pooling: Annotated[Pooling, typer.Option(help="gram: of the network.")] = Pooling.AVERAGE,
    tv_weight: Annotated[float, typer.Option(help="gram: total variation's; smoother.")] = 0.0,
    histogram: Annotated[
        bool, typer.Option("--histogram", help="gram: end with the exemplar's colours.")
    ] = False,
    network: Annotated[
        Network | None, typer.Option(help="gram: whose layers; random needs no weights.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            envvar="PIXELMILL_FEATURES", help="gram: the network's weights; else torchvision's."
        ),
    ] = None,
    exemplar: Annotated[
        list[str] | None, typer.Option(help="coherence: one more picture to copy from.")
    ] = None,
    inpaint: Annotated[
        str | None, typer.Option(help="coherence: alpha, or where masks are: fill holes instead.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="coherence: where the exemplars' label pictures are.")
    ] = None,
    guide: Annotated[
        str | None, typer.Option(help="coherence: the label picture of the output.")
    ] = None,
    format: Annotated[OutputFormat, typer.Option(help="What to write.")] = OutputFormat.PNG,  # noqa: A002
    shard_size: Annotated[int, typer.Option(help="Images per shard.")] = 16,
    limit: Limit = None,
    overwrite: Overwrite = False,
    max_failed: MaxFailed = 0.1,
    dry_run: DryRun = False,
) -> None:
    """Grow a larger texture from each small exemplar of a collection."""
    with explained():
        from tasks.texturing import TextureRequest, check_request, names

        request = TextureRequest(
            source=source,
            destination=destination,
            method=method.value,
            size=size,
            tileable=tileable,
            seed=seed,
            window=window,
            k=k,
            layers=names(layers),
            layer_weights=_numbers(layer_weights),
            iterations=iterations,
            loss=loss.value,
            pooling=pooling.value,
            tv_weight=tv_weight,
            histogram=histogram,
            network=network.value if network else None,
            features=features,
            exemplars=tuple(exemplar or ()),
            inpaint=inpaint,
            labels=labels,
            guide=guide,
            format=format.value,
            shard_size=shard_size,
            limit=limit,
            overwrite=overwrite,
            max_failed=max_failed,
        )
        check_request(request)
        quiet_prefect()
        from flows.texture import texture as flow

        start_server()
        summary = flow(**asdict(request), dry_run=dry_run)
    tell(summary, dry_run=dry_run)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    from tasks.failures import RequestError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise RequestError(f"layer-weights must be numbers like 1,1,0.5, got {text!r}") from error


def texture_study(
    exemplar: Annotated[str, typer.Argument(help="One picture of a texture.")],
    output: Annotated[str, typer.Argument(help="Where the sheet goes: .png, .jpg or .webp.")],
    size: Annotated[int, typer.Option(help="Side of each picture, pixels.")] = 160,
    iterations: Annotated[int, typer.Option(help="Of L-BFGS for each picture.")] = 150,
    layers: Annotated[list[str] | None, typer.Option(help="From shallow to deep.")] = None,
    network: Annotated[FeatureNetworkName | None, typer.Option(help="Whose layers.")] = None,
    features: Annotated[
        str | None,
        typer.Option(
            envvar="PIXELMILL_FEATURES", help="The network's weights; else torchvision's."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise that all pictures begin with.")] = 0,
) -> None:
    """Show what depth and weights do: Gram matrices up to layer 1, 2, ...; low layers more or less.

    One sheet from one exemplar, made in this process: minutes, and no Prefect.
    """
    with explained():
        from tasks.texture_study import StudyRequest, make_study
        from tasks.texturing import names

        request = StudyRequest(
            exemplar=exemplar,
            output=output,
            size=size,
            iterations=iterations,
            layers=names(layers),
            network=network.value if network else None,
            features=features,
            seed=seed,
        )
        where = make_study(request, typer.echo)
    typer.echo(f"the study of {exemplar}: {where}")
