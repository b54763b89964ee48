"""Log messages of open-source programs, filled with made-up values: the free text that `nano` learns to read.

Usage: python -m benchmarks.nano_messages WHEELS --out DIR [--each 8] [--seed 0]
WHEELS is a folder of Python wheels (benchmarks/nano_packages.txt lists those of `nano`, all under permissive licences;
fetch them by `pip download --no-deps`). Nothing of them is run: the literals of their logging calls are read from the
syntax tree. Every message becomes `each` events in one of the usual formats, with hosts, paths, numbers, errors and
names where the program has a placeholder; DIR/logs gets a file a package, DIR/templates.txt the messages themselves,
`<*>` where a value stands.
"""

import argparse
import ast
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from logfm.pretrain.contrast.known import HOLE

TEMPLATES = "templates.txt"
_LEVELS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal"}
_HOLE = re.compile(r"%(?:\((?P<key>\w+)\))?[-+ #0]*\d*(?:\.\d+)?(?P<kind>[sdrifxgeX])|\{(?P<name>[^{}]*)\}")
_OTHERS = re.compile(r"/test|(?:^|/)_?vendor(?:ed)?/|^mitmproxy/contrib/")
_WORD = re.compile(r"\b[A-Za-z]{3,12}\b")
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_MOST = 400
"""Characters of a message: longer ones are help texts."""


class Message(NamedTuple):
    """A literal of a logging call: its level, its text, and the expressions that fill its placeholders."""

    module: str
    level: str
    text: str
    values: tuple[str, ...]


def literal(node: ast.expr) -> str | None:
    """The text of a string expression, `{NAME}` where a value goes; None if it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else f"{{{_name(one)}}}" for one in node.values)
        return "".join(str(part) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return literal(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = literal(node.left), literal(node.right)
        return None if None in sides else "".join(map(str, sides))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return literal(node.func.value)
    return None


def _name(node: ast.expr) -> str:
    return re.sub(r"[{}]", "", ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node))[:60]


def messages(source: bytes, module: str) -> Iterator[Message]:
    """The messages of one file."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if node.func.attr not in _LEVELS or "log" not in ast.unparse(node.func.value).lower()[-20:]:
            continue
        text = literal(node.args[0])
        if text is not None and len(text.split()) >= 2 and len(text) <= _MOST:
            level = {"warn": "warning", "exception": "error", "fatal": "critical"}.get(node.func.attr, node.func.attr)
            yield Message(module, level, " ".join(text.split()), tuple(_name(one) for one in node.args[1:]))


def harvest(wheel: Path) -> list[Message]:
    """The different messages of a wheel's modules; tests, and others' programs in it, are left out."""
    found: dict[str, Message] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".py") and not _OTHERS.search(name):
                for one in messages(archive.read(name), name.removesuffix(".py").replace("/", ".")):
                    found.setdefault(one.text, one)
    return list(found.values())


class World:
    """Values by the name of what a program prints; a few come again and again, as in real logs."""

    def __init__(self, words: list[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.words = words
        pick = self.rng.choice
        # Names that are no words: anonymisation replaces a name wherever it stands, and would take the words with it.
        self.users = [f"{self.name()}{pick(('', '.', '_', '-'))}{self.name()}"[:16] for _ in range(80)]
        self.hosts = [f"{self.name()}{self.rng.randrange(40)}.{self.name()}.{pick(('net', 'com', 'internal'))}"
                      for _ in range(80)]  # fmt: skip
        roots = ("/var/lib", "/etc", "/opt", "/home", "/tmp", "/usr/share", "/data", "C:\\Program Files")
        self.files = [f"{pick(roots)}/{pick(words)}/{pick(words)}.{pick(('log', 'py', 'json', 'yaml', 'db', 'conf'))}"
                      for _ in range(300)]  # fmt: skip
        self.urls = [f"http{pick(('', 's'))}://{pick(self.hosts)}/{pick(words)}/{pick(words)}" for _ in range(200)]
        self.errors = ["Connection refused", "timed out", "No such file or directory", "Permission denied",
                       "not found", "invalid argument", "Connection reset by peer", "unexpected token"]  # fmt: skip

    def name(self) -> str:
        """A name of someone or something."""
        return "".join(self.rng.choices(_SYLLABLES, k=3))

    def address(self) -> str:
        """An IPv4 address, at times with a port."""
        shown = ".".join(str(self.rng.randrange(1, 255)) for _ in range(4))
        return shown if self.rng.random() < 0.6 else f"{shown}:{self.number(65535)}"

    def number(self, most: int = 100_000) -> str:
        """A number, small ones more often."""
        return str(int(most ** self.rng.random()))

    def identifier(self) -> str:
        """Hexadecimal, a GUID, or words with a number."""
        rng = self.rng
        if (kind := rng.random()) < 0.35:
            return f"{rng.getrandbits(32 if rng.random() < 0.5 else 64):x}"
        if kind < 0.6:
            digits = f"{rng.getrandbits(128):032x}"
            return "-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        return f"{rng.choice(self.words)}{rng.choice('-_.')}{self.number()}"

    def word(self) -> str:
        """A name of something."""
        words = self.rng.sample(self.words, self.rng.choice((1, 1, 2)))
        return self.rng.choice("-_.").join(words)

    def value(self, name: str, kind: str) -> str:
        """What may stand for the expression `name`, printed as `kind` of Python's formats."""
        if kind in "dixX":
            return self.number()
        if kind in "fge":
            return f"{self.rng.expovariate(0.2):.3f}"
        pick = self.rng.choice
        makers: tuple[tuple[str, Callable[[], str]], ...] = (
            (r"addr|\bip|peer|remote", self.address),
            (r"host|server|node|domain|broker|endpoint", lambda: pick(self.hosts)),
            (r"url|uri|link", lambda: pick(self.urls)),
            (r"path|file|dir|folder", lambda: pick(self.files)),
            (r"user|owner|account|login", lambda: pick(self.users)),
            (r"err|exc|reason|fail|\be\b|\bex\b", lambda: pick(self.errors)),
            (r"time|sec|delay|duration|interval|elapsed", lambda: f"{self.rng.expovariate(0.1):.2f}"),
            (r"port|count|num|len|size|total|index|offset|pid|code|status|bytes|version|attempt", self.number),
            (r"id\b|uuid|key|token|hash|digest|task|job|run|session|request", self.identifier),
        )
        for pattern, maker in makers:
            if re.search(pattern, name, re.IGNORECASE):
                return maker()
        return pick((self.word, self.word, self.identifier, self.number))()

    def fill(self, message: Message) -> str:
        """The message with values."""
        left = list(message.values)

        def one(match: re.Match[str]) -> str:
            name = match["key"] or match["name"] or (left.pop(0) if left else "")
            return self.value(name, match["kind"] or "s")

        return _HOLE.sub(one, message.text).replace("%%", "%")


def headers(rng: random.Random, world: World, package: str) -> Callable[[Message, datetime, str], str]:
    """The format that one installation of a package logs in."""
    host, pid, program = rng.choice(world.hosts), rng.randrange(300, 60_000), package.replace("_", "-")

    def short(message: Message) -> str:
        return message.module.rpartition(".")[2].strip("_") or program

    def level(message: Message) -> str:
        return message.level.upper()

    def milliseconds(moment: datetime) -> str:
        return f"{moment.microsecond // 1000:03d}"

    def line() -> str:
        return f"{rng.randrange(900)}"

    styles: list[Callable[[Message, datetime, str], str]] = [
        lambda m, t, text: f"{t:%b %e %H:%M:%S} {host.split('.')[0]} {program}[{pid}]: {text}",
        lambda m, t, text: f"{t:%b %e %H:%M:%S} {host} {program}: {level(m)}: {text}",
        lambda m, t, text: f"<{rng.randrange(8, 190)}>1 {t:%Y-%m-%dT%H:%M:%S.%f}Z {host} {program} {pid} - - {text}",
        lambda m, t, text: f"{t:%F %T},{milliseconds(t)} {level(m):5} [Thread-{rng.randrange(90)}] {m.module}: {text}",
        lambda m, t, text: f"{t:%F %T},{milliseconds(t)} - {m.module} - {level(m)} - {text}",
        lambda m, t, text: f"{t:%y/%m/%d %H:%M:%S} {level(m)} {short(m)}: {text}",
        lambda m, t, text: f"{level(m)[0]}{t:%m%d %H:%M:%S.%f} {pid:7d} {short(m)}.cc:{line()}] {text}",
        lambda m, t, text: f"{t:%m-%d %H:%M:%S.}{milliseconds(t)} {pid:5d} {level(m)[0]} {short(m)}: {text}",
        lambda m, t, text: f"{t:%Y-%m-%dT%H:%M:%SZ} {m.level} {short(m)} {text}",
        lambda m, t, text: f"{t.timestamp():.3f} [{level(m)}] {host} {m.module}: {text}",
        lambda m, t, text: f'time="{t:%FT%TZ}" level={m.level} caller={short(m)}:{line()} msg={json.dumps(text)}',
        lambda m, t, text: json.dumps({"ts": t.isoformat(), "level": m.level, "logger": m.module, "message": text}),
    ]
    return rng.choice(styles)


def events(found: list[Message], package: str, words: list[str], each: int, seed: int) -> Iterator[str]:
    """`each` lines of every message, of several installations of the package, in the order of time."""
    world = World(words, seed)
    rng = world.rng
    installations = [headers(rng, world, package) for _ in range(max(2, each // 2))]
    order = [message for message in found for _ in range(each)]
    rng.shuffle(order)
    moment = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=rng.randrange(300))
    for message in order:
        moment += timedelta(seconds=rng.expovariate(0.2))
        yield rng.choice(installations)(message, moment, world.fill(message))


def words_of(text: str) -> set[str]:
    """The words of a text that are told from names, in lower case."""
    return {word.lower() for word in _WORD.findall(text)}


def write(wheels: Path, out: Path, each: int, seed: int) -> int:
    """A file of events for each wheel; returns how many messages were found."""
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    found = {wheel.name.split("-")[0]: harvest(wheel) for wheel in sorted(wheels.glob("*.whl"))}
    templates = sorted({_HOLE.sub(HOLE, one.text).replace("%%", "%") for of_one in found.values() for one in of_one})
    (out / TEMPLATES).write_text("".join(f"{one}\n" for one in templates), encoding="utf-8")
    words = sorted(set().union(*(words_of(one.text) for all_ in found.values() for one in all_)))
    for number, (package, of_package) in enumerate(found.items()):
        lines = events(of_package, package, words, each, seed + number)
        (logs / f"messages_{package}.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return sum(map(len, found.values()))


def main() -> None:
    """Harvest and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="events a message")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{write(arguments.wheels, arguments.out, arguments.each, arguments.seed)} messages")


if __name__ == "__main__":
    main()
