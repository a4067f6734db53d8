"""The hosts that a service without API keys answers to.

A web page anywhere can give its own name the address of a machine near its reader, and have the reader's browser ask
there (DNS rebinding). Only the Host header tells such a request from one that is meant for this service.
"""

import ipaddress
import re
from typing import Final

DEFAULT: Final = "localhost, 127.0.0.0/8, [::1]"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


class AllowedHosts:
    """Names, addresses and networks; `host in allowed` for the value of a Host header."""

    def __init__(self, setting: str) -> None:
        """`setting` as `allowed_hosts` says it: comma separated, `*` for all. Raises ValueError naming a wrong part."""
        parts = {part.strip().lower().removesuffix(".") for part in setting.split(",")} - {""}
        self._all = "*" in parts
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for part in sorted(parts - {"*"}):
            try:
                self._networks.append(ipaddress.ip_network(part.removeprefix("[").removesuffix("]")))
            except ValueError:
                if _NAME.fullmatch(part) is None:
                    raise ValueError(f"{part} is no host name, address or network; leave scheme and port out") from None
                self._names.add(part)
        if not parts:
            raise ValueError("no host at all; * allows every one")

    def __contains__(self, host: bytes) -> bool:
        if self._all:
            return True
        found = _HOST.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        name = found[1] or found[2].removesuffix(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
