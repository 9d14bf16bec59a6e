"""HTML to plain text as a browser shows it, after the rules of `innerText` (html.spec.whatwg.org).

Blocks stand on lines of their own, white space collapses but in `pre`, and what is not text (scripts, styles, forms,
menus) is left out. Parsed by selectolax.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSEEN = {
    "script", "style", "noscript", "template", "svg", "head", "iframe", "object", "canvas", "nav", "form", "button",
    "select", "textarea", "input", "-comment",
}  # fmt: skip
_SPACED = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "pre", "blockquote", "figure", "hr"}
_BLOCKS = _SPACED | {
    "address", "article", "aside", "body", "caption", "center", "dd", "details", "div", "dt", "fieldset", "figcaption",
    "footer", "header", "html", "legend", "li", "main", "section", "summary", "tbody", "tfoot", "thead", "tr",
}  # fmt: skip
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BLOCK, _PARAGRAPH = "\ue000", "\ue001"
"""Private characters that stand for the edge of a block and of a paragraph until the text is whole."""
_VERBATIM = str.maketrans({"\n": "\ue002", " ": "\ue003", "\t": "\ue004", _BLOCK: None, _PARAGRAPH: None})
_PLAIN = str.maketrans({"\ue002": "\n", "\ue003": " ", "\ue004": "\t"})
_EDGES = re.compile(f"[ \\t]*[{_BLOCK}{_PARAGRAPH}][{_BLOCK}{_PARAGRAPH} \\t]*")


def text_of(html: str) -> str:
    """The text of a page or of a part of one."""
    from selectolax.lexbor import LexborHTMLParser

    body = LexborHTMLParser(html).body
    pieces: list[str] = []
    if body is not None:
        _walk(body, pieces)
    joined = _EDGES.sub(lambda edges: "\n\n" if _PARAGRAPH in edges[0] else "\n", "".join(pieces))
    return re.sub(r"\n{3,}", "\n\n", joined).strip().translate(_PLAIN)


def _walk(top: "LexborNode", pieces: list[str]) -> None:
    """The pieces of text below a node, in order; by a stack of its own, for pages nest deeper than Python may."""
    stack: list[tuple[LexborNode | None, str, bool]] = [(top, "", False)]
    while stack:
        node, after, verbatim = stack.pop()
        if node is None:
            pieces.append(after)
            continue
        if node.next is not None and node is not top:
            stack.append((node.next, "", verbatim))
        tag = node.tag or ""
        if tag == "-text":
            _add(node.text_content or "", pieces, verbatim)
        elif tag == "br":
            pieces.append("\ue002" if verbatim else "\n")
        elif tag not in _UNSEEN:
            edge = _PARAGRAPH if tag in _SPACED else _BLOCK if tag in _BLOCKS else ""
            pieces.append(edge + ("- " if tag == "li" else ""))
            stack.append((None, "\t" if tag in ("td", "th") else edge, verbatim))
            if node.child is not None:
                stack.append((node.child, "", verbatim or tag == "pre"))


def _add(text: str, pieces: list[str], verbatim: bool) -> None:
    if verbatim:
        pieces.append(text.translate(_VERBATIM))
        return
    text = _SPACE.sub(" ", text)
    if not pieces or pieces[-1].endswith((" ", "\n", "\t")):
        text = text.lstrip(" ")
    if text:
        pieces.append(text)
