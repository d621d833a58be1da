"""What deploy/ says about other machines, as far as it can be checked without a cluster."""

import json
import re
import subprocess
import sys

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import apply_values

from tests.conftest import ROOT
from tests.pipelines.served import Server

TEMPLATE = json.loads((ROOT / "deploy" / "kubernetes.json").read_text())
VARIABLES = TEMPLATE["variables"]["properties"]


def test_every_variable_of_the_job_is_declared_and_used() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == set(VARIABLES)


def test_a_job_mounts_the_project_where_it_works() -> None:
    defaults = {name: field["default"] for name, field in VARIABLES.items() if "default" in field}
    job = apply_values(TEMPLATE["job_configuration"], {**defaults, "gpus": 2, "memory_limit": "16Gi"})
    pod = job["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["project"] == container["workingDir"]
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2, "memory": "16Gi"}
    assert container["image"] == "hicmae"


@pytest.mark.slow
def test_the_server_takes_the_template_and_a_deployment_for_it(server: Server) -> None:
    pool = WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=TEMPLATE)
    assert server.client.create_work_pool(pool).base_job_template == TEMPLATE
    typed = ["deploy", "--name", "cross-validate", "--pool", "kubernetes", "--job-variable", '{"gpus": 1}']
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *typed],
        cwd=ROOT,
        env={**server.environment, "PWD": str(ROOT)},
        check=True,
    )
    deployment = server.client.read_deployment_by_name("cross-validate/cross-validate")
    assert (deployment.work_pool_name, deployment.job_variables) == ("kubernetes", {"gpus": 1})


def test_the_image_installs_what_the_lock_names() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+)", lines, re.MULTILINE)
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    assert ignored == ["*", *(f"!{name}" for name in copied)], "nothing else reaches the builder"
    assert all((ROOT / name).is_file() for name in copied)
