"""Every night: new images -> dataset -> fine-tune -> judge -> promote, or keep and say why."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.dataset import dataset_sr
from flows.notices import announce
from flows.train import train_sr
from tasks import nightly as nights
from tasks.nightly import Night, NightlySettings, NightReport
from tasks.versions import Version


@task(name="judge", cache_policy=NO_CACHE)
def judge(settings: NightlySettings, night: Night, challenger: Version) -> Night:
    """Champion and challenger on the held-out split; the better one is champion after it."""
    return nights.decide(settings, night, challenger)


def _tell_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    name = dict(flow_run.parameters.get("settings") or {}).get("name", "a model")
    announce("pixelmill.nightly.failed", name, f"{name}: the night failed: {state.message}")


@flow(
    name="nightly",
    flow_run_name="nightly",
    persist_result=False,
    on_failure=[_tell_of_failure],
    on_crashed=[_tell_of_failure],
)
def nightly(settings: NightlySettings) -> NightReport:
    """Retrain a super-resolution model on what is new, and promote it if it got better.

    A night that was killed or failed half way is completed by the next one: every step finds what
    it has done already. A night without anything new does nothing.

    Args:
        settings: Images, dataset, registry, name, margin and the training's settings.
    """
    settings = nights.check_settings(settings)
    dataset_sr(
        settings.images,
        settings.dataset,
        scale=settings.scale,
        degradation=settings.degradation,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
        max_failed=settings.max_failed,
    )
    night = nights.begin(settings)
    if night.outcome != "begun":
        return nights.report(settings, night, anything_new=False)
    order = nights.challenge(settings, night)
    trained = train_sr(
        order.dataset,
        order.registry,
        order.name,
        training=order.training,
        start=order.start,
        features=order.features,
        processes=order.processes,
    )
    report = nights.report(settings, judge(settings, night, trained.version), anything_new=True)
    announce(f"pixelmill.nightly.{report.night.outcome}", settings.name, report.closing_line())
    return report
