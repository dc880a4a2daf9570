"""What the big test tells: faults that the processes logged, and a report made of the records alone."""

from __future__ import annotations

from pathlib import Path

from bench.soak import report
from bench.soak.journal import FILE, Journal, Record, read
from bench.soak.platform import faults
from tests.bench.made_records import MIB, done, usage


def test_faults_are_found_in_the_processes_logs(tmp_path: Path) -> None:
    log = tmp_path / "platform.log"
    log.write_text(
        'inference │ {"level": "INFO", "message": "call", "method": "/Generate", "code": "OK"}\n'
        'features  │ {"level": "ERROR", "message": "call", "method": "/Search", "code": "INTERNAL", '
        '"traceback": "Traceback\\n  line\\nKeyError: 7"}\n'
        'inference │ {"level": "INFO", "mess\n'
        'worker    │ {"level": "CRITICAL", "logger": "celery.worker.request", "message": "Couldn\'t ack", '
        '"traceback": "Traceback\\nredis.exceptions.ConnectionError: Connection closed by server."}\n'
        "Inference was killed by SIGKILL while it ran; it starts again\n",
        "utf-8",
    )
    assert faults(log) == {"features: call /Search INTERNAL KeyError: 7": 1}


def test_a_report_is_written_from_the_records_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE)
    told: list[Record] = []
    journal.listeners.append(told.append)
    about = {"command": "python -m bench.soak", "date": "2026-11-27", "commit": "abc", "minutes": 1.0}
    journal.write(
        "run", **about, researchers=2, ways="2 grpc", seed=1, think=4.0, database="SQLite", machine="- two"
    )
    for record in [
        done(0, seconds=2.0, t=3.0),
        done(1, tries=2, t=8.0),
        usage(4.0, 1, MIB),
        usage(9.0, 1, MIB, 2.0),
    ]:
        journal.take(record)
    journal.write("misfortune", what="kill", target="inference")
    journal.write("over", what="kill", target="inference", seconds=7.5)
    journal.close()
    assert read(tmp_path) == told
    report.write(tmp_path)
    text = (tmp_path / report.FILE).read_text("utf-8")
    assert "kill inference | " in text
    assert all((tmp_path / name).stat().st_size > 1000 for name in report.NAMES)
    document = tmp_path / "capacity.md"
    document.write_text(f"before\n{report.BEGIN}\nearlier numbers\n{report.END}\nafter\n", "utf-8")
    report.fill(tmp_path, document)
    filled = document.read_text("utf-8")
    assert filled.startswith("before\n")
    assert filled.endswith("after\n")
    assert "earlier numbers" not in filled
    assert "7.5 s (inference)" in filled
