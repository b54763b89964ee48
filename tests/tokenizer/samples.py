"""Small corpora in the layout of `logfm corpus build`, and the lines that fill them."""

import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import produce
from logfm.corpus.events import SCHEMA, event_id
from logfm.corpus.store import Corpus

USERS = ["root", "alice", "neutron", "svc_backup", "O'Brien", "jörg"]
COMMANDS = [
    "/bin/ip netns exec qrouter-4a3b ip addr",
    "/bin/ip netns identify 221",
    "/usr/bin/apt-get update",
    "/bin/cat /etc/shadow",
]


def linux_lines(count: int, seed: int = 0) -> list[str]:
    """Lines of sshd and sudo as a Linux host writes them."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        user, pid = draw.choice(USERS), draw.randrange(300, 32768)
        stamp = f"Jun {draw.randrange(1, 31):2} {draw.randrange(24):02}:{draw.randrange(60):02}:00"
        address = ".".join(str(draw.randrange(256)) for _ in range(4))
        command = f"COMMAND={draw.choice(COMMANDS)}"
        host = draw.choice([f"{stamp} web01 ", f"{stamp} db7 ", ""])
        lines.append(
            draw.choice(
                [
                    f"{host}sshd[{pid}]: Failed password for {user} from {address} port {pid} ssh2",
                    f"{host}sudo: {user} : TTY=unknown ; PWD=/ ; USER=root ; {command}",
                    f"{host}sudo: {user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; {command}",
                ]
            )
        )
    return lines


def json_lines(count: int, seed: int = 0) -> list[str]:
    """Windows events as one JSON object a line, with hashes and GUIDs."""
    draw = random.Random(seed)
    return [
        f'{{"EventID":{draw.choice([1, 3, 4624, 4688])},"Hostname":"WS{draw.randrange(9)}.example.org",'
        f'"ProcessGuid":"{{{draw.randbytes(4).hex()}-0000-4a3b-9000-{draw.randbytes(6).hex()}}}",'
        f'"Hashes":"SHA256={draw.randbytes(32).hex().upper()}","User":"NT AUTHORITY\\\\\\\\SYSTEM"}}'
        for _ in range(count)
    ]


def write_corpus(
    out: Path,
    rows: Iterable[tuple[str, str]],
    view: Iterable[int] | None = None,
    licences: Iterable[str] = (),
) -> Corpus:
    """A corpus folder of (text, source) rows, in the layout of `logfm corpus build`."""
    table = [
        {"event_id": event_id(source, n), "text": text, "source": source, "file": source, "offset": n}
        for n, (text, source) in enumerate(rows)
    ]
    with produce(out, stage="corpus", config={}, inputs={}) as work:
        (work.path / "events").mkdir()
        pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA), work.path / "events" / "part-00000.parquet")
        if view is not None:
            kept = list(view)
            (work.path / "views").mkdir()
            pq.write_table(
                pa.table({"row": pa.array(kept, pa.int64()), "copies": [1] * len(kept)}),
                work.path / "views" / "exact.parquet",
            )
        columns = {name: pa.array([], pa.string()) for name in ("file", "reason", "excerpt")}
        pq.write_table(pa.table({**columns, "offset": pa.array([], pa.int64())}), work.path / "rejects.parquet")
        work.licences.update(licences)
    return Corpus.open(out)
