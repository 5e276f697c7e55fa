"""The text of the package's page on an index. All else is in pyproject.toml.

Links of README.md lead to files beside it, and an index has none of them. They lead to the ``Repository`` of
``project.urls`` there, or are text where there is none.
"""

import re
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)\s]+)\)")


def page(readme: str, repository: str | None) -> str:
    """README.md for an index.

    Args:
        readme: its text.
        repository: the address under which files are found, as in ``https://example.org/feast-hybrid/blob/main``;
            None where there is none.
    """

    def absolute(link: re.Match[str]) -> str:
        text, path = link.groups()
        if repository is not None:
            return f"[{text}]({repository}/{path})"
        return text if path.split("#")[0] in text else f"{text} ({path})"

    return LINK.sub(absolute, readme)


if __name__ == "__main__":
    from setuptools import setup

    urls = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    address = urls.get("Repository")
    setup(
        long_description=page(
            (HERE / "README.md").read_text(encoding="utf-8"), f"{address.rstrip('/')}/blob/main" if address else None
        ),
        long_description_content_type="text/markdown",
    )
