"""Channels of Windows services that pySigma's pipeline for Windows has no name for."""

from sigma.pipelines.common import logsource_windows
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import AddConditionTransformation

_CHANNELS = {
    "iis-configuration": "Microsoft-IIS-Configuration/Operational",
    "ldap": "Microsoft-Windows-LDAP-Client/Debug",
    "smbclient-connectivity": "Microsoft-Windows-SmbClient/Connectivity",
    "smbserver-connectivity": "Microsoft-Windows-SMBServer/Connectivity",
}


def further_channels() -> ProcessingPipeline:
    """A pipeline that requires the channel of a service."""
    return ProcessingPipeline(
        name="Channels of further Windows services",
        priority=10,
        items=[
            ProcessingItem(AddConditionTransformation({"Channel": channel}), rule_conditions=[logsource_windows(name)])
            for name, channel in _CHANNELS.items()
        ],
    )
