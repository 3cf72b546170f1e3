"""The container is built from what is here, and from one plain image."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_image_is_a_plain_name_and_nothing_is_fetched_by_address():
    assert re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) == ["python:3.12-slim"]
    assert "://" not in TEXT
    assert not re.search(r"index-url|trusted-host", TEXT)


def test_what_is_copied_is_all_that_an_installation_needs():
    copied = {
        name
        for line in re.findall(r"^COPY (.+)$", TEXT, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    needed = {path.strip("/") for path in wheel}
    needed |= {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed <= copied


def test_entry_point_is_the_program():
    (entry,) = re.findall(r'^ENTRYPOINT \["([\w-]+)"\]', TEXT, re.MULTILINE)
    assert entry in PROJECT["project"]["scripts"]


def test_image_satisfies_the_oldest_python():
    (version,) = re.findall(r"FROM python:3\.(\d+)", TEXT)
    oldest = re.search(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert oldest is not None
    assert int(version) >= int(oldest[1])
