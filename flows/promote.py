"""Make a version of a model the champion, or go back to the one before."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.champions import change_champion


# `pixelmill promote` calls `change_champion` itself: a server of Prefect's own, which a command
# without one would start, takes many times as long as the one file that is written here.
@flow(name="promote", flow_run_name="promote {system}/{name}", persist_result=False)
def promote(
    system: str,
    name: str,
    registry: str | None = None,
    *,
    version: Annotated[int | None, Field(ge=1)] = None,
    rollback: bool = False,
    reason: str = "promoted by hand",
) -> str:
    """Make a version of a model the champion, which `upscale` uses from its next run on.

    Args:
        system: What kind of model: sr, style, chairs or pixels.
        name: The model's name in the registry.
        registry: Where trained models are; by default what PIXELMILL_REGISTRY says.
        version: Its number; by default the newest.
        rollback: Go back to the champion before this one instead.
        reason: Kept in the champion's history.
    """
    return change_champion(
        registry, system, name, version=version, rollback=rollback, reason=reason
    )
