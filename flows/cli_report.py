"""`pixelmill report`, `preferences`, `status` and `compact`: what looks after a destination.

They read and write a few files, so that none of them starts Prefect, which takes longer than they.
"""

import json
from typing import Annotated

import typer

from flows.terminal import explained


def report(
    destination: Annotated[
        str | None,
        typer.Argument(help="Where runs left their manifest; or REGISTRY/<system>/<name>."),
    ] = None,
    ab: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Compare the outputs of two destinations, blind and in pairs."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The page [default: DESTINATION/report/index.html].")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Pictures shown [default: 12; of pairs 30].", min=0)
    ] = None,
    seed: Annotated[int, typer.Option(help="Which pairs, and which of them is left.")] = 0,
) -> None:
    """Write a page: what became of a collection, how a training went, or which of two is better."""
    with explained():
        from tasks.failures import RequestError
        from tasks.reporting import write_page

        if (ab is None) == (destination is None):
            raise RequestError("want either DESTINATION or --ab A_DESTINATION B_DESTINATION")
        if ab is not None:
            line = _comparison(ab, output, 30 if sample is None else sample, seed)
        else:
            shown = 12 if sample is None else sample
            line = write_page(str(destination), output=output, sample=shown)
    typer.echo(line)


def _comparison(ab: tuple[str, str], output: str | None, sample: int, seed: int) -> str:
    from tasks.failures import RequestError
    from tasks.preferences import write_comparison

    if output is None:
        raise RequestError("--ab needs --output URI, where its page goes")
    made = write_comparison(*ab, output=output, sample=sample, seed=seed)
    left_out = f", {made.unequal} sources left out" if made.unequal else ""
    return f"{made.pairs} pairs{left_out}: {made.uri}"


def preferences(
    answers: Annotated[list[str], typer.Argument(help="Files that the page of --ab saved.")],
) -> None:
    """The answers of a blind comparison as a table with 95 % confidence intervals."""
    with explained():
        from tasks.preferences import preference_lines, read_preferences

        lines = preference_lines(read_preferences(answers))
    typer.echo("\n".join(lines))


def status(
    destination: Annotated[str, typer.Argument(help="Where runs leave their manifest.")],
    source: Annotated[
        str | None, typer.Option(help="What is to be done in all: it is listed and counted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As metrics, for node exporter's textfiles.")
    ] = False,
) -> None:
    """How far a destination is: done, failed, to do, rate and ETA; also while a run is going."""
    with explained():
        from datetime import UTC, datetime

        from tasks import status as statuses

        now = datetime.now(UTC)
        found = statuses.read_status(destination, source=source, now=now)
        if prometheus:
            text = statuses.as_prometheus(found).rstrip("\n")
        elif as_json:
            text = json.dumps(statuses.as_record(found), indent=2)
        else:
            text = "\n".join(statuses.as_lines(found, now=now))
    typer.echo(text)


def compact(
    destination: Annotated[str, typer.Argument(help="Where runs left their manifest.")],
    older_than: Annotated[
        float,
        typer.Option(help="Hours without a new row after which a killed run counts as over."),
    ] = 24.0,
) -> None:
    """Merge the manifest's many small parts into few large ones; safe beside a running job."""
    with explained():
        from tasks.compaction import compact as merge

        done = merge(destination, older_than_hours=older_than)
    alone = f"; {done.runs_left_alone} runs under way left alone" if done.runs_left_alone else ""
    typer.echo(
        f"{done.parts_before} parts ({done.bytes_before / 1e6:.1f} MB) are now {done.parts_after}"
        f" ({done.bytes_after / 1e6:.1f} MB){alone}: {destination}"
    )
