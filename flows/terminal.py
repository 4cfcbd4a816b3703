"""What every command of `pixelmill` shares: quiet servers, errors in one sentence, exit codes."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

_FAILED, _WRONG_COMMAND, _TOO_MANY_FAILED = 1, 2, 3

_PREFECT_DEFAULTS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are reported here, in one sentence
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}


def in_background(work: Callable[[], None]) -> None:
    """Do something while a server starts; nobody waits for it."""
    threading.Thread(target=work, name="preload", daemon=True).start()


def quiet_prefect() -> None:
    """Defaults for a command in a terminal; what the user has set stays."""
    for name, value in _PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # it warns at the exit that it still has events to send, as on a busy machine it always has
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)


def start_server() -> None:
    """Start Prefect's temporary server, where the settings name none, deaf to Ctrl-C.

    A terminal sends Ctrl-C to every process of a command. The run then finishes what is under way,
    which takes a while, and has to tell the server how it ended.
    """
    thread = threading.Thread(target=_start_deaf_server, name="prefect-server")
    thread.start()
    thread.join()


def _start_deaf_server() -> None:
    from prefect.client.orchestration import get_client

    # of this thread alone; a process that is started here inherits it, and is ended by SIGTERM
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # what goes wrong here goes wrong again in the flow, where it is reported
    with suppress(Exception), get_client(sync_client=True):
        pass


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error that a user can act on into one sentence and an exit code."""
    from tasks.failures import RequestError, RunAbortedError
    from tasks.registry import ModelError
    from tasks.runs import StoppedError, TooManyFailedError
    from tasks.storage import InvalidUriError, StorageError

    try:
        yield
    except TooManyFailedError as error:
        _leave(_TOO_MANY_FAILED, error)
    except (RequestError, ModelError, InvalidUriError) as error:
        _leave(_WRONG_COMMAND, error)
    except (StorageError, RunAbortedError, StoppedError, ValueError, ArithmeticError) as error:
        _leave(_FAILED, error)


def _leave(code: int, error: Exception) -> NoReturn:
    typer.echo(f"pixelmill: {error}", err=True)
    raise typer.Exit(code)
