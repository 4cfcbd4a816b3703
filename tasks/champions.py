"""What `pixelmill promote` and `pixelmill models` do, and the words they say it with."""

from tasks import storage, versions
from tasks.failures import RequestError
from tasks.registry import registry_uri
from tasks.versions import Champion, Version

_OBJECTIVES = {"style": "validation_total"}
"""The held-out metric by which a newest version must be lower than the champion to replace it."""


def change_champion(
    registry: str | None,
    system: str,
    name: str,
    *,
    version: int | None = None,
    rollback: bool = False,
    reason: str = "promoted by hand",
) -> str:
    """Promote a version, the newest if None, or go back to the champion before; one line on it.

    Raises:
        RequestError: no registry, no such version, both a version and a rollback, or a newest one
            of a system with a held-out objective that was judged otherwise than the champion.
        ValueError: the record of the champion is damaged.
        StorageError: the registry cannot be read or written.
    """
    place = _required(registry)
    if rollback and version is not None:
        raise RequestError("a rollback leads to the champion before: want no version beside it")
    before = versions.champion(place, system, name)
    judged = version is None and not rollback and system in _OBJECTIVES
    if judged and before is not None and (kept := _reason_to_keep(before, system)):
        return f"{name}: version {before.version.version} stays champion, {kept}"
    if rollback:
        after = versions.rollback(place, system, name, reason=reason)
    else:
        after = versions.promote(place, system, name, version, reason=reason)
    where = storage.redact(storage.join(place, system, name))
    number = after.version.version
    if after == before:
        return f"{name}: version {number} is champion already, nothing was changed: {where}"
    was = before.version.version if before is not None else "none"
    return f"{name}: champion is now version {number} (was {was}), {reason}: {where}"


def _reason_to_keep(champion: Champion, system: str) -> str:
    """Why the newest version does not replace the champion; empty where it should."""
    current = champion.version
    newest = versions.list_versions(current.registry, system, current.name)[-1]
    if newest == current:
        return ""
    metric = _OBJECTIVES[system]
    own, other = versions.read_record(current), versions.read_record(newest)
    if own.training.get("judge") != other.training.get("judge"):
        raise RequestError(
            f"{current.ref} and {newest.ref} were judged by other styles, photographs or losses:"
            f" look at them, and choose with --version {newest.version}"
        )
    if other.metrics[metric] < own.metrics[metric]:
        return ""
    return (
        f"{metric} of {newest.ref} is {other.metrics[metric]:.4g}, not below"
        f" {own.metrics[metric]:.4g}; --version {newest.version} promotes it all the same"
    )


def version_table(registry: str | None, system: str, name: str | None = None) -> list[str]:
    """Lines of a table of the versions of one model, or of all of a system; * is the champion.

    Raises:
        RequestError: no registry, or it has no such model.
        ValueError: a record is damaged.
        StorageError: the registry cannot be read.
    """
    place = _required(registry)
    names = [name] if name is not None else versions.list_names(place, system)
    found = [v for one in names for v in versions.list_versions(place, system, one)]
    if not found:
        what = f"{system} model" + (f" named {name!r}" if name is not None else "")
        raise versions.RegistryError(f"there is no {what} in {storage.redact(place)}")
    champions = {one: versions.champion(place, system, one) for one in names}
    rows = [_row(version, champions[version.name]) for version in found]
    table = [("", "model", "made", "dataset", "parent", "metrics"), *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _row(version: Version, champion: Champion | None) -> tuple[str, ...]:
    record = versions.read_record(version)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(record.metrics.items()))
    mark = "*" if champion is not None and champion.version == version else ""
    made = record.created_at[:16].replace("T", " ")
    return (mark, version.ref, made, record.dataset_digest, record.parent or "-", metrics)


def _required(registry: str | None) -> str:
    place = registry_uri(registry)
    if place is None:
        raise RequestError("say where the registry is: --registry, or PIXELMILL_REGISTRY")
    return place
