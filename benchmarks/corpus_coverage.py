"""Which formats the readers recognise in a tree of real logs, and how many events of each have a time.

    python benchmarks/corpus_coverage.py DATA [--folder NAME]... [--verbose]

DATA holds folders of log files of any kind. Each file (and each file inside an archive) is read in full. Printed per
format: files, events, how many of them show anything like a date, how many got a timestamp, rejects; then the files
that were read as plain text or not at all, each with the reason that `corpus_coverage.yaml` gives. Exits with 1 where a
file has no reason, or where less than 95 % of a format's events that show a date got a time, and no reason is given.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import yaml

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import Input, discover
from logfm.corpus.events import Reject
from logfm.corpus.read import read_input
from logfm.corpus.readers.schemas import schemas

EXPECTED = 0.95
KNOWN = Path(__file__).with_suffix(".yaml")


@dataclass
class Read:
    """What one file, or one file inside an archive, gave."""

    name: str
    form: str
    events: int = 0
    timed: int = 0
    dated: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    timeless: list[str] = field(default_factory=list)


def main() -> None:
    """Read everything, print the tables, fail where something has no reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", action="append", help="only this folder of DATA (may be given several times)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="examples of events without a time, and each file")
    options = parser.parse_args()
    known = yaml.safe_load(KNOWN.read_text())
    names = options.folder or known["folders"]
    found, faults = discover([str(options.data / name) for name in names])
    logs = [one for one in found if not _match(str(one.path), known["no_logs"])]
    print(f"{len(logs)} files in {len(names)} folders, {len(found) - len(logs)} that are no logs left out")
    with ProcessPoolExecutor(options.processes) as pool:
        reads = [read for reads in pool.map(_read, sorted(logs, key=lambda one: -one.size)) for read in reads]
    reads.sort(key=lambda read: read.name)
    short = _formats(reads, known["few_times"], options.verbose)
    unexplained = _unrecognised(reads, known)
    for fault in faults:
        print(f"{fault.file}: {fault.reason}")
    sys.exit(1 if short or unexplained else 0)


def _read(one: Input) -> list[Read]:
    reads = []
    for part in read_input(one, CorpusConfig()):
        read = Read(part.file, part.format or "unrecognised")
        if read.form in ("json_lines", "json_document", "csv"):
            named = part.why.rpartition("(")[2].rstrip(")")
            read.form += f"/{named}" if named in _SCHEMAS else ""
        for record in part.records:
            if isinstance(record, Reject):
                read.rejects[record.reason] += 1
                continue
            read.events += 1
            if record.timestamp is not None:
                read.timed += 1
                read.dated += 1
            elif _DATE.search(record.text):
                read.dated += 1
                if len(read.timeless) < 3:
                    read.timeless.append(record.text[:1000])
        reads.append(read)
    return reads


# Anything that could be a moment, whatever a reader makes of it: a date, a month with a day, epoch seconds and finer.
_DATE = re.compile(
    r"(?:19|20)\d\d[-/.:]\d\d?[-/.:]\d\d?|\b\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d|\b\d\d[-/]\d\d[-/ ]\d\d:\d\d"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[ .-]{1,3}\d\d?[ ,-]|\b\d\d?[ /-](?:Jan|Feb|Mar|Apr"
    r"|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)|\b1[4-7]\d{8}(?:\d{3}|\d{6}|\d{9})?\b|\b(?:19|20)\d{6}[ T-]?\d{4}"
)
_SCHEMAS = {one.schema.name for one in schemas()}


def _match(path: str, patterns: dict[str, str]) -> str | None:
    """The reason of the first pattern (the end of a path, with wildcards) that fits."""
    return next((reason for pattern, reason in patterns.items() if fnmatch(path, f"*/{pattern}")), None)


def _formats(reads: list[Read], few_times: dict[str, str], verbose: bool) -> list[str]:
    """Print the table of formats; returns those with too few times and no reason."""
    groups: dict[str, list[Read]] = defaultdict(list)
    for read in reads:
        if read.form != "unrecognised":
            groups[read.form].append(read)
    print(f"\n{'format':<34} {'files':>5} {'events':>9} show a date have a time    share  rejects")
    short = []
    for form, group in sorted(groups.items()):
        events, dated, timed = (sum(getattr(read, name) for read in group) for name in ("events", "dated", "timed"))
        faults: Counter[str] = sum((read.rejects for read in group), Counter())
        share = f"{timed / dated:8.2%}" if dated else "-"
        print(f"{form:<34} {len(group):>5} {events:>9} {dated:>11} {timed:>11} {share:>8} {faults.total():>8}")
        if timed < EXPECTED * dated and form != "text":
            short.append(form)
        for reason, count in faults.most_common(5):
            print(f"    {count} x {reason}")
        for read in group if verbose else ():
            if read.timeless:
                print(f"    {read.name}: {read.timed} of {read.dated}")
                for text in read.timeless:
                    print(f"        {text!r}")
    for title, some in (("all", reads), ("all but plain text", [read for read in reads if read.form != "text"])):
        events, dated, timed = (sum(getattr(read, name) for read in some) for name in ("events", "dated", "timed"))
        print(f"{title}: {events} events, {dated} show a date, {timed} have a time ({timed / max(dated, 1):.2%})")
    for form in short:
        print(f"below {EXPECTED:.0%}: {form}: {few_times.get(form, 'NO REASON GIVEN')}")
    return [form for form in short if form not in few_times]


def _unrecognised(reads: list[Read], known: dict[str, dict[str, str]]) -> list[str]:
    """Print what is plain text or no log, with its reason; returns what has none."""
    found = [read for read in reads if read.form in ("text", "unrecognised")]
    print(f"\nread as plain text, or not recognised: {len(found)} of {len(reads)} files")
    missing = []
    for read in found:
        reason = _match(read.name, known["plain"])
        if reason is None:
            missing.append(read.name)
        what = f"text, {read.timed} of {read.events} with a time" if read.events else next(iter(read.rejects), "")
        print(f"    {'/'.join(Path(read.name).parts[-2:])} ({what}): {reason or 'NO REASON GIVEN'}")
    print(f"\nwithout a reason: {len(missing)}")
    return missing


if __name__ == "__main__":
    main()
