"""The page of a place, whatever has been left there."""

from datetime import UTC, datetime

from tasks import report, report_training, storage


def write_page(place: str, *, output: str | None = None, sample: int = 12) -> str:
    """Write a static page on what a bulk run did, or on a training; returns its URI.

    Args:
        place: a destination, REGISTRY/<system>/<name>, or the folder of a training run.
        output: the page's own URI; by default report/index.html below the place.
        sample: pictures shown before and after, beside the best and the worst.
    Raises:
        RequestError: a sample below 0.
        NotFoundError: nothing of all this is there. ValueError: a file there is damaged.
        StorageError: it cannot be read, or the page not written.
    """
    uri, now = storage.normalise(place), datetime.now(UTC)
    if report_training.is_training(uri):
        return report_training.write_training_report(uri, output=output, now=now)
    return report.write_report(uri, output=output, sample=sample, now=now)
