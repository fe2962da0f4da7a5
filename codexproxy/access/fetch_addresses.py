"""Which addresses the service may fetch from on a caller's behalf; pure."""

import ipaddress

# IPv4 inside IPv6 by translation (RFC 6052); the last 32 bits are the address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All of the IPv6 internet (RFC 4291); what is outside of it and carries no IPv4 address is somebody's own.
_UNICAST = ipaddress.IPv6Network("2000::/3")
# What ISATAP puts before an IPv4 address (RFC 5214).
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# Not public, although ``ipaddress`` takes some of them for it: IETF protocol assignments with Teredo and ORCHIDs,
# 6to4 and its relays, the address at which Azure's host answers its guests, documentation (RFC 9637).
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public_address(text: str) -> bool:
    """Whether an address is out on the internet: no private, loopback, link-local, shared, multicast or reserved one.

    Where an IPv6 address carries an IPv4 address, it is that one that is reached.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(each) for each in _reached(address))


def _is_global(address: Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _reached(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return [address, ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return [address]
