"""The picture of a training: its loss and its score over the steps."""

import io
from collections.abc import Sequence

from tasks.tables import MetricRow


def curve_picture(rows: Sequence[MetricRow], *, title: str) -> bytes:
    """PNG of the training loss (logarithmic) above the validation scores."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for name, axes in (("train", top), ("validation", bottom)):
        for metric in sorted({r.metric for r in rows if r.split == name}):
            if name == "train" and not (metric == "total" or metric.startswith("loss")):
                continue
            series = sorted(
                (r.step, r.value) for r in rows if (r.split, r.metric) == (name, metric)
            )
            steps, values = zip(*series, strict=True)
            axes.plot(steps, values, label=metric, linewidth=1)
        if axes.lines:
            axes.legend()
        axes.grid(alpha=0.3)
    if any(line.get_ydata().min() > 0 for line in top.lines):
        top.set_yscale("log")
    top.set_title(title)
    top.set_ylabel("loss")
    bottom.set_ylabel("validation")
    bottom.set_xlabel("step")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100)
    return sink.getvalue()
