"""The readers by name; a spec says which one reads it."""

from importlib import import_module

from logfm.errors import UserError
from logfm.evaluation.data.rows import Read

READERS = {
    "ait_alerts": "alerts:ait_alerts",
    "catalogue": "loghub:catalogued",
    "csv": "general:csv_table",
    "event_sequences": "sequences:event_sequences",
    "events": "general:corpus_events",
    "jsonl": "general:json_lines",
    "lines": "general:plain",
    "loghub_2k": "loghub:loghub_2k",
    "mixed": "made:mixed",
    "normalised_events": "products:normalised",
    "panther": "rules:panther",
    "service_auth": "rules:service_auth",
    "sigma": "rules:sigma",
    "simulated": "made:simulated",
    "wazuh": "rules:wazuh",
}


def reader(name: str) -> Read:
    """The reader of that name.

    Raises:
        UserError: there is none.
    """
    if name not in READERS:
        raise UserError("no such reader", name, f"There are: {', '.join(READERS)}")
    module, function = READERS[name].split(":")
    found: Read = getattr(import_module(f"logfm.evaluation.data.native.{module}"), function)
    return found
