"""Fuzz the readers with real files as seeds: crashes, hangs, invalid text.

    pip install hypothesis atheris
    python benchmarks/corpus_fuzz.py DATA --engine hypothesis --minutes 5
    python benchmarks/corpus_fuzz.py DATA --engine atheris --minutes 5

DATA is a tree of log files: the head of each (32 KiB at most; 64 KiB more of .evtx) is a seed, and so are heads of the
members of its archives. `hypothesis` draws a seed and edits of it; `atheris` mutates with libFuzzer, led by coverage of
the readers. Each input is read in full, in a process of its own that reads thousands and is watched from outside: one
that takes longer than `--limit` seconds, raises, or kills the process is written to `--out` and counted. Prints inputs
tried, their rate, crashes, hangs, and the slowest input. Exits with 1 where anything was found.
"""

import argparse
import hashlib
import importlib.util
import multiprocessing as mp
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

SEED, SEED_EVTX = 1 << 15, 69_632 + 65_536
Report = tuple[str, int, float, str]  # what, inputs so far, seconds of the slowest, detail


def main() -> None:
    """Fuzz for some minutes, starting again after each crash, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--limit", type=float, default=20, help="seconds that one input may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="where inputs that fail are kept")
    options = parser.parse_args()
    if options.engine == "atheris" and importlib.util.find_spec("atheris") is None:
        parser.error("this engine needs the package atheris: pip install atheris")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch)
        count = write_seeds(options.data, folder / "seeds")
        print(f"{count} seeds, {options.engine}, {options.minutes:g} minutes", flush=True)
        found, inputs, slowest = fuzz(options, folder)
        if slowest > 1:
            options.out.mkdir(exist_ok=True)
            shutil.copy(folder / "slowest", options.out / "slowest")
    print(f"{inputs} inputs in {options.minutes:g} minutes ({inputs / options.minutes / 60:.0f} a second)")
    print(
        f"slowest input: {slowest:.2f} s; crashes: {found['crash']}, hangs: {found['hang']}, killed: {found['killed']}"
    )
    sys.exit(1 if any(found.values()) else 0)


def write_seeds(data: Path, folder: Path) -> int:
    """The heads of real files and of the members of archives, each once."""
    from logfm.configs.schema.corpus import CorpusConfig
    from logfm.corpus.discover import discover, opened
    from logfm.corpus.events import Reject
    from logfm.corpus.streams import ChunkStream, file_chunks
    from logfm.corpus.unpack import Budget, Member, members

    folder.mkdir()
    kinds: dict[tuple[str, str], int] = {}

    def keep(content: bytes, name: str) -> None:
        # Ten of a folder and suffix are enough: the seeds shall be many formats, not many files of one.
        key = (name.split("/")[0], Path(name).suffix)
        kinds[key] = kinds.get(key, 0) + 1
        if content and (kinds[key] <= 10 or "product_samples/" in name):
            (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    for one in discover([str(data)])[0]:
        with opened(one.path) as disk:
            keep(disk.read(SEED_EVTX if one.name.endswith(".evtx") else SEED), one.name)
            disk.seek(0)
            top = Member(one.name, one.name, one.modified, ChunkStream(file_chunks(disk)))
            for number, member in enumerate(members(top, Budget(one.size, CorpusConfig()), disk)):
                if number > 40:
                    break
                if not isinstance(member, Reject):
                    keep(member.stream.peek(SEED_EVTX if member.name.endswith(".evtx") else SEED), member.name)
    return sum(1 for _ in folder.iterdir())


def fuzz(options: argparse.Namespace, folder: Path) -> tuple[dict[str, int], int, float]:
    """Run workers one after the other until the time is over; a finding ends a worker."""
    found = {"crash": 0, "hang": 0, "killed": 0}
    inputs, slowest = 0, 0.0
    end = time.monotonic() + options.minutes * 60
    run = 0
    while (left := end - time.monotonic()) > 1:
        here, there = mp.Pipe(duplex=False)
        worker = {"hypothesis": by_hypothesis, "atheris": by_atheris}[options.engine]
        process = mp.get_context("spawn").Process(target=worker, args=(there, folder, left, options.seed + run))
        process.start()
        there.close()
        what, tried, longest, detail = watch(here, process, options.limit, end)
        inputs, slowest, run = inputs + tried, max(slowest, longest), run + 1
        if what in found:
            found[what] += 1
            options.out.mkdir(exist_ok=True)
            kept = options.out / f"{what}-{os.getpid()}-{run}"
            kept.write_bytes((folder / "input").read_bytes())
            print(f"{what}: {kept}: {detail}", flush=True)
    return found, inputs, slowest


def watch(here: Connection, process: mp.process.BaseProcess, limit: float, end: float) -> Report:
    """Follow a worker, which reports twice a second at most; silence for the limit is a hang."""
    last: Report = ("running", 0, 0.0, "")
    while True:
        # A worker that libFuzzer stops, or that is not back from its last input, gets a little time of grace.
        if not here.poll(limit + 30 if last[1] == 0 else limit):
            process.kill()
            process.join()
            return ("hang" if time.monotonic() < end + limit else "over"), last[1], max(last[2], limit), "no answer"
        try:
            last = here.recv()
        except EOFError:
            process.join()
            if process.exitcode or time.monotonic() < end - 2:
                return "killed", last[1], last[2], f"exit code {process.exitcode}"
            return last
        if last[0] != "running":
            process.join(5)
            process.kill()
            return last


def checker(there: Connection, folder: Path, seconds: float) -> Callable[[bytes], None]:
    """A function that reads one input, and reports; it ends the process at a crash and when the time is over."""
    from logfm.configs.schema.corpus import CorpusConfig
    from logfm.corpus.discover import Input
    from logfm.corpus.events import Reject
    from logfm.corpus.read import read_input

    path = folder / "input"
    config = CorpusConfig(max_record_bytes=1 << 16, max_unpacked_bytes=8 << 20)
    state = {"inputs": 0, "slowest": 0.0, "told": time.monotonic(), "end": time.monotonic() + seconds}

    def run(data: bytes) -> None:
        path.write_bytes(data)
        begin = time.monotonic()
        try:
            one = Input(path, "input", "s", len(data), datetime(2024, 1, 1, tzinfo=UTC))
            records = [record for part in read_input(one, config) for record in part.records]
            assert records, "neither an event nor a reject"
            for record in records:
                record.file.encode()
                text = record.excerpt if isinstance(record, Reject) else record.text
                text.encode()
                assert record.offset >= 0
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is a finding)
            there.send(("crash", state["inputs"], state["slowest"], f"{type(error).__name__}: {error}"[:300]))
            os.kill(os.getpid(), signal.SIGKILL)  # libFuzzer takes any exit of its process for a crash
        now = time.monotonic()
        state["inputs"] += 1
        if now - begin > state["slowest"]:
            state["slowest"] = now - begin
            path.replace(folder / "slowest")
        over = now > state["end"]
        if over or now > state["told"] + 0.5:
            state["told"] = now
            there.send(("over" if over else "running", int(state["inputs"]), state["slowest"], ""))
        if over:
            os.kill(os.getpid(), signal.SIGKILL)

    return run


def by_hypothesis(there: Connection, folder: Path, seconds: float, seed: int) -> None:
    """Draw a seed file and edits, again and again."""
    import hypothesis
    from hypothesis import strategies as st

    run = checker(there, folder, seconds)
    seeds = [path.read_bytes() for path in sorted((folder / "seeds").iterdir())]
    for one in seeds:
        run(one)
    piece = st.one_of(st.binary(max_size=16), st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "little")))
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 64), piece), min_size=1, max_size=12)
    for number in _numbers(seed):

        @hypothesis.seed(number)
        @hypothesis.settings(deadline=None, database=None, max_examples=1000, phases=[hypothesis.Phase.generate],
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(st.sampled_from(seeds), edits, st.floats(0.1, 1), st.sampled_from(seeds))
        def tries(first: bytes, changes: list[tuple[float, int, bytes]], share: float, second: bytes) -> None:
            data = bytearray(first[: int(len(first) * share)] if share < 0.5 else first)
            if share > 0.95:
                data += second
            for place, cut, new in changes:
                at = int(place * len(data))
                data[at : at + cut] = new
            run(bytes(data))

        tries()


def _numbers(seed: int) -> Iterator[int]:
    while True:
        yield seed
        seed += 1


def by_atheris(there: Connection, folder: Path, seconds: float, seed: int) -> None:
    """Mutate by libFuzzer, with the coverage of the readers."""
    import atheris

    with atheris.instrument_imports(include=["logfm.corpus"]):
        run = checker(there, folder, seconds)
    (folder / "corpus").mkdir(exist_ok=True)
    arguments = [sys.argv[0], str(folder / "corpus"), str(folder / "seeds"), f"-seed={seed + 1}", "-max_len=135168",
                 "-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=0"]  # fmt: skip
    atheris.Setup(arguments, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
