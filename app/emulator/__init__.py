"""An Exchange Online look-alike for development, tests and demos. Imports only mail and kit.

In a test: ``async with Emulator([Account(…)]) as emu:``; as a program: ``run``. What it can do is in docs/emulator.md.
"""

from app.emulator.accounts import DEFAULT_ADDRESS, DEFAULT_PASSWORD, Account
from app.emulator.catalogue import CATALOGUE, wording
from app.emulator.entra import TokenAction, TokenFault
from app.emulator.exchange import Limits
from app.emulator.faults import Action, Fault, Phase
from app.emulator.inbox import Received
from app.emulator.run import run
from app.emulator.server import Emulator
from app.emulator.tokens import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_REFRESH_TOKEN, App

__all__ = [
    "CATALOGUE",
    "DEFAULT_ADDRESS",
    "DEFAULT_CLIENT_ID",
    "DEFAULT_CLIENT_SECRET",
    "DEFAULT_PASSWORD",
    "DEFAULT_REFRESH_TOKEN",
    "Account",
    "Action",
    "App",
    "Emulator",
    "Fault",
    "Limits",
    "Phase",
    "Received",
    "TokenAction",
    "TokenFault",
    "run",
    "wording",
]
