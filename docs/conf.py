"""How Sphinx makes one site of the chapters, the guides and the reference: `make book`.

The source folder is the repository, so that links between chapters, guides and files are the same here and there.
Nothing is executed: the pages show the outputs that the chapters store.
"""

import re
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from PIL import Image, ImageChops, ImageStat
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import diagrams  # noqa: E402
import live  # noqa: E402
import nbformat  # noqa: E402
from links import links  # noqa: E402

project = "Recurrent neural networks, live"
author = "the authors of the course"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "notebooks/*.ipynb", "CONTRIBUTING.md"]
exclude_patterns = ["build", ".*", "**/.*"]

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "links.anchor"
myst_fence_as_directive = ["mermaid"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
# `set` comes from matplotlib, on every figure; a package shows what it defines, not what it gathers
autodoc_default_options = {"members": True, "exclude-members": "set", "ignore-module-all": True}

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_extra_path = ["site"]  # the front door, which leads here
html_css_files = ["book.css", "live.css"]
html_js_files = [(name, {"defer": "defer"}) for name in live.SCRIPTS]
html_show_copyright = False
html_copy_source = False  # the notebooks are in the repository
mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load what is cut away below


class Mermaid(Directive):
    """The picture of a diagram in place of its text."""

    has_content = True

    def run(self):
        """Return the image."""
        source = "\n".join(self.content)
        path = diagrams.picture(source)
        if not path.exists():
            raise self.error("no picture of this diagram: run `make diagrams`")
        return [nodes.image(uri=f"/{path.relative_to(ROOT).as_posix()}", alt=diagrams.in_words(source))]


class StoredExplorer(SphinxDirective):
    """An explorer of a chapter on another page: ``{explorer} 02 Temperature desk``."""

    required_arguments, final_argument_whitespace = 2, True

    def run(self):
        """Return heading, picture and finding as the chapter stores them."""
        number, title = self.arguments
        (path,) = (ROOT / "notebooks").glob(f"{number}*.ipynb")
        self.env.note_dependency(str(path))
        self.env.note_dependency(str(live.FOLDER / number))
        return [nodes.raw("", live.stored(nbformat.read(path, as_version=4), number, title), format="html")]


class AltText(SphinxPostTransform):
    """The text that a figure carries for readers who can't see it becomes the picture's alternative text.

    And pictures out of sight are loaded when they come near; their sizes are in the page, so that nothing jumps.
    """

    default_priority = 1  # before myst-nb keeps only one of the forms of an output

    def run(self, **kwargs):
        """Look at every output of a page."""
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            forms = {form.get("mime_type"): form for form in bundle.children}
            if {"image/png", "text/plain"} <= set(forms):
                for image in forms["image/png"].findall(nodes.image):
                    image["alt"] = forms["text/plain"].astext().strip()
                    image["loading"] = "lazy"


class FoldRooms(SphinxPostTransform):
    """What goes deeper is folded, as in JupyterLab: its heading and its first words stay, one click opens the rest."""

    default_priority = 2  # while a section is still one node

    def run(self, **kwargs):
        """Look at every section of a page."""
        for section in list(self.document.findall(nodes.section)):
            if section.next_node(nodes.title).astext().startswith("Going deeper"):
                shown = next((i for i, child in enumerate(section) if i and not isinstance(child, nodes.paragraph)), 0)
                if shown:
                    section.insert(shown, nodes.raw("", OPEN_ROOM, format="html"))
                    section.append(nodes.raw("", "</details>", format="html"))


OPEN_ROOM = '<details class="room"><summary>Open this room</summary>'


def list_modules(app, docname, content):
    """Write the reference page: every module of the package, as its docstrings describe it."""
    if docname == "docs/reference":
        for path in sorted((ROOT / "rnnlib").rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            exercises = name.startswith("rnnlib.check.") and name != "rnnlib.check._frame"  # they hold the solutions
            if name not in ("rnnlib.data.__main__", "rnnlib.data.standins") and not exercises:
                content[0] += f"\n## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"


def escape_stars(app, what, name, obj, options, lines):
    """Keep `*sizes, **options: as above` in a list of arguments from being read as bold."""
    for i, line in enumerate(lines):
        found = re.match(r"\s+[\w, *]*\*[\w, *]*:", line)
        if found:
            lines[i] = found[0].replace("*", r"\*") + line[found.end() :]


def offer_other_places(app, pagename, templatename, context, doctree):
    """Put links to Binder and Colab above a chapter, once the repository's address is filled in."""
    if pagename.startswith("notebooks/"):
        found = links(pagename.removeprefix("notebooks/"))
        anchors = " · ".join(f'<a href="{address}">Open on {place}</a>' for place, address in found.items())
        if anchors:
            context["body"] = f'<p class="elsewhere">{anchors}</p>' + context["body"]


def depend_on_frames(app, docname, content):
    """Write the page of a chapter anew when its frames are others."""
    folder, _, chapter = docname.rpartition("/")
    if folder == "notebooks":
        app.env.note_dependency(str(live.FOLDER / chapter[:2]))


def name_frames(app, pagename, templatename, context, doctree):
    """Tell the page of a chapter which files its explorers move by."""
    folder, _, chapter = pagename.rpartition("/")
    if folder == "notebooks":
        notebook = nbformat.read(ROOT / f"{pagename}.ipynb", as_version=4)
        context["body"] += live.index(chapter[:2], live.titles(notebook))


MATHJAX = ("tex-chtml.js", "output/chtml/fonts/", "input/tex/extensions/")  # what formulas load
OPAQUE = (255, 255)
LOOSEST = 0.25  # of 255, how far a picture's colours may move on the average


def cut_mathjax(app, exception):
    """Leave of MathJax what the pages load; the rest would be half of the site."""
    folder = Path(app.outdir) / "_static" / "mathjax"
    for path in folder.rglob("*"):
        loaded = path.relative_to(folder).as_posix().startswith(MATHJAX) and path.name != "all-packages.js"
        if path.is_file() and not loaded:
            path.unlink()


def cut_source_maps(app, exception):
    """Leave out what only the theme's makers need."""
    for path in (Path(app.outdir) / "_static").rglob("*.map"):
        path.unlink()


def shrink_pictures(app, exception):
    """Write opaque pictures with a table of 256 colours, where the eye can't tell: less than half of the bytes."""
    for path in (Path(app.outdir) / "_images").glob("*.png"):
        with Image.open(path) as picture:
            if picture.mode != "RGB" and not (picture.mode == "RGBA" and picture.getextrema()[3] == OPAQUE):
                continue
            colours = picture.convert("RGB")
        table = colours.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        moved = max(ImageStat.Stat(ImageChops.difference(colours, table.convert("RGB"))).mean)
        (table if moved < LOOSEST else colours).save(path, optimize=True)


def setup(app):
    """Register what this book adds to Sphinx."""
    app.add_directive("mermaid", Mermaid)
    app.add_directive("explorer", StoredExplorer)
    app.add_post_transform(AltText)
    app.add_post_transform(FoldRooms)
    app.connect("source-read", list_modules)
    app.connect("source-read", depend_on_frames)
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # before napoleon
    app.connect("html-page-context", offer_other_places)
    app.connect("html-page-context", name_frames)
    app.connect("build-finished", cut_mathjax)
    app.connect("build-finished", cut_source_maps)
    app.connect("build-finished", shrink_pictures)
