"""Takes secrets out of texts that leave a host: reports of crashes, and what is collected for others to look at.

Found are secrets by their form (private keys, passwords in URLs, long tokens), by the word before them (`password=`,
`--token`, `Authorization:`), and by their value where that is known, plain or encoded. Too much is taken out rather
than too little: who needs a digest or a name for a diagnosis finds those as they are.

Texts may come from another organisation: the time is proportional to their length, whatever is in them. The scripts for
hosts have this file, too (`scripts/lib/swarmscripts`): it imports nothing of ours, and runs on Python 3.10.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from typing import Final

REMOVED: Final = "[removed]"
SHORTEST: Final = 6
"""Characters of a value that is looked for everywhere: a shorter one would be found in words that are no secrets."""
LONGEST_LINE: Final = 64 * 1024
"""Characters of a line; what is beyond them is left out."""
LONG_TOKEN: Final = 90

_WORDS: Final = (
    *("password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "cookie", "invitation"),
    *(f"{word}{joint}key" for word in ("api", "access", "private", "license") for joint in ("", "_", "-")),
    *("join_code", "join-code"),
)
_SIGNS: Final = ("swarm1", "bearer", "basic", "gh", "hf_", "sk-", "akia", "xox")
_OTHER: Final = (
    r"(?![\w.-]{0,99}(?:file|path|dir|folder|digest|thumbprint)\b)(?!(?:\w{0,99}_)?tokens\b\\?[\"']?\s*[:=]\s*\d)"
)
"""Names that are none of a secret: of the file that holds one, of its digest, of a number of tokens."""
_NAME: Final = rf"{_OTHER}[\w.-]{{0,99}}?(?:{'|'.join(_WORDS)})[\w-]{{0,99}}"
_QUOTED: Final = r"\"(?:[^\"\\]|\\.){0,4096}\"|'(?:[^'\\]|\\.){0,4096}'|\\\"[^\"]{0,4096}\\\""
_VALUE: Final = rf"(?!\[removed\])(?:{_QUOTED}|[^\s\"',;)\]}}]+)"

_URL: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/:@\"']{0,256}:)[^\s\"'<>/]{1,256}(?=@)"
)
_BY_NAME: Final = (
    re.compile(rf"(?i)(?<![\w-])(--?{_NAME}\\?[\"']?,?[ \t]+)(?!-){_VALUE}"),  # in a command line, or a list of words
    re.compile(rf"(?i)^(\s*(?:- |export |set )?{_NAME}\s*[:=][ \t]*)(?!\[removed\])[^\s\[{{|>\"'].*$"),  # a setting
    re.compile(rf"(?i)(?<![\w.-])({_NAME}\\?[\"']?\s*[:=]\s*){_VALUE}"),
)
_BY_SIGN: Final = (
    re.compile(r"(?i)\b()swarm1[a-z2-7]{16,}"),  # an invitation's code, also one that is cut off
    re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\b()(?:gh[pousr]_|hf_|sk-|AKIA|xox[a-z]-)[A-Za-z0-9_-]{16,}"),
)
_BLOCK: Final = re.compile(rf"(?i)^(\s*)(?:- )?{_NAME}\s*:\s*[|>][+-]?\s*$")
"""A text of several lines in YAML: those that follow, as far as they are indented."""
_RUN: Final = re.compile(rf"[A-Za-z0-9+_.-]{{{LONG_TOKEN},}}+={{0,2}}")
_DIGESTS: Final = re.compile(r"[0-9a-f.:-]+")
_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_KEY_LINE: Final = re.compile(r"[A-Za-z0-9+/]{1,76}={0,2}")
_SECRET_NAME: Final = re.compile(rf"(?i){_NAME}")


def redacted(text: str, known: Collection[str] = ()) -> str:
    """The text without what looks like a secret, and without those that are `known` (see `forms`)."""
    for value in known:
        if value in text:  # with what follows: it may be longer here
            text = re.sub(rf"{re.escape(value)}[^\s\"',;)\]}}<&@]*", lambda _: REMOVED, text)
    lines = _without_blocks(_without_keys(text).split("\n"))
    return "\n".join(map(_redacted_line, lines))


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name has a secret for a value."""
    return _SECRET_NAME.fullmatch(name) is not None


def forms(value: str) -> set[str]:
    """A secret as it is, and as it is written in URLs, JSON, Python, hexadecimal and base64; none for a short one."""
    value = value.strip()
    if len(value) < SHORTEST:
        return set()
    data = value.encode(errors="surrogateescape")
    coded = {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}
    quoted = {urllib.parse.quote(data, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]}
    return {value, data.hex(), data.hex().upper(), *quoted, *coded, *(each.rstrip("=") for each in coded)}


def _without_keys(text: str) -> str:
    """Without private keys in PEM, also on one line, or cut off at one end."""
    parts, at = [], 0
    while begin := _KEY_BEGINS.search(text, at):
        parts.append(_without_rest(text[at : begin.start()]))
        end = _KEY_ENDS.search(text, begin.end())
        at = end.end() if end else len(text)
        parts.append(REMOVED)
    return "".join((*parts, _without_rest(text[at:])))


def _without_rest(text: str) -> str:
    """Without the ends of private keys whose beginnings are elsewhere."""
    if "PRIVATE KEY-----" not in text:
        return text
    kept: list[str] = []
    for line in text.split("\n"):
        if _KEY_ENDS.match(line):
            while kept and _KEY_LINE.fullmatch(kept[-1]):
                kept.pop()
            line = REMOVED
        kept.append(line)
    return "\n".join(kept)


def _without_blocks(lines: Iterable[str]) -> Iterator[str]:
    depth: int | None = None
    for line in lines:
        if depth is not None and line.strip():
            if len(line) - len(line.lstrip()) > depth:
                continue
            depth = None
        yield line
        if line.rstrip().endswith(("|", ">", "|-", ">-", "|+", ">+")) and (block := _BLOCK.match(line[:LONGEST_LINE])):
            depth = len(block[1])
            yield f"{block[1]}  {REMOVED}"


def _redacted_line(line: str) -> str:
    if len(line) < SHORTEST:
        return line
    if len(line) > LONGEST_LINE:
        line = f"{line[:LONGEST_LINE]} [{len(line) - LONGEST_LINE} more characters]"
    lower = line.lower()
    if "://" in lower and "@" in lower:
        line = _URL.sub(rf"\1{REMOVED}", line)
    if any(sign in lower for sign in _SIGNS):
        for rule in _BY_SIGN:
            line = rule.sub(rf"\1{REMOVED}", line)
    if any(word in lower for word in _WORDS):
        for rule in _BY_NAME:
            line = rule.sub(rf"\1{REMOVED}", line)
    return _RUN.sub(_long_token, line) if len(line) >= LONG_TOKEN else line


def _long_token(found: re.Match[str]) -> str:
    """As long as a signed statement, a key or an invitation's code; what is hexadecimal is a digest, or several."""
    longest = max(found[0].rstrip("=").split("."), key=len)
    kept = len(longest) < LONG_TOKEN or _DIGESTS.fullmatch(longest)
    return found[0] if kept else REMOVED
