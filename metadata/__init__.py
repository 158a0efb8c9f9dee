"""The part that talks to guests: metadata over HTTP and DHCP, one document per virtual NIC.

It runs without privileges, on sockets that the agent opened, and knows nothing but the
documents it was given. A guest's identity is the socket it was heard on, never a header,
an address or a MAC.
"""
