"""The manifests of docs/deploy: what they name is what the sidecar has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from guard.sidecar import keys, metrics, settings
from guard.sidecar.middleware import OPEN
from guard.sidecar.settings import ServeSettings
from guard.trace import TraceStore

DEPLOY = Path(__file__).parents[3] / "docs" / "deploy"


def manifest(name: str) -> dict[str, Any]:
    """Return the objects of a manifest by their kind."""
    every = list(yaml.safe_load_all((DEPLOY / name).read_text()))
    found = {each["kind"]: each for each in every}
    assert len(found) == len(every)
    return found


def guard_of(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the container with the sidecar."""
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = [each for each in pod["containers"] if each["name"] == "guard"]
    return dict(container)


def served(objects: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> ServeSettings:
    """Return the settings of a manifest as the sidecar reads them."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-unused")
    config = folder / "guard.toml"
    config.write_text(objects["ConfigMap"]["data"]["guard.toml"])
    return settings.load(config)[0]


@pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes-pod.yaml"])
def test_the_sidecar_of_a_manifest_could_start_and_has_time_to_drain(
    name: str, tmp_path: Path, trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = manifest(name)
    container, serve = guard_of(objects), served(objects, tmp_path, monkeypatch)
    keys.create(TraceStore(trace_file), "shop")
    arguments = [text.replace("/etc/guard", str(tmp_path)) for text in container["args"][1:]]
    if "--config" not in arguments:  # found in the folder that the image works in
        arguments += ["--config", str(tmp_path / "guard.toml")]
    command = [sys.executable, "-m", "guard", *arguments, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] > waits + serve.drain_seconds
    probes = str([container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")])
    paths = re.findall(r"/health/\w+", probes)
    assert paths == ["/health/ready", "/health/ready", "/health/live"]
    assert set(paths) <= OPEN


def test_the_autoscaler_reads_a_figure_that_the_sidecar_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = manifest("kubernetes.yaml")
    serve = served(objects, tmp_path, monkeypatch)
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    ((kind, pods),) = [(each["type"], each["pods"]) for each in scaler["metrics"]]
    assert kind == "Pods"
    assert f"\n# TYPE {pods['metric']['name']} gauge\n" in metrics.text().decode()
    assert 0 < int(pods["target"]["averageValue"]) < serve.in_flight
    assert scaler["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    budget = objects["PodDisruptionBudget"]["spec"]
    assert 0 < budget["minAvailable"] < scaler["minReplicas"]


def test_the_parts_of_the_manifest_of_replicas_name_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = manifest("kubernetes.yaml")
    container, serve = guard_of(objects), served(objects, tmp_path, monkeypatch)
    template = objects["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    for selector in (
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": serve.port, "metrics": serve.metrics_port}
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(serve.metrics_port)
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} <= set(ports)
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {"http"}
    assert {each["name"] for each in container["env"]} == {"GUARD_TRACE", "OPENAI_API_KEY"}
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in template["spec"]["volumes"]}
