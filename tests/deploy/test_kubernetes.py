"""The Kubernetes manifests, without a cluster: what they name exists, agrees with the service, and is safe to run."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metric_names import SERIES, wrong
from tests.project.dockerfile import read_dockerfile
from userip.service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
STAGES = read_dockerfile(ROOT / "Dockerfile")
APART = {"kustomization.yaml", "prometheus-adapter.yaml", "publish-job.yaml"}


def _load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return document


KUSTOMIZATION = _load("kustomization.yaml")
OBJECTS = {document["kind"]: document for document in map(_load, KUSTOMIZATION["resources"])}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]["spec"]
SERVICE: dict[str, Any] = POD["containers"][0]
JOB = _load("publish-job.yaml")
JOB_POD: dict[str, Any] = JOB["spec"]["template"]["spec"]
CONFIG = dict(line.split("=", 1) for line in KUSTOMIZATION["configMapGenerator"][0]["literals"])


def test_every_file_is_part_of_the_kustomization_or_stands_for_itself() -> None:
    """No manifest is forgotten, and none is named that is not there."""
    assert {path.name for path in FOLDER.iterdir()} == set(KUSTOMIZATION["resources"]) | APART


def test_environment_names_are_settings_with_values_that_the_service_takes() -> None:
    """Map and secrets together make valid settings; the image gives the rest."""
    secret = {entry["name"] for entry in SERVICE["env"]}
    assert set(CONFIG) | secret <= {PREFIX + name.upper() for name in Settings.model_fields}
    assert not secret & set(CONFIG)
    given = STAGES["service"].environment() | CONFIG | dict.fromkeys(secret, "redis://bank:6379")
    values = {name.removeprefix(PREFIX).lower(): value for name, value in given.items() if name.startswith(PREFIX)}
    settings = Settings.model_validate(values)
    assert settings.releases_dir is not None
    assert settings.release_dir.parent == settings.releases_dir
    # Without keys a service on all addresses refuses to start.
    assert settings.keys is not None


def test_secrets_are_named_and_not_there() -> None:
    """No manifest holds a secret; the documented commands make every secret, with the keys that the manifests read."""
    assert "Secret" not in OBJECTS
    entries = [*SERVICE["env"], *JOB_POD["containers"][0]["env"]]
    read = {(ref["name"], ref["key"]) for ref in (entry["valueFrom"]["secretKeyRef"] for entry in entries)}
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8").replace("\\\n", " ")
    made = {
        (name, key)
        for name, rest in re.findall(r"kubectl create secret generic (\S+)([^\n]*)", text)
        for key in re.findall(r"--from-(?:literal|file)=([\w-]+)=", rest)
    }
    assert read == made


def test_ports_agree() -> None:
    """Image, container, probes, service, policy and scraping mean the same port."""
    (port,) = SERVICE["ports"]
    assert str(port["containerPort"]) == STAGES["service"].environment()["USERIP_PORT"]
    probes = [SERVICE[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/healthz", port["name"]),
        ("/healthz", port["name"]),
        ("/readyz", port["name"]),
    ]
    assert [entry["targetPort"] for entry in OBJECTS["Service"]["spec"]["ports"]] == [port["name"]]
    assert [entry["port"] for entry in OBJECTS["NetworkPolicy"]["spec"]["ingress"][0]["ports"]] == [port["name"]]
    notes = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(port["containerPort"])


def test_references_between_objects_hold() -> None:
    """Account, map, volume claim, scaled deployment and mounts name what is there."""
    assert POD["serviceAccountName"] == OBJECTS["ServiceAccount"]["metadata"]["name"]
    assert SERVICE["envFrom"] == [{"configMapRef": {"name": KUSTOMIZATION["configMapGenerator"][0]["name"]}}]
    claim = OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]
    for pod in (POD, JOB_POD):
        assert [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "emptyDir" not in v] == [claim]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", OBJECTS["Deployment"]["metadata"]["name"])
    assert CONFIG["USERIP_RELEASES_DIR"] in {mount["mountPath"] for mount in SERVICE["volumeMounts"]}
    assert {image["name"] for image in KUSTOMIZATION["images"]} == {SERVICE["image"]}


def test_autoscaler_reads_metrics_that_are_there_and_that_the_adapter_gives() -> None:
    """Each metric has its rule of the adapter, made of series of the service, and wants more pods before they shed."""
    targets = {
        metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"]
        for metric in OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    }
    rules = {
        rule.get("name", {}).get("as", rule["seriesQuery"].partition("{")[0]): rule
        for rule in _load("prometheus-adapter.yaml")["rules"]["custom"]
    }
    assert targets.keys() == rules.keys()
    for rule in rules.values():
        series = rule["seriesQuery"].partition("{")[0]
        assert series in SERIES
        assert f"{series}{{" in rule["metricsQuery"]
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", "").replace("<<.GroupBy>>", "instance")
        assert wrong(query) == []
    assert int(targets["userip_in_flight"]) < Settings.model_fields["max_in_flight"].default
    assert 0 < int(targets["userip_load"].removesuffix("m")) < 1000  # thousandths of what a worker can do
    assert "replicas" not in OBJECTS["Deployment"]["spec"]


@pytest.mark.parametrize("pod", [POD, JOB_POD], ids=["service", "publish"])
def test_pods_are_confined(pod: dict[str, Any]) -> None:
    """Not root, a read-only root, no capabilities, no way to more, no token of the cluster, bounded memory."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    users = " ".join(run.text for run in STAGES["service"].all("RUN"))
    assert f"--uid {pod['securityContext']['runAsUser']} " in users
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_stop_leaves_time_for_drain_and_requests_in_flight() -> None:
    """The pod is killed later than the service ends by itself; readiness is seen to be gone before the port closes."""
    drain, shutdown = float(CONFIG["USERIP_DRAIN_SECONDS"]), float(CONFIG["USERIP_SHUTDOWN_SECONDS"])
    assert POD["terminationGracePeriodSeconds"] > drain + shutdown
    probe = SERVICE["readinessProbe"]
    assert drain > probe["periodSeconds"] * probe["failureThreshold"]


def test_publish_job_runs_a_command_of_ours_and_gets_no_requests() -> None:
    """The job's arguments are `userip publish`; its label is not the one that the service selects."""
    (container,) = JOB_POD["containers"]
    assert STAGES["train"].last("ENTRYPOINT").exec_form == ["userip"]
    assert container["args"][:2] == ["publish", "--release"]
    assert [entry["name"] for entry in container["env"]] == ["USERIP_BANK_URL"]
    (label,) = KUSTOMIZATION["labels"]
    assert JOB["spec"]["template"]["metadata"]["labels"].items().isdisjoint(label["pairs"].items())


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_and_selects_the_pods() -> None:
    """kubectl builds it offline; service, disruption budget, policy and deployment select the pods' label."""
    command = ["kubectl", "kustomize", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert set(built) == {*OBJECTS, "ConfigMap"}
    label = KUSTOMIZATION["labels"][0]["pairs"]
    assert built["Deployment"]["spec"]["template"]["metadata"]["labels"].items() >= label.items()
    assert built["Service"]["spec"]["selector"] == label
    assert built["Deployment"]["spec"]["selector"]["matchLabels"] == label
    assert built["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == label
    assert built["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == label
    (source,) = built["Deployment"]["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert source["configMapRef"]["name"] == built["ConfigMap"]["metadata"]["name"]
    clients = built["NetworkPolicy"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert clients == {"userip-client": "true"}


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is not installed",
)
def test_compose_file_is_accepted() -> None:
    """docker compose reads the composition."""
    done = subprocess.run(["docker", "compose", "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
