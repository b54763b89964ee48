"""Play event templates: a cast acts, and every source that would see it gets its record."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from logfm.corpus.simulate import wide, windows, windows_detail
from logfm.corpus.simulate.records import (
    AUTH,
    DNS,
    WEB,
    WINDOWS,
    Record,
    Truth,
    auth_line,
    dns_line,
    sysmon_time,
    web_line,
)
from logfm.corpus.simulate.templates import (
    AccessEvent,
    AnyEvent,
    AuthEvent,
    BrowseEvent,
    DnsEvent,
    FileEvent,
    FocusEvent,
    LogEvent,
    LogonEvent,
    NetworkEvent,
    OnlyWide,
    ProcessEvent,
    RegistryEvent,
    TrafficEvent,
    WebEvent,
    WindowsEvent,
    tactic_of,
)
from logfm.corpus.simulate.tempo import Clock
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import Process, World, address_of, guid

SECOND = 1_000_000
_SAID = {"NXDOMAIN": " No such name", "SERVFAIL": " Server failure", "REFUSED": " Refused"}
_QUICK = 5.0
"""Waits up to this many seconds take their time whatever the pace."""
_CALLER = re.compile(r"^(?:Accepted|Failed|Connection closed|Did not).*? (?:from )?(\d+\.\d+\.\d+\.\d+) port (\d+)")


def _narrowed(step: Truth, techniques: tuple[str, ...]) -> Truth:
    """The truth of an event that shows some of its step's techniques."""
    return replace(step, techniques=techniques, tactic=tactic_of(techniques, step.tactic or ""))


class Player:
    """Plays one activity from `time` on (microseconds since 1970); `records` is what it left, in no strict order."""

    def __init__(
        self, world: World, rng: random.Random, cast: Cast, time: int, *, wide: bool = False, pace: float = 1.0,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.wide = wide
        """Whether all sources are there, not only the first four."""
        self.pace = pace
        """What the seconds between events are multiplied with."""
        self.clock = clock
        """What waits are measured with; the wall clock by default."""
        self.world = world
        self.rng = rng
        self.cast = cast
        self.time = time
        self.truth = Truth()
        self.records: list[Record] = []
        self._processes: dict[str, Process] = {}
        self._ends: dict[str, tuple[Process, int, Truth]] = {}
        self._pids: dict[str, int] = {}
        self._logons: dict[tuple[str, str], str] = {}

    def play(self, events: Sequence[AnyEvent]) -> None:
        """Play templates one after the other."""
        step = self.truth
        for event in events:
            if isinstance(event, OnlyWide) and not self.wide:
                continue
            if event.chance < 1 and self.rng.random() >= event.chance:
                continue
            self.truth = _narrowed(step, event.technique) if event.technique else step
            for _ in range(self.rng.randint(*event.repeat)):
                pace = self.pace if event.after[1] > _QUICK else 1.0
                self.wait(int(self.rng.uniform(*event.after) * pace * SECOND))
                _PLAY[type(event)](self, event)
        self.truth = step

    def wait(self, pause: int) -> None:
        """Let time pass (microseconds, by the clock)."""
        self.time = self.clock(self.time, pause) if self.clock else self.time + pause

    def put(
        self, file: str, body: str | dict[str, Any], time: int | None = None, lookup: tuple[str, int] | None = None
    ) -> None:
        """Keep a record of this moment, or of `time`. The body carries its own time."""
        self.records.append(Record(self.time if time is None else time, file, body, self.truth, lookup))

    def fill(self, text: str) -> str:
        """Replace the placeholders of a text."""
        self.cast.time = self.time
        return self.cast.fill(text)

    def process(self, name: str, host: str) -> Process:
        """An earlier process of this activity, or one of the system."""
        process = self._processes.get(name) or self.world.processes[host, name]
        if process.guid in self._ends and self._ends[process.guid][1] <= self.time + SECOND:
            # What acts is still running: a step that comes late must not be given away by that.
            until = self.time + int(self.rng.uniform(1.5, 60) * SECOND)
            self._ends[process.guid] = (process, until, self._ends[process.guid][2])
        return process

    def finish(self) -> None:
        """End the processes that were started (Sysmon 5)."""
        for process, end, truth in self._ends.values():
            body = windows.sysmon(self.world, end, 5, process, {}, user=True)
            self.records.append(Record(end, WINDOWS, body, truth))
            if self.wide and self.world.hosts[process.host].kind != "workstation":
                self.records.append(Record(end, WINDOWS, windows_detail.exited(self.world, end, process), truth))

    def look_up(
        self,
        name: str,
        client: str,
        kind: str = "A",
        rcode: str = "NOERROR",
        answer: str | None = None,
        *,
        cached: bool = False,
    ) -> None:
        """Leave a query in the name server's log; with `cached`, only if the client doesn't know the answer."""
        hosts = self.world.hosts
        address = hosts[client].address if client in hosts else client
        server = hosts[self.cast.get("dc")].address
        ends, number = (address, server, wide.any_port(self)), self.rng.randrange(65536)
        lookup = (f"{address}/{name}", number) if cached else None
        self.put(DNS, dns_line(self.rng, self.time, ends, number, name, kind, rcode, answer), lookup=lookup)
        said = f" {answer}" if answer and rcode == "NOERROR" else _SAID.get(rcode, "")
        if self.wide:
            wide.asked(self, ends, number, f"{kind} {name}", said, lookup)

    def begin(self, events: Sequence[ProcessEvent]) -> None:
        """Let processes run that began earlier: nothing is left of that."""
        for event in events:
            self._new(event)

    def _new(self, event: ProcessEvent) -> tuple[Process, Process]:
        """A process and its parent."""
        host, user, image = self.fill(event.host), self.fill(event.user), self.fill(event.image)
        parent = self.process(event.parent, host)
        pid = 4 * self.rng.randrange(250, 4000)
        other = "0x3e7" if user == "SYSTEM" else f"0x{self.rng.randrange(0x20000, 0xFFFFFF):x}"
        known = self._logons.get((host, user)) or (parent.logon_id if parent.user == user else other)
        logon = self._logons.setdefault((host, user), known)
        command = self.fill(event.command)
        integrity = event.integrity if user != "SYSTEM" else "System"
        process = Process(host, pid, guid(self.rng, host, pid), image, command, user, integrity, logon)
        if event.name:
            self._processes[event.name] = process
        return process, parent

    def start(self, event: ProcessEvent) -> None:
        """Start a process, and end it some time later."""
        process, parent = self._new(event)
        self.put(WINDOWS, windows.started(self.world, self.time, process, parent))
        if self.world.hosts[process.host].kind != "workstation":
            self.put(WINDOWS, windows.created(self.world, self.time, process, parent))
        if self.wide:
            wide.detail(self, process)
        end = self.time + int(self.rng.uniform(*event.seconds) * SECOND)
        self._ends[process.guid] = (process, end, self.truth)

    def connect(self, event: NetworkEvent) -> None:
        """Connect to a domain, a host of ours or an address; names are looked up."""
        host, to = self.fill(event.host), self.fill(event.to)
        process = self.process(event.by, host)
        name, address = wide.resolve(self, to)
        if name != address:
            self.look_up(name, host, answer=address, cached=True)
            self.put(WINDOWS, windows.looked_up(self.world, self.time, process, name, address))
        self.time += self.rng.randrange(2_000, 90_000)
        body = windows.connected(self.world, self.rng, self.time, process, (name, address), event.port)
        self.put(WINDOWS, body)
        if self.wide:
            ends = (self.world.hosts[host].address, address, int(body["SourcePort"]), event.port)
            wide.flow(self, ends, name, (self.rng.randint(*event.sent), self.rng.randint(*event.received)))
            if self.world.hosts[host].kind != "workstation":
                self.put(WINDOWS, windows_detail.permitted(self.world, self.time, process, ends))

    def write(self, event: FileEvent) -> None:
        """Write a file."""
        process = self.process(event.by, self.fill(event.host))
        fields = {
            "TargetFilename": self.fill(event.path),
            "CreationUtcTime": sysmon_time(self.time),
        }
        self.put(WINDOWS, windows.sysmon(self.world, self.time, 11, process, fields, user=True))

    def set_value(self, event: RegistryEvent) -> None:
        """Set a registry value."""
        process = self.process(event.by, self.fill(event.host))
        if self.wide and self.rng.random() < 0.4:
            key = windows_detail.key_made(self.world, self.time, process, self.fill(event.key))
            self.put(WINDOWS, key)
            self.time += self.rng.randrange(200, 4_000)
        fields = {"EventType": "SetValue", "TargetObject": self.fill(event.key), "Details": self.fill(event.value)}
        self.put(WINDOWS, windows.sysmon(self.world, self.time, 13, process, fields, user=True))

    def open_process(self, event: AccessEvent) -> None:
        """Open another process."""
        host = self.fill(event.host)
        process, target = self.process(event.by, host), self.process(event.target, host)
        self.put(WINDOWS, windows.opened(self.world, self.rng, self.time, process, target, event.mask))

    def log_on(self, event: LogonEvent) -> None:
        """Log on at a Windows host, or fail to; from another machine, with a ticket of the domain controller."""
        host, user, source = self.fill(event.host), self.fill(event.user), self.fill(event.source)
        machine = self.world.hosts.get(source)
        if source != "-" and not event.failed and not event.ntlm and user != "SYSTEM":
            address = machine.address if machine else source
            self.put(WINDOWS, windows.ticket(self.world, self.rng, self.time, user, host, address))
            self.time += self.rng.randrange(1_000, 60_000)
        if self.wide and machine and event.type in (3, 10) and machine.name != host:
            volume = (self.rng.randint(1500, 9000), self.rng.randint(1500, 9000))
            port = 3389 if event.type == 10 else 445
            wide.flow(self, (machine.address, self.world.hosts[host].address, wide.any_port(self), port), host, volume)
        body = windows.logged_on(self.world, self.rng, self.time, host, user, event.type, source, failed=event.failed)
        if event.ntlm:
            body |= windows.NTLM
        self.put(WINDOWS, body)
        if not event.failed:
            self._logons[host, user] = body["TargetLogonId"]
        if self.wide and not event.failed:
            self.put(WINDOWS, windows_detail.members(self.world, self.time, host, body))
            if event.type == 3:
                end = self.time + int(self.rng.uniform(0.2, 12) * SECOND)
                self.put(WINDOWS, windows_detail.logged_off(self.world, end, host, body), end)
        known = self.world.users.get(user)
        if not event.failed and known and known.role == "it":
            domain, name, sid = windows.account(self.world, user)
            fields = {
                "SubjectUserSid": sid,
                "SubjectUserName": name,
                "SubjectDomainName": domain,
                "SubjectLogonId": body["TargetLogonId"],
                "PrivilegeList": "SeSecurityPrivilege SeBackupPrivilege SeRestorePrivilege SeDebugPrivilege",
            }
            self.put(WINDOWS, windows.security(self.world, self.time, host, 4672, fields))

    def windows(self, event: WindowsEvent) -> None:
        """Leave any other Windows event."""
        fields = {name: self.fill(text) for name, text in event.data.items()}
        host = self.fill(event.host)
        if event.by and event.target:
            ends = self.process(event.by, host), self.process(event.target, host)
            body = windows.injected(self.world, self.time, *ends, fields)
        elif event.by:
            process = self.process(event.by, host)
            body = windows.sysmon(self.world, self.time, event.id, process, fields, user=True)
        else:
            if event.channel == windows.SYSMON[0]:
                fields = {"RuleName": "-", "UtcTime": sysmon_time(self.time)} | fields
            body = windows.windows_event(self.world, self.time, host, event.id, event.channel, event.provider, fields)
        self.put(WINDOWS, body)

    def authenticate(self, event: AuthEvent) -> None:
        """Leave a line in a Linux server's authentication log."""
        pid = self._pids.get(event.pid or "") or self.rng.randrange(700, 4_000_000)
        if event.pid:
            self._pids[event.pid] = pid
        # sudo and su write no process id.
        shown = None if event.program in ("sudo", "su") else pid
        host, message = self.fill(event.host), self.fill(event.message)
        self.put(AUTH, auth_line(self.time, host, event.program, shown, message))
        if self.wide:
            wide.audited(self, host, message)
        if self.wide and (caller := _CALLER.search(message)):
            ends = (caller[1], self.world.hosts[host].address, int(caller[2]), 22)
            wide.flow(self, ends, "", (self.rng.randint(1500, 4000), self.rng.randint(2000, 5000)))

    def request(self, event: WebEvent) -> None:
        """Leave a request in the access log."""
        status, size = self.rng.choice(event.status), self.rng.randint(*event.size)
        request = (event.method, self.fill(event.path))
        who = (self.fill(event.client), self.fill(event.user))
        line = web_line(self.time, *who, request, status, size, self.fill(event.referrer), self.fill(event.agent))
        self.put(WEB, line)
        if self.wide:
            site = f"www.{self.world.company}.example"
            sent = 300 + len(request[1]) + (event.method == "POST") * self.rng.randint(100, 3000)
            ends = (who[0], self.world.addresses[site], wide.any_port(self), 443)
            wide.flow(self, ends, site, (sent, size + 300))

    def query(self, event: DnsEvent) -> None:
        """Look up a name, by itself."""
        name = self.fill(event.query)
        answer = (
            self.fill(event.answer) if event.answer else address_of(self.world, name) if event.type == "A" else None
        )
        self.look_up(name, self.fill(event.client), event.type, event.rcode, answer)


_PLAY: dict[type, Callable[[Player, Any], None]] = {
    ProcessEvent: Player.start,
    NetworkEvent: Player.connect,
    FileEvent: Player.write,
    RegistryEvent: Player.set_value,
    AccessEvent: Player.open_process,
    LogonEvent: Player.log_on,
    WindowsEvent: Player.windows,
    AuthEvent: Player.authenticate,
    WebEvent: Player.request,
    DnsEvent: Player.query,
    BrowseEvent: wide.browse,
    FocusEvent: wide.look_at,
    TrafficEvent: wide.exchange,
    LogEvent: wide.note,
}
