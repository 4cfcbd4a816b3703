"""Make the page of a destination or of a model in a registry."""

from prefect import flow

from tasks import reporting


@flow(name="report", flow_run_name="report {destination}", persist_result=False)
def report_page(destination: str, *, output: str | None = None, sample: int = 12) -> str:
    """Write a static page on what a run did, or on a training; returns its URI.

    Args:
        destination: Where runs left images and manifest; or REGISTRY/<system>/<name>; or the
            folder of a training run.
        output: The page's own URI; by default DESTINATION/report/index.html.
        sample: Pictures shown before and after, beside the best and the worst.
    """
    return reporting.write_page(destination, output=output, sample=sample)
