"""Any text in a figure: fonts that have its letters, and a visible stand-in for what no font has."""

import functools
import unicodedata

from matplotlib import font_manager
from matplotlib.collections import PathCollection
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

# Fonts with Chinese, Japanese and Korean characters, as they are called on Linux, macOS and Windows.
WIDE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
              "PingFang SC", "PingFang HK", "Hiragino Sans GB", "Hiragino Sans", "Microsoft YaHei", "SimHei",
              "Yu Gothic", "Malgun Gothic", "Arial Unicode MS")  # fmt: skip


@functools.cache
def font_families(first="DejaVu Sans"):
    """Return font families to draw any text with: the given one, then those of this machine with wide characters."""
    installed = set(font_manager.get_font_names())
    return [first, *(name for name in WIDE_FONTS if name in installed)]


@functools.cache
def _can_draw(character, first):
    """Tell whether a font of this machine has a glyph for a character."""
    paths = [font_manager.findfont(name) for name in font_families(first)]
    return character.isprintable() and any(ord(character) in font_manager.get_font(p).get_charmap() for p in paths)


def drawable(text, first="DejaVu Sans"):
    """Return a text in which □ stands for each character that can't be drawn; ends of lines are kept."""
    return "".join(c if c == "\n" or _can_draw(c, first) else "□" for c in text)


def literal_text(text, first="DejaVu Sans"):
    """Return a reader's text for a matplotlib Text that shows it as it is: no $ begins a formula, no glyph lacks."""
    return drawable(text, first).replace("$", r"\$")


MARKS = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥"})


def visible_text(characters):
    """Return a text whose spaces, tabs and ends of lines can be seen."""
    return "".join(characters).translate(MARKS)


def token_label(token, first="DejaVu Sans"):
    """Return one token as a matplotlib Text shows it, such as a tick of an axis: visible, drawable and no formula."""
    return literal_text(visible_text(str(token)), first)


def write_letters(axes, places, tokens, size=10, colour="#222222"):
    """Write a token at each place, all as one artist, which is returned: hundreds of them would be slow."""
    letters = PathCollection([_glyph(visible_text(str(token)), size) for token in tokens], offsets=places)
    letters.set(facecolor=colour, linewidth=0, offset_transform=axes.transData, in_layout=False)
    letters.set_transform(axes.figure.dpi_scale_trans)
    axes.add_collection(letters, autolim=False)
    return letters


@functools.cache
def _glyph(token, size):
    """Return the outline of a token in inches, centred on the middle of a small letter."""
    first = "DejaVu Sans Mono"
    token = drawable(token, first)
    outline = TextPath((0, 0), literal_text(token, first), size=size, prop={"family": font_families(first)})
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in token)
    width = 0.602 * size * (len(token) - wide) + size * wide  # of DejaVu Sans Mono, and of a square character
    return outline.transformed(Affine2D().translate(-width / 2, -0.27 * size).scale(1 / 72))


def letters_below(axes, characters, size=10):
    """Write a text under an axes, one character at each whole number from 0 on, in place of its ticks."""
    axes.set_xticks([])
    inches = axes.get_position().height * axes.figure.get_figheight()
    letters = write_letters(axes, [(x, -0.12 / inches) for x in range(len(characters))], characters, size)
    letters.set(offset_transform=axes.get_xaxis_transform(), clip_on=False)
