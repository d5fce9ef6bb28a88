from __future__ import annotations

import io
import json
from typing import Any

import pytest

from director.cli import follow, tables, ui
from director.errors import TaskError, UsageError

TABLE = tables.Table(
    "things",
    ("Name", "Release(s)", "Load\n(1m, 5m, 15m)"),
    (("a", ("x/1", "y/2"), None), ("a", (), True)),
    ("note",),
    title="Title",
    fill_first=False,
)


def test_terminal() -> None:
    assert tables.to_terminal(TABLE, lambda text, _look: text) == (
        "Title\n\nName  Release(s)  Load  \n                  (1m, 5m, 15m)  \n".replace("                  (", "                  (")
        + "a     x/1         -              \n"
        "      y/2                        \n"
        "~     -           true           \n"
        "\nnote\n"
        "\n2 things\n"
    ).replace("Name  Release(s)  Load  \n", "Name  Release(s)  Load           \n")


def test_pipe_gets_data_only_with_tabs() -> None:
    assert tables.to_plain(TABLE) == "a\tx/1\t-   \t\n \ty/2\t    \t\na\t-  \ttrue\t\n"


def test_json_shape() -> None:
    assert tables.to_json(TABLE) == {
        "Content": "things",
        "Header": {"load_1m_5m_15m": "Load\n(1m, 5m, 15m)", "name": "Name", "release_s": "Release(s)"},
        "Rows": [{"load_1m_5m_15m": "", "name": "a", "release_s": "x/1\ny/2"}, {"load_1m_5m_15m": "true", "name": "a", "release_s": ""}],
        "Notes": ["note"],
    }


def test_transposed() -> None:
    table = tables.Table("errand(s)", ("Exit Code", "Stdout"), ((0, "a\nb"), (1, "c")), transpose=True)
    assert tables.to_terminal(table, lambda text, _look: text) == (
        "Exit Code  0  \nStdout     a  \n           b  \n              \nExit Code  1  \nStdout     c  \n\n2 errand(s)\n"
    )


def test_columns() -> None:
    assert tables.select(TABLE, ["Name"]).rows == (("a",), ("a",))
    assert tables.select(TABLE, ["release_s"]).header == ("Release(s)",)
    with pytest.raises(UsageError, match="Failed to find header: nam") as caught:
        tables.select(TABLE, ["nam"])
    assert "name" in str(caught.value)


def render(events: list[dict[str, Any]], state: str = "done", manner: str = "terminal") -> str:
    out = io.StringIO()
    reporter = follow.EventReporter(ui.Ui(out, io.StringIO(), manner=manner))
    reporter.started(42)
    for event in events:
        reporter.chunk(42, json.dumps(event).encode() + b"\n")
    reporter.finished(42, state)
    return out.getvalue()


def line(stage: str, task: str, state: str, time: int, **more: Any) -> dict[str, Any]:
    return {
        "time": time,
        "stage": stage,
        "tags": more.pop("tags", []),
        "total": 1,
        "task": task,
        "index": 1,
        "state": state,
        "progress": 0,
        **more,
    }


def test_task_without_output() -> None:
    assert render([]) == "Task 42. Done\n"


def test_stages_with_durations() -> None:
    assert render(
        [
            line("Preparing deployment", "Preparing deployment", "started", 1451020321),
            line("Preparing deployment", "Preparing deployment", "finished", 1451020324),
            line("Updating instance", "web/1 (0) (canary)", "started", 1451020324, tags=["web"]),
            line("Updating instance", "db/2 (0)", "started", 1451020325, tags=["db"]),
            line(
                "Updating instance", "web/1 (0) (canary)", "in_progress", 1451020326, tags=["web"], data={"status": "executing pre-start"}
            ),
            line("Updating instance", "web/1 (0) (canary)", "finished", 1451020350, tags=["web"]),
            line("Updating instance", "db/2 (0)", "failed", 1451020351, tags=["db"], data={"error": "it is broken"}),
            {"time": 1451020351, "error": {"code": 400007, "message": "it is broken"}},
        ],
        "error",
    ) == (
        "Task 42\n"
        "\nTask 42 | 05:12:01 | Preparing deployment: Preparing deployment (00:00:03)"
        "\nTask 42 | 05:12:04 | Updating instance web: web/1 (0) (canary)"
        "\nTask 42 | 05:12:05 | Updating instance db: db/2 (0)"
        "\nTask 42 | 05:12:06 | L executing pre-start: web/1 (0) (canary) (00:00:26)"
        "\nTask 42 | 05:12:31 | Updating instance db: db/2 (0) (00:00:26)"
        "\n                     L Error: it is broken"
        "\n\nTask 42 | 05:12:31 | Error: it is broken"
        "\n\nTask 42 Started  Fri Dec 25 05:12:01 UTC 2015"
        "\nTask 42 Finished Fri Dec 25 05:12:31 UTC 2015"
        "\nTask 42 Duration 00:00:30"
        "\nTask 42 error\n"
    )


def test_warnings() -> None:
    text = render(
        [{"time": 1451020300, "type": "warning", "message": "old"}, {"time": 1451020300, "type": "deprecation", "message": "older"}]
    )
    assert "| Warning: old" in text
    assert "| Deprecation: older" in text


def test_lines_may_come_in_pieces() -> None:
    out = io.StringIO()
    reporter = follow.EventReporter(ui.Ui(out, io.StringIO()))
    data = json.dumps(line("A", "b", "started", 1)).encode() + b"\n"
    for place in range(len(data)):
        reporter.chunk(1, data[place : place + 1])
    assert out.getvalue().endswith("\nTask 1 | 00:00:01 | A: b")


@pytest.mark.parametrize("data", [b"nonsense\n", b'{"time":1.5}\n', b"[]\n"])
def test_unreadable_lines_are_told(data: bytes) -> None:
    with pytest.raises(TaskError, match="cannot be read"):
        follow.EventReporter(ui.Ui(io.StringIO(), io.StringIO())).chunk(1, data)
