"""Routes in nftables' words: a constant set of rules over maps, and the elements that fill the maps.

A frontend is one element of a verdict map that leads to a chain for its *number* of backends; the chain's one rule
draws a slot number and looks the backend up by (frontend, slot) in a second map. So a Service costs elements, never
rules, a packet costs two lookups however many Services there are, and a change is a handful of elements in one
transaction. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from agents.nftables import remove_table
from agents.proxy.routes import Frontend, Route, Routes
from orchestrator.api.conventions import SERVICE_NETWORK

TABLE = "navarch"
# The bit that says "masquerade me", as other tools of this field know it.
MASQUERADE_MARK = "0x4000"

# Packets that still carry a service address once the nat hooks are through have no backend to go to.
_BASE = f"""
table ip {TABLE} {{
  map addresses {{ typeof ip daddr . meta l4proto . th dport : verdict; }}
  map address_backends {{ typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }}
  map node_ports {{ typeof meta l4proto . th dport : verdict; }}
  map node_port_backends {{ typeof meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }}
  set refused_addresses {{ typeof ip daddr . meta l4proto . th dport; }}
  set refused_node_ports {{ typeof meta l4proto . th dport; }}
  set hairpins {{ typeof ip saddr . ip daddr; }}

  chain translate {{
    ip daddr . meta l4proto . th dport vmap @addresses
    fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain refuse {{
    ip daddr {SERVICE_NETWORK} reject
    ip daddr . meta l4proto . th dport @refused_addresses reject
  }}
  chain martians {{
    type filter hook prerouting priority raw;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain prerouting {{
    type nat hook prerouting priority -100;
    jump translate
  }}
  chain locally_made {{
    type nat hook output priority -100;
    jump translate
  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK} masquerade
    ip saddr . ip daddr @hairpins masquerade
    ip saddr 127.0.0.0/8 oifname != "lo" masquerade
  }}
  chain input {{
    type filter hook input priority 0;
    fib daddr type local meta l4proto . th dport @refused_node_ports reject
  }}
  chain forward {{
    type filter hook forward priority 0;
    jump refuse
  }}
  chain output {{
    type filter hook output priority 0;
    jump refuse
  }}
}}
"""


class Element(NamedTuple):
    """One entry of a set or map of the table."""

    container: str
    key: str


Elements = Mapping[Element, str]


class Picker(NamedTuple):
    """A chain that spreads the connections of all frontends that have the same number of backends."""

    node_port: bool
    masquerade: bool
    sticky: bool
    backends: int

    @property
    def chain(self) -> str:
        words = ["node_port" if self.node_port else "address", "masquerade" if self.masquerade else ""]
        return "_".join(word for word in (*words, "sticky" if self.sticky else "", str(self.backends)) if word)

    def command(self) -> str:
        key = "meta l4proto . th dport" if self.node_port else "ip daddr . meta l4proto . th dport"
        slot = f"{'jhash ip saddr' if self.sticky else 'numgen random'} mod {self.backends}"
        container = "node_port_backends" if self.node_port else "address_backends"
        mark = f"meta mark set meta mark or {MASQUERADE_MARK} " if self.masquerade else ""
        rule = f"{mark}dnat ip to {key} . {slot} map @{container}"
        return f"add chain ip {TABLE} {self.chain}\nadd rule ip {TABLE} {self.chain} {rule}\n"


def picker(frontend: Frontend, route: Route) -> Picker:
    return Picker(not frontend.address, route.masquerade, route.sticky, len(route.backends))


def route_elements(frontend: Frontend, route: Route) -> dict[Element, str]:
    """The elements of one route. The value of a set's element is empty."""
    port = f"{frontend.protocol} . {frontend.port}"
    key = f"{frontend.address} . {port}" if frontend.address else port
    kind = "address" if frontend.address else "node_port"
    if not route.backends:
        return {Element("refused_addresses" if frontend.address else "refused_node_ports", key): ""}
    entry = Element("addresses" if frontend.address else "node_ports", key)
    elements = {entry: f"goto {picker(frontend, route).chain}"}
    for slot, backend in enumerate(route.backends):
        elements[Element(f"{kind}_backends", f"{key} . {slot}")] = f"{backend.address} . {backend.port}"
        if backend.local:
            elements[Element("hairpins", f"{backend.address} . {backend.address}")] = ""
    return elements


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction has to do to the maps."""

    add: Elements
    remove: Sequence[Element]


@dataclass(slots=True)
class Ledger:
    """Who claims which element. An element claimed with two values goes to the first owner by name, and the other
    gets it when the first lets go; one claimed alike by many (a hairpin) stays until the last is gone."""

    claims: dict[Element, dict[str, str]] = field(default_factory=dict)
    owners: dict[str, Elements] = field(default_factory=dict)
    pickers: set[Picker] = field(default_factory=set)

    def update(self, owner: str, routes: Routes) -> Change | None:
        """Replaces what `owner` claims and returns the change to the kernel, or None when the table has to be replaced.

        That is when a number of backends occurs for the first time: nftables 1.0.6 can't read the declaration of a map
        back from the kernel, so a rule that uses one can only be made in the transaction that makes the map.
        """
        elements: dict[Element, str] = {}
        needed: set[Picker] = set()
        for frontend, route in routes.items():
            elements.update(route_elements(frontend, route))
            if route.backends:
                needed.add(picker(frontend, route))
        before = self.owners.pop(owner, {})
        if elements:
            self.owners[owner] = elements
        add: dict[Element, str] = {}
        remove: list[Element] = []
        for element in {**before, **elements}:
            was = self._value(element)
            claims = self.claims.setdefault(element, {})
            if element in elements:
                claims[owner] = elements[element]
            else:
                claims.pop(owner, None)
            value = self._value(element)
            if not claims:
                del self.claims[element]
            if was == value:
                continue
            if was is not None:
                remove.append(element)
            if value is not None:
                add[element] = value
        if needed <= self.pickers:
            return Change(add, remove)
        self.pickers |= needed
        return None

    def everything(self) -> Change:
        values = {element: self._value(element) for element in self.claims}
        return Change({element: value for element, value in values.items() if value is not None}, ())

    def _value(self, element: Element) -> str | None:
        claims = self.claims.get(element)
        return claims[min(claims)] if claims else None


def replace_table(ledger: Ledger) -> str:
    """The transaction that puts this table, filled from the ledger, in the place of whatever was there.

    Connections under way keep their backends: the kernel's connection tracking remembers them.
    """
    chains = "".join(picker.command() for picker in sorted(ledger.pickers))
    return remove_table(TABLE) + _BASE + chains + change_table(ledger.everything())


def change_table(change: Change) -> str:
    """The transaction for a change of elements: what goes, then what comes."""
    lines: list[str] = []
    for container, group in groupby(sorted(change.remove), key=lambda element: element.container):
        keys = ", ".join(element.key for element in group)
        lines.append(f"delete element ip {TABLE} {container} {{ {keys} }}\n")
    for container, items in groupby(sorted(change.add.items()), key=lambda item: item[0].container):
        entries = ", ".join(f"{element.key} : {value}" if value else element.key for element, value in items)
        lines.append(f"add element ip {TABLE} {container} {{ {entries} }}\n")
    return "".join(lines)
