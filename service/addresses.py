"""Which addresses this service may call on behalf of a client: stream sources and webhook targets.

Nothing is allowed unless the operator has listed it. A name is resolved once, here; what it resolves to is
judged, and the result is pinned into the address, so that whoever connects cannot be led elsewhere by
another answer of the DNS. Spellings that parsers read differently are refused, not repaired. For what follows
redirects all the same, ``connections`` tells where it has ended up.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from service.errors import AddressRefusedError, ConfigurationError, SourceNotFoundError

SOURCE_SCHEMES: Final = frozenset({"rtsp", "rtsps", "http", "https"})
WEBHOOK_SCHEMES: Final = frozenset({"http", "https"})
DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
LONGEST: Final = 2000

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""From a host name and a port to IP addresses; raises OSError (``socket.gaierror``)."""

_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
# Only an entry that lies within one of these opens it: 0.0.0.0/0 means the world, not this machine.
_SPECIAL: Final[tuple[tuple[IPNetwork, str], ...]] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("127.0.0.0/8", "this machine itself (loopback)"),
        ("::1/128", "this machine itself (loopback)"),
        ("0.0.0.0/8", "unspecified"),
        ("::/96", "unspecified"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("fe80::/10", "link-local"),
        ("100.100.100.200/32", "the metadata service of a cloud"),
        ("168.63.129.16/32", "the metadata service of a cloud"),
        ("192.0.0.192/32", "the metadata service of a cloud"),
        ("fd00:ec2::254/128", "the metadata service of a cloud"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "reserved or broadcast"),
        ("64:ff9b:1::/48", "a translation to IPv4"),
        ("2001::/32", "a tunnel to IPv4 (Teredo)"),
        ("2002::/16", "a tunnel to IPv4 (6to4)"),
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")

# What a URL may hold (RFC 3986) without that which separates options (; |) or is quoted in them (').
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&()*+,=%]*")
_AUTHORITY: Final = re.compile(
    r"(?:(?P<user>[^@\[\]]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]%]{1,255})(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AMBIGUOUS: Final = frozenset("ßẞς\u200c\u200d")  # the two IDNA standards make different names of these
# FFmpeg takes these out of the query of an RTSP address as options of its own.
_RTSP_OPTIONS: Final = frozenset({"udp", "tcp", "multicast", "http", "https", "listen", "filter_src"})


@dataclass(frozen=True, slots=True)
class Pinned:
    """An address that may be called, tied to the IP address that was checked.

    ``url`` has that IP address for its host and may hold credentials. ``host`` is the host (and port, if
    one was given) for a ``Host`` header. ``server_name`` is what a TLS certificate has to be made out to,
    ``None`` without TLS.
    """

    url: str = field(repr=False)
    host: str
    server_name: str | None
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class _Rules:
    names: frozenset[str]
    suffixes: tuple[str, ...]
    networks: tuple[IPNetwork, ...]

    def has_name(self, name: str) -> bool:
        return name in self.names or name.endswith(self.suffixes)

    def has(self, ip: IPAddress) -> bool:
        return any(ip in network for network in self.networks)

    def has_within(self, ip: IPAddress, special: IPNetwork) -> bool:
        return any(ip in network and _within(network, special) for network in self.networks)


def check_form(address: str, schemes: frozenset[str]) -> None:
    """Raise AddressRefusedError for what can be no address of these ``schemes``, wherever it may lead."""
    scheme, _, host, port, _ = _taken_apart(address, schemes)
    if not _literal(host):
        _ascii_name(host)
    _port_number(host, port, scheme)


def _port_number(host: str, port: str, scheme: str) -> int:
    number = int(port or DEFAULT_PORTS[scheme])
    if not 1 <= number <= 65535:
        raise AddressRefusedError(f"{host}: port {number} is refused; give one from 1 to 65535")
    return number


def lookup(host: str, port: int) -> tuple[str, ...]:
    """Ask the operating system, which may take as long as its resolver is set to."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def connections() -> frozenset[tuple[str, str]]:
    """This process's connections over IP: the kernel's name of each socket, and the other end's address."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile, or connected with nobody
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.startswith("socket:"):
                with socket.fromfd(int(descriptor), socket.AF_INET, socket.SOCK_STREAM) as one:
                    peer = one.getpeername()
                if isinstance(peer, tuple) and isinstance(peer[0], str):  # not one of this machine alone
                    found.add((name, str(_plain(ipaddress.ip_address(peer[0])))))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be called; ``deny`` wins over ``allow``, and an empty ``allow`` allows nothing.

    Entries are host names, ``*.example.org`` (every name below it), IP addresses and networks in CIDR
    notation. A name stands for whatever it resolves to, this machine, link-local, multicast and their kind
    excepted: these need an entry of their own (``127.0.0.1``, ``169.254.10.0/24``; ``localhost`` stands
    for this machine). ``remedy`` ends every refusal. Raises ConfigurationError for an entry that is none.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    remedy: str = "the operator can allow it: setting allowed_sources, flag --allow-source"

    def __post_init__(self) -> None:
        for entries in (self.allow, self.deny):
            if not isinstance(entries, tuple) or not all(isinstance(entry, str) for entry in entries):
                raise ConfigurationError(f"addresses must be a tuple of texts, got {entries!r}")
            _rules(entries)

    def check(self, address: str, schemes: frozenset[str], resolve: Resolve = lookup) -> Pinned:
        """Return the pinned form of ``address``.

        Raises AddressRefusedError, and SourceNotFoundError where its name does not resolve.
        """
        scheme, user, host, port, rest = _taken_apart(address, schemes)
        literal = _literal(host)
        name = None if literal else _ascii_name(host)
        number = _port_number(host, port, scheme)
        ip = self._judged_name(name, number, resolve) if name else self._judged(literal, str(literal), False)
        shown = name or _bracketed(literal)
        suffix = f":{number}" if port else ""
        return Pinned(
            url=f"{scheme}://{user}{_bracketed(ip)}{suffix}{rest}",
            host=f"{shown}{suffix}",
            server_name=(name or str(ip)) if scheme in ("https", "rtsps") else None,
            ip=str(ip),
            port=number,
        )

    def _judged_name(self, name: str, port: int, resolve: Resolve) -> IPAddress:
        allow, deny = _rules(self.allow), _rules(self.deny)
        by_name = allow.has_name(name)
        if deny.has_name(name) or not (by_name or allow.networks):
            raise self._refusal(name)  # without asking the DNS, which is a way to carry things outside
        try:
            found = resolve(name, port)
        except (OSError, UnicodeError) as error:
            raise SourceNotFoundError(f"{name}: there is no host of this name; check the address") from error
        if not found:
            raise SourceNotFoundError(f"{name}: this name has no address; check it")
        # All of them: who controls the name could have one that is allowed stand for one that is not.
        judged = [self._judged(_plain(ipaddress.ip_address(text)), name, by_name) for text in found]
        return judged[0]

    def _judged(self, ip: IPAddress | None, shown: str, by_name: bool) -> IPAddress:
        assert ip is not None
        allow, deny = _rules(self.allow), _rules(self.deny)
        faces = _faces(ip)
        where = shown if shown == str(ip) else f"{shown} ({ip})"
        if any(deny.has(face) for face in faces):
            raise self._refusal(where)
        for face in faces:
            for network, kind in _SPECIAL:
                if face in network and not allow.has_within(face, network):
                    raise self._refusal(where, f"its address is {kind}")
        if not (by_name or any(allow.has(face) for face in faces)):
            raise self._refusal(where)
        return ip

    def _refusal(self, host: str, reason: str = "this host is not allowed") -> AddressRefusedError:
        return AddressRefusedError(f"{host}: {reason}; {self.remedy}")


def _taken_apart(address: str, schemes: frozenset[str]) -> tuple[str, str, str, str, str]:
    """Scheme, user with its @, host, port and the rest; no message has more of the address than its host."""
    wanted = ", ".join(sorted(schemes))
    scheme, separator, tail = address.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in schemes:
        raise AddressRefusedError(f"addresses of this kind are refused; give one that begins with {wanted}")
    if len(address) > LONGEST:
        raise AddressRefusedError(f"the address has {len(address)} characters; at most {LONGEST} are taken")
    cut = min((tail.index(sign) for sign in "/?" if sign in tail), default=len(tail))
    authority, rest = tail[:cut], tail[cut:]
    # A host may have any letters; IDNA judges them.
    if not _CHARACTERS.fullmatch("".join(c for c in authority if c.isascii()) + rest):
        raise AddressRefusedError(
            "the address holds a character that is refused (a space, a control character, "
            "or one of \\ | ; ' \" # < > ^ ` { } or beyond ASCII); percent-encode it"
        )
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise AddressRefusedError(
            f"the address is not of the form {scheme}://HOST:PORT/PATH, "
            "or USER:PASSWORD before the HOST is not percent-encoded"
        )
    user = match["user"] or ""
    encoded = user + rest
    if not encoded.isascii() or re.search(r"%(?![0-9A-Fa-f]{2})|%[01][0-9A-Fa-f]|%7[fF]", encoded):
        raise AddressRefusedError("a broken percent-encoding, or that of a control character, is refused")
    if "%22" in user.partition(":")[0]:
        raise AddressRefusedError('a user name with a " in it is refused')
    if scheme.startswith("rtsp") and _RTSP_OPTIONS & {part.lower() for part in re.split(r"[?&]", rest)[1:]}:
        raise AddressRefusedError("an RTSP address with options of transport in its query is refused")
    if not rest.startswith("/"):
        rest = f"/{rest}"
    return scheme, f"{user}@" if user else "", match["host"], match["port"] or "", rest


def _literal(host: str) -> IPAddress | None:
    """The IP address that ``host`` is, ``None`` for a name; only the usual spelling is taken."""
    if host.startswith("["):
        try:
            return _plain(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise AddressRefusedError(f"{host}: this is no IPv6 address") from None
    if not host.isascii() or not _NUMBER.fullmatch(host.lower().rstrip(".").rpartition(".")[2]):
        return None
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        raise AddressRefusedError(
            f"{host}: this spelling of an IP address is refused; write four decimal numbers"
        ) from None


def _ascii_name(host: str) -> str:
    """A host name in lower-case ASCII, without the dot at its end."""
    try:
        if _AMBIGUOUS & set(host):
            raise UnicodeError
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        raise AddressRefusedError(f"{host!r}: this is no host name; write it in ASCII (xn--...)") from None
    labels = name.split(".")
    sound = len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    if not sound or _NUMBER.fullmatch(labels[-1]):
        raise AddressRefusedError(f"{host!r}: this is no host name")
    return name


def _plain(ip: IPAddress) -> IPAddress:
    """IPv4 that is mapped into IPv6 as what it is; without a zone."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    return ip.ipv4_mapped or ipaddress.IPv6Address(int(ip))


def _faces(ip: IPAddress) -> tuple[IPAddress, ...]:
    """The address, and the IPv4 address that a NAT64 makes of it (RFC 6052)."""
    return (ip, ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)) if ip in _NAT64 else (ip,)


def _bracketed(ip: IPAddress | None) -> str:
    return f"[{ip}]" if isinstance(ip, ipaddress.IPv6Address) else str(ip)


def _within(network: IPNetwork, outer: IPNetwork) -> bool:
    return outer.prefixlen <= network.prefixlen and network.network_address in outer


@lru_cache(maxsize=64)
def _rules(entries: tuple[str, ...]) -> _Rules:
    names: set[str] = set()
    suffixes: list[str] = []
    networks: list[IPNetwork] = []
    for entry in entries:
        try:
            network = _network(entry)
            if network is not None:
                networks.append(network)
            elif entry.startswith("*."):
                suffixes.append(f".{_ascii_name(entry[2:])}")
            else:
                names.add(name := _ascii_name(entry))
                if name == "localhost":
                    networks += _LOOPBACK
        except (ValueError, AddressRefusedError) as error:
            raise ConfigurationError(
                f"{entry!r} is not a host name, *.example.org, an IP address or a network such as "
                f"10.0.0.0/8 ({error})"
            ) from None
    return _Rules(frozenset(names), tuple(suffixes), tuple(networks))


def _network(entry: str) -> IPNetwork | None:
    """The network, or the one address as a network; ``None`` for a name."""
    bare = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
    if "/" in entry:
        network = ipaddress.ip_network(entry)
        if _within(network, _MAPPED):
            return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        return network
    if ":" in bare:
        return ipaddress.ip_network(str(_plain(ipaddress.IPv6Address(bare))))
    literal = _literal(entry)
    return None if literal is None else ipaddress.ip_network(str(literal))
