"""The manifests, against the schemas of Kubernetes, each other, and the code.

Of custom resources (Prometheus Operator, KEDA) no schema is to be had: what they refer to is checked, and no more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml

from pgsched.config import Settings
from pgsched.config.settings import WorkerSettings
from tests.deploy.shipped import DEPLOY, ROOT, alerts
from tests.docs.pages import fences
from tests.test_deploying import LONGEST_STOP

if TYPE_CHECKING:
    from pathlib import Path

Manifest: TypeAlias = dict[str, Any]

FOLDER = DEPLOY / "kubernetes"
RELEASES = ("1.29", kubernetes_validate.latest_version().rpartition(".")[0])
"""The oldest that anybody may still run, and the newest: what both know those between know too."""
CUSTOM = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}


def read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text("utf-8")))


OF_KUSTOMIZE = {"kustomization.yaml", "names.yaml"}
FILES = [file for file in sorted(FOLDER.rglob("*.yaml")) if file.name not in OF_KUSTOMIZE]
MANIFESTS = {
    (each["kind"], each["metadata"]["name"]): each for file in FILES for each in read(file)
}
WORKER = MANIFESTS["Deployment", "pgsched-worker"]
MIGRATE = MANIFESTS["Job", "pgsched-migrate"]
PODS = pytest.mark.parametrize(
    "pod", [WORKER["spec"]["template"], MIGRATE["spec"]["template"]], ids=["worker", "migrate"]
)
NAMES = pytest.mark.parametrize("name", list(MANIFESTS), ids=" ".join)


def wrong(manifest: Manifest) -> list[str]:
    """What the schemas of these releases find in it; unknown fields too."""
    found = []
    for release in RELEASES:
        try:
            kubernetes_validate.validate(manifest, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{release}: {error.message}")
    return found


@NAMES
def test_kubernetes_knows_every_field(name: tuple[str, str]) -> None:
    manifest = MANIFESTS[name]
    if manifest["apiVersion"] not in CUSTOM:
        assert wrong(manifest) == []


def test_a_field_that_is_misspelt_would_be_found() -> None:
    misspelt = yaml.safe_load(yaml.safe_dump(WORKER))
    misspelt["spec"]["template"]["spec"]["terminationGracePeriod"] = 50
    assert len(wrong(misspelt)) == len(RELEASES)


@PODS
def test_a_pod_may_do_nothing_but_its_work(pod: Manifest) -> None:
    spec = pod["spec"]
    [container] = spec["containers"]
    assert not spec["automountServiceAccountToken"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert "emptyDir" in spec["volumes"][0]


def test_the_migration_needs_only_what_is_there_before_it() -> None:
    """As a hook of Argo CD it runs before anything else is applied, the account of the workers too."""
    assert MIGRATE["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "PreSync"
    names = {name for kind, name in MANIFESTS if kind in {"ServiceAccount", "ConfigMap"}}
    spec = MIGRATE["spec"]["template"]["spec"]
    assert spec.get("serviceAccountName") not in names
    assert "configMap" not in yaml.safe_dump(spec)
    account = WORKER["spec"]["template"]["spec"]["serviceAccountName"]
    assert ("ServiceAccount", account) in MANIFESTS


def test_the_user_is_that_of_the_image() -> None:
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text("utf-8")


@PODS
def test_a_pod_gets_a_secret_that_the_example_has(pod: Manifest) -> None:
    secret = MANIFESTS["Secret", "pgsched"]
    [container] = pod["spec"]["containers"]
    for variable in container["env"]:
        asked = variable["valueFrom"]["secretKeyRef"]
        assert asked["name"] == "pgsched"
        assert asked["key"] in secret["stringData"]


def test_only_the_migration_gets_the_role_that_may_do_ddl() -> None:
    texts = {name: yaml.safe_dump(each) for name, each in MANIFESTS.items() if name[0] != "Secret"}
    assert [name for name, text in texts.items() if "migrate-dsn" in text] == [
        ("Job", "pgsched-migrate")
    ]


def environment() -> dict[str, str]:
    lines = (FOLDER / "base/worker.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """Read by the real command; and each name is a key, since the command passes over those that it doesn't know."""
    (tmp_path / "mine.py").write_text(
        "from pgsched import one_time\n@one_time('a')\ndef a(): ...\n"
    )
    (tmp_path / "pgsched.yaml").write_text("tasks: {modules: [mine]}\n")
    given = {"DATABASE_URL": "postgresql://app@db/app", **environment()}
    done = subprocess.run(
        [sys.executable, "-m", "pgsched", "config", "check"],
        cwd=tmp_path,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in environment():
        section, key = name.removeprefix("PGSCHED_").lower().split("__")
        assert key in Settings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]  # a model


def test_nobody_kills_a_worker_that_still_may_stop_by_itself() -> None:
    assert environment()["PGSCHED_WORKER__SHUTDOWN_TIMEOUT"] == "30s"
    assert WorkerSettings().shutdown_timeout == timedelta(seconds=30)
    spec = WORKER["spec"]["template"]["spec"]
    assert timedelta(seconds=spec["terminationGracePeriodSeconds"]) > LONGEST_STOP


def test_probes_ask_where_the_worker_answers() -> None:
    """Only readiness may depend on the database."""
    [container] = WORKER["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    assert str(port["containerPort"]) == environment()["PGSCHED_MONITORING__PORT"]
    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {get["port"] for get in asked.values()} == {port["name"]}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    for kind, name in (
        ("Service", "pgsched-monitoring"),
        ("NetworkPolicy", "pgsched-worker"),
        ("ServiceMonitor", "pgsched"),
    ):
        assert f"port: {port['name']}" in yaml.safe_dump(MANIFESTS[kind, name]).replace(
            "targetPort", "port"
        )


def test_whatever_selects_pods_selects_these() -> None:
    labels = WORKER["spec"]["template"]["metadata"]["labels"]
    selectors = [
        WORKER["spec"]["selector"]["matchLabels"],
        MANIFESTS["PodDisruptionBudget", "pgsched-worker"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy", "pgsched-worker"]["spec"]["podSelector"]["matchLabels"],
        MANIFESTS["Service", "pgsched-monitoring"]["spec"]["selector"],
        *(
            each["labelSelector"]["matchLabels"]
            for each in WORKER["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert all(selector == labels for selector in selectors)
    migrate = MANIFESTS["NetworkPolicy", "pgsched-migrate"]["spec"]["podSelector"]["matchLabels"]
    assert migrate == MIGRATE["spec"]["template"]["metadata"]["labels"] != labels


def test_what_is_scraped_is_the_service() -> None:
    monitor = MANIFESTS["ServiceMonitor", "pgsched"]["spec"]
    labels = MANIFESTS["Service", "pgsched-monitoring"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"] == labels
    assert monitor["jobLabel"] in labels


def test_alerts_are_those_of_prometheus() -> None:
    [group] = MANIFESTS["PrometheusRule", "pgsched"]["spec"]["groups"]
    assert group["rules"] == alerts(), "bring them over as the file's first lines say"


def test_keda_scales_the_workers() -> None:
    spec = MANIFESTS["ScaledObject", "pgsched-worker"]["spec"]
    assert ("Deployment", spec["scaleTargetRef"]["name"]) in MANIFESTS
    [trigger] = spec["triggers"]
    assert trigger["type"] == "postgresql"
    authentication = MANIFESTS["TriggerAuthentication", trigger["authenticationRef"]["name"]]
    [secret] = authentication["spec"]["secretTargetRef"]
    assert secret["parameter"] == "connection"
    assert secret["key"] in MANIFESTS["Secret", secret["name"]]["stringData"]
    slots = int(environment()["PGSCHED_WORKER__PROCESSES"]) * WorkerSettings().concurrency
    assert float(trigger["metadata"]["targetQueryValue"]) == slots


@cache
def built(kustomization: str) -> dict[tuple[str, str], Manifest]:
    """By kind and name."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl on the PATH")
    done = subprocess.run(
        [program, "kustomize", str(FOLDER / kustomization)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


@pytest.mark.parametrize("kustomization", ["base", "overlays/plain", "overlays/full"])
def test_kustomize_builds_what_kubernetes_knows(kustomization: str) -> None:
    for name, manifest in built(kustomization).items():
        assert manifest["apiVersion"] in CUSTOM or wrong(manifest) == [], name
    assert "Secret" not in {kind for kind, _ in built(kustomization)}


def test_the_plain_overlay_needs_no_operator() -> None:
    assert not {each["apiVersion"] for each in built("overlays/plain").values()} & CUSTOM


def test_the_overlay_names_image_and_settings() -> None:
    found = built("overlays/plain")
    [worker] = found["Deployment", "pgsched-worker"]["spec"]["template"]["spec"]["containers"]
    [migrate] = found["Job", "pgsched-migrate"]["spec"]["template"]["spec"]["containers"]
    assert worker["image"] == migrate["image"] == "registry.example/myapp:1.2.3"
    [settings] = [each for (kind, _), each in found.items() if kind == "ConfigMap"]
    assert worker["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert settings["data"] == environment()


def test_the_query_of_the_scaler_is_the_one_that_is_tested() -> None:
    found = built("overlays/full")
    [trigger] = found["ScaledObject", "pgsched-worker"]["spec"]["triggers"]
    query = (FOLDER / "components/keda/backlog.sql").read_text("utf-8")
    assert trigger["metadata"]["query"] == query
    assert ("ConfigMap", "pgsched-backlog") not in found
    assert "replicas" not in found["Deployment", "pgsched-worker"]["spec"]


def shown(page: str) -> list[Manifest]:
    """The YAML on a page that is no file of a project."""
    return [
        each
        for fence in fences(ROOT / f"docs/how-to/{page}.md")
        if fence.language == "yaml" and fence.file is None
        for each in yaml.safe_load_all(fence.text)
    ]


def test_the_manifests_on_the_page_are_right() -> None:
    manifests = [each for each in shown("deploy-kubernetes") if each["kind"] != "Kustomization"]
    assert {each["kind"] for each in manifests} == {"Secret", "NetworkPolicy"}
    assert [problem for each in manifests for problem in wrong(each)] == []
    [secret] = [each for each in manifests if each["kind"] == "Secret"]
    assert secret["stringData"] == MANIFESTS["Secret", "pgsched"]["stringData"]


def test_the_probes_on_the_page_are_right() -> None:
    [probes] = [each for each in shown("monitoring") if "livenessProbe" in each]
    pod = {"containers": [{"name": "worker", **probes}]}
    assert wrong({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod}) == []


def built_from_the_page(number: int, folder: Path) -> dict[tuple[str, str], Manifest]:
    overlays = [each for each in shown("deploy-kubernetes") if each["kind"] == "Kustomization"]
    shutil.copytree(FOLDER, folder / "kubernetes")
    (folder / "mine").mkdir()
    (folder / "mine/kustomization.yaml").write_text(yaml.safe_dump(overlays[number]))
    (folder / "mine/secret.env").write_text("worker-dsn=a\nmigrate-dsn=b\nmonitoring-token=c\n")
    found = built(str(folder / "mine"))
    assert [
        problem
        for each in found.values()
        if each["apiVersion"] not in CUSTOM
        for problem in wrong(each)
    ] == []
    return found


def test_the_overlay_on_the_page_builds(tmp_path: Path) -> None:
    found = built_from_the_page(0, tmp_path)
    worker = found["Deployment", "pgsched-worker"]["spec"]
    assert worker["replicas"] == 3
    assert worker["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    [settings] = [each["data"] for (kind, _), each in found.items() if kind == "ConfigMap"]
    assert settings == {**environment(), "PGSCHED_WORKER__PROCESSES": "4"}


def test_two_may_stand_in_one_namespace(tmp_path: Path) -> None:
    """Names and labels of an overlay reach custom resources too, of which kustomize knows nothing by itself: without
    names.yaml KEDA scales the other one's workers, and nobody scrapes these."""
    found = built_from_the_page(1, tmp_path)
    assert not found.keys() & built("overlays/full").keys()
    scaled = found["ScaledObject", "mail-pgsched-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "mail-pgsched-worker"
    [trigger] = scaled["triggers"]
    authentication = found["TriggerAuthentication", trigger["authenticationRef"]["name"]]
    [secret] = authentication["spec"]["secretTargetRef"]
    assert ("Secret", secret["name"]) in found
    service = found["Service", "mail-pgsched-monitoring"]
    labels = {"app.kubernetes.io/name": "mail", "app.kubernetes.io/component": "worker"}
    assert service["spec"]["selector"] == service["metadata"]["labels"] == labels
    assert found["ServiceMonitor", "mail-pgsched"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Deployment", "mail-pgsched-worker"]["spec"]["selector"]["matchLabels"] == labels


def test_whoever_scrapes_with_a_token_has_that_of_the_workers(tmp_path: Path) -> None:
    """Without names.yaml the ServiceMonitor would ask for a Secret that has another name by then."""
    found = built_from_the_page(2, tmp_path)
    [container] = found["Deployment", "pgsched-worker"]["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each["valueFrom"] for each in container["env"]}
    token = variables["PGSCHED_MONITORING__TOKEN"]["secretKeyRef"]
    [endpoint] = found["ServiceMonitor", "pgsched"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == token
    assert ("Secret", token["name"]) in found
    assert token["key"] in found["Secret", token["name"]]["data"]
