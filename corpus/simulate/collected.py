"""What a collector writes around a Windows event: the header's fields, and the message that repeats the event's own.

The names are those that nxlog gives them in the OTRF captures.
"""

import zlib
from typing import Any

Fields = dict[str, Any]
_PROVIDERS = {
    "Microsoft-Windows-Sysmon": "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}",
    "Microsoft-Windows-Security-Auditing": "{54849625-5478-4994-A5BA-3E3B0328C30D}",
    "Microsoft-Windows-PowerShell": "{A0C1853B-5C40-4B15-8766-3CF1C58F985A}",
    "Service Control Manager": "{555908D1-A6D7-4695-8E1E-26931D2012F4}",
    "Microsoft-Windows-Eventlog": "{FC65DDD8-D6EF-4962-83D5-6E5CFE9CE148}",
}
# Title of the message and the rule's name; for Security the number and the name of the category.
_SYSMON = {
    1: ("Process Create", "ProcessCreate"),
    2: ("File creation time changed", "FileCreateTime"),
    3: ("Network connection detected", "NetworkConnect"),
    5: ("Process terminated", "ProcessTerminate"),
    7: ("Image loaded", "ImageLoad"),
    8: ("CreateRemoteThread detected", "CreateRemoteThread"),
    9: ("RawAccessRead detected", "RawAccessRead"),
    10: ("Process accessed", "ProcessAccess"),
    11: ("File created", "FileCreate"),
    12: ("Registry object added or deleted", "RegistryEvent"),
    13: ("Registry value set", "RegistryEvent"),
    17: ("Pipe Created", "PipeEvent"),
    18: ("Pipe Connected", "PipeEvent"),
    20: ("WmiEventConsumer activity detected", "WmiEvent"),
    22: ("Dns query", "DnsQuery"),
    23: ("File Delete archived", "FileDelete"),
    24: ("Clipboard changed", "ClipboardChange"),
}
_KEYWORDS = {"Security": -9214364837600034816, "System": -9187343239835811840, "Windows PowerShell": 36028797018963968}
_ANY_KEYWORDS = -9223372036854775808
_FAILURE = {"Keywords": -9218868437227405312, "Severity": "ERROR", "SeverityValue": 4}
_SECURITY = {
    4624: ("An account was successfully logged on.", 12544, "Logon"),
    4625: ("An account failed to log on.", 12544, "Logon"),
    4627: ("Group membership information.", 12554, "Group Membership"),
    4634: ("An account was logged off.", 12545, "Logoff"),
    4656: ("A handle to an object was requested.", 12800, "File System"),
    4658: ("The handle to an object was closed.", 12800, "File System"),
    4662: ("An operation was performed on an object.", 14080, "Directory Service Access"),
    4663: ("An attempt was made to access an object.", 12800, "File System"),
    4670: ("Permissions on an object were changed.", 13570, "Authorization Policy Change"),
    4672: ("Special privileges assigned to new logon.", 12548, "Special Logon"),
    4673: ("A privileged service was called.", 13056, "Sensitive Privilege Use"),
    4688: ("A new process has been created.", 13312, "Process Creation"),
    4689: ("A process has exited.", 13313, "Process Termination"),
    4690: ("An attempt was made to duplicate a handle to an object.", 12807, "Handle Manipulation"),
    4703: ("A token right was adjusted.", 13317, "Token Right Adjusted Events"),
    4720: ("A user account was created.", 13824, "User Account Management"),
    4724: ("An attempt was made to reset an account's password.", 13824, "User Account Management"),
    4728: ("A member was added to a security-enabled global group.", 13826, "Security Group Management"),
    4769: ("A Kerberos service ticket was requested.", 14337, "Kerberos Service Ticket Operations"),
    4776: ("The computer attempted to validate the credentials for an account.", 14336, "Credential Validation"),
    4799: ("A security-enabled local group membership was enumerated.", 13826, "Security Group Management"),
    5140: ("A network share object was accessed.", 12808, "File Share"),
    5156: ("The Windows Filtering Platform has permitted a connection.", 12810, "Filtering Platform Connection"),
    5158: ("The Windows Filtering Platform has permitted a bind to a local port.", 12810,
           "Filtering Platform Connection"),
    5379: ("Credential Manager credentials were read.", 13824, "User Account Management"),
    5447: ("A Windows Filtering Platform filter has been changed.", 13573, "Other Policy Change Events"),
    6416: ("A new external device was recognized by the system.", 13316, "Plug and Play Events"),
}  # fmt: skip
_SYSMON_CHANNEL = "Microsoft-Windows-Sysmon/Operational"
_VERSIONS = {
    **{(_SYSMON_CHANNEL, number): version for version, numbers in
       {1: (17, 18), 2: (8, 11, 12, 13, 14, 15), 3: (5, 7, 10, 19, 20), 4: (2, 6), 5: (1, 3, 22, 23, 25, 26)}.items()
       for number in numbers},
    **{("Security", number): version for version, numbers in
       {1: (4656, 4663, 4769, 5140, 5156, 6416), 2: (4624, 4688)}.items() for number in numbers},
    ("Microsoft-Windows-PowerShell/Operational", 4103): 1,
    ("Microsoft-Windows-PowerShell/Operational", 4104): 1,
}  # fmt: skip
"""Versions of the events' layouts that are not 0."""
_TASKS = {4103: 106, 4104: 2}
_OF_HEADER = 6
"""The first fields of an event are its header: `windows.windows_event`."""


def collected(event: Fields) -> Fields:
    """An event with its record number, as a collector passes it on."""
    number, provider, channel = event["EventID"], event["SourceName"], event["Channel"]
    own = list(event.items())[_OF_HEADER:]
    draw = zlib.crc32(f"{event['Hostname']}{event['RecordNumber']}".encode())
    when = event["@timestamp"][:19].replace("T", " ")
    found = event | {
        "EventTime": when,
        "EventReceivedTime": when,
        "Severity": "INFO",
        "SeverityValue": 2,
        "Keywords": _KEYWORDS.get(channel, _ANY_KEYWORDS),
        "Version": _VERSIONS.get((channel, number), 0),
        "Opcode": "Info",
        "OpcodeValue": 0,
        "Task": number if provider == "Microsoft-Windows-Sysmon" else _TASKS.get(number, 0),
        "ExecutionProcessID": 4 * (500 + zlib.crc32(event["Hostname"].encode()) % 500),
        "ThreadID": 4 * (200 + draw % 1500),
        "SourceModuleName": "eventlog",
        "SourceModuleType": "im_msvistalog",
        "@version": "1",
        "host": "wec01",
        "port": 50000 + zlib.crc32(channel.encode()) % 9000,
        "tags": ["windows"],
    }
    if provider in _PROVIDERS:
        found["ProviderGuid"] = _PROVIDERS[provider]
    if provider == "Microsoft-Windows-Sysmon":
        title, rule = _SYSMON[number]
        found |= {"AccountName": "SYSTEM", "AccountType": "User", "Domain": "NT AUTHORITY", "UserID": "S-1-5-18",
                  "Category": f"{title} (rule: {rule})"}  # fmt: skip
        found["EventType"] = event.get("EventType", "INFO")
        found["Message"] = "\r\n".join([f"{title}:", *(f"{name}: {value}" for name, value in own)])
        return found
    title, task, category = _SECURITY.get(number, (provider, found["Task"], "None"))
    if event.get("ObjectType") == "Key" and category == "File System":
        task, category = 12801, "Registry"
    success = "Status" not in event or event["Status"] == "0x0"
    kind = ("AUDIT_SUCCESS" if success else "AUDIT_FAILURE") if channel == "Security" else "INFO"
    found |= {"Task": task, "Category": category, "EventType": kind}
    found |= {} if success else _FAILURE
    found["Message"] = "\r\n".join([title, "", *(f"\t{_spaced(name)}:\t\t{value}" for name, value in own)])
    return found


def _spaced(name: str) -> str:
    """A field's name as the message shows it: `LogonType` is `Logon Type`."""
    return "".join(f" {char}" if char.isupper() and not name[at - 1].isupper() and at else char
                   for at, char in enumerate(name))  # fmt: skip
