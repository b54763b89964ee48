"""Miniature copies of the data sets in their native layouts; `flipped` swaps every label and nothing else."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

SYSTEMS = ("Android", "Apache", "BGL", "HDFS", "HPC", "Hadoop", "HealthApp", "Linux", "Spark", "Thunderbird",
           "Windows", "Zookeeper")  # fmt: skip
LINES = 40


def write_layouts(root: Path, flipped: bool = False) -> Path:
    """A data folder with a few dozen events of each data set."""
    for system in SYSTEMS:
        loghub_2k(root, system, flipped)
    hdfs(root / "hdfs_raw_sample" / "HDFS_2pct.log.gz", root / "hdfs_raw_sample" / "anomaly_label.csv", flipped)
    hdfs(root / "HDFS_v1" / "HDFS.log", root / "HDFS_v1" / "preprocessed" / "anomaly_label.csv", flipped)
    for system in ("BGL", "Thunderbird"):
        put(root / system / f"{system}.log", "".join(f"{line}\n" for line, *_ in tagged(flipped)))
    sequences(root, flipped)
    ait(root, flipped)
    panther(root, flipped)
    others(root, flipped)
    return root


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def tagged(flipped: bool) -> list[tuple[str, str, str, str]]:
    """Lines that start with their label, and label, content and event."""
    found = []
    for number in range(LINES):
        label = "KERNDTLB" if (number % 5 == 0) != flipped else "-"
        content = ("data TLB error interrupt", "generating core.7", "ciod: failed to read")[number % 3] + f" {number}"
        head = f"{1117838570 + number} 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.675872 R02-M1-N0 RAS KERNEL INFO"
        found.append((f"{label} {head} {content}", label, content, f"E{number % 3}"))
    return found


def loghub_2k(root: Path, system: str, flipped: bool) -> None:
    folder = root / "loghub_2k" / system
    labelled = system in ("BGL", "Thunderbird")
    if labelled:
        lines = tagged(flipped)
        header = ("LineId", "Label", "Content", "EventId", "EventTemplate")
        rows = [(n, label, content, event, content) for n, (_, label, content, event) in enumerate(lines, 1)]
        texts = [line for line, *_ in lines]
    else:
        verbs = ("opened", "closed", "lost")
        texts = [f"2015-10-18 18:01:{n % 60:02d},978 INFO [main] a.B: {verbs[n % 3]} file {n}" for n in range(LINES)]
        header = ("LineId", "Time", "Content", "EventId", "EventTemplate")
        rows = [(n + 1, n, text.split(": ")[1], f"E{n % 3}", "<*>") for n, text in enumerate(texts)]
    put(folder / f"{system}_2k.log", "".join(f"{text}\r\n" for text in texts))
    put(folder / f"{system}_2k.log_structured_corrected.csv", as_csv(header, rows))


def hdfs(log: Path, labels: Path, flipped: bool) -> None:
    lines = [
        f"081109 2035{number % 60:02d} 143 INFO dfs.DataNode: Receiving block blk_{number % 8} src: /10.0.0.{number}"
        for number in range(LINES)
    ]
    put(log, "".join(f"{line}\n" for line in lines))
    marks = [(f"blk_{block}", "Anomaly" if (block % 4 == 0) != flipped else "Normal") for block in range(8)]
    put(labels, as_csv(("BlockId", "Label"), marks))


def sequences(root: Path, flipped: bool) -> None:
    folder = root / "event_sequences"
    for name, stem in (("hadoop", "hadoop"), ("hdfs", "hdfs"), ("openstack_loghub", "openstack"),
                       ("openstack_kalaki", "openstack")):  # fmt: skip
        normal, abnormal = ("test_abnormal", "train") if flipped else ("train", "test_abnormal")
        if name == "hadoop":
            normal, abnormal = (one.replace("test_abnormal", "test_abnormal_disk_full") for one in (normal, abnormal))
            put(folder / name / "hadoop_test_abnormal.csv.gz", "app_9/c_1,1 2\n")
        put(folder / name / f"{stem}_{normal}.csv.gz", "".join(f"app_{n}/c_1,1 2 3\n" for n in range(0, 8, 2)))
        put(folder / name / f"{stem}_{abnormal}.csv.gz", "".join(f"app_{n}/c_1,1 3 9\n" for n in range(1, 8, 2)))
    for system in ("Hadoop", "HDFS", "OpenStack"):
        put(folder / "templates" / f"{system}_templates.csv", "Created <*>\nLost <*> of <*>, again\nClosed <*>\n")


def ait(root: Path, flipped: bool) -> None:
    header = ("time", "name", "ip", "host", "short", "time_label", "event_label")
    for testbed in ("fox", "shaw"):
        rows = []
        for number in range(LINES):
            attack = (number % 4 == 0) != flipped
            labels = ("dirb", "dirb") if attack else ("false_positive", "-")
            rows.append((1642213952 + 120 * number, "Wazuh: Login.", "10.0.0.1", "mail", "W-Log", *labels))
            if number == 0:
                rows.append((1642213953, "Wazuh: Login.", "10.0.0.1", "mail", "W-Log", *labels))
        put(root / "ait_alerts" / f"{testbed}_alerts.csv.gz", as_csv(header, rows))
    put(root / "ait_alerts" / "attack_times.csv", "testbed,phase\nfox,dirb\n")


def panther(root: Path, flipped: bool) -> None:
    rows = []
    for number in range(LINES):
        rule = number // 4
        log = {"eventName": "DeleteTrail", "user": {"name": f"u{number}", "expected_alert": number % 2 == 0}}
        log["user"]["expected_alert"] = (number % 2 == 0) != flipped  # type: ignore[index]
        rows.append({"kind": "rule", "log_type": "AWS.CloudTrail", "rule_id": f"R{rule}", "description": f"Rule {rule}",
                     "test": "alerts", "expected_alert": (number % 2 == 0) != flipped, "log": log})  # fmt: skip
    rows.append(rows[0] | {"kind": "policy"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    put(root / "rule_labelled_logs" / "panther_rule_tests.jsonl.gz", text + "not json\n")


def others(root: Path, flipped: bool) -> None:
    rows = [(("sshd", "vsftpd")[n % 2], f"Failed login from 10.0.0.{n}", str((n % 3 == 0) != flipped).lower())
            for n in range(LINES)]  # fmt: skip
    put(root / "service_auth_logs" / "labels.csv", as_csv(("service", "line", "match"), rows))
    wazuh = [("SonicWall", f"id=fw sn={n} msg=drop", f"{n // 4}", f"Firewall dropped {n // 4}") for n in range(LINES)]
    header = ("product", "log", "rule_id", "description")
    put(root / "rule_labelled_logs" / "wazuh_rule_tests.csv", as_csv(header, wazuh))
    with zipfile.ZipFile(_made(root / "sigma" / "sigma_regression_events.zip"), "w") as archive:
        for n in range(6):
            event = {"Event": {"EventData": {"Image": f"tool{n}.exe", "RuleName": f"technique_id=T100{n}"}}}
            archive.writestr(f"rules/r{n}.json", json.dumps(event) * (1 + n % 2))
        archive.writestr("rules/none.json", "{}")
    sigma = [(f"rules/r{n}.evtx", f"id-{n}", f"Detects tool {n}") for n in range(6)]
    put(root / "sigma" / "labels.csv", as_csv(("file", "rule_id", "description"), sigma))
    verbs = ("logged in", "logged out", "was locked")
    products = [
        {"product": f"p{n % 4}", "message": f"user u{n} {verbs[n % 3]}\n", "event": {"answer": "no"},
         "description": f"Account {n} {verbs[n % 3]}" if n % 5 else ""}
        for n in range(LINES)
    ]  # fmt: skip
    put(root / "product_samples" / "normalised_events.jsonl.gz", "".join(json.dumps(one) + "\n" for one in products))
    web = "".join(f'10.0.0.{n} - - [19/May/2015:03:05:{n:02d} +0000] "GET /{n} HTTP/1.1" 200 7\n' for n in range(LINES))
    put(root / "web_logs" / "apache_access.log.gz", web)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
