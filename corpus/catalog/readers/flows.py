"""Flow records with a label in each row: CSE-CIC-IDS2018 and UNSW-NB15."""

import re
from datetime import UTC, datetime, tzinfo

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Layout, Treatment, label_of, nothing, record_of, seconds, skipping, table, take
from logfm.corpus.events import Event, Reject
from logfm.corpus.leaf import Columns, Leaf, text_of

_UNSW = (
    "srcip", "sport", "dstip", "dsport", "proto", "state", "dur", "sbytes", "dbytes", "sttl", "dttl", "sloss",
    "dloss", "service", "Sload", "Dload", "Spkts", "Dpkts", "swin", "dwin", "stcpb", "dtcpb", "smeansz", "dmeansz",
    "trans_depth", "res_bdy_len", "Sjit", "Djit", "Stime", "Ltime", "Sintpkt", "Dintpkt", "tcprtt", "synack",
    "ackdat", "is_sm_ips_ports", "ct_state_ttl", "ct_flw_http_mthd", "is_ftp_login", "ct_ftp_cmd", "ct_srv_src",
    "ct_srv_dst", "ct_dst_ltm", "ct_src_ltm", "ct_src_dport_ltm", "ct_dst_sport_ltm", "ct_dst_src_ltm",
    "attack_cat", "Label",
)  # fmt: skip
_DAY_FIRST = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M")


def cic(copy: Copy) -> Layout:
    """CSE-CIC-IDS2018: `*_TrafficForML_CICFlowMeter.csv` with a column `Label`; host logs and captures have none."""

    def open(leaf: Leaf, path: str) -> Treatment:
        zone = leaf.clock.zone

        def edit(event: Event) -> Event | Reject:
            found = take(event, ("label",))
            if str(found.get("label", "")).strip() == "Label":
                return Reject(event.file, event.offset, "the header again")
            event.label = label_of(found.get("label"))
            record = record_of(event)
            # The day comes first, which a value such as 01/03/2018 does not show.
            event.timestamp = _day_first(record.get("Timestamp"), zone) or event.timestamp
            event.host = text_of(record.get("Src IP")) or event.host
            event.log_type = "flow"
            return event

        return Treatment(edit if path.lower().endswith(".csv") else None)

    return Layout(nothing, open)


def _day_first(value: object, zone: tzinfo) -> datetime | None:
    for form in _DAY_FIRST:
        try:
            moment = datetime.strptime(str(value), form)
        except ValueError:
            continue
        return moment.replace(tzinfo=zone).astimezone(UTC)
    return None


def unsw(copy: Copy) -> Layout:
    """UNSW-NB15: four tables without a header, whose 49 columns a features file documents, and two with one."""
    form = table(_UNSW, _unsw_columns)
    skip = skipping(r"(?:^|/)[^/]*(?:_GT|LIST_EVENTS|features)\.csv$", "labels or documentation of the data set")

    def open(leaf: Leaf, path: str) -> Treatment:
        if not path.lower().endswith(".csv"):
            return Treatment()
        headed = bool(leaf.sample) and re.match(rb"\W{0,3}(?:srcip|id|dur)\b", leaf.sample[0], re.IGNORECASE)
        return Treatment(_unsw_label, None if headed else form)

    return Layout(skip, open)


def _unsw_columns(record: dict[str, str]) -> Columns:
    return {"timestamp": seconds(record.get("Stime")), "host": text_of(record.get("srcip")), "log_type": "flow"}


def _unsw_label(event: Event) -> Event:
    found = take(event, ("attack_cat", "label"))
    flag = str(found.get("label", "")).strip()
    category = str(found.get("attack_cat", "")).strip()
    event.label = "normal" if flag == "0" else category or ("attack" if flag == "1" else None)
    return event
