"""Where each Microsoft cloud keeps its token endpoint, its SMTP host and the name of the SMTP resource. Data only.

Sources: the national-cloud page of Microsoft Entra for the authorities, Exchange's OAuth page for the worldwide
scopes; hosts and scopes of the other clouds are as reported by products that serve them. Every value can be
overridden in the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud: ``authority`` is the base without the directory.

    ``scope`` is what an app asks for by itself, ``delegated_scope`` what a refresh token of a user asks for.
    """

    authority: str
    scope: str
    delegated_scope: str
    smtp_host: str


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        # GCC is part of the worldwide cloud.
        "worldwide": Cloud(
            authority="https://login.microsoftonline.com",
            scope="https://outlook.office365.com/.default",
            delegated_scope="https://outlook.office.com/SMTP.Send offline_access",
            smtp_host="smtp.office365.com",
        ),
        "gcc-high": Cloud(
            authority="https://login.microsoftonline.us",
            scope="https://outlook.office365.us/.default",
            delegated_scope="https://outlook.office365.us/SMTP.Send offline_access",
            smtp_host="smtp.office365.us",
        ),
        "dod": Cloud(
            authority="https://login.microsoftonline.us",
            scope="https://outlook.office365.us/.default",
            delegated_scope="https://outlook.office365.us/SMTP.Send offline_access",
            smtp_host="outlook-dod.office365.us",
        ),
        "china": Cloud(
            authority="https://login.partner.microsoftonline.cn",
            scope="https://partner.outlook.cn/.default",
            delegated_scope="https://partner.outlook.cn/SMTP.Send offline_access",
            smtp_host="smtp.partner.outlook.cn",
        ),
    }
)
