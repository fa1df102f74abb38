"""The index's style sheet, and how text gets into it."""

from html import escape
from typing import Final

from swarmlearning.views.names import displayed

LONGEST: Final = 4000

STYLE: Final = """
:root {
  color-scheme: light; --ink: #1c2733; --dim: #5b6875; --line: #d9e0e7; --bad: #b3261e; --warn: #8a5a00;
  --good: #1e6b3a;
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1320px; padding: 1.5rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
}
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .25rem 0; }
a { color: #0b57a4; }
.dim, dt { color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.box {
  border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: 4px; padding: .5rem 1rem;
  margin: .5rem 0;
}
.box.bad { border-left-color: var(--bad); }
.box.warn { border-left-color: #d39a1f; }
.box ul { margin: .25rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--dim); }
th, td {
  padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere;
}
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.fault { color: var(--bad); }
.warning { color: var(--warn); }
.draw { overflow-x: auto; border: 1px solid var(--line); border-radius: 4px; direction: rtl; } /* the newest is seen */
.draw svg { direction: ltr; display: block; margin-right: auto; }
.size { color: var(--dim); font-size: 13px; }
.key span { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; border-radius: 2px; }
"""


def shown(text: str) -> str:
    """Text of anybody's, for any place in the page but a tag's or a script's."""
    return escape(displayed(text, LONGEST))
