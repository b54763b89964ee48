"""JSON of products that the shared data has little or nothing of, each told by its keys."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

MOMENT = datetime(2024, 2, 5, 10, 11, 12, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())
ISO = "2024-02-05T10:11:12Z"
CASES: dict[str, tuple[dict[str, Any], str, str | None, str | None, str]] = {
    "github": (
        {"@timestamp": SECONDS * 1000, "action": "repo.create", "actor": "bob", "actor_ip": "10.0.0.1",
         "_document_id": "d"},
        "github", "10.0.0.1", "bob", "repo.create",
    ),
    "opencanary": (
        {"dst_port": 22, "local_time": "2024-02-05 12:11:12.0", "utc_time": "2024-02-05 10:11:12.0", "logtype": 4002,
         "logdata": {"USERNAME": "root"}, "node_id": "canary", "src_host": "10.0.0.9"},
        "opencanary", "10.0.0.9", "root", "4002",
    ),
    "google workspace": (
        {"kind": "admin#reports#activity", "id": {"time": ISO, "applicationName": "login"}, "ipAddress": "10.0.0.1",
         "actor": {"email": "a@b.example"}, "events": [{"name": "login_success"}]},
        "google_workspace", "10.0.0.1", "a@b.example", "login",
    ),
    "onelogin": (
        {"event_type_id": 5, "account_id": 1, "created_at": ISO, "ipaddr": "10.0.0.1", "user_name": "bob"},
        "onelogin", "10.0.0.1", "bob", "5",
    ),
    "duo": (
        {"txid": "t", "event_type": "authentication", "reason": "user_approved", "result": "success",
         "timestamp": SECONDS, "user": {"name": "bob"}, "access_device": {"ip": "10.0.0.1"}},
        "duo", "10.0.0.1", "bob", "authentication",
    ),
    "entra risk": (
        {"riskEventType": "leakedCredentials", "riskState": "atRisk", "detectedDateTime": ISO,
         "userPrincipalName": "bob"},
        "entra", None, "bob", "leakedCredentials",
    ),
    "cloudtrail after logstash": (
        {"@timestamp": ISO, "@version": "1", "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
         "awsRegion": "us-east-1", "sourceIPAddress": "10.0.0.1", "userIdentity": {"userName": "bob"}},
        "cloudtrail", "10.0.0.1", "bob", "s3.amazonaws.com",
    ),
    "kubernetes without the API's version": (
        {"auditID": "a", "verb": "create", "stageTimestamp": ISO, "user": {"username": "bob"},
         "sourceIPs": ["10.0.0.1"]},
        "kubernetes", "10.0.0.1", "bob", "create",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_product_is_told_by_its_keys(write, read, name):
    record, source, host, user, log_type = CASES[name]
    (event,), rejects = read(write("a.log", orjson.dumps(record).decode()))
    assert not rejects
    found = (event.source, event.timestamp, event.host, event.user, event.log_type)
    assert found == (source, MOMENT, host, user, log_type)


@pytest.mark.parametrize("name", CASES)
def test_the_same_keys_are_needed(write, read, name):
    record, source, *_ = CASES[name]
    (event,), _ = read(write("a.log", orjson.dumps({"x" + key: value for key, value in record.items()}).decode()))
    assert event.source != source
