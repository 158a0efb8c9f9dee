"""Basalt on one machine: private PostgreSQL and Redis, the portal, its workers, a host.

`script/up` and `script/test` come here once the packages are there.
"""
