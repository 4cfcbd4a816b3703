"""What a data engineer triggers: one file a job, each a short list of calls."""

import logging
import os

# Prefect leaves the root logger at WARNING; PIXELMILL_LOG=INFO lets our own lines through to the
# terminal and, where PREFECT_LOGGING_EXTRA_LOGGERS names these two, to the run's log.
for _name in ("flows", "tasks"):
    logging.getLogger(_name).setLevel(os.environ.get("PIXELMILL_LOG", "WARNING"))
