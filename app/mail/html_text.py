"""Makes a readable text of an html body, for readers that show no html.

Reads the html once from front to back in linear time, whatever is wrong with it. The standard library's parser is not
used for that reason: on Python 3.11 it takes two minutes for 120 KB of unfinished tags. Never fails, never runs
anything, keeps no script and no style. Pure.
"""

from __future__ import annotations

import html
import re
from typing import Final

# A "<" before anything else is one that was meant.
_MARK: Final = re.compile(r"<(?=[A-Za-z/!?])")
_TAG: Final = re.compile(
    r"<(/?)([A-Za-z][A-Za-z0-9:-]*+)"
    # Possessive, so that a tag without an end is read once; quotes hide an end only behind an equals sign.
    r"""((?:[^>=]|=\s*+"[^"]*+"|=\s*+'[^']*+'|=)*+)>"""
)
# The look-behind lets a match begin where a name does, so that a long name is read once.
_ATTRIBUTE: Final = re.compile(r"""(?<![A-Za-z-])([A-Za-z-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""")
_WHITE: Final = re.compile(r"[ \t\r\n\f]+")
_LINK: Final = re.compile(r"(?:https?:|mailto:|tel:)\S+", re.IGNORECASE)
# More digits than any character has; int() refuses thousands of them.
_HUGE: Final = re.compile(r"&#[xX]?[0-9a-fA-F]{20,};?")
_MARGIN: Final = re.compile(r"\n{3,}")

_UNSEEN: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE | re.ASCII)
    for name in ("script", "style", "title", "template", "textarea", "select", "svg")
}
_PARAGRAPHS: Final = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "figure", "fieldset")
)
_LINES: Final = frozenset(
    ("div", "tr", "li", "dt", "dd", "section", "article", "header", "footer", "main", "nav", "address", "center")
)
_CELLS: Final = frozenset(("td", "th"))


def text_of(source: str) -> str:
    """Return the text of an html body: lines and paragraphs, lists, links with their addresses, pictures' words."""
    return _Reader(source).read()


def _attributes(text: str) -> dict[str, str]:
    return {
        name.lower(): _unescaped(double or single or bare) for name, double, single, bare in _ATTRIBUTE.findall(text)
    }


def _unescaped(text: str) -> str:
    return html.unescape(_HUGE.sub("\ufffd", text)) if "&" in text else text


class _Reader:
    """One reading: the text so far, the breaks that the next word is due, and what stands open."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._out: list[str] = []
        self._breaks = 0
        self._space = False
        self._lists: list[int] = []  # of each open list the last number, -1 where it has none
        self._link: tuple[str, int] | None = None  # address, and where in the text its words begin
        self._pre = 0
        self._begins_item = False

    def read(self) -> str:
        source, at = self._source, 0
        while True:
            mark = _MARK.search(source, at)
            if mark is None:
                self._words(source[at:])
                break
            self._words(source[at : mark.start()])
            at = self._markup(mark.start())
            if at < 0:
                break
        lines = "".join(self._out).replace("\xa0", " ").split("\n")
        return _MARGIN.sub("\n\n", "\n".join([line.rstrip() for line in lines])).strip("\n")

    def _markup(self, begin: int) -> int:
        """Read what begins with "<"; return where it ends, -1 where nothing can follow."""
        source = self._source
        if source.startswith("<!--", begin):
            end = source.find("-->", begin + 4)
            return end if end < 0 else end + 3
        match = _TAG.match(source, begin)
        if match is None:
            # A declaration, or a tag without a name or an end; without an end it swallows the rest, as in a browser.
            return source.find(">", begin) + 1 or -1
        name = match[2].lower()
        if match[1]:
            self._close(name)
            return match.end()
        if name in _UNSEEN:
            close = _UNSEEN[name].search(source, match.end())
            return -1 if close is None else source.find(">", close.end()) + 1 or -1
        self._open(name, match[3])
        return match.end()

    def _words(self, text: str) -> None:
        if not text:
            return
        text = _unescaped(text)
        if self._pre:
            self._put(text.replace("\r\n", "\n").replace("\r", "\n"))
            return
        words = _WHITE.sub(" ", text)
        self._space = self._space or words[:1] == " "
        bare = words.strip(" ")
        if bare:
            self._put(bare)
            self._space = words[-1:] == " "

    def _put(self, text: str) -> None:
        """Add words behind the breaks or the space that are due."""
        if self._out:
            if self._breaks:
                self._out.append("\n" * self._breaks)
            elif self._space:
                self._out.append(" ")
        self._breaks, self._space, self._begins_item = 0, False, False
        self._out.append(text)

    def _break(self, count: int) -> None:
        if not self._begins_item:
            self._breaks = max(self._breaks, count)

    def _open(self, name: str, attributes: str) -> None:
        if name == "br":
            self._breaks = min(self._breaks + 1, 3)
        elif name == "hr":
            self._break(1)
            self._put("---")
            self._break(1)
        elif name == "li":
            self._item()
        elif name in _CELLS:
            self._space = True
        elif name == "a":
            self._end_link()  # a link within a link ends the outer one
            self._link = (_attributes(attributes).get("href", "").strip(), len(self._out))
        elif name == "img":
            self._words(_attributes(attributes).get("alt", ""))
        else:
            self._block(name)
            if name in ("ul", "ol"):
                self._lists.append(0 if name == "ol" else -1)
            self._pre += name == "pre"

    def _close(self, name: str) -> None:
        if name == "a":
            self._end_link()
        elif name in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif name == "pre" and self._pre:
            self._pre -= 1
        elif name in _CELLS:
            self._space = True
        self._block(name)

    def _block(self, name: str) -> None:
        """Have the next words begin a line or a paragraph; a list within a list is no paragraph."""
        if name in _PARAGRAPHS:
            self._break(1 if self._lists else 2)
        elif name in _LINES:
            self._break(1)

    def _item(self) -> None:
        self._break(1)
        mark = "-"
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}."
        self._put("  " * min(len(self._lists) - 1, 8) + mark)
        self._space = self._begins_item = True

    def _end_link(self) -> None:
        """Put a link's address behind its words, unless the words are the address."""
        if self._link is None:
            return
        (address, start), self._link = self._link, None
        if not _LINK.fullmatch(address):
            return
        words = "".join(self._out[start:]).strip()
        bare = address.partition(":")[2] if not address.lower().startswith("http") else address
        if words in (address, bare) or bare.rstrip("/") in (f"http://{words}", f"https://{words}"):
            return
        # The space that may be due belongs behind the address, and one stands before it in any case.
        due, self._space = self._space, True
        self._put(f"({address})" if words else address)
        self._space = due
