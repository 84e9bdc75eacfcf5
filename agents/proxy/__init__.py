"""Services, as nftables maps: a constant number of rules, and all data in maps keyed by address, protocol and port.

`routes` decides where traffic goes, `ruleset` says it in nftables' words, `conntrack` names the flows that have to be
forgotten, and `proxy` watches the API and carries it all out.
"""
