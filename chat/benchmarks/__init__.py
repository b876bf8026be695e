"""Measurements that `rpchat bench` prints: each a function without arguments that gives one number."""
