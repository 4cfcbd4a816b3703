"""Log lines tell their run and shard."""

import json
import logging

import pytest

from tasks.log_lines import JsonLines, log_to_stderr, working_on


def _line(message: str, **said: object) -> dict[str, object]:
    record = logging.LogRecord("tasks.bulk", logging.WARNING, "", 1, message, (), None)
    line = JsonLines().format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_a_line_is_one_json_object_with_run_and_shard() -> None:
    with working_on("run-1", 3):
        line = _line('a "quoted"\nname <é>')
    assert line["message"] == 'a "quoted"\nname <é>'
    assert (line["level"], line["logger"]) == ("warning", "tasks.bulk")
    assert (line["run"], line["shard"]) == ("run-1", 3)
    assert "run" not in _line("outside of a shard")


def test_secrets_do_not_reach_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-very-secret-key")
    assert "very-secret" not in str(_line("tried with a-very-secret-key"))


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELMILL_LOG_FORMAT", "xml")
    with pytest.raises(ValueError, match="text or json, got 'xml'"):
        log_to_stderr()
