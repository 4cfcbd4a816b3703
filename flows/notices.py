"""Tell people and other systems what a scheduled run came to: a Prefect event, and a web hook."""

import logging
import os

import httpx
from prefect.events import emit_event

log = logging.getLogger(__name__)


def announce(event: str, subject: str, text: str) -> None:
    """Emit an event that Automations can listen for, and post the text to PIXELMILL_WEBHOOK.

    The post is {"text": ...}, which chat systems take as a message. That it fails is a line in
    the log: news must not fail the night that it is about.

    Args:
        event: e.g. pixelmill.nightly.promoted.
        subject: what it is about, e.g. a model's name.
    """
    resource = {"prefect.resource.id": f"pixelmill.{subject}", "prefect.resource.name": subject}
    emit_event(event=event, resource=resource, payload={"text": text})
    if hook := os.environ.get("PIXELMILL_WEBHOOK"):
        try:
            answer = httpx.post(hook, json={"text": text}, timeout=10)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # its name alone: the address, which is a secret in itself, may be in the sentence
            log.warning("PIXELMILL_WEBHOOK was not reached: %s", type(error).__name__)
        else:
            if not answer.is_success:
                log.warning("PIXELMILL_WEBHOOK answered %d", answer.status_code)
