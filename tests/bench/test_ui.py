"""The benchmark of SLM-UI runs and prints what it promises; its figures are not judged here."""

import msgspec

from support.benchmarks import run_with_support
from support.tools import needs


class Line(msgspec.Struct, forbid_unknown_fields=True):
    first_paint_ms: float
    first_paint_warm_ms: float
    floor_paint_ms: float
    update_delay_ms: float
    page_kb: float
    server_rss_mb: float
    frame_ms_64x1000: float
    floor_frame_ms: float
    scroll_frame_ms: float
    point_frame_ms: float
    floor_page_frame_ms: float
    long_page_kb: float
    long_page_elements: int


@needs("chromium")
def test_bench_ui_prints_a_json_line() -> None:
    done = run_with_support("ui.py", "--repeats", "1", "--json")  # the browser is that of the tests
    assert done.returncode == 0, done.stderr
    line = msgspec.json.decode(done.stdout, type=Line)
    assert line.first_paint_ms > 0
    assert line.update_delay_ms > 0
    assert 1 < line.page_kb < 200
    assert line.server_rss_mb > 1
