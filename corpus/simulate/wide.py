"""Play what the sources of `--sessions` see besides: packets, firewall, browser, and sources that are data."""

from typing import TYPE_CHECKING

from logfm.corpus.simulate import network, windows, windows_detail
from logfm.corpus.simulate.records import WINDOWS
from logfm.corpus.simulate.sources_of import render
from logfm.corpus.simulate.templates import BrowseEvent, FocusEvent, LogEvent, TrafficEvent
from logfm.corpus.simulate.world import address_of

if TYPE_CHECKING:
    from logfm.corpus.simulate.playing import Player
    from logfm.corpus.simulate.world import Process

SECOND = 1_000_000


def any_port(player: "Player") -> int:
    """A port of a client."""
    return player.rng.randrange(49152, 65536)


def flow(
    player: "Player",
    ends: tuple[str, str, int, int],
    name: str,
    volume: tuple[int, int],
    protocol: str = "tcp",
    *,
    blocked: bool = False,
) -> None:
    """Leave a conversation in packets and at the firewall: `ends` is client, server and their ports, `name` the
    server's."""
    # The company's own address on the internet is this side of the border.
    ours = player.world.surroundings["egress"]
    inside = [end.startswith("10.") or end == ours for end in ends[:2]]
    if inside[0] != inside[1]:
        line = network.firewall_line(player.rng, player.time, ends, out=inside[0], blocked=blocked, protocol=protocol)
        player.put(network.FIREWALL, line)
    talk = network.conversation(player.rng, player.time, ends, name, volume, protocol)
    for number, (time, line) in enumerate(talk):
        if not blocked or number == 0:
            player.put(network.PACKETS, line, time)


def asked(
    player: "Player", ends: tuple[str, str, int], number: int, query: str, answer: str, lookup: tuple[str, int] | None
) -> None:
    """Leave the packets of a query (type and name): `ends` is client, server and the client's port, `number` the
    transaction's id, `lookup` that of its records."""
    client, server, port = ends
    question = f"Standard query 0x{number:04x} {query}"
    line = network.packet(player.time, (client, server, port, 53), "dns", 69 + len(query), question)
    player.put(network.PACKETS, line, lookup=lookup)
    reply = f"Standard query response 0x{number:04x} {query}{answer}"
    time = player.time + player.rng.randrange(400, 30_000)
    line = network.packet(time, (server, client, 53, port), "dns", 87 + len(reply) // 2, reply)
    player.put(network.PACKETS, line, time, lookup)


def resolve(player: "Player", to: str) -> tuple[str, str]:
    """Name and address of a domain, a host or an address."""
    machine = player.world.hosts.get(to)
    name = f"{machine.name.lower()}.{player.world.realm}" if machine else to
    return name, address_of(player.world, name)


def exchange(player: "Player", event: TrafficEvent) -> None:
    """Packets between two machines; names are looked up."""
    client = player.fill(event.client)
    machine = player.world.hosts.get(client)
    source = machine.address if machine else client
    name, address = resolve(player, player.fill(event.to))
    if name != address and machine:
        player.look_up(name, client, answer=address, cached=True)
    volume = player.rng.randint(*event.sent), player.rng.randint(*event.received)
    port = int(player.fill(event.client_port)) if event.client_port else any_port(player)
    ends = (source, address, port, event.port)
    flow(player, ends, name, volume, event.protocol, blocked=event.blocked)


def browse(player: "Player", event: BrowseEvent) -> None:
    """Look at a page: the tab, Sysmon's connection of the browser, and the network's part."""
    host, url = player.fill(event.host), player.fill(event.url)
    seconds = player.rng.uniform(*event.seconds)
    title = player.fill(event.title)
    tab: dict[str, str | bool] = {"url": url, "title": title, "audible": False, "incognito": False}
    player.put(network.WEB_TABS.format(host=host), network.watched(player.time, seconds, tab))
    front: dict[str, str | bool] = {"app": "chrome.exe", "title": f"{title} - Google Chrome"}
    player.put(network.WINDOWS_IN_FRONT.format(host=host), network.watched(player.time, seconds, front))
    name, address = resolve(player, url.split("/")[2] if "//" in url else url)
    process = player.process("browser", host)
    if player.rng.random() < 0.7:
        player.look_up(name, host, answer=address, cached=True)
        player.put(WINDOWS, windows.looked_up(player.world, player.time, process, name, address))
    player.time += player.rng.randrange(2_000, 90_000)
    body = windows.connected(player.world, player.rng, player.time, process, (name, address), 443)
    player.put(WINDOWS, body)
    ends = (player.world.hosts[host].address, address, int(body["SourcePort"]), 443)
    flow(player, ends, name, (player.rng.randint(*event.sent), player.rng.randint(*event.received)))


def look_at(player: "Player", event: FocusEvent) -> None:
    """A window comes to the front."""
    front: dict[str, str | bool] = {"app": player.fill(event.app), "title": player.fill(event.title)}
    line = network.watched(player.time, player.rng.uniform(*event.seconds), front)
    player.put(network.WINDOWS_IN_FRONT.format(host=player.fill(event.host)), line)


def note(player: "Player", event: LogEvent) -> None:
    """Leave a record of a source that is data; its lines follow each other closely."""
    data = {name: player.fill(text) for name, text in event.data.items()}
    found = render(event.record, data, player.cast, player.time)
    if found.flow:
        client, server, port = found.flow
        size = int(data.get("size", 0)) or player.rng.randint(900, 9_000)
        flow(player, (client, server, any_port(player), port), server, (size, player.rng.randint(300, 900)))
    time = player.time
    for body in found.bodies:
        player.put(found.file, body, time)
        # Within the second that the lines show.
        time = min(time + player.rng.randrange(500, 40_000), (time // SECOND + 1) * SECOND - 1)


def audited(player: "Player", host: str, message: str) -> None:
    """Leave what the audit daemon sees of a command by sudo."""
    command = message.partition("COMMAND=")[2]
    if not command:
        return
    data = {
        "exe": command.split(" ")[0],
        "command": command,
        "at": host,
        "auid": str(player.rng.choice((33, 998, 1004))),
    }
    found = render("audit.command", data, player.cast, player.time)
    for body in found.bodies:
        player.put(found.file, body)


def detail(player: "Player", process: "Process") -> None:
    """Leave what Windows records of a process that has started: images, and PowerShell's script."""
    time = player.time
    for path in windows_detail.images_of(player.rng, process.image):
        time += player.rng.randrange(500, 30_000)
        player.put(WINDOWS, windows_detail.loaded(player.world, time, process, path), time)
    if process.image.endswith("powershell.exe"):
        time += player.rng.randrange(80_000, 600_000)
        player.put(WINDOWS, windows_detail.script_block(player.world, player.rng, time, process), time)
