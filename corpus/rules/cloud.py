"""Events of Entra, Azure and Google Workspace in the field names of Sigma's rules for them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from logfm.corpus.rules.hosts import View

_MOST = 256  # values of one list
_DEEPEST = 12
# The category of a diagnostic setting, or the table of Log Analytics -> the kind of event.
_CATEGORIES = {
    "auditlogs": "azure.audit",
    "signinlogs": "azure.signin",
    "noninteractiveusersigninlogs": "azure.signin",
    "serviceprincipalsigninlogs": "azure.signin",
    "managedidentitysigninlogs": "azure.signin",
    "aadnoninteractiveusersigninlogs": "azure.signin",
    "userriskevents": "azure.risk",
    "serviceprincipalriskevents": "azure.risk",
    "aaduserriskevents": "azure.risk",
    "azureactivity": "azure.activity",
} | dict.fromkeys(
    ("administrative", "policy", "security", "alert", "autoscale", "recommendation", "servicehealth", "resourcehealth"),
    "azure.activity",
)
_PROTOCOLS = {"deviceCode": "Device Code", "ropc": "ROPC"}  # Graph's names -> those of the portal, which rules use
Record = Mapping[str, Any]


def azure_view(record: Record, text: str) -> View | None:
    """An audit, sign-in, risk or activity event, whether it comes from a diagnostic setting, Graph or Log Analytics.

    Names are in lower case, as rules write them in any; what `properties` holds is beside it too.
    """
    properties = record.get("properties")
    inner = properties if isinstance(properties, dict) else {}
    kind = _kind(record, inner)
    if kind is None:
        return None
    values = _folded({**inner, **record} if kind == "azure.activity" else {**record, **inner})
    if kind == "azure.audit":
        values = {**_changes(values.get("targetresources")), **values}
        values["additionaldetails"] = _named(values.get("additionaldetails"))
    elif kind == "azure.signin":
        values |= _outcome(values)
        if values.get("networklocationdetails") == []:
            values["networklocationdetails"] = "[]"
    elif kind == "azure.activity" and isinstance(operation := values.get("operationname"), dict):
        values |= {"operationname": operation.get("value"), "operationnamevalue": operation.get("value")}
    return View(kind, values, text)


def google_views(record: Record, text: str) -> Iterator[View]:
    """The events in one report of Google Workspace, from its own API or as an entry of Google Cloud's log."""
    payload = _mapping(record.get("protoPayload"))
    metadata = _mapping(payload.get("metadata"))
    if metadata:
        service, listed = payload.get("serviceName"), metadata.get("event")
    else:
        application = _mapping(record.get("id")).get("applicationName")
        service, listed = f"{application}.googleapis.com", record.get("events", [record])
    if service not in ("admin.googleapis.com", "login.googleapis.com"):
        return
    for event in islice(listed if isinstance(listed, list) else [listed], _MOST):
        name = _mapping(event).get("eventName") or _mapping(event).get("name")
        values = _parameters(_mapping(event)) | {
            "eventService": service,
            "eventName": name,
            "protoPayload.serviceName": service,
            "protoPayload.metadata.event.eventName": name,
        }
        yield View(f"google.{service.partition('.')[0]}", values, text)


def _kind(record: Record, inner: Record) -> str | None:
    if "riskEventType" in record:
        return "azure.risk"
    if "activityDisplayName" in record:
        return "azure.audit"  # its categories have the names of activity logs' too
    category = record.get("category")
    category = category.get("value") if isinstance(category, dict) else category
    for name in (record.get("Type"), category, record.get("Category")):
        if isinstance(name, str) and (kind := _CATEGORIES.get(name.lower())):
            return kind
    return "azure.signin" if "createdDateTime" in record and "appDisplayName" in record else None


def _folded(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {str(name).lower(): _folded(one, depth + 1) for name, one in islice(value.items(), _MOST)}
    return [_folded(one, depth + 1) for one in value[:_MOST]] if isinstance(value, list) else value


def _changes(targets: Any) -> dict[str, Any]:
    """What was changed and its new value, which rules name like a field (`ConsentContext.IsAdminConsent`)."""
    found: dict[str, Any] = {}
    for target in targets if isinstance(targets, list) else ():
        changed = _mapping(target).get("modifiedproperties")
        for one in changed if isinstance(changed, list) else ():
            name, value = _mapping(one).get("displayname"), _mapping(one).get("newvalue")
            if isinstance(name, str):
                found.setdefault(name.lower(), value.strip('"') if isinstance(value, str) else value)
    return found


def _named(details: Any) -> Any:
    """A list of {key, value} as a mapping."""
    if not isinstance(details, list):
        return details
    pairs = (_mapping(one) for one in details)
    return {one["key"].lower(): one.get("value") for one in pairs if isinstance(one.get("key"), str)}


def _outcome(values: Record) -> dict[str, Any]:
    """The columns of Log Analytics that Graph says as `status`."""
    status = _mapping(values.get("status"))
    protocol = values.get("authenticationprotocol")
    found: dict[str, Any] = {"properties.message": _PROTOCOLS.get(protocol)} if isinstance(protocol, str) else {}
    code = values.get("resulttype")
    if not status and code is None:
        return found
    code = status.get("errorcode") if code in (None, "") else code
    reasons = [one for one in (status.get("failurereason"), status.get("additionaldetails")) if isinstance(one, str)]
    found |= {
        "resulttype": code,
        "resultdescription": values.get("resultdescription") or status.get("failurereason"),
        "status": "Success" if str(code) == "0" else "; ".join(reasons) or "Failure",
    }
    return found


def _parameters(event: Record) -> dict[str, Any]:
    given = event.get("parameters", event.get("parameter"))
    if isinstance(given, dict):
        return {name.lower(): value for name, value in islice(given.items(), _MOST)}
    found: dict[str, Any] = {}
    for one in islice(given if isinstance(given, list) else (), _MOST):
        name = _mapping(one).get("name")
        if isinstance(name, str):
            found[name.lower()] = next((one[key] for key in ("value", "boolValue", "intValue", "multiValue",
                                                             "multiStrValue") if key in one), None)  # fmt: skip
    return found


def _mapping(value: Any) -> Any:
    return value if isinstance(value, dict) else {}
