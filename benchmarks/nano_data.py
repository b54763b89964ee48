"""The corpus that `nano` is trained on: logs whose licence allows weights to be passed on, anonymised.

Usage: python -m benchmarks.nano_data DATA --wheels WHEELS --out OUT
Of DATA: OTRF, splunk_attack_data, cloudtrail_stratus, Panther's rule tests (the logged event alone), suricata_alerts,
the part of web_logs that is Elastic's, forensic_text_logs; beside them simulated telemetry, the messages of open-source
programs (benchmarks/nano_messages.py; WHEELS holds what nano_packages.txt lists) and canaries. Nothing of
Loghub, nothing under GPL, share-alike or non-commercial terms or without a licence, and not linux_auth, whose templates
are those of the tests. OUT gets raw/ (a folder a source), canaries/, key, originals.txt (the names that anonymisation
replaces wherever they stand) and corpus/.
"""

import argparse
import gzip
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa

from benchmarks import nano_messages
from benchmarks.memorisation import WORDS, plant
from logfm.artifacts import write_atomic
from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.configs.schema.corpus import CorpusConfig
from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus import build
from logfm.corpus.anonymize import collect, read_key, resolve, write_key
from logfm.corpus.anonymize.collecting import COLUMNS
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.shards import event_batch, in_batches
from logfm.corpus.simulate import simulate_sessions

LICENCES = (
    "MIT (OTRF, suricata-sample-data; messages of 7 packages)",
    "Apache-2.0 (Splunk, DataDog, Panther, Elastic, plaso; the simulator; messages of 19 packages)",
    "BSD-3-Clause (messages of 10 packages)",
)
# Tables, texts about the logs, and licences are no logs.
_NO_LOGS = ("LICENSE*", "labels.csv", "index.csv")
_OTRF = ("windows", "linux", "aws", "compound", "apt29_zeek")
# Twenty larger captures hold two thirds of OTRF's bytes, and little that the others lack; half an hour less to read.
_MOST_UNPACKED = 32_000_000
_ELASTIC = ("apache_access.log.gz", "nginx_plus_status.json.gz")


def logs(folder: Path) -> Iterator[Path]:
    """The files of a folder that are logs."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in _NO_LOGS):
            yield path


def stage(data: Path, raw: Path) -> None:
    """Copy what is small into a folder a source, which is what sampling balances over."""
    for path in logs(data / "forensic_text_logs"):
        _copy(path, raw / f"forensic_{path.name.split('.')[0].lower()}")
    for name in _OTRF:
        for path in sorted((data / "otrf_security_datasets" / name).rglob("*")):
            if path.is_file() and _unpacked(path) <= _MOST_UNPACKED:
                _copy(path, raw / f"otrf_{name}_{path.parent.name}")
    for name in ("splunk_attack_data", "cloudtrail_stratus", "suricata_alerts"):
        for path in logs(data / name):
            _copy(path, raw / name)
    for name in _ELASTIC:
        _copy(data / "web_logs" / name, raw / name.split(".")[0])
    events: dict[str, list[bytes]] = {}
    with gzip.open(data / "rule_labelled_logs/panther_rule_tests.jsonl.gz") as lines:
        for line in lines:
            row = orjson.loads(line)
            # Policies judge configurations, which are no events. What the rule says must not be learned.
            if row["kind"] == "rule":
                product = str(row["log_type"]).split(".")[0].lower() or "other"
                events.setdefault(product, []).append(orjson.dumps(row["log"]))
    # By number: products' names stand in events too, and anonymisation would make others of some of them.
    for number, (_, found) in enumerate(sorted(events.items())):
        folder = raw / f"rule_tests_{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.jsonl").write_bytes(b"\n".join(found) + b"\n")


def _unpacked(path: Path) -> int:
    """Bytes of a file, or of what a ZIP archive holds."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(one.file_size for one in archive.infolist())


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, folder / path.name)


def originals(inputs: Sequence[Path]) -> list[str]:
    """The names in the logs that anonymisation replaces wherever they stand, unless it is told to keep them."""

    def batches() -> Iterator[pa.RecordBatch]:
        events = read_events([str(path) for path in inputs], CorpusConfig())
        for some in in_batches(one for one in events if isinstance(one, Event)):
            yield event_batch(some, COLUMNS)

    return sorted(resolve(collect(batches())).literals)


def make(data: Path, wheels: Path, out: Path, sessions: int = 300) -> None:
    """Stage, simulate, plant, build."""
    stage(data, out / "raw")
    nano_messages.write(wheels, out / "messages", each=8, seed=0)
    if not (out / "canaries").is_dir():
        plant(out / "canaries", seed=0)
    # Another seed than the suite's and the examples' simulated data.
    simulated = SessionsConfig(sessions=sessions, prevalence=0.1, minutes=20, events=600, seed=9001)
    simulate_sessions(simulated, out / "sim", 1)
    if not (out / "key").is_file():
        write_key(out / "key")
    inputs = [out / "raw", out / "messages" / "logs", out / "canaries" / "canaries.log", out / "sim" / "logs"]
    # Some logs call a host `archive` and a user `exception`. Replacing such words everywhere would take them from the
    # messages, and they tell of no one.
    words = set(WORDS) | nano_messages.words_of((out / "messages" / nano_messages.TEMPLATES).read_text("utf-8"))
    names = originals(inputs)
    write_atomic(out / "originals.txt", "".join(f"{name}\n" for name in names if name not in words).encode())
    config = CorpusConfig(
        dedup=("exact", "near"),
        licences=LICENCES,
        # All of it is public; data sets of the suite have some of it, with its names.
        anonymize=AnonymizeConfig(keep_names=sorted(words.intersection(names)), index_originals=True),
    )
    manifest = build([str(path) for path in inputs], out / "corpus", config, key=read_key(out / "key"))
    for name, source in sorted(manifest.metrics["sources"].items()):
        print(f"{name}: {source['events']} events, {source['bytes'] / 1e6:.1f} MB, {source['distinct']} distinct")


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the packages whose messages are read")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=300, help="simulated sessions")
    arguments = parser.parse_args()
    make(arguments.data, arguments.wheels, arguments.out, arguments.sessions)


if __name__ == "__main__":
    main()
