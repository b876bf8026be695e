"""The console script."""

from __future__ import annotations


def main() -> None:
    """Run `rpchat`."""
    from chat.cli.root import rpchat

    rpchat()


if __name__ == "__main__":
    main()
