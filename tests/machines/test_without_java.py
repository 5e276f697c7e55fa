"""A machine without Java: the package's wheel, and a round of Feast's verbs on both lakes.

``make test-without-java`` runs it; it needs a container engine, and a package index for what the wheel requires.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from feast_hybrid.testing import images, lakes
from tests.without_spark import check, make_repository

ROOT = Path(__file__).parents[2]

#: What a package index is reached by, where the environment says so.
PASSED_ON = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")

#: Nothing of a Java may be there, under any name that finds it; the doctor says the same.
SCRIPT = """
set -eu
test -z "$(find / -xdev -type f \\( -name java -o -name 'libjvm*' -o -name '*.jar' \\))"
test -z "${JAVA_HOME:-}"
python3 -m venv /venv
/venv/bin/pip install --quiet --disable-pip-version-check /given/*.whl
cp -r /given/repo /repo
cd /repo
/venv/bin/python program.py > /printed
/venv/bin/feast apply
/venv/bin/feast materialize 2026-01-09T00:00:00 2026-01-11T00:00:00
/venv/bin/feast-hybrid doctor
if command -v java || /venv/bin/python -c 'import pyspark'; then exit 9; fi
test -z "$(find / -xdev -type f \\( -name java -o -name 'libjvm*' -o -name '*.jar' \\))"
echo
cat /printed
"""


def test_a_round_on_both_lakes_without_java(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    repo = tmp_path / "repo"
    repo.mkdir()
    with closing(images.engine()) as client:
        image = images.ensure("python", client)
        with lakes() as both:
            make_repository(repo, [f"{lake.uri}/round" for lake in both], both.sites())
            passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            of_lakes = {both.adls.key_variable: both.adls.key, "HADOOP_USER_NAME": both.hdfs.superuser}
            container = client.containers.run(
                image,
                ["sh", "-c", SCRIPT],
                detach=True,
                network_mode="host",  # where the lakes listen
                volumes=[f"{tmp_path}:/given:ro"],
                environment={**passed_on, **of_lakes},
            )
            try:
                ended = container.wait()["StatusCode"]
                printed = container.logs(stderr=False).decode()
                assert ended == 0, container.logs().decode()[-6000:]
            finally:
                container.remove(force=True)
    check(printed, places=2)
