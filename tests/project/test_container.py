"""The image and the composition, checked without an engine: what they name exists and is safe to run."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project.dockerfile import Stage, allowlist, read_dockerfile
from userip.loadtests.servers.redis_server import RedisServer, free_port
from userip.service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
STAGES = read_dockerfile(ROOT / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def _with_bases(stage: Stage) -> list[Stage]:
    """The stage and those it is built on or copies from."""
    found = [stage]
    copied = (re.findall(r"--from=(\S+)", copy.text) for copy in stage.all("COPY"))
    for name in [stage.base, *(name for names in copied for name in names)]:
        if name in STAGES:
            found += _with_bases(STAGES[name])
    return found


def _setting_names() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def test_default_image_is_the_service() -> None:
    """`docker build .` builds the last stage, and that is the service."""
    assert list(STAGES)[-1] == "service"


@pytest.mark.parametrize("name", ["service", "train"])
def test_images_do_not_run_as_root(name: str) -> None:
    """What runs in the end runs as a user of its own, made in that stage."""
    stage = STAGES[name]
    user = stage.last("USER").text
    assert user not in ("root", "0")
    assert any(re.search(rf"useradd .*\b{user}\b", run.text) for run in stage.all("RUN"))


def test_service_image_installs_the_base_requirements_only() -> None:
    """Nothing that the service image is made of installs the train extra, an unpinned library or torch."""
    runs = [run.text for stage in _with_bases(STAGES["service"]) for run in stage.all("RUN")]
    installs = [text for text in runs if "install" in text]
    assert installs == [
        "pip install --require-hashes -r requirements/base.txt -r requirements/build.txt",
        "pip install --no-deps --no-index --find-links /wheel userip",
    ]
    pins = (ROOT / "requirements/base.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(torch|transformers|polars.*|pandas|ray|pyarrow)==", pins, flags=re.MULTILINE)


def test_images_install_hashed_files_only() -> None:
    """Every pip line wants hashes, but torch's, which has none, and the project's own, which fetches nothing."""
    runs = [command for stage in STAGES.values() for run in stage.all("RUN") for command in run.text.split("&&")]
    pip = [command.strip() for command in runs if re.search(r"\bpip (install|wheel|download)\b", command)]
    torch = 'pip install --index-url "$TORCH_INDEX" -r requirements/torch.txt'
    hashed = "pip install --require-hashes -r "
    fetches_nothing = r"pip (wheel --no-deps --no-build-isolation|install --no-deps --no-index) .*"
    unchecked = [command for command in pip if not command.startswith(hashed)]
    assert [command for command in unchecked if not re.fullmatch(fetches_nothing, command)] == [torch]
    before = pip[: pip.index(torch)]
    assert any("-r requirements/train.txt" in command for command in before)  # what torch needs comes hashed


def test_train_image_adds_the_train_requirements() -> None:
    """The training image has the pinned train layer on top of the same base."""
    installs = " ".join(run.text for stage in _with_bases(STAGES["train"]) for run in stage.all("RUN"))
    assert "-r requirements/train.txt" in installs
    assert "-r requirements/torch.txt" in installs
    assert "-r requirements/base.txt" in installs


def test_code_does_not_come_before_the_training_libraries() -> None:
    """A change of the code neither installs torch again nor copies it: its layers hold requirements alone."""
    copied = " ".join(copy.text for stage in _with_bases(STAGES["build-train"]) for copy in stage.all("COPY")).split()
    assert all(name.startswith("requirements/") for name in copied)
    layers = [copy.text for name in ("train", "bench") for copy in STAGES[name].all("COPY")]
    assert [text for text in layers if "/opt/userip" in text] == ["--from=build-train /opt/userip /opt/userip"]


def test_bench_image_adds_the_load_requirements_and_servers() -> None:
    """The load tests have Locust and a redis-server of their own; they run as the same user as training."""
    stage = STAGES["bench"]
    installs = " ".join(run.text for each in _with_bases(stage) for run in each.all("RUN"))
    assert all(f"-r requirements/{layer}.txt" in installs for layer in ("base", "train", "load"))
    assert re.search(r"apt-get install .*\bredis-server\b", installs)
    assert stage.last("USER").text == STAGES["train"].last("USER").text
    assert STAGES["train"].last("ENTRYPOINT").exec_form == ["userip"]


def test_bench_runs_only_when_it_is_asked_for() -> None:
    """`docker compose up` leaves the load tests alone; `docker compose run bench` writes a report into its volume."""
    bench = SERVICES["bench"]
    assert bench["profiles"] == ["bench"]
    assert bench["command"][:3] == STAGES["bench"].last("CMD").exec_form
    assert [mount.split(":")[-1] for mount in bench["volumes"]] == [STAGES["bench"].last("VOLUME").text]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["bench"]


def test_service_image_has_a_healthcheck_without_other_programs() -> None:
    """The health check asks /healthz with Python, which is there; the program it runs compiles."""
    words = STAGES["service"].last("HEALTHCHECK").exec_form
    assert words is not None
    assert words[:2] == ["python", "-c"]
    assert "/healthz" in words[2]
    compile(words[2], "healthcheck", "exec")


def test_service_image_starts_the_service() -> None:
    """The entry point is in exec form, so that it gets SIGTERM itself; its port is the one exposed."""
    stage = STAGES["service"]
    assert stage.last("ENTRYPOINT").exec_form == ["userip", "serve"]
    assert stage.last("EXPOSE").text == stage.environment()["USERIP_PORT"] == "8000"


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_copied_files_exist_and_are_sent(stage: Stage) -> None:
    """Every COPY names files of the repository that .dockerignore lets through, or another stage."""
    allowed = allowlist(ROOT)
    for copy in stage.all("COPY"):
        source = re.search(r"--from=(\S+)", copy.text)
        if source:
            assert source.group(1) in STAGES
            continue
        for name in copy.text.split()[:-1]:
            assert (ROOT / name).exists(), name
            sent = name == "." or any(Path(name).match(pattern) for pattern in allowed)
            assert sent, f"{name} is held back by .dockerignore"


def test_image_holds_every_room_that_is_packaged() -> None:
    """`COPY . .` copies what .dockerignore lets through: every room that src/userip links to, no other folder."""
    assert ". ." in [copy.text for copy in STAGES["build"].all("COPY")]
    rooms = {link.name for link in (ROOT / "src/userip").iterdir() if link.is_symlink()}
    assert {*rooms, "src"} == {name for name in allowlist(ROOT) if (ROOT / name).is_dir()}


def test_environment_names_are_settings() -> None:
    """Every USERIP_ variable of the image and the composition is a setting of the service."""
    named = {name for name in STAGES["service"].environment() if name.startswith(PREFIX)}
    named |= set(SERVICES["service"]["environment"])
    assert named <= _setting_names()


def test_service_starts_with_the_environment_of_the_composition() -> None:
    """Image and composition together give every setting that has no default, with values it accepts."""
    environment = STAGES["service"].environment() | SERVICES["service"]["environment"]
    values = {}
    for name, value in environment.items():
        if name.startswith(PREFIX):
            default = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value))
            if default:
                values[name.removeprefix(PREFIX).lower()] = default
    settings = Settings.model_validate(values)
    assert settings.host == "0.0.0.0"
    assert settings.bank_url.get_secret_value() == SERVICES["trainer"]["environment"]["BANK"]
    assert str(settings.release_dir) == SERVICES["trainer"]["environment"]["RUN"] + "/release"


def test_build_targets_exist() -> None:
    """What the composition builds are stages of the Dockerfile."""
    targets = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert targets == {"service", "train", "bench"}
    assert targets <= set(STAGES)


def test_mounted_files_and_volumes_exist() -> None:
    """Every mount is a declared volume, a path the user gives, or a file of the repository."""
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).is_file(), mount


def test_service_waits_for_bank_and_release() -> None:
    """The service starts after Redis is healthy and the release is published."""
    conditions = {name: wait["condition"] for name, wait in SERVICES["service"]["depends_on"].items()}
    assert conditions == {"redis": "service_healthy", "trainer": "service_completed_successfully"}
    assert "healthcheck" in SERVICES["redis"]
    assert SERVICES["trainer"]["restart"] == "no"


def test_service_container_is_confined() -> None:
    """Read-only root, no capabilities, and only the API's port is reachable, from this machine alone."""
    service = SERVICES["service"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "ports" not in SERVICES["redis"]


@pytest.mark.parametrize("name", ["trainer", "service", "bench"])
def test_containers_of_ours_have_no_capabilities(name: str) -> None:
    """Whatever runs our images has no capabilities and no way to get them."""
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_pods_get_no_variables_of_services() -> None:
    """Kubernetes would set USERIP_PORT=tcp://... for the Service `userip`, which the service takes for its setting."""
    folder = ROOT / "deploy/kubernetes"
    for name in ("deployment.yaml", "publish-job.yaml"):
        document = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        assert document["spec"]["template"]["spec"]["enableServiceLinks"] is False, name


def test_stop_leaves_time_for_requests_in_flight() -> None:
    """The engine waits longer before SIGKILL than the service's own shutdown may take."""
    grace = int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["shutdown_seconds"].default


def test_trainer_script_is_runnable_sh() -> None:
    """The one-shot job is an executable POSIX script, and the variables it reads are all given."""
    script = ROOT / "deploy/train-and-publish.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert SERVICES["trainer"]["entrypoint"] == [STAGES["train"].all("COPY")[-1].text.split("/")[-1]]
    read = set(re.findall(r"\$\{?([A-Z]+)", script.read_text(encoding="utf-8")))
    assert read == set(SERVICES["trainer"]["environment"])


def test_redis_accepts_its_configuration() -> None:
    """A real server starts with deploy/redis.conf, refuses to evict, and packs buckets of 512 fields."""
    port = free_port()
    conf = str(ROOT / "deploy/redis.conf")
    options = ("--include", conf, "--port", str(port), "--bind", "127.0.0.1")
    expected = {
        "maxmemory-policy": "noeviction",
        "hash-max-listpack-entries": "512",
        "appendonly": "yes",
        "maxmemory": str(1 << 30),
    }
    with RedisServer(*options, port=port) as server, server.client() as client:
        assert client.config_get(*expected) == expected
        client.hset("bucket", mapping={f"field{number}": "v" * 16 for number in range(512)})
        encoding = client.object("encoding", "bucket")
    assert encoding == b"listpack"


def test_redis_is_healthy_only_when_it_answers() -> None:
    """The composition's health check fails on an error in answer, such as that of a server that is still loading."""
    kind, program, *words = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD"
    with RedisServer() as server, server.client() as client:
        command = [program, "-p", str(server.port), *words]
        healthy = subprocess.run(command, capture_output=True, check=False)
        client.config_set("requirepass", "secret")
        refused = subprocess.run(command, capture_output=True, check=False)
    assert healthy.stdout == b"PONG\n"
    assert healthy.returncode == 0
    assert refused.returncode != 0
