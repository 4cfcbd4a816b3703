"""A training from its check to its closing line: what the flows of all systems have in common."""

from collections.abc import Callable

from flows.training_progress import TrainingDisplay
from tasks import runs, trained
from tasks.trained import TrainingRun, TrainingSummary
from tasks.training import TrainingProgress


def train_once(run: TrainingRun, train: Callable[[TrainingProgress], None]) -> TrainingSummary:
    """Train, publish and show what came of it; of what was published before, only say so."""
    if before := trained.published(run):
        return trained.summarise(run, before, None)
    progress = TrainingProgress()
    with runs.stop_on_signals(progress.stop), TrainingDisplay(progress) as display:
        train(progress)
        summary = trained.summarise(run, trained.publish(run), progress)
        display.publish(summary.closing_line(), trained.curve(run))
    return summary
