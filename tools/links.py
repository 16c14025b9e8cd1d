"""Print the addresses that open a chapter elsewhere: `make links`, or with HUB=https://hub.example.org.

The address of the repository stands in one place, [tool.book] in pyproject.toml; everything here is made from it.
"""

import sys
import tomllib
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["book"]


def anchor(title):
    """Return the anchor of a heading as JupyterLab makes it, so that one link fits the book, too."""
    return title.replace(" ", "-")


def links(chapter, repository=SETTINGS["repository"], branch=SETTINGS["branch"], hub=""):
    """Return {place: address} that open a chapter, for the places that the settings allow.

    Binder and Colab are offered for a repository on GitHub, a hub (with the nbgitpuller extension) for any.
    """
    found, parts = {}, urlsplit(repository)
    path = f"notebooks/{chapter}.ipynb"
    if parts.netloc == "github.com":
        name = parts.path.strip("/").removesuffix(".git")
        found["Binder"] = f"https://mybinder.org/v2/gh/{name}/{branch}?{urlencode({'urlpath': f'lab/tree/{path}'})}"
        found["Colab"] = f"https://colab.research.google.com/github/{name}/blob/{branch}/{path}"
    if repository and hub:
        folder = parts.path.strip("/").removesuffix(".git").split("/")[-1]
        options = {"repo": repository, "branch": branch, "urlpath": f"lab/tree/{folder}/{path}"}
        found["hub"] = f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{urlencode(options, quote_via=quote)}"
    return found


def main():
    """Print the links of every chapter."""
    if not SETTINGS["repository"]:
        sys.exit("The repository's address is not filled in yet: pyproject.toml, [tool.book], repository.")
    hub = sys.argv[1] if len(sys.argv) > 1 else ""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path.stem)
        for place, address in links(path.stem, hub=hub).items():
            print(f"  {place:<7} {address}")


if __name__ == "__main__":
    main()
