"""Measurements that `rpchat bench` prints: every module's `MEASURES`."""
